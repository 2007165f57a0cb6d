//! The known files of other nodes. Pure values.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use actix_peer::{
    content::{Digest, Layout},
    overlay::Address,
};

use crate::{
    model::FileRow,
    name::{AnyName, FileName, InvalidName},
};

/// The maximum number of names with owners; the oldest are removed.
const MAX_ENTRIES: usize = 16_384;

/// The maximum number of invalid names, which are only shown; the oldest are removed.
const MAX_UNFIT: usize = 256;

/// How long the files of an owner that does not answer are kept, because it may be asleep.
const KEEP_LOST: Duration = Duration::from_secs(3_600);

/// A file of one owner, with its size and digest if they are known.
#[derive(Debug)]
struct Offer {
    number: u64,
    what: Option<(Layout, Digest)>,
}

/// The files of others, by name.
#[derive(Debug, Default)]
pub(crate) struct RemoteFiles {
    offers: BTreeMap<(FileName, Address), Offer>,
    last: u64,
    unfit: VecDeque<(String, InvalidName, Address)>,
    /// Owners that do not answer, and since when.
    lost: VecDeque<(Instant, Address)>,
}

impl RemoteFiles {
    /// Adds an owner of a name. Returns whether it is new.
    pub(crate) fn add(&mut self, name: &FileName, owner: &Address) -> bool {
        let key = (name.clone(), owner.clone());
        if self.offers.contains_key(&key) {
            return false;
        }
        if self.offers.len() >= MAX_ENTRIES {
            let oldest = self.offers.iter().min_by_key(|(_, offer)| offer.number);
            oldest.map(|(key, _)| key.clone()).map(|key| self.offers.remove(&key));
        }
        self.last += 1;
        self.offers.insert(key, Offer { number: self.last, what: None });
        true
    }

    /// Like [`add`](Self::add), also for invalid names.
    pub(crate) fn add_any(&mut self, name: &AnyName, owner: &Address) -> bool {
        let (text, why) = match name {
            AnyName::Fit(name) => return self.add(name, owner),
            AnyName::Unfit { text, why } => (text, why),
        };
        if self.unfit.iter().any(|(name, _, of)| (name, of) == (text, owner)) {
            return false;
        }
        if self.unfit.len() >= MAX_UNFIT {
            self.unfit.pop_front();
        }
        self.unfit.push_back((text.clone(), *why, owner.clone()));
        true
    }

    /// Sets the size and digest of a file. Returns whether they changed.
    pub(crate) fn set(&mut self, name: &FileName, owner: &Address, what: (Layout, Digest)) -> bool {
        let offer = self.offers.get_mut(&(name.clone(), owner.clone()));
        offer.is_some_and(|offer| offer.what.replace(what) != Some(what))
    }

    /// Removes a file that the owner no longer has.
    pub(crate) fn remove(&mut self, name: &FileName, owner: &Address) {
        self.offers.remove(&(name.clone(), owner.clone()));
    }

    /// Removes all files of an owner. Returns whether there were any.
    pub(crate) fn forget_owner(&mut self, owner: &Address) -> bool {
        let before = self.offers.len() + self.unfit.len();
        self.offers.retain(|(_, of), _| of != owner);
        self.unfit.retain(|(_, _, of)| of != owner);
        self.found(owner);
        self.offers.len() + self.unfit.len() != before
    }

    /// Records that the owner does not answer. Its files are kept for a while.
    pub(crate) fn lose(&mut self, owner: &Address, now: Instant) {
        self.found(owner);
        if self.offers.keys().any(|(_, of)| of == owner) {
            self.lost.push_back((now, owner.clone()));
        }
    }

    /// Records that the owner answers.
    pub(crate) fn found(&mut self, owner: &Address) {
        self.lost.retain(|(_, lost)| lost != owner);
    }

    /// Removes the files of owners that have not answered for long. Returns whether there were any.
    pub(crate) fn forget_lost(&mut self, now: Instant) -> bool {
        let mut forgotten = false;
        while let Some((since, owner)) = self.lost.front().cloned()
            && now.saturating_duration_since(since) >= KEEP_LOST
        {
            forgotten |= self.forget_owner(&owner);
        }
        forgotten
    }

    /// The owners of files with this name.
    pub(crate) fn owners(&self, name: &FileName) -> Vec<Address> {
        let owners = self.offers.keys().filter(|(of, _)| of == name);
        owners.map(|(_, owner)| owner.clone()).collect()
    }

    /// The files whose size and digest are unknown.
    pub(crate) fn undigested(&self) -> Vec<(FileName, Address)> {
        let undigested = self.offers.iter().filter(|(_, offer)| offer.what.is_none());
        undigested.map(|(key, _)| key.clone()).collect()
    }

    /// Adds these files to the rows of the local ones. An owner of an identical file is added to
    /// its row; another file gets a row of its own. Sorted by name, local files first.
    pub(crate) fn merge_into(&self, rows: &mut Vec<FileRow>, id_of: impl Fn(&Address) -> String) {
        let local = rows.len();
        let row = |name: &str, owner: &Address| FileRow {
            name: name.to_owned(),
            owners: vec![id_of(owner)],
            ..FileRow::default()
        };
        for ((name, owner), Offer { what, .. }) in &self.offers {
            let digest = what.map(|(_, digest)| digest.to_string());
            let at = rows.get(..local).unwrap_or_default();
            let here = at.binary_search_by(|row| row.name.as_str().cmp(name.as_str())).ok();
            let here = here.filter(|at| {
                rows.get(*at).is_some_and(|row| row.digest == digest && row.digest.is_some())
            });
            let there = || {
                let new = rows.iter().enumerate().skip(local).rev();
                let mut new = new.take_while(|(_, row)| row.name == name.as_str());
                new.find(|(_, row)| row.digest == digest).map(|(at, _)| at)
            };
            match here.or_else(there).and_then(|at| rows.get_mut(at)) {
                Some(row) => row.owners.push(id_of(owner)),
                None => {
                    let size = what.map(|(layout, _)| layout.size());
                    rows.push(FileRow { size, digest, ..row(name.as_str(), owner) });
                }
            }
        }
        for (text, why, owner) in &self.unfit {
            match rows.iter_mut().find(|row| row.why_not.is_some() && row.name == *text) {
                Some(row) => row.owners.push(id_of(owner)),
                None => rows.push(FileRow { why_not: Some(why.to_string()), ..row(text, owner) }),
            }
        }
        // The sort is stable: a local row stays before a remote one of the same name.
        rows.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(port: u16) -> Address {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    fn what(text: &str) -> (Layout, Digest) {
        (Layout::of(text.len() as u64).unwrap(), Digest::of(text.as_bytes()))
    }

    fn local(name: &str, text: &str) -> FileRow {
        let (layout, digest) = what(text);
        FileRow {
            name: name.into(),
            owners: vec!["me".into()],
            local: true,
            size: Some(layout.size()),
            digest: Some(digest.to_string()),
            ..FileRow::default()
        }
    }

    #[test]
    fn the_files_of_an_owner_that_does_not_answer_are_kept_for_a_while() {
        let mut remote = RemoteFiles::default();
        let (begin, name) = (tokio::time::Instant::now().into_std(), "a".parse().unwrap());
        assert!(remote.add(&name, &owner(1)) && remote.add(&name, &owner(2)));
        remote.lose(&owner(1), begin);
        remote.lose(&owner(2), begin);
        remote.found(&owner(2));
        assert!(!remote.forget_lost(begin + KEEP_LOST / 2));
        assert!(remote.forget_lost(begin + KEEP_LOST));
        assert_eq!(remote.owners(&name), [owner(2)]);
    }

    #[test]
    fn a_name_that_is_a_path_is_shown_with_the_reason_and_never_offered() {
        let mut remote = RemoteFiles::default();
        for n in 0..MAX_UNFIT + 5 {
            let name = AnyName::new(&format!("dir/f{n}")).unwrap();
            assert!(remote.add_any(&name, &owner(1)) && !remote.add_any(&name, &owner(1)));
        }
        let mut rows = Vec::new();
        remote.merge_into(&mut rows, ToString::to_string);
        assert_eq!(rows.len(), MAX_UNFIT);
        assert!(rows.iter().all(|row| row.why_not.as_ref().unwrap().contains("path")));
        assert!(remote.forget_owner(&owner(1)));
    }

    #[test]
    fn owners_of_the_same_bytes_share_a_row_and_others_have_their_own() {
        let mut remote = RemoteFiles::default();
        let name: FileName = "b".parse().unwrap();
        for (port, text) in [(1, Some("one")), (2, Some("two")), (3, Some("two")), (4, None)] {
            assert!(remote.add(&name, &owner(port)));
            if let Some(text) = text {
                assert!(remote.set(&name, &owner(port), what(text)));
            }
        }
        assert!(!remote.add(&name, &owner(1)));
        let mut rows = vec![local("a", "x"), local("b", "one"), local("c", "x")];
        remote.merge_into(&mut rows, |address| address.port().to_string());
        let shown: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.local, row.owners.join(" "))).collect();
        assert_eq!(
            shown,
            [
                ("a", true, "me".to_owned()),
                ("b", true, "me 1".to_owned()),
                ("b", false, "2 3".to_owned()),
                ("b", false, "4".to_owned()),
                ("c", true, "me".to_owned()),
            ]
        );
        assert_eq!(remote.undigested(), [(name.clone(), owner(4))]);
        assert!(remote.forget_owner(&owner(2)) && !remote.forget_owner(&owner(2)));
        remote.remove(&name, &owner(4));
        assert_eq!(remote.owners(&name).len(), 2);
    }

    #[test]
    fn the_list_of_remote_files_is_bounded() {
        let mut remote = RemoteFiles::default();
        for n in 0..MAX_ENTRIES + 100 {
            remote.add(&format!("f{n}").parse().unwrap(), &owner(1));
        }
        assert_eq!(remote.offers.len(), MAX_ENTRIES);
        assert!(remote.owners(&"f0".parse().unwrap()).is_empty());
    }
}
