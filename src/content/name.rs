//! File names from other nodes: names, never paths.

use std::{fmt, str::FromStr, sync::Arc};

/// The maximum length of a name, in bytes: the limit of common file systems.
const MAX_NAME_LEN: usize = 255;

/// Names of devices in Windows, with any extension.
const DEVICES: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8",
    "COM9", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

/// A file name that is safe to use in a folder, even if it is from an untrusted peer. It does not
/// lead out of the folder, the file is not hidden, and it does not look like another name.
///
/// ```
/// use actix_peer::content::FileName;
///
/// let name: FileName = "Die Schöne.ogg".parse()?;
/// assert_eq!(std::path::Path::new("/share").join(&name).parent(), Some("/share".as_ref()));
/// for wrong in ["../etc/passwd", "/etc/passwd", ".bashrc", "exe\u{202e}txt", "nul", "a "] {
///     assert!(wrong.parse::<FileName>().is_err(), "{wrong:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

/// The text is not a safe name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// There is no text.
    #[error("the name of a file must not be empty")]
    Empty,
    /// The name is too long. Its length in bytes.
    #[error("the name of a file has at most {MAX_NAME_LEN} bytes, not {0}")]
    TooLong(usize),
    /// It is not UTF-8.
    #[error("the name of a file must be UTF-8")]
    NotText,
    /// It has a separator of paths.
    #[error("the name is a path: the name of a file must not contain / or \\")]
    Path,
    /// It has a character that [deceives], or a joiner that joins nothing.
    #[error("the name of a file must not contain the invisible character {0:?}")]
    Character(char),
    /// It would be hidden.
    #[error("the name of a file must not begin with a dot")]
    Hidden,
    /// The ends would be cut off somewhere.
    #[error("the name of a file must not begin or end with white space, or end with a dot")]
    Edges,
    /// Windows gives it to a device.
    #[error("the name is reserved for a device on Windows")]
    Device,
}

/// The characters that separate parts of a path.
const SEPARATORS: [char; 2] = ['/', '\\'];

/// Whether a character is invisible, breaks the line, or changes the direction of the text. Text
/// from an untrusted peer that contains one must not be shown. The two joiners are not among them,
/// because Persian, Hindi and some emoji need them.
#[must_use]
pub fn deceives(c: char) -> bool {
    let marks = matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    marks || c.is_control()
}

const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// The first joiner next to characters that it cannot join, for example ASCII letters. It would make
/// one name look like another.
fn idle_joiner(text: &str) -> Option<char> {
    let joins = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !is_joiner(c));
    text.char_indices().find_map(|(at, c)| {
        let before = || text.get(..at).and_then(|text| text.chars().next_back());
        let after = || text.get(at + c.len_utf8()..).and_then(|text| text.chars().next());
        (is_joiner(c) && !joins(before()) && !joins(after())).then_some(c)
    })
}

impl FileName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the bytes of a message.
    ///
    /// # Errors
    /// If they are not UTF-8, or not a safe name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
        std::str::from_utf8(bytes).map_err(|_| InvalidName::NotText)?.parse()
    }
}

impl FromStr for FileName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > MAX_NAME_LEN {
            return Err(InvalidName::TooLong(text.len()));
        }
        let separator = text.chars().find(|c| SEPARATORS.contains(c));
        let unseen = || text.chars().find(|c| deceives(*c)).or_else(|| idle_joiner(text));
        if separator.is_some() {
            return Err(InvalidName::Path);
        }
        if let Some(c) = unseen() {
            return Err(InvalidName::Character(c));
        }
        if text.starts_with('.') {
            return Err(InvalidName::Hidden);
        }
        // The wire tells names and owners apart by white space, and some systems cut these off.
        if text.trim() != text || text.ends_with('.') {
            return Err(InvalidName::Edges);
        }
        let stem = text.split('.').next().unwrap_or_default().trim_end();
        if DEVICES.iter().any(|device| device.eq_ignore_ascii_case(stem)) {
            return Err(InvalidName::Device);
        }
        Ok(Self(text.into()))
    }
}

impl AsRef<std::path::Path> for FileName {
    fn as_ref(&self) -> &std::path::Path {
        self.as_str().as_ref()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        for name in
            ["a", "report 2024.pdf", "Die Schöne.ogg", "a..b", "a:b", "COM0", "console", "漢字"]
        {
            assert_eq!(name.parse::<FileName>().unwrap().as_str(), name);
        }
        assert!("x".repeat(255).parse::<FileName>().is_ok());
    }

    #[test]
    fn names_with_joiners_that_a_language_needs_are_taken() {
        for name in [
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}.txt",
            "PDF\u{200c}\u{647}\u{627}.zip",
            "\u{915}\u{94d}\u{200d}\u{937}.txt",
            "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}.png",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}.gif",
        ] {
            assert_eq!(name.parse::<FileName>().unwrap().as_str(), name, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_hidden_or_deceives_is_refused() {
        for (name, why) in [
            ("", InvalidName::Empty),
            ("..", InvalidName::Hidden),
            (".", InvalidName::Hidden),
            (".bashrc", InvalidName::Hidden),
            ("/etc/passwd", InvalidName::Path),
            ("../../etc/passwd", InvalidName::Path),
            ("a/../b", InvalidName::Path),
            ("C:\\boot.ini", InvalidName::Path),
            ("a\0b", InvalidName::Character('\0')),
            ("a\nb", InvalidName::Character('\n')),
            ("a\u{7f}", InvalidName::Character('\u{7f}')),
            ("a\u{85}", InvalidName::Character('\u{85}')),
            ("exe\u{202e}txt", InvalidName::Character('\u{202e}')),
            ("exe\u{2067}txt", InvalidName::Character('\u{2067}')),
            ("a\u{61c}b", InvalidName::Character('\u{61c}')),
            ("a\u{200d}.txt", InvalidName::Character('\u{200d}')),
            ("a\u{200c}\u{200d}b", InvalidName::Character('\u{200c}')),
            ("a ", InvalidName::Edges),
            (" a", InvalidName::Edges),
            ("a.", InvalidName::Edges),
            ("nul", InvalidName::Device),
            ("Com1.txt", InvalidName::Device),
            ("aux .c", InvalidName::Device),
        ] {
            assert_eq!(name.parse::<FileName>(), Err(why), "{name:?}");
        }
        assert_eq!("x".repeat(256).parse::<FileName>(), Err(InvalidName::TooLong(256)));
        assert_eq!(FileName::from_bytes(b"\xff"), Err(InvalidName::NotText));
    }
}
