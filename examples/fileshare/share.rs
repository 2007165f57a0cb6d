//! The shared files: those in the shared folder, and downloads.

mod digesting;
mod folder;
mod index;
mod left_out;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_peer::{
    content::{Digest, Manifest},
    limits::ExpiringMap,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::{
    folder::Stamp,
    folder::{Folder, MAX_FILES},
    index::{Found, Index},
    left_out::Tally,
};
pub(crate) use self::{
    folder::{Opened, PART_PREFIX, temporary_in},
    index::Known,
    left_out::Unfit,
};
use crate::{name::FileName, state::now};

/// The bytes of one read of a whole file.
pub(crate) const PIECE: usize = 256 << 10;

/// The maximum number of files that are kept open while they are sent, so that a fetch gets one
/// version even if the name is replaced.
const MAX_OPEN: usize = 32;

/// How long a file stays open without a request.
const KEEP_OPEN: Duration = Duration::from_secs(60);

/// A file as it was when it was digested.
#[derive(Debug)]
struct Version {
    name: FileName,
    opened: Opened,
    /// Its stamp when it was digested.
    stamp: Stamp,
    manifest: Arc<Manifest>,
}

/// Why a file was not added to the share. The share is unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddFailure {
    #[error("the file {0} already exists")]
    Exists(FileName),
    #[error("cannot write {name}: {source}")]
    Write { name: FileName, source: io::Error },
}

/// Why a part cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartFailure {
    #[error("no file with this digest")]
    Unknown,
    #[error("no such part")]
    NoSuchPart,
    #[error("the file has changed or was removed")]
    Changed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The shared files. Methods that access the disk block: call them on a blocking thread.
#[derive(Debug)]
pub(crate) struct Share {
    /// The shared folder, then the downloads if that is another folder.
    folders: Vec<Folder>,
    pub(crate) index: Mutex<Index>,
    serving: Mutex<ExpiringMap<Digest, Arc<Version>>>,
    digesting: AtomicBool,
    stopping: AtomicBool,
    changes: watch::Sender<u64>,
}

impl Share {
    /// A share of two folders, which may be the same. Reads nothing yet.
    pub(crate) fn new(share: PathBuf, downloads: PathBuf) -> Self {
        let mut folders = vec![Folder::new(share)];
        if folders.iter().all(|folder| folder.path() != downloads) {
            folders.push(Folder::new(downloads));
        }
        Self {
            folders,
            index: Mutex::default(),
            serving: Mutex::new(ExpiringMap::new(MAX_OPEN)),
            digesting: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            changes: watch::Sender::new(0),
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Notifies of changes of files and digests.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The number of changes of files and digests.
    pub(crate) fn revision(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Stops computing digests soon.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Reads the folders again. Digests of unchanged files are kept.
    pub(crate) fn scan(&self) -> io::Result<()> {
        self.scan_at_most(MAX_FILES)
    }

    fn scan_at_most(&self, most: usize) -> io::Result<()> {
        self.serving.lock().remove_expired(now());
        let (mut found, mut unfit, mut left_out) = (Vec::new(), Vec::new(), Tally::default());
        for (number, folder) in self.folders.iter().enumerate() {
            let files = folder.list(most, &mut unfit, &mut left_out)?;
            let files = files.into_iter();
            found.extend(files.map(|(name, stamp)| Found { name, folder: number, stamp }));
        }
        if self.index.lock().replace(found, unfit, left_out) {
            self.changed();
        }
        Ok(())
    }

    /// Removes old temporary files in the folders.
    pub(crate) fn sweep(&self) {
        self.folders.iter().for_each(Folder::sweep);
    }

    /// The path of the file with this name.
    pub(crate) fn path(&self, name: &FileName) -> Option<PathBuf> {
        let folder = self.index.lock().folder_of(name)?;
        Some(self.folders.get(folder)?.path().join(name))
    }

    /// The manifest of a digest.
    pub(crate) fn manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        let served = self.serving.lock().get(digest, now()).map(|open| Arc::clone(&open.manifest));
        served.or_else(|| self.index.lock().by_digest(digest).map(|(_, _, manifest)| manifest))
    }

    /// Keeps the file with this digest open for a peer that is about to fetch it. Returns its
    /// manifest.
    pub(crate) fn hold(&self, digest: &Digest) -> Result<Arc<Manifest>, PartFailure> {
        self.version(digest).map(|version| Arc::clone(&version.manifest))
    }

    fn version(&self, digest: &Digest) -> Result<Arc<Version>, PartFailure> {
        let (mut serving, now) = (self.serving.lock(), now());
        if let Some(version) = serving.get(digest, now).cloned() {
            serving.insert(*digest, Arc::clone(&version), now + KEEP_OPEN, now);
            return Ok(version);
        }
        drop(serving);
        match self.open_version(digest) {
            // It may have been renamed.
            Err(PartFailure::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                self.scan()?;
                self.open_version(digest)
            }
            opened => opened,
        }
    }

    fn open_version(&self, digest: &Digest) -> Result<Arc<Version>, PartFailure> {
        let by_digest = self.index.lock().by_digest(digest);
        let (Found { folder, stamp, .. }, name, manifest) =
            by_digest.ok_or(PartFailure::Unknown)?;
        let folder = self.folders.get(folder).ok_or(PartFailure::Unknown)?;
        let opened = folder.open(&name)?;
        if !opened.stamp().may_hold(&stamp) {
            self.forget(&name, digest);
            return Err(PartFailure::Changed);
        }
        let version = Arc::new(Version { name, opened, stamp, manifest });
        let now = now();
        self.serving.lock().insert(*digest, Arc::clone(&version), now + KEEP_OPEN, now);
        Ok(version)
    }

    fn forget(&self, name: &FileName, digest: &Digest) {
        self.serving.lock().remove(digest);
        self.index.lock().forget_digest(name, digest);
        self.changed();
    }

    /// Opens a file by its name, in either folder. Returns it with its manifest, if that is known.
    pub(crate) fn open_known(
        &self,
        name: &FileName,
    ) -> io::Result<(Opened, Option<Arc<Manifest>>)> {
        let opened = self.open(name)?;
        let manifest = self.index.lock().manifest_of(name, &opened.stamp());
        Ok((opened, manifest))
    }

    /// Opens a file by its name, in either folder.
    pub(crate) fn open(&self, name: &FileName) -> io::Result<Opened> {
        let mut failure = io::ErrorKind::NotFound.into();
        for folder in &self.folders {
            match folder.open(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failure = error,
                opened => return opened,
            }
        }
        Err(failure)
    }

    /// Reads one part of the file with this digest into `buffer`, which is as long as the part. If
    /// the file has changed, a part is returned only if it still matches its check value.
    pub(crate) fn read_part(
        &self,
        digest: &Digest,
        index: u64,
        buffer: &mut [u8],
    ) -> Result<(), PartFailure> {
        let version = self.version(digest)?;
        let Version { name, opened, stamp, manifest } = &*version;
        let layout = manifest.layout();
        let len = layout.len(index);
        if len == 0 || len != buffer.len() {
            return Err(PartFailure::NoSuchPart);
        }
        let read = opened.read_exact_at(buffer, layout.offset(index));
        // Checked after reading: a file that is unchanged now was unchanged then.
        let is_same = opened.is_still(stamp);
        match read {
            Ok(()) if is_same || manifest.is_part(index, buffer) => Ok(()),
            Err(error) if is_same => Err(error.into()),
            _ => {
                self.forget(name, digest);
                Err(PartFailure::Changed)
            }
        }
    }

    /// Copies the file `from` into the shared folder as `name`. Never replaces another file.
    pub(crate) fn add(&self, name: &FileName, from: &Path) -> Result<(), AddFailure> {
        if self.index.lock().known(name).is_some() {
            return Err(AddFailure::Exists(name.clone()));
        }
        let folder = self.folders.first().ok_or_else(|| AddFailure::Exists(name.clone()))?;
        folder.copy_in(name, from)?;
        self.insert(folder, 0, name, None);
        Ok(())
    }

    /// Adds a file that was just put into the downloads.
    pub(crate) fn add_download(&self, name: &FileName, manifest: Option<Arc<Manifest>>) {
        let number = self.folders.len() - 1;
        if let Some(folder) = self.folders.get(number) {
            self.insert(folder, number, name, manifest);
        }
    }

    fn insert(
        &self,
        folder: &Folder,
        number: usize,
        name: &FileName,
        manifest: Option<Arc<Manifest>>,
    ) {
        // If it is already gone, the next scan detects that.
        if let Ok(opened) = folder.open(name) {
            let found = Found { name: name.clone(), folder: number, stamp: opened.stamp() };
            self.index.lock().put(found, manifest);
            self.changed();
        }
    }
}

#[cfg(test)]
mod tests;
