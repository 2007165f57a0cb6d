//! Names of files as people see them, also those that are none.

use std::fmt;

use actix_peer::content::deceives;
pub(crate) use actix_peer::content::{FileName, InvalidName};

/// Characters of a name or of other words of a stranger that are shown.
const MAX_SHOWN: usize = 120;

/// A name that is none, fit for a person to see.
pub(crate) fn shown(text: &str) -> String {
    let safe = |c| if deceives(c) { '\u{fffd}' } else { c };
    text.chars().map(safe).take(MAX_SHOWN).collect()
}

/// What somebody says is the name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnyName {
    Fit(FileName),
    /// Text to show, and why it is no name here.
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
