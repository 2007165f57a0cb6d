//! One entry of the address book, and its line in the file.

use crate::overlay::{Host, Learned, PeerInfo};

/// How the peer of an entry was first learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// This node contacted it: the application added it, it was a contact of a join, or it was
    /// found in an address book or named by another peer.
    Own,
    /// It introduced itself.
    Joined,
}

impl Origin {
    const fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Joined => "joined",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        [Self::Own, Self::Joined].into_iter().find(|origin| origin.word() == word)
    }
}

impl From<&Learned> for Origin {
    fn from(learned: &Learned) -> Self {
        if learned.came_by_itself() { Self::Joined } else { Self::Own }
    }
}

/// A peer that was good, which means that it has answered with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookEntry {
    pub(super) info: PeerInfo,
    pub(super) seen_at: Host,
    pub(super) first_seen: u64,
    pub(super) last_seen: u64,
    pub(super) successes: u32,
    pub(super) failures: u32,
    pub(super) origin: Origin,
}

impl BookEntry {
    /// Id, host and port.
    #[must_use]
    pub const fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// The address that it was seen at.
    #[must_use]
    pub const fn seen_at(&self) -> &Host {
        &self.seen_at
    }

    /// When it was first seen alive, in seconds of Unix time.
    #[must_use]
    pub const fn first_seen(&self) -> u64 {
        self.first_seen
    }

    /// When it was last seen alive, in seconds of Unix time.
    #[must_use]
    pub const fn last_seen(&self) -> u64 {
        self.last_seen
    }

    /// How often it was recorded as alive.
    #[must_use]
    pub const fn successes(&self) -> u32 {
        self.successes
    }

    /// How often it has not answered since it was last seen alive.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// How it was first learned.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Its line: `id host port seen-at first-seen last-seen successes failures origin`.
    pub(super) fn line(&self) -> String {
        format!(
            "{} {} {} {} {} {} {}\n",
            self.info,
            self.seen_at,
            self.first_seen,
            self.last_seen,
            self.successes,
            self.failures,
            self.origin.word()
        )
    }

    pub(super) fn of_line(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (id, host, port) = (words.next()?, words.next()?, words.next()?);
        let entry = Self {
            info: format!("{id} {host} {port}").parse().ok()?,
            seen_at: words.next()?.parse().ok()?,
            first_seen: number(words.next()?)?,
            last_seen: number(words.next()?)?,
            successes: number(words.next()?)?.try_into().ok()?,
            failures: number(words.next()?)?.try_into().ok()?,
            origin: Origin::of_word(words.next()?)?,
        };
        (words.next().is_none() && entry.first_seen <= entry.last_seen).then_some(entry)
    }
}

/// Parses decimal digits only.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
