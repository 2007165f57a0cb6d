//! What has been handled, by lane: each message has a number, and is to come once and in order.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use actix::prelude::*;
use actix_peer::{Incoming, Reply};

/// So many of the latest numbers are remembered, to tell a message that came twice.
const REMEMBERED: usize = 4_096;

/// What came on one lane.
#[derive(Debug, Default)]
pub(crate) struct Page {
    recent: BTreeSet<u64>,
    pub(crate) handled: u64,
    pub(crate) doubled: u64,
    /// Came behind a later one.
    pub(crate) disordered: u64,
}

impl Page {
    fn note(&mut self, number: u64) {
        if !self.recent.insert(number) {
            self.doubled += 1;
            return;
        }
        self.handled += 1;
        if self.recent.last() != Some(&number) {
            self.disordered += 1;
        }
        if self.recent.len() > REMEMBERED {
            self.recent.pop_first();
        }
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.recent.contains(&number)
    }
}

/// The page of a lane: its sender looks into what its receiver writes, as both are in one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Page>>);

impl Ledger {
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Page) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(number);
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Ledger {
    type Result = Reply;

    /// Notes the number that the data begins with, and answers with what came.
    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
        if let Some(number) = msg.frame.data().first_chunk() {
            self.note(u64::from_be_bytes(*number));
        }
        Reply::one(msg.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(numbers: impl IntoIterator<Item = u64>) -> Page {
        let mut page = Page::default();
        numbers.into_iter().for_each(|number| page.note(number));
        page
    }

    #[test]
    fn what_comes_twice_or_behind_a_later_one_is_told() {
        let counts = |page: &Page| (page.handled, page.doubled, page.disordered);
        let fine = page(0..10_000);
        assert_eq!(counts(&fine), (10_000, 0, 0));
        assert!(fine.has(9_999) && !fine.has(10_000));
        assert_eq!(fine.recent.len(), REMEMBERED);
        assert_eq!(counts(&page([0, 1, 1, 2, 0])), (3, 2, 0));
        assert_eq!(counts(&page([0, 2, 1, 3])), (4, 0, 1));
    }
}
