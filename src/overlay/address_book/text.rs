//! The book as text: a header with the version, how many lines follow and their checksum; one line
//! for each entry.

use crate::overlay::{
    AddressBook, BookEntry,
    address_book::{MOST, entry::number},
};

/// What the text of a book begins with; the version of the format is its end.
const MAGIC: &str = "actix-peer-address-book 1";

/// No line is longer: an id, two hosts, a port, four numbers and a word.
const MAX_LINE: usize = 704; // bytes

/// The text is no book: cut short, changed, or never one. Nothing of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamagedBook {
    /// It does not begin as a book of this version does.
    #[error("it does not begin as an address book does")]
    Header,
    /// It is longer than a book can be.
    #[error("it is longer than an address book can be")]
    TooLong,
    /// What follows is not what the header says: it was cut short, or changed.
    #[error("its checksum is another one")]
    Checksum,
    /// A line is no entry.
    #[error("line {line} is no entry")]
    Line {
        /// Which one; the header is the first.
        line: usize,
    },
}

/// 64-bit FNV-1a: it finds what a disk or an editor does to a file. Whoever can write the file can
/// write another book as well.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl AddressBook {
    /// The longest text that a book of any limit can be read from, in bytes.
    pub const MAX_TEXT: usize = MOST * MAX_LINE;

    /// The book as text, as [`load`](Self::load) reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let body: String = self.iter().map(BookEntry::line).collect();
        format!("{MAGIC} {} {:016x}\n{body}", self.len(), checksum(body.as_bytes()))
    }

    /// Adds the entries of a text, except those that are too old and those that there is no room for.
    /// Who is known already stays as it is. Returns how many entries were added.
    ///
    /// # Errors
    /// [`DamagedBook`]: the book is as it was before.
    pub fn load(&mut self, text: &str, now: u64) -> Result<usize, DamagedBook> {
        if text.len() > Self::MAX_TEXT {
            return Err(DamagedBook::TooLong);
        }
        let rest = text.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' '));
        let (header, body) =
            rest.and_then(|rest| rest.split_once('\n')).ok_or(DamagedBook::Header)?;
        let (count, sum) = header.split_once(' ').ok_or(DamagedBook::Header)?;
        let count = number(count).and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| *count <= MOST).ok_or(DamagedBook::Header)?;
        if format!("{:016x}", checksum(body.as_bytes())) != sum {
            return Err(DamagedBook::Checksum);
        }
        let mut entries = Vec::new();
        for (at, line) in body.split_terminator('\n').enumerate() {
            let entry = BookEntry::of_line(line).filter(|_| line.len() <= MAX_LINE && at < count);
            entries.push(entry.ok_or(DamagedBook::Line { line: at + 2 })?);
        }
        if entries.len() != count {
            return Err(DamagedBook::Checksum);
        }
        let mut loaded = Self { entries: indexmap::IndexMap::new(), ..self.clone() };
        // The oldest first: of too many they stay.
        entries.sort_by_key(|entry| entry.first_seen);
        for entry in entries {
            if !self.entries.contains_key(entry.info.id()) && loaded.get(entry.info.id()).is_none()
            {
                loaded.put(entry);
            }
        }
        loaded.forget_old(now);
        Ok(self.merge(loaded))
    }

    /// Adds the entries of another book. Who is known already stays as it is. Returns how many were added.
    pub(crate) fn merge(&mut self, other: Self) -> usize {
        let before = self.len();
        for (id, entry) in other.entries {
            if !self.entries.contains_key(&id) {
                self.put(entry);
            }
        }
        self.len().saturating_sub(before)
    }
}
