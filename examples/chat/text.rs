//! Texts of other people, made safe to show: no control characters, no invisible ones, and bounded
//! lengths.

use std::{fmt, str::FromStr};

use actix_peer::{PeerId, content::deceives};

/// The maximum number of characters of a nick.
pub(crate) const MAX_NICK: usize = 24;

/// The maximum number of characters of the name of a room.
pub(crate) const MAX_ROOM: usize = 32;

/// The maximum number of characters of one line.
pub(crate) const MAX_TEXT: usize = 2_000;

/// The maximum number of characters of another text that is shown, such as an error.
pub(crate) const MAX_SHOWN: usize = 200;

/// The maximum number of marks on one letter.
const MAX_MARKS: usize = 2;

/// The replacement of a character that must not be shown.
const REPLACED: char = '\u{fffd}';

/// The digits of the short form of a key: letters and digits that do not look alike.
const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Whether a character has no width of its own and is drawn over the one before.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Whether a character must not be shown.
fn is_unsafe(c: char) -> bool {
    let unseen = matches!(c, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    unseen || deceives(c)
}

/// The text with unsafe characters replaced, and at most `most` characters of it. A tab is a space.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut marks = 0;
    let safe = text.chars().map(|c| match c {
        '\t' => ' ',
        c if is_unsafe(c) => REPLACED,
        c => c,
    });
    let safe = safe.filter(|c| {
        marks = if is_mark(*c) { marks + 1 } else { 0 };
        marks <= MAX_MARKS
    });
    let mut safe = safe.fuse();
    let mut cleaned: String = safe.by_ref().take(most).collect();
    if safe.next().is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// The short form of an id, which is a key: the first 20 bits of the key in 4 characters. Longer
/// forms tell keys apart that were made to look alike.
pub(crate) fn short_key(id: &PeerId) -> String {
    let digits: String = id.as_str().chars().take(5).collect();
    let Ok(bits) = u32::from_str_radix(&digits, 16) else { return "????".to_owned() };
    let digit = |n: u32| DIGITS.get(((bits >> (15 - 5 * n)) & 31) as usize).copied();
    (0..4).filter_map(digit).map(char::from).collect()
}

/// The first half of an id, for comparisons by people.
pub(crate) fn long_key(id: &PeerId) -> String {
    clean(id.as_str().get(..32).unwrap_or(id.as_str()), 32)
}

/// Why a nick or the name of a room is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use 1 to {most} letters, digits, '-', '_' or '.'")]
pub(crate) struct InvalidName {
    most: usize,
}

const fn is_name(c: char) -> bool {
    matches!(c, '-' | '_' | '.')
}

fn is_valid(text: &str, most: usize) -> bool {
    let count = text.chars().count();
    count > 0 && count <= most && text.chars().all(|c| c.is_alphanumeric() || is_name(c))
}

/// The name that a person has chosen: a claim, which others may make as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nick(String);

impl Nick {
    /// A nick of another person. Other characters than those of a nick are replaced.
    pub(crate) fn claimed(text: &str) -> Self {
        let fits = |c: char| if c.is_alphanumeric() || is_name(c) { c } else { '?' };
        let nick: String = text.chars().take(MAX_NICK).map(fits).collect();
        if nick.is_empty() { Self("?".to_owned()) } else { Self(nick) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether people would take one for the other.
    pub(crate) fn is_like(&self, other: &str) -> bool {
        self.0.to_lowercase() == other.to_lowercase()
    }

    /// The nick with the short form of the key, such as `ada~k3f9`.
    pub(crate) fn label(&self, id: &PeerId) -> String {
        format!("{}~{}", self.0, short_key(id))
    }
}

impl FromStr for Nick {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let valid = is_valid(text, MAX_NICK);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName { most: MAX_NICK }) }
    }
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a room, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RoomName(String);

impl FromStr for RoomName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let text = text.strip_prefix('#').unwrap_or(text);
        let lower = text.to_lowercase();
        // Topics have names of at most 64 bytes.
        let fits = is_valid(&lower, MAX_ROOM) && lower.len() <= MAX_ROOM;
        if fits { Ok(Self(lower)) } else { Err(InvalidName { most: MAX_ROOM }) }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number with its noun, in the plural if needed.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) >> 10;
    let mut unit = "KiB";
    for larger in UNITS.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths >>= 10;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_replaced() {
        let evil = "a\u{1b}[31mred\u{7}\r\n\u{202e}x\u{200b}\u{ad}\u{9b}2J\tz";
        assert_eq!(
            clean(evil, 99),
            "a\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}\u{fffd}x\u{fffd}\u{fffd}\u{fffd}2J z"
        );
        assert_eq!(clean("häschen 🐇 日本", 99), "häschen 🐇 日本");
    }

    #[test]
    fn lengths_are_bounded_and_marks_do_not_pile_up() {
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
        let piled = format!("e{}x", "\u{301}".repeat(50));
        assert_eq!(clean(&piled, 99), "e\u{301}\u{301}x");
    }

    #[test]
    fn a_key_has_a_short_form() {
        let id: PeerId = "00443f".repeat(10).parse().unwrap();
        assert_eq!(short_key(&id), "abcd");
        assert_eq!("ada".parse::<Nick>().unwrap().label(&id), "ada~abcd");
        assert_eq!(short_key(&"not-hex".parse().unwrap()), "????");
    }

    #[test]
    fn nicks_and_rooms_have_few_characters() {
        for bad in ["", "a b", "a~b", "a/b", "\u{1b}", &"x".repeat(MAX_NICK + 1)] {
            assert!(bad.parse::<Nick>().is_err(), "{bad:?}");
        }
        assert_eq!(Nick::claimed("a b\u{1b}~").as_str(), "a?b??");
        assert_eq!(Nick::claimed("").as_str(), "?");
        assert_eq!(Nick::claimed(&"x".repeat(99)).as_str().len(), MAX_NICK);
        assert!("Ada".parse::<Nick>().unwrap().is_like("ada"));
        assert_eq!("#Lobby".parse::<RoomName>().unwrap().to_string(), "lobby");
        assert!("a room".parse::<RoomName>().is_err());
    }

    #[test]
    fn sizes_have_units() {
        let shown = [0, 1_023, 1_024, 1_536, 5 << 20, 3 << 30].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
    }
}
