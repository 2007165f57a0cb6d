//! A record of the handled messages of each lane. Each message has a number, and has to arrive once
//! and in order.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use actix::prelude::*;
use actix_peer::{Incoming, Reply};

/// The number of latest messages that are remembered, to detect one that arrives twice.
const REMEMBERED: usize = 4_096;

/// The messages that arrived on one lane.
#[derive(Debug, Default)]
pub(crate) struct Record {
    recent: BTreeSet<u64>,
    pub(crate) handled: u64,
    pub(crate) repeated: u64,
    /// Messages that arrived after a later one.
    pub(crate) reordered: u64,
}

impl Record {
    fn add(&mut self, number: u64) {
        if !self.recent.insert(number) {
            self.repeated += 1;
            return;
        }
        self.handled += 1;
        if self.recent.last() != Some(&number) {
            self.reordered += 1;
        }
        if self.recent.len() > REMEMBERED {
            self.recent.pop_first();
        }
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.recent.contains(&number)
    }
}

/// The shared record of a lane. Its receiver writes it, and its sender reads it: both are in one
/// process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Record>>);

impl Ledger {
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(number);
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Ledger {
    type Result = Reply;

    /// Records the number at the start of the data, and answers with the message.
    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
        if let Some(number) = msg.frame.data().first_chunk() {
            self.add(u64::from_be_bytes(*number));
        }
        Reply::one(msg.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(numbers: impl IntoIterator<Item = u64>) -> Record {
        let mut record = Record::default();
        numbers.into_iter().for_each(|number| record.add(number));
        record
    }

    #[test]
    fn repeated_and_reordered_messages_are_counted() {
        let counts = |record: &Record| (record.handled, record.repeated, record.reordered);
        let fine = record(0..10_000);
        assert_eq!(counts(&fine), (10_000, 0, 0));
        assert!(fine.has(9_999) && !fine.has(10_000));
        assert_eq!(fine.recent.len(), REMEMBERED);
        assert_eq!(counts(&record([0, 1, 1, 2, 0])), (3, 2, 0));
        assert_eq!(counts(&record([0, 2, 1, 3])), (4, 0, 1));
    }
}
