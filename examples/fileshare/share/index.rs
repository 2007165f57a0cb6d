//! Which files there are, and what is known of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use actix_peer::content::{Digest, Manifest};

use crate::{
    model::{FileRow, LeftOut},
    name::FileName,
    share::{
        folder::Stamp,
        left_out::{Tally, Unfit},
    },
};

/// What is known about one name.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Digested(Arc<Manifest>),
    /// Its digest is being computed.
    NotYet,
    /// It is there, and not offered.
    Not(Unfit),
}

/// Files that are waited for, first.
const MAX_URGENT: usize = 64;

/// One file as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: FileName,
    pub(super) folder: usize,
    pub(super) stamp: Stamp,
}

#[derive(Debug)]
struct Entry {
    found: Found,
    lower: String,
    manifest: Option<Arc<Manifest>>,
}

/// The files by name and by digest, and which are still to be digested.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: BTreeMap<FileName, Entry>,
    digests: HashMap<Digest, FileName>,
    pending: BTreeSet<FileName>,
    urgent: VecDeque<FileName>,
    /// What is there under a safe name and not offered. A stamp says that reading it has failed,
    /// and is not tried again until it changes.
    unfit: BTreeMap<FileName, (Option<Stamp>, Unfit)>,
    left_out: Tally,
    /// What was said last of what is left out.
    said: Vec<LeftOut>,
}

impl Index {
    /// How many files are shared.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Takes what was found now for what there is; of two files with one name the first. Whether
    /// anything changed.
    pub(super) fn replace(
        &mut self,
        found: Vec<Found>,
        unfit: Vec<(FileName, Unfit)>,
        left_out: Tally,
    ) -> bool {
        let mut old = std::mem::take(&mut self.files);
        let failed = std::mem::take(&mut self.unfit);
        self.unfit.extend(unfit.into_iter().map(|(name, why)| (name, (None, why))));
        self.left_out = left_out;
        self.pending.clear();
        let mut fresh = Vec::new();
        for found in found {
            if self.files.contains_key(&found.name) {
                self.left_out.add(Unfit::SameName, found.name.as_str());
                continue;
            }
            if let Some((Some(stamp), why)) = failed.get(&found.name)
                && *stamp == found.stamp
            {
                self.put_unfit(&found, *why);
                continue;
            }
            match old.remove(&found.name) {
                Some(Entry { found: then, manifest, .. }) if then.stamp == found.stamp => {
                    self.put(found, manifest);
                }
                // It has grown: it is offered as it was, until its digest is known.
                Some(Entry { found: then, manifest: Some(manifest), .. })
                    if then.folder == found.folder && found.stamp.may_hold(&then.stamp) =>
                {
                    self.put(then, Some(manifest));
                    self.pending.insert(found.name);
                }
                _ => {
                    // A name is taken now; what is known of its file may follow below.
                    self.put(found.clone(), None);
                    fresh.push(found);
                }
            }
        }
        let changed = !fresh.is_empty() || !old.is_empty();
        // A file that has another name now is the same file.
        let gone: HashMap<_, _> = old
            .into_values()
            .filter_map(|entry| Some((entry.found.stamp, entry.manifest?)))
            .collect();
        for found in fresh {
            if let Some(manifest) = gone.get(&found.stamp) {
                self.put(found, Some(Arc::clone(manifest)));
            }
        }
        // Anew: another name may have the digest of one that went.
        let of = |(name, entry): (&FileName, &Entry)| {
            entry.manifest.as_ref().map(|manifest| (manifest.digest(), name.clone()))
        };
        self.digests = self.files.iter().filter_map(of).collect();
        changed || self.left_out.rows() != self.said
    }

    /// Reading it has failed: it is not offered any more.
    pub(super) fn put_unfit(&mut self, found: &Found, why: Unfit) {
        if let Some(entry) = self.files.remove(&found.name) {
            entry.manifest.map(|manifest| self.digests.remove(&manifest.digest()));
        }
        self.left_out.add(why, found.name.as_str());
        self.unfit.insert(found.name.clone(), (Some(found.stamp), why));
    }

    /// What is in the folders and not offered.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.rows()
    }

    /// The same, once for each change.
    pub(crate) fn left_out_news(&mut self) -> Option<Vec<LeftOut>> {
        let rows = self.left_out.rows();
        (rows != self.said).then(|| {
            self.said.clone_from(&rows);
            rows
        })
    }

    /// One more file, or a changed one.
    pub(super) fn put(&mut self, found: Found, manifest: Option<Arc<Manifest>>) {
        let name = found.name.clone();
        match &manifest {
            Some(manifest) => {
                self.digests.insert(manifest.digest(), name.clone());
                self.pending.remove(&name);
            }
            None => drop(self.pending.insert(name.clone())),
        }
        let lower = name.as_str().to_lowercase();
        self.files.insert(name, Entry { found, lower, manifest });
    }

    /// The files as rows of this node, sorted by name.
    pub(crate) fn rows(&self, me: &str) -> Vec<FileRow> {
        self.files.values().map(|entry| entry.row(me)).collect()
    }

    /// The row of one file.
    pub(crate) fn row(&self, name: &FileName, me: &str) -> Option<FileRow> {
        self.files.get(name).map(|entry| entry.row(me))
    }

    pub(super) fn folder_of(&self, name: &FileName) -> Option<usize> {
        self.files.get(name).map(|entry| entry.found.folder)
    }

    /// The first `most` files whose names contain `key`, whatever the case, and how many there are.
    pub(crate) fn matching(&self, key: &str, most: usize) -> (Vec<FileName>, usize) {
        let key = key.to_lowercase();
        let matching = || self.files.iter().filter(|(_, entry)| entry.lower.contains(&key));
        let first: Vec<_> = matching().take(most).map(|(name, _)| name.clone()).collect();
        let all = if first.len() < most { first.len() } else { matching().count() };
        (first, all)
    }

    /// Size and digest of a file. One that is still to be digested is moved to the front.
    pub(crate) fn known(&mut self, name: &FileName) -> Option<Known> {
        let Some(entry) = self.files.get(name) else {
            return self.unfit.get(name).map(|(_, why)| Known::Not(*why));
        };
        Some(match &entry.manifest {
            Some(manifest) => Known::Digested(Arc::clone(manifest)),
            None => {
                if self.urgent.len() < MAX_URGENT && !self.urgent.contains(name) {
                    self.urgent.push_back(name.clone());
                }
                Known::NotYet
            }
        })
    }

    pub(super) fn by_digest(&self, digest: &Digest) -> Option<(Found, FileName, Arc<Manifest>)> {
        let name = self.digests.get(digest)?;
        let entry = self.files.get(name)?;
        let manifest = entry.manifest.as_ref().filter(|manifest| manifest.digest() == *digest)?;
        Some((entry.found.clone(), name.clone(), Arc::clone(manifest)))
    }

    /// The file is not what this digest says: it is to be computed again after the next scan.
    pub(super) fn forget_digest(&mut self, name: &FileName, digest: &Digest) {
        if let Some(entry) = self.files.get_mut(name)
            && entry.manifest.take_if(|manifest| manifest.digest() == *digest).is_some()
        {
            self.digests.remove(digest);
            // No file has this stamp, so the next scan finds a change.
            entry.found.stamp = Stamp::default();
        }
    }

    /// The next file to digest: one that is waited for, else the first.
    pub(super) fn next_pending(&mut self) -> Option<Found> {
        loop {
            let name = self.urgent.pop_front().or_else(|| self.pending.first().cloned())?;
            if self.pending.remove(&name)
                && let Some(entry) = self.files.get(&name)
            {
                return Some(entry.found.clone());
            }
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The result of digesting what was found, or what was there by then.
    pub(super) fn set_manifest(&mut self, found: &Found, stamp: Stamp, manifest: Manifest) {
        if let Some(entry) = self.files.get_mut(&found.name)
            && entry.found.folder == found.folder
        {
            if let Some(old) = entry.manifest.take() {
                self.digests.remove(&old.digest());
            }
            self.digests.insert(manifest.digest(), found.name.clone());
            entry.found.stamp = stamp;
            entry.manifest = Some(Arc::new(manifest));
        }
    }

    /// The check values of a file that is as this stamp says.
    pub(super) fn manifest_of(&self, name: &FileName, stamp: &Stamp) -> Option<Arc<Manifest>> {
        let entry = self.files.get(name).filter(|entry| entry.found.stamp == *stamp)?;
        entry.manifest.clone()
    }
}

impl Entry {
    fn row(&self, me: &str) -> FileRow {
        FileRow {
            name: self.found.name.to_string(),
            owners: vec![me.to_owned()],
            local: true,
            size: Some(self.found.stamp.len()),
            digest: self.manifest.as_ref().map(|manifest| manifest.digest().to_string()),
            ..FileRow::default()
        }
    }
}
