//! The contacts with which a node retries to join in the background.

use std::{
    collections::HashMap,
    sync::{
        MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

use crate::{overlay::Address, sync::Mutex};

/// Contacts that are retried at the same time. A join by a further contact is not retried.
const MAX_CONTACTS: usize = 64;

/// The contacts that refused a join for now, one task for each.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    under_way: Mutex<HashMap<Address, (u64, CancellationToken)>>,
    next: AtomicU64,
}

/// The permit to retry one contact.
#[derive(Debug)]
pub(crate) struct JoinAgain {
    number: u64,
    /// Cancelled when the retries have to end.
    pub(crate) ended: CancellationToken,
}

impl Joins {
    fn lock(&self) -> MutexGuard<'_, HashMap<Address, (u64, CancellationToken)>> {
        self.under_way.lock()
    }

    /// Begins to retry a contact. `None` if it is retried already, or if too many are.
    pub(crate) fn begin(&self, contact: &Address) -> Option<JoinAgain> {
        let mut under_way = self.lock();
        if under_way.len() >= MAX_CONTACTS || under_way.contains_key(contact) {
            return None;
        }
        let (number, ended) = (self.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        under_way.insert(contact.clone(), (number, ended.clone()));
        Some(JoinAgain { number, ended })
    }

    /// Whether a contact is retried.
    pub(crate) fn is_under_way(&self, contact: &Address) -> bool {
        self.lock().contains_key(contact)
    }

    /// Notes that the retries that began with `again` have ended.
    pub(crate) fn over(&self, contact: &Address, again: &JoinAgain) {
        let mut under_way = self.lock();
        if under_way.get(contact).is_some_and(|(number, _)| *number == again.number) {
            under_way.remove(contact);
        }
    }

    /// Ends the retries of one contact.
    pub(crate) fn end(&self, contact: &Address) {
        if let Some((_, ended)) = self.lock().remove(contact) {
            ended.cancel();
        }
    }

    /// Ends all retries.
    pub(crate) fn end_all(&self) {
        self.lock().drain().for_each(|(_, (_, ended))| ended.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: usize) -> Address {
        format!("n{n}:9000").parse().unwrap()
    }

    #[test]
    fn each_contact_has_one_retry_at_a_time_and_their_number_is_bounded() {
        let joins = Joins::default();
        let first = joins.begin(&at(0)).unwrap();
        assert!(joins.begin(&at(0)).is_none());
        let begun = (1..100).filter(|n| joins.begin(&at(*n)).is_some()).count();
        assert_eq!(begun + 1, MAX_CONTACTS);
        joins.over(&at(0), &first);
        let second = joins.begin(&at(0)).unwrap();
        joins.over(&at(0), &first);
        assert!(joins.is_under_way(&at(0)), "the second retry is still under way");
        joins.end(&at(0));
        assert!(second.ended.is_cancelled() && !first.ended.is_cancelled());
        joins.end_all();
        assert!(!joins.is_under_way(&at(1)));
    }
}
