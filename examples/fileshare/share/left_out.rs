//! Files in a shared folder that are not offered, and the reasons.

use std::collections::BTreeMap;

use actix_peer::content::MAX_SIZE;

use crate::{model::LeftOut, name::InvalidName, share::folder::MAX_FILES};

/// The maximum number of different reasons. Each invalid character of a name is one.
const MAX_REASONS: usize = 32;

/// Why an entry of a shared folder is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("only regular files are shared: no folders, links or devices")]
    NotAFile,
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is longer than {} GiB", MAX_SIZE >> 30)]
    TooLong,
    #[error("the other shared folder has a file of this name")]
    SameName,
    #[error("a folder has more than {MAX_FILES} files")]
    TooMany,
}

/// The number of files for each reason, with the first name.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<String, (usize, String)>);

impl Tally {
    pub(super) fn add(&mut self, why: Unfit, name: &str) {
        let why = why.to_string();
        if self.0.len() < MAX_REASONS || self.0.contains_key(&why) {
            self.0.entry(why).or_insert_with(|| (0, crate::name::shown(name))).0 += 1;
        }
    }

    pub(super) fn rows(&self) -> Vec<LeftOut> {
        let row = |(why, (count, example)): (&String, &(usize, String))| LeftOut {
            why: why.clone(),
            count: *count,
            example: example.clone(),
        };
        self.0.iter().map(row).collect()
    }
}
