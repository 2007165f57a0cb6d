//! What threads share, with a point of a [model](super::model) before each operation.

use std::fmt;

use tokio::sync::{AcquireError, SemaphorePermit, TryAcquireError, futures::Notified};

use super::model::point;

/// A [`tokio::sync::Notify`].
#[derive(Debug, Default)]
pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) const fn new() -> Self {
        Self(tokio::sync::Notify::const_new())
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        point();
        self.0.notified()
    }

    pub(crate) fn notify_one(&self) {
        point();
        self.0.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }
}

/// A [`tokio::sync::Semaphore`].
pub(crate) struct Semaphore(tokio::sync::Semaphore);

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Semaphore {
    pub(crate) const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    pub(crate) const fn new(permits: usize) -> Self {
        Self(tokio::sync::Semaphore::const_new(permits))
    }

    pub(crate) fn available_permits(&self) -> usize {
        point();
        self.0.available_permits()
    }

    pub(crate) fn add_permits(&self, permits: usize) {
        point();
        self.0.add_permits(permits);
    }

    pub(crate) fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    pub(crate) fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        point();
        self.0.try_acquire_many(n)
    }

    pub(crate) async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1).await
    }

    pub(crate) async fn acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        point();
        self.0.acquire_many(n).await
    }

    pub(crate) fn close(&self) {
        point();
        self.0.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        point();
        self.0.is_closed()
    }
}

/// The atomics of the standard library.
#[expect(dead_code, reason = "each has every operation that one of them needs")]
pub(crate) mod atomic {
    use std::sync::atomic;
    pub(crate) use std::sync::atomic::Ordering;

    use super::point;

    macro_rules! observed {
        ($($name:ident: $value:ty),*) => { $(
            #[derive(Debug, Default)]
            pub(crate) struct $name(atomic::$name);

            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    point();
                    self.0.load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    point();
                    self.0.store(value, order);
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    point();
                    self.0.swap(value, order)
                }

                pub(crate) fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    update: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    point();
                    self.0.fetch_update(set, fetch, update)
                }

                pub(crate) fn get_mut(&mut self) -> &mut $value {
                    self.0.get_mut()
                }
            }
        )* };
    }

    macro_rules! counted {
        ($($name:ident: $value:ty),*) => { $(
            impl $name {
                pub(crate) fn fetch_add(&self, n: $value, order: Ordering) -> $value {
                    point();
                    self.0.fetch_add(n, order)
                }

                pub(crate) fn fetch_sub(&self, n: $value, order: Ordering) -> $value {
                    point();
                    self.0.fetch_sub(n, order)
                }
            }
        )* };
    }

    observed! { AtomicBool: bool, AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize }
    counted! { AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize }
}
