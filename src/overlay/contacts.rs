//! The contacts of a node's joins, and when the node joins again through one that is no longer in
//! the table.

use std::time::{Duration, Instant};

use crate::overlay::{Address, JoinConfig, PeerId, PeerList};

/// The maximum number of contacts that are remembered; those of the last joins are kept.
const MOST: usize = 8;

/// The pause between two tries during the first [`SOON_FOR`].
const SOON: Duration = Duration::from_secs(10);

/// How long a contact has to be away before it is tried less often.
const SOON_FOR: Duration = Duration::from_secs(600);

/// The pause between two tries after that.
const SELDOM: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
struct Contact {
    at: Address,
    config: JoinConfig,
    /// The id of the contact.
    id: Option<PeerId>,
    /// When it was last in the table.
    there: Instant,
    tried: Instant,
}

/// The contacts that were in the table after a join through them: at most 8.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contacts {
    known: Vec<Contact>,
}

impl Contacts {
    /// Records the end of a join through this contact. Returns whether it is in the table, and
    /// therefore remembered.
    pub(crate) fn joined(
        &mut self,
        at: &Address,
        config: &JoinConfig,
        list: &PeerList,
        now: Instant,
    ) -> bool {
        let is_there = |entry: &&crate::overlay::PeerEntry| entry.info().address() == at;
        let Some(entry) = list.iter().find(is_there) else { return false };
        self.known.retain(|known| known.at != *at);
        if self.known.len() >= MOST {
            self.known.remove(0);
        }
        let (at, id, config) = (at.clone(), Some(entry.info().id().clone()), config.clone());
        self.known.push(Contact { at, config, id, there: now, tried: now });
        true
    }

    /// The contacts to join again now, because they are no longer in the table.
    pub(crate) fn due(&mut self, list: &PeerList, now: Instant) -> Vec<(Address, JoinConfig)> {
        let since = |at| now.saturating_duration_since(at);
        let mut due = Vec::new();
        for contact in &mut self.known {
            let entry = list.iter().find(|entry| {
                *entry.info().address() == contact.at
                    || Some(entry.info().id()) == contact.id.as_ref()
            });
            if let Some(entry) = entry {
                // The contact may have moved.
                contact.at = entry.info().address().clone();
                contact.id = Some(entry.info().id().clone());
                (contact.there, contact.tried) = (now, now);
                continue;
            }
            let rest = if since(contact.there) < SOON_FOR { SOON } else { SELDOM };
            if since(contact.tried) >= rest {
                contact.tried = now;
                due.push((contact.at.clone(), contact.config.clone()));
            }
        }
        due
    }

    /// Forgets a contact that the application removed, or that is not admitted any more.
    pub(crate) fn forget(&mut self, id: &PeerId) {
        self.known.retain(|contact| contact.id.as_ref() != Some(id));
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::Learned;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_contact_that_is_away_is_tried_every_ten_seconds_and_after_ten_minutes_every_two_minutes() {
        let begun = tokio::time::Instant::now().into_std();
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        list.add("al 10.0.0.1 9000".parse().unwrap(), Learned::Contact, begun);
        let at: Address = "10.0.0.1:9000".parse().unwrap();
        let mut contacts = Contacts::default();
        assert!(contacts.joined(&at, &JoinConfig::new(), &list, begun));
        let mut times = Vec::new();
        for second in 0..1_000 {
            if second == 100 {
                list.remove(&"al".parse().unwrap());
            }
            if !contacts.due(&list, begun + SECOND * second).is_empty() {
                times.push(second);
            }
        }
        assert_eq!(times.first(), Some(&109));
        assert_eq!(times.iter().filter(|time| **time < 699).count(), 59);
        assert_eq!(times.iter().filter(|time| **time >= 699).count(), 2, "{times:?}");
        contacts.forget(&"al".parse().unwrap());
        assert!(contacts.due(&list, begun + SECOND * 2_000).is_empty());
    }

    #[test]
    fn eight_contacts_are_remembered_and_only_those_in_the_table() {
        let now = tokio::time::Instant::now().into_std();
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        let mut contacts = Contacts::default();
        for n in 1..=10 {
            let at: Address = format!("10.0.0.1:{n}").parse().unwrap();
            assert!(!contacts.joined(&at, &JoinConfig::new(), &list, now));
            list.add(format!("p{n} 10.0.0.1 {n}").parse().unwrap(), Learned::Contact, now);
            contacts.joined(&at, &JoinConfig::new(), &list, now);
        }
        assert_eq!(contacts.known.len(), MOST);
        list.clear();
        let due = contacts.due(&list, now + SOON);
        assert_eq!(due.first().map(|(at, _)| at.port()), Some(3));
    }
}
