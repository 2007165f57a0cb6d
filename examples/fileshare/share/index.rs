//! Which files there are, and what is known of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    digest::{Digest, Manifest},
    model::FileRow,
    name::FileName,
    share::{Known, folder::Stamp},
};

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
pub(super) struct Index {
    files: BTreeMap<FileName, Entry>,
    digests: HashMap<Digest, FileName>,
    pending: BTreeSet<FileName>,
    urgent: VecDeque<FileName>,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Takes what was found now for what there is; of two files with one name the first. Whether
    /// anything changed.
    pub(super) fn replace(&mut self, found: Vec<Found>) -> bool {
        let mut old = std::mem::take(&mut self.files);
        let mut changed = false;
        self.pending.clear();
        for found in found {
            if self.files.contains_key(&found.name) {
                continue;
            }
            let same = old.remove(&found.name).filter(|entry| entry.found.stamp == found.stamp);
            changed |= same.is_none();
            let manifest = same.and_then(|entry| entry.manifest);
            self.put(found, manifest);
        }
        changed |= !old.is_empty();
        // Anew: another name may have the digest of one that went.
        let of = |(name, entry): (&FileName, &Entry)| {
            entry.manifest.as_ref().map(|manifest| (manifest.digest(), name.clone()))
        };
        self.digests = self.files.iter().filter_map(of).collect();
        changed
    }

    fn put(&mut self, found: Found, manifest: Option<Arc<Manifest>>) {
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

    /// One more file, or a changed one.
    pub(super) fn insert(&mut self, found: Found, manifest: Option<Arc<Manifest>>) {
        self.put(found, manifest);
    }

    pub(super) fn rows(&self, me: &str) -> Vec<FileRow> {
        self.files.values().map(|entry| entry.row(me)).collect()
    }

    pub(super) fn row(&self, name: &FileName, me: &str) -> Option<FileRow> {
        self.files.get(name).map(|entry| entry.row(me))
    }

    pub(super) fn folder_of(&self, name: &FileName) -> Option<usize> {
        self.files.get(name).map(|entry| entry.found.folder)
    }

    pub(super) fn matching(&self, key: &str, most: usize) -> Vec<FileName> {
        let key = key.to_lowercase();
        let matching = self.files.iter().filter(|(_, entry)| entry.lower.contains(&key));
        matching.take(most).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn known(&mut self, name: &FileName) -> Option<Known> {
        let entry = self.files.get(name)?;
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

    /// The file is not what it was: its digest is to be computed again after the next scan.
    pub(super) fn forget_digest(&mut self, name: &FileName) {
        if let Some(entry) = self.files.get_mut(name) {
            if let Some(manifest) = entry.manifest.take() {
                self.digests.remove(&manifest.digest());
            }
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

    /// The result of digesting what was found, unless the file is another one by now.
    pub(super) fn set_manifest(&mut self, found: &Found, manifest: Manifest) {
        if let Some(entry) = self.files.get_mut(&found.name)
            && entry.found.stamp == found.stamp
            && entry.found.folder == found.folder
        {
            self.digests.insert(manifest.digest(), found.name.clone());
            entry.manifest = Some(Arc::new(manifest));
        }
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
        }
    }
}
