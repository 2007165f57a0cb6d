//! The contacts by which a node tries to join in the background.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

use crate::overlay::Address;

/// Contacts that are tried again at the same time. A join by a further one is not tried again.
const MAX_CONTACTS: usize = 64;

/// The contacts that said "not now", one task for each.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    under_way: Mutex<HashMap<Address, (u64, CancellationToken)>>,
    next: AtomicU64,
}

/// The right to try one contact again.
#[derive(Debug)]
pub(crate) struct JoinAgain {
    number: u64,
    /// Cancelled when the tries are to end.
    pub(crate) ended: CancellationToken,
}

impl Joins {
    fn lock(&self) -> MutexGuard<'_, HashMap<Address, (u64, CancellationToken)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to try a contact again; `None` if it is tried already, or if too many are.
    pub(crate) fn begin(&self, contact: &Address) -> Option<JoinAgain> {
        let mut under_way = self.lock();
        if under_way.len() >= MAX_CONTACTS || under_way.contains_key(contact) {
            return None;
        }
        let (number, ended) = (self.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        under_way.insert(contact.clone(), (number, ended.clone()));
        Some(JoinAgain { number, ended })
    }

    /// Whether a contact is tried again.
    pub(crate) fn is_under_way(&self, contact: &Address) -> bool {
        self.lock().contains_key(contact)
    }

    /// The tries that began with `again` are over.
    pub(crate) fn over(&self, contact: &Address, again: &JoinAgain) {
        let mut under_way = self.lock();
        if under_way.get(contact).is_some_and(|(number, _)| *number == again.number) {
            under_way.remove(contact);
        }
    }

    /// Ends the tries by one contact.
    pub(crate) fn end(&self, contact: &Address) {
        if let Some((_, ended)) = self.lock().remove(contact) {
            ended.cancel();
        }
    }

    /// Ends all tries.
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
    fn each_contact_is_tried_once_at_a_time_and_no_more_than_the_bound() {
        let joins = Joins::default();
        let first = joins.begin(&at(0)).unwrap();
        assert!(joins.begin(&at(0)).is_none());
        let begun = (1..100).filter(|n| joins.begin(&at(*n)).is_some()).count();
        assert_eq!(begun + 1, MAX_CONTACTS);
        joins.over(&at(0), &first);
        let second = joins.begin(&at(0)).unwrap();
        joins.over(&at(0), &first);
        assert!(joins.is_under_way(&at(0)), "the second one is another");
        joins.end(&at(0));
        assert!(second.ended.is_cancelled() && !first.ended.is_cancelled());
        joins.end_all();
        assert!(!joins.is_under_way(&at(1)));
    }
}
