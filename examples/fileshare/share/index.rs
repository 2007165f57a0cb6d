//! The index of the shared files.

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

/// The state of one name.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Digested(Arc<Manifest>),
    /// Its digest is being computed.
    NotYet,
    /// The file exists, but is not offered.
    Not(Unfit),
}

/// The maximum number of files that are digested first, because a peer waits for them.
const MAX_URGENT: usize = 64;

/// A file that a scan found.
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

/// The files by name and by digest, and the files that are not digested yet.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: BTreeMap<FileName, Entry>,
    digests: HashMap<Digest, FileName>,
    pending: BTreeSet<FileName>,
    urgent: VecDeque<FileName>,
    /// Files with a safe name that are not offered. If there is a stamp, reading failed and is
    /// tried again only after the stamp changes.
    unfit: BTreeMap<FileName, (Option<Stamp>, Unfit)>,
    left_out: Tally,
    /// The rows of `left_out` that were reported last.
    reported: Vec<LeftOut>,
}

impl Index {
    /// The number of shared files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Replaces the files with those of a new scan; of two files with one name the first counts.
    /// Returns whether the index changed.
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
                // It has grown: the old version is offered until the new digest is known.
                Some(Entry { found: then, manifest: Some(manifest), .. })
                    if then.folder == found.folder && found.stamp.may_hold(&then.stamp) =>
                {
                    self.put(then, Some(manifest));
                    self.pending.insert(found.name);
                }
                _ => {
                    // Its manifest may be found below, if it was renamed.
                    self.put(found.clone(), None);
                    fresh.push(found);
                }
            }
        }
        let changed = !fresh.is_empty() || !old.is_empty();
        // A renamed file keeps its manifest.
        let gone: HashMap<_, _> = old
            .into_values()
            .filter_map(|entry| Some((entry.found.stamp, entry.manifest?)))
            .collect();
        for found in fresh {
            if let Some(manifest) = gone.get(&found.stamp) {
                self.put(found, Some(Arc::clone(manifest)));
            }
        }
        // Rebuilt, because another name may have the digest of a removed file.
        let of = |(name, entry): (&FileName, &Entry)| {
            entry.manifest.as_ref().map(|manifest| (manifest.digest(), name.clone()))
        };
        self.digests = self.files.iter().filter_map(of).collect();
        changed || self.left_out.rows() != self.reported
    }

    /// Records that reading failed, so that the file is no longer offered.
    pub(super) fn put_unfit(&mut self, found: &Found, why: Unfit) {
        if let Some(entry) = self.files.remove(&found.name) {
            entry.manifest.map(|manifest| self.digests.remove(&manifest.digest()));
        }
        self.left_out.add(why, found.name.as_str());
        self.unfit.insert(found.name.clone(), (Some(found.stamp), why));
    }

    /// The files that are not offered, by reason.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.rows()
    }

    /// Like [`left_out`](Self::left_out), but only once after each change.
    pub(crate) fn left_out_news(&mut self) -> Option<Vec<LeftOut>> {
        let rows = self.left_out.rows();
        (rows != self.reported).then(|| {
            self.reported.clone_from(&rows);
            rows
        })
    }

    /// Adds or replaces a file.
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

    /// The first `most` files whose names contain `key`, ignoring case, and the number of all of
    /// them.
    pub(crate) fn matching(&self, key: &str, most: usize) -> (Vec<FileName>, usize) {
        let key = key.to_lowercase();
        let matching = || self.files.iter().filter(|(_, entry)| entry.lower.contains(&key));
        let first: Vec<_> = matching().take(most).map(|(name, _)| name.clone()).collect();
        let all = if first.len() < most { first.len() } else { matching().count() };
        (first, all)
    }

    /// The size and digest of a file. A file without a digest is moved to the front of the queue.
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

    /// Removes a digest that is no longer correct. It is computed again after the next scan.
    pub(super) fn forget_digest(&mut self, name: &FileName, digest: &Digest) {
        if let Some(entry) = self.files.get_mut(name)
            && entry.manifest.take_if(|manifest| manifest.digest() == *digest).is_some()
        {
            self.digests.remove(digest);
            // No file has this stamp, so the next scan detects a change.
            entry.found.stamp = Stamp::default();
        }
    }

    /// The next file to digest: one that a peer waits for, otherwise the first.
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

    /// Records the manifest of a file, with its stamp when it was digested.
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

    /// The manifest of a file with this stamp.
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
