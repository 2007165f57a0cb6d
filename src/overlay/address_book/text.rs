//! The text form of the address book: a header with the version, the number of lines that follow
//! and their checksum, then one line for each entry.

use crate::overlay::{
    AddressBook, BookEntry,
    address_book::{MOST, entry::number},
};

/// The beginning of the text of a book, with the version of the format at its end.
const MAGIC: &str = "actix-peer-address-book 1";

/// The maximum length of a line: an id, two hosts, a port, four numbers and a word.
const MAX_LINE: usize = 704; // bytes

/// The text is not an address book: it was truncated or changed, or never was one. Nothing of it is
/// used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamagedBook {
    /// It does not begin with the header of this version.
    #[error("it does not begin with the header of an address book")]
    Header,
    /// It is longer than the maximum length of a book.
    #[error("it is longer than the maximum of an address book")]
    TooLong,
    /// The lines do not match the checksum in the header: the text was truncated or changed.
    #[error("its checksum does not match")]
    Checksum,
    /// A line is not a valid entry.
    #[error("line {line} is not a valid entry")]
    Line {
        /// The number of the line; the header is line 1.
        line: usize,
    },
}

/// 64-bit FNV-1a. It detects damage by a disk or an editor. It does not protect against a party
/// that can write the file, which can write another book as well.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl AddressBook {
    /// The maximum length of a text that is loaded into a book of any limit, in bytes.
    pub const MAX_TEXT: usize = MOST * MAX_LINE;

    /// Writes the book as text, in the format that [`load`](Self::load) reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let body: String = self.iter().map(BookEntry::line).collect();
        format!("{MAGIC} {} {:016x}\n{body}", self.len(), checksum(body.as_bytes()))
    }

    /// Adds the entries of a text, except those that are too old and those for which there is no
    /// room. Known peers stay as they are. Returns how many entries were added.
    ///
    /// # Errors
    /// [`DamagedBook`]: the book is unchanged.
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
        // The oldest are first, so that they stay if there are too many.
        entries.sort_by_key(|entry| entry.first_seen);
        for entry in entries {
            if !self.entries.contains_key(entry.info.id()) && loaded.get(entry.info.id()).is_none()
            {
                loaded.insert(entry);
            }
        }
        loaded.forget_old(now);
        Ok(self.merge(loaded))
    }

    /// Adds the entries of another book. Known peers stay as they are. Returns how many were added.
    pub(crate) fn merge(&mut self, other: Self) -> usize {
        let before = self.len();
        for (id, entry) in other.entries {
            if !self.entries.contains_key(&id) {
                self.insert(entry);
            }
        }
        self.len().saturating_sub(before)
    }
}
