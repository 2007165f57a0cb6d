//! Names of files, valid and invalid ones.

use std::fmt;

use actix_peer::content::deceives;
pub(crate) use actix_peer::content::{FileName, InvalidName};

/// The maximum number of characters of a remote text that are shown.
const MAX_SHOWN: usize = 120;

/// An invalid name with unsafe characters replaced.
pub(crate) fn shown(text: &str) -> String {
    let safe = |c| if deceives(c) { '\u{fffd}' } else { c };
    text.chars().map(safe).take(MAX_SHOWN).collect()
}

/// A name that another node sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnyName {
    Fit(FileName),
    /// The text to show, and why it is invalid.
    Unfit {
        text: String,
        why: InvalidName,
    },
}

impl AnyName {
    /// Returns `None` for an empty text.
    pub(crate) fn new(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(name) => Some(Self::Fit(name)),
            Err(InvalidName::Empty) => None,
            Err(why) => Some(Self::Unfit { text: shown(text), why }),
        }
    }
}

impl fmt::Display for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fit(name) => name.fmt(f),
            Self::Unfit { text, .. } => f.pad(text),
        }
    }
}
