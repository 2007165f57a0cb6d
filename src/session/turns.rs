//! The order of messages for each handler.

use std::{
    collections::BTreeMap,
    hash::Hash,
    sync::{Arc, MutexGuard},
    task::{Context, Poll, Waker},
};

use indexmap::IndexMap;

use crate::sync::Mutex;

/// The number of rows at which empty ones are dropped for the first time.
const FIRST_SWEEP: usize = 64;

/// The messages that wait for a handler: one row for each key, in the order of arrival.
#[derive(Debug)]
pub(super) struct Turns<K> {
    rows: IndexMap<K, Arc<Row>>,
    /// The number of rows at which empty ones are dropped.
    sweep_at: usize,
}

/// The messages that wait for one handler. The first has its turn.
#[derive(Debug, Default)]
struct Row(Mutex<WaitingTurns>);

#[derive(Debug, Default)]
struct WaitingTurns {
    next: u64,
    turns: BTreeMap<u64, Option<Waker>>,
}

/// The place of a message in a row, held until this is dropped. A message that is refused or
/// cancelled neither blocks the messages behind it nor lets them overtake those before it.
#[derive(Debug)]
pub(super) struct Turn {
    row: Arc<Row>,
    number: u64,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { rows: IndexMap::new(), sweep_at: FIRST_SWEEP }
    }
}

impl<K: Eq + Hash> Turns<K> {
    /// Whether a message waits in this row.
    pub(super) fn is_waiting(&mut self, key: &K) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let waits = self.rows.get(key).is_some_and(|row| !row.is_empty());
        if !waits {
            self.rows.swap_remove(key);
        }
        waits
    }

    /// Adds a message at the end of its row.
    pub(super) fn take(&mut self, key: K) -> Turn {
        if self.rows.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = self.rows.len().saturating_mul(2).max(FIRST_SWEEP);
        }
        let row = Arc::clone(self.rows.entry(key).or_default());
        let number = row.enter();
        Turn { row, number }
    }

    /// Whether a message waits in any row.
    pub(super) fn is_any_waiting(&mut self) -> bool {
        self.sweep();
        !self.rows.is_empty()
    }

    /// Drops the rows in which no message waits.
    pub(super) fn sweep(&mut self) {
        self.rows.retain(|_, row| !row.is_empty());
    }
}

impl Row {
    fn lock(&self) -> MutexGuard<'_, WaitingTurns> {
        self.0.lock()
    }

    fn is_empty(&self) -> bool {
        self.lock().turns.is_empty()
    }

    fn enter(&self) -> u64 {
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.turns.insert(number, None);
        number
    }
}

impl Turn {
    /// Completes when every message before this one was delivered or cancelled.
    pub(super) async fn wait(&self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.row.lock();
        if waiting.turns.first_key_value().is_none_or(|(first, _)| *first == self.number) {
            return Poll::Ready(());
        }
        waiting.turns.insert(self.number, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.row.lock();
        waiting.turns.remove(&self.number);
        let next = waiting.turns.first_entry().and_then(|mut first| first.get_mut().take());
        drop(waiting);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn has_turn(turn: &Turn) -> bool {
        turn.wait().now_or_never().is_some()
    }

    #[test]
    fn a_cancelled_turn_lets_no_message_overtake_those_before_it() {
        let mut turns = Turns::default();
        let [first, second, third, other] = ["a", "a", "a", "b"].map(|key| turns.take(key));
        assert!(has_turn(&first) && has_turn(&other));
        drop(second);
        assert!(!has_turn(&third));
        drop(first);
        assert!(has_turn(&third));
    }

    #[tokio::test]
    async fn the_next_in_a_row_is_woken_when_the_first_is_dropped() {
        let mut turns = Turns::default();
        let (first, second) = (turns.take(1), turns.take(1));
        #[expect(clippy::disallowed_methods, reason = "the test's own runtime")]
        let waits = tokio::spawn(async move { second.wait().await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(first);
        waits.await.unwrap();
    }

    #[test]
    fn empty_rows_are_dropped() {
        let mut turns = Turns::default();
        let kept = turns.take(0);
        for key in 1..10_000 {
            turns.take(key);
        }
        assert!(turns.rows.len() <= 2 * FIRST_SWEEP, "{}", turns.rows.len());
        assert!(turns.is_waiting(&0) && !turns.is_waiting(&9_999));
        drop(kept);
        assert!(!turns.is_waiting(&0));
        turns.sweep();
        assert!(turns.rows.is_empty());
    }
}
