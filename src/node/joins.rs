//! The contacts with which a node retries to join in the background.

use std::sync::MutexGuard;

use indexmap::IndexMap;
use tokio_util::sync::CancellationToken;

use crate::{
    overlay::{Address, JoinConfig},
    sync::{Mutex, Notify},
};

/// Contacts that are retried at the same time. A join by a further contact is not retried.
const MAX_CONTACTS: usize = 64;

/// The contacts that refused a join for now.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    contacts: Mutex<Contacts>,
    /// Notified when a contact is added.
    more: Notify,
}

#[derive(Debug, Default)]
struct Contacts {
    retries: IndexMap<Address, Retry>,
    next: u64,
}

#[derive(Debug)]
struct Retry {
    again: JoinAgain,
    /// Whether [`Joins::next`] has returned it.
    begun: bool,
}

/// A contact to retry.
#[derive(Clone, Debug)]
pub(crate) struct JoinAgain {
    pub(crate) contact: Address,
    pub(crate) config: JoinConfig,
    /// Cancelled when the retries have to end.
    pub(crate) ended: CancellationToken,
    number: u64,
}

impl Joins {
    fn lock(&self) -> MutexGuard<'_, Contacts> {
        self.contacts.lock()
    }

    /// Adds a contact to retry, unless it is retried already. False if too many are.
    pub(crate) fn begin(&self, contact: &Address, config: JoinConfig) -> bool {
        let mut contacts = self.lock();
        if contacts.retries.contains_key(contact) {
            return true;
        }
        if contacts.retries.len() >= MAX_CONTACTS {
            return false;
        }
        let number = contacts.next;
        contacts.next = number.wrapping_add(1);
        let (contact, ended) = (contact.clone(), CancellationToken::new());
        let again = JoinAgain { contact: contact.clone(), config, ended, number };
        contacts.retries.insert(contact, Retry { again, begun: false });
        self.more.notify_one();
        true
    }

    /// The next contact to retry, in the order in which they were added. Must have only one caller.
    pub(crate) async fn next(&self) -> JoinAgain {
        loop {
            if let Some(again) = self.take() {
                return again;
            }
            self.more.notified().await;
        }
    }

    fn take(&self) -> Option<JoinAgain> {
        let mut contacts = self.lock();
        let waiting = contacts.retries.values_mut().filter(|retry| !retry.begun);
        let next = waiting.min_by_key(|retry| retry.again.number)?;
        next.begun = true;
        Some(next.again.clone())
    }

    /// Makes [`next`](Self::next) return every contact again: the task that retried them has died.
    pub(crate) fn begin_again(&self) {
        self.lock().retries.values_mut().for_each(|retry| retry.begun = false);
    }

    /// Notes that the retries that began with `again` have ended.
    pub(crate) fn over(&self, again: &JoinAgain) {
        let mut contacts = self.lock();
        let known = contacts.retries.get(&again.contact);
        if known.is_some_and(|retry| retry.again.number == again.number) {
            contacts.retries.swap_remove(&again.contact);
        }
    }

    /// Ends the retries of one contact.
    pub(crate) fn end(&self, contact: &Address) {
        if let Some(retry) = self.lock().retries.swap_remove(contact) {
            retry.again.ended.cancel();
        }
    }

    /// Ends all retries.
    pub(crate) fn end_all(&self) {
        self.lock().retries.drain(..).for_each(|(_, retry)| retry.again.ended.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: usize) -> Address {
        format!("n{n}:9000").parse().unwrap()
    }

    fn begin(joins: &Joins, n: usize) -> Option<JoinAgain> {
        joins.begin(&at(n), JoinConfig::new()).then(|| joins.take()).flatten()
    }

    #[test]
    fn each_contact_has_one_retry_at_a_time_and_their_number_is_bounded() {
        let joins = Joins::default();
        let first = begin(&joins, 0).unwrap();
        assert!(begin(&joins, 0).is_none());
        let begun = (1..100).filter(|n| begin(&joins, *n).is_some()).count();
        assert_eq!(begun + 1, MAX_CONTACTS);
        assert!(!joins.begin(&at(100), JoinConfig::new()));
        joins.over(&first);
        let second = begin(&joins, 0).unwrap();
        joins.over(&first);
        assert!(begin(&joins, 0).is_none(), "the second retry is still under way");
        joins.end(&at(0));
        assert!(second.ended.is_cancelled() && !first.ended.is_cancelled());
        joins.end_all();
        assert!(begin(&joins, 1).is_some());
    }

    #[test]
    fn the_contacts_of_a_task_that_died_are_retried_in_the_order_in_which_they_were_added() {
        let joins = Joins::default();
        for n in [3, 1, 2] {
            assert_eq!(begin(&joins, n).unwrap().contact, at(n));
        }
        assert!(joins.take().is_none());
        joins.begin_again();
        let again: Vec<_> =
            std::iter::from_fn(|| joins.take()).map(|again| again.contact).collect();
        assert_eq!(again, [3, 1, 2].map(at));
    }
}
