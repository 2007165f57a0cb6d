//! A value that tasks wait for.
//!
//! It is [`tokio::sync::watch`] with one difference: a change wakes the receivers in the order in
//! which they began to wait. Tokio wakes them in a random order, which no seed decides.

use std::{fmt, sync::Arc};

use crate::sync::{Mutex, Notify};

/// The sender has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

struct State<T> {
    value: T,
    /// The number of changes.
    version: u64,
    closed: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

impl<T> Shared<T> {
    /// Changes the state, and wakes the receivers when its lock is released.
    fn change<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let changed = change(&mut self.state.lock());
        self.changed.notify_waiters();
        changed
    }
}

/// Sets the value.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Reads the value and waits for changes. A clone has seen the same changes.
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        let state = Mutex::new(State { value, version: 0, closed: false });
        Self(Arc::new(Shared { state, changed: Notify::new() }))
    }

    /// A receiver that has seen the value.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: Arc::clone(&self.0), seen: self.0.state.lock().version }
    }

    /// Sets the value, and returns the old one.
    pub(crate) fn send_replace(&self, value: T) -> T {
        self.0.change(|state| {
            state.version += 1;
            std::mem::replace(&mut state.value, value)
        })
    }
}

impl<T: Clone> Sender<T> {
    /// A copy of the value.
    pub(crate) fn get(&self) -> T {
        self.0.state.lock().value.clone()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.change(|state| state.closed = true);
    }
}

impl<T> Receiver<T> {
    /// Whether the sender has been dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.state.lock().closed
    }

    /// Waits for a change that this receiver has not seen, and marks it as seen.
    ///
    /// # Errors
    /// [`Closed`] if there is none and the sender has been dropped.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        let Self { shared, seen } = self;
        wait(shared, |state| {
            let is_new = state.version != *seen;
            *seen = state.version;
            is_new.then_some(())
        })
        .await
    }
}

impl<T: Clone> Receiver<T> {
    /// A copy of the value. Does not mark it as seen.
    pub(crate) fn get(&self) -> T {
        self.shared.state.lock().value.clone()
    }

    /// A copy of the value, which is marked as seen.
    pub(crate) fn get_and_see(&mut self) -> T {
        let state = self.shared.state.lock();
        self.seen = state.version;
        state.value.clone()
    }

    /// Waits until the condition is true of the value, and returns a copy. The value is marked as
    /// seen.
    ///
    /// # Errors
    /// [`Closed`] if the condition is false and the sender has been dropped.
    pub(crate) async fn wait_for(
        &mut self,
        mut is_true: impl FnMut(&T) -> bool,
    ) -> Result<T, Closed> {
        let Self { shared, seen } = self;
        wait(shared, |state| {
            *seen = state.version;
            is_true(&state.value).then(|| state.value.clone())
        })
        .await
    }
}

/// Waits until `found` returns a value.
async fn wait<T, R>(
    shared: &Shared<T>,
    mut found: impl FnMut(&State<T>) -> Option<R>,
) -> Result<R, Closed> {
    loop {
        // It is woken by every change from here on.
        let changed = shared.changed.notified();
        {
            let state = shared.state.lock();
            if let Some(found) = found(&state) {
                return Ok(found);
            }
            if state.closed {
                return Err(Closed);
            }
        }
        changed.await;
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;

    #[actix::test]
    async fn receivers_wake_in_the_order_in_which_they_began_to_wait() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let waits: Vec<_> = (0..20)
            .map(|n| {
                let (mut receiver, order) = (receiver.clone(), Arc::clone(&order));
                actix_rt::spawn(async move {
                    assert_eq!(receiver.wait_for(|value| *value == 7).await, Ok(7));
                    order.lock().push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!((sender.send_replace(6), sender.send_replace(7)), (0, 6));
        for wait in waits {
            wait.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_receiver_sees_each_change_once_and_then_that_the_sender_is_gone() {
        let (sender, mut receiver) = channel('a');
        assert_eq!(receiver.changed().now_or_never(), None);
        sender.send_replace('b');
        let mut late = receiver.clone();
        assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
        assert_eq!((receiver.get(), sender.get()), ('b', 'b'));
        assert_eq!(receiver.changed().now_or_never(), None);
        assert_eq!(late.get_and_see(), 'b');
        assert_eq!(late.changed().now_or_never(), None);
        assert_eq!(sender.subscribe().changed().now_or_never(), None);
        sender.send_replace('c');
        assert!(!receiver.is_closed());
        drop(sender);
        assert!(receiver.is_closed());
        assert_eq!(receiver.wait_for(|value| *value == 'c').now_or_never(), Some(Ok('c')));
        assert_eq!(receiver.changed().now_or_never(), Some(Err(Closed)));
        assert_eq!(receiver.wait_for(|value| *value == 'd').now_or_never(), Some(Err(Closed)));
        assert_eq!(late.changed().now_or_never(), Some(Ok(())));
    }
}
