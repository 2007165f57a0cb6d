//! The people that were seen in the rooms: nicks, keys and addresses. The tables are bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix_peer::{PeerId, PeerInfo};
use tokio::time::Instant;

use crate::text::{Nick, RoomName, long_key};

/// The maximum number of people that are remembered.
const MAX_PEOPLE: usize = 1_000;

/// How long a person without a sign of life is counted as present: longer than two announcements.
pub(crate) const LATELY: Duration = Duration::from_secs(150);

/// The minimum time between two notices about the nick of one person.
const NOTICE_EVERY: Duration = Duration::from_secs(10);

/// The maximum number of people that are banned.
const MAX_BANNED: usize = 256;

/// Whether a notice may follow one of that time.
fn is_due(before: Option<Instant>, now: Instant) -> bool {
    before.is_none_or(|before| now.saturating_duration_since(before) >= NOTICE_EVERY)
}

/// One person, which is one key.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) info: PeerInfo,
    pub(crate) nick: Nick,
    seen: Instant,
    rooms: BTreeMap<RoomName, Visit>,
    /// When it was shown last that the person is in a room.
    shown: BTreeMap<RoomName, Instant>,
    noticed: Option<Instant>,
}

impl Person {
    pub(crate) fn label(&self) -> String {
        self.nick.label(self.info.id())
    }
}

/// A person in a room.
#[derive(Clone, Copy, Debug)]
struct Visit {
    seen: Instant,
    /// Whether it was shown that the person is there.
    is_shown: bool,
}

/// The news about a person.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// It was not seen in this room lately.
    pub(crate) is_new: bool,
    /// The label with the former nick.
    pub(crate) renamed: Option<String>,
    /// The label of another person with this nick, to be warned of.
    pub(crate) shares_with: Option<String>,
}

/// Why no person is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFound {
    #[error("no one called {0} was seen: /who lists who is here")]
    Unknown(String),
    #[error("{0} is not one person: write {1}")]
    Several(String, String),
}

/// All people.
#[derive(Debug, Default)]
pub(crate) struct People {
    all: BTreeMap<PeerId, Person>,
    /// With the labels of the time of the ban.
    banned: BTreeMap<PeerId, String>,
}

impl People {
    /// Takes note of a sign of life, in a room if there is one.
    pub(crate) fn note(
        &mut self,
        info: &PeerInfo,
        nick: Nick,
        room: Option<&RoomName>,
        now: Instant,
    ) -> Noted {
        let id = info.id();
        self.make_room(id);
        let same_nick = |(other, person): (&PeerId, &Person)| {
            let is_here = now.saturating_duration_since(person.seen) < LATELY;
            (other != id && is_here && person.nick.is_like(nick.as_str())).then(|| person.label())
        };
        let shares_with = self.all.iter().find_map(same_nick);
        let mut noted = Noted::default();
        let person = self.all.entry(id.clone()).or_insert_with(|| Person {
            info: info.clone(),
            nick: nick.clone(),
            seen: now,
            rooms: BTreeMap::new(),
            shown: BTreeMap::new(),
            noticed: None,
        });
        let is_first = person.rooms.is_empty();
        if let Some(room) = room {
            let before = person.rooms.get(room).copied();
            let is_lately = |at: Instant| now.saturating_duration_since(at) < LATELY;
            let before = before.filter(|before| is_lately(before.seen));
            noted.is_new = before.is_none();
            let is_shown = before.is_some_and(|before| before.is_shown);
            person.rooms.insert(room.clone(), Visit { seen: now, is_shown });
        }
        let has_changed = person.nick != nick;
        if (has_changed || is_first) && is_due(person.noticed, now) {
            noted.renamed = has_changed.then(|| person.label());
            noted.shares_with = shares_with;
            if noted.renamed.is_some() || noted.shares_with.is_some() {
                person.noticed = Some(now);
            }
        }
        (person.nick, person.seen) = (nick, now);
        person.info = info.clone();
        noted
    }

    /// Forgets the person that was seen least lately, if the table is full.
    fn make_room(&mut self, for_whom: &PeerId) {
        if self.all.len() < MAX_PEOPLE || self.all.contains_key(for_whom) {
            return;
        }
        let oldest = self.all.iter().min_by_key(|(_, person)| person.seen);
        if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
            self.all.remove(&oldest);
        }
    }

    /// A person has left a room. Returns the label, if it was shown that the person was there.
    pub(crate) fn leave(&mut self, id: &PeerId, room: &RoomName) -> Option<String> {
        let person = self.all.get_mut(id)?;
        let visit = person.rooms.remove(room)?;
        visit.is_shown.then(|| person.label())
    }

    /// Notes that it is shown that a person is in a room. Returns the label, if the person is still
    /// there and it was not shown before. A person who comes and goes all the
    /// time is not shown each time.
    pub(crate) fn show(&mut self, id: &PeerId, room: &RoomName, now: Instant) -> Option<String> {
        let person = self.all.get_mut(id)?;
        let visit = person.rooms.get_mut(room)?;
        if !is_due(person.shown.get(room).copied(), now) {
            return None;
        }
        person.shown.insert(room.clone(), now);
        let is_first = !std::mem::replace(&mut visit.is_shown, true);
        is_first.then(|| person.label())
    }

    /// This node has left a room.
    pub(crate) fn forget_room(&mut self, room: &RoomName) {
        for person in self.all.values_mut() {
            person.rooms.remove(room);
            person.shown.remove(room);
        }
    }

    /// The people that were seen in a room lately, by nick. Banned people are left out.
    pub(crate) fn in_room(&self, room: &RoomName, now: Instant) -> Vec<&Person> {
        let is_in = |person: &&Person| {
            let at = person.rooms.get(room);
            at.is_some_and(|at| now.saturating_duration_since(at.seen) < LATELY)
                && !self.is_banned(person.info.id())
        };
        let mut people: Vec<_> = self.all.values().filter(is_in).collect();
        people.sort_by_cached_key(|person| person.label().to_lowercase());
        people
    }

    pub(crate) fn get(&self, id: &PeerId) -> Option<&Person> {
        self.all.get(id)
    }

    /// The person with this nick, label, or beginning of a key.
    pub(crate) fn find(&self, who: &str) -> Result<&Person, NotFound> {
        let is_meant = |person: &&Person| {
            person.nick.is_like(who)
                || person.label().eq_ignore_ascii_case(who)
                || (who.len() >= 16 && person.info.id().as_str().starts_with(who))
        };
        let mut meant: Vec<_> = self.all.values().filter(is_meant).collect();
        // A person who has started again has another key, unless it is in a file.
        if meant.iter().any(|person| !person.rooms.is_empty()) {
            meant.retain(|person| !person.rooms.is_empty());
        }
        meant.sort_by_key(|person| std::cmp::Reverse(person.seen));
        match meant.as_slice() {
            [] => Err(NotFound::Unknown(who.to_owned())),
            [person] => Ok(person),
            [..] => {
                let labels: BTreeSet<_> = meant.iter().map(|person| person.label()).collect();
                // Two keys with one short form: only the long one tells them apart.
                let forms: Vec<_> = if labels.len() == meant.len() {
                    labels.into_iter().collect()
                } else {
                    meant.iter().map(|person| long_key(person.info.id())).collect()
                };
                let shown: Vec<_> = forms.into_iter().take(4).collect();
                Err(NotFound::Several(who.to_owned(), shown.join(" or ")))
            }
        }
    }

    /// Bans a person. False if too many are.
    pub(crate) fn ban(&mut self, id: &PeerId, label: String) -> bool {
        let fits = self.banned.len() < MAX_BANNED || self.banned.contains_key(id);
        if fits {
            self.banned.insert(id.clone(), label);
        }
        fits
    }

    /// Ends the bans of who is meant, by nick or label.
    pub(crate) fn unban(&mut self, who: &str) -> Vec<(PeerId, String)> {
        let is_meant = |label: &str| {
            let nick = label.rsplit_once('~').map_or(label, |(nick, _)| nick);
            label.eq_ignore_ascii_case(who) || nick.to_lowercase() == who.to_lowercase()
        };
        let meant = self.banned.iter().filter(|(_, label)| is_meant(label));
        let meant: Vec<_> = meant.map(|(id, label)| (id.clone(), label.clone())).collect();
        meant.iter().for_each(|(id, _)| drop(self.banned.remove(id)));
        meant
    }

    pub(crate) fn is_banned(&self, id: &PeerId) -> bool {
        self.banned.contains_key(id)
    }

    pub(crate) fn banned(&self) -> Vec<String> {
        self.banned.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(n: usize) -> PeerInfo {
        PeerInfo::new(format!("{n:064x}").parse().unwrap(), "127.0.0.1:9".parse().unwrap()).unwrap()
    }

    fn nick(text: &str) -> Nick {
        text.parse().unwrap()
    }

    fn lobby() -> RoomName {
        "lobby".parse().unwrap()
    }

    #[test]
    fn a_person_is_found_by_nick_and_by_label() {
        let (mut people, now) = (People::default(), Instant::now());
        people.note(&info(1), nick("Ada"), Some(&lobby()), now);
        assert_eq!(people.find("ada").unwrap().info, info(1));
        let label = people.find("ada").unwrap().label();
        assert_eq!(people.find(&label).unwrap().info, info(1));
        assert_eq!(people.find("bob").unwrap_err(), NotFound::Unknown("bob".into()));
    }

    #[test]
    fn a_nick_of_two_keys_is_warned_of_once_and_means_no_one() {
        let (mut people, now) = (People::default(), Instant::now());
        let other = PeerInfo::new("f".repeat(64).parse().unwrap(), "127.0.0.1:9".parse().unwrap());
        assert_eq!(people.note(&info(1), nick("ada"), Some(&lobby()), now).shares_with, None);
        let noted = people.note(&other.unwrap(), nick("ADA"), Some(&lobby()), now);
        assert_eq!(noted.shares_with.as_deref(), Some("ada~aaaa"));
        let noted = people.note(&info(1), nick("ada"), Some(&lobby()), now);
        assert_eq!(noted.shares_with, None);
        let several = people.find("ada").unwrap_err().to_string();
        assert!(several.contains("ADA~9999 or ada~aaaa"), "{several}");
        assert!(people.find("ada~aaaa").is_ok());
    }

    #[test]
    fn keys_that_look_alike_are_told_apart_by_their_long_form() {
        let (mut people, now) = (People::default(), Instant::now());
        people.note(&info(1), nick("ada"), None, now);
        people.note(&info(2), nick("ada"), None, now);
        let several = people.find("ada~aaaa").unwrap_err().to_string();
        assert!(several.contains(&"0".repeat(32)), "{several}");
    }

    #[test]
    fn a_new_nick_is_noticed_seldom() {
        let (mut people, now) = (People::default(), Instant::now());
        people.note(&info(1), nick("ada"), Some(&lobby()), now);
        let renamed = |people: &mut People, name| {
            people.note(&info(1), nick(name), Some(&lobby()), now).renamed
        };
        assert_eq!(renamed(&mut people, "eve").as_deref(), Some("ada~aaaa"));
        assert_eq!(renamed(&mut people, "bob"), None);
        assert_eq!(people.find("bob").unwrap().info, info(1));
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut people, now) = (People::default(), Instant::now());
        for n in 0..MAX_PEOPLE + 10 {
            let at = now + Duration::from_millis(n.try_into().unwrap());
            people.note(&info(n), nick("ada"), Some(&lobby()), at);
        }
        assert_eq!(people.all.len(), MAX_PEOPLE);
        assert!(people.get(info(0).id()).is_none());
        assert!(people.get(info(MAX_PEOPLE).id()).is_some());
    }

    #[test]
    fn people_leave_rooms_by_word_and_by_silence() {
        let (mut people, now) = (People::default(), Instant::now());
        for n in 1..=3 {
            people.note(&info(n), nick("ada"), Some(&lobby()), now);
        }
        assert!(people.show(info(1).id(), &lobby(), now).is_some());
        assert!(people.show(info(1).id(), &lobby(), now).is_none());
        assert!(people.leave(info(1).id(), &lobby()).is_some());
        assert!(people.leave(info(1).id(), &lobby()).is_none());
        assert!(people.show(info(1).id(), &lobby(), now).is_none());
        people.ban(info(2).id(), "ada~aaaa".into());
        assert_eq!(people.in_room(&lobby(), now).len(), 1);
        assert_eq!(people.in_room(&lobby(), now + LATELY).len(), 0);
        assert_eq!(people.unban("ADA").len(), 1);
        assert_eq!(people.in_room(&lobby(), now).len(), 2);
    }

    #[test]
    fn who_comes_and_goes_all_the_time_is_shown_seldom() {
        let (mut people, now) = (People::default(), Instant::now());
        let mut shown = 0;
        for n in 0..100 {
            let at = now + Duration::from_millis(100 * n);
            people.note(&info(1), nick("ada"), Some(&lobby()), at);
            shown += usize::from(people.show(info(1).id(), &lobby(), at).is_some());
            shown += usize::from(people.leave(info(1).id(), &lobby()).is_some());
        }
        assert_eq!(shown, 2);
    }
}
