//! The hidden file of a download until it is complete.
//!
//! All functions block: call them on a blocking thread.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_peer::content::Manifest;
use parking_lot::Mutex;
use rustix::fs::OFlags;
use tempfile::TempPath;

use crate::{
    name::FileName,
    transfer::room::{bytes, part_path},
};

/// The bytes of one write. Larger writes were slower: the kernel then uses larger pages for the
/// file, which take longer to allocate and to clear.
const WRITE_LEN: usize = 256 << 10;

/// The bytes after which written data is synced while more arrives. The final sync is then short,
/// and a crash of the machine loses little more than this.
const SYNC_EVERY: u64 = 64 << 20;

/// Why a download cannot be stored. The file with its final name is unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFailure {
    #[error("the file {0} already exists")]
    Exists(FileName),
    #[error("the disk is full")]
    DiskFull,
    #[error("it needs {} in {}, which has {} free", bytes(*.needed), folder.display(), bytes(*.free))]
    NoRoom { folder: PathBuf, needed: u64, free: u64 },
    #[error("cannot write the file: {0}")]
    Io(io::Error),
}

impl From<io::Error> for StoreFailure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

/// Renames a complete file atomically, after its data is on the disk, so that the name never
/// belongs to a partial file. Replaces another file only if `replace` is set. Removes the file if
/// it cannot be renamed.
pub(crate) fn give_name(
    file: &File,
    from: TempPath,
    downloads: &Path,
    name: &FileName,
    replace: bool,
) -> Result<PathBuf, StoreFailure> {
    file.sync_all()?;
    put(from, downloads, name, replace).map_err(|(failure, _)| failure)
}

/// Like [`give_name`], for a file that is on the disk. Returns the file if it cannot be renamed.
fn put(
    from: TempPath,
    downloads: &Path,
    name: &FileName,
    replace: bool,
) -> Result<PathBuf, (StoreFailure, TempPath)> {
    let to = downloads.join(name);
    let given = if replace { from.persist(&to) } else { from.persist_noclobber(&to) };
    match given {
        Ok(()) => {
            sync_folder(downloads);
            Ok(to)
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err((StoreFailure::Exists(name.clone()), error.path))
        }
        Err(error) => Err((error.error.into(), error.path)),
    }
}

/// Syncs a folder, so that a new name is on the disk. If that fails, a crash may lose the name, and
/// the file has to be fetched again.
fn sync_folder(folder: &Path) {
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
}

/// A download whose parts can be verified.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    path: PathBuf,
    manifest: Arc<Manifest>,
    /// One thread writes at a time, because others would only spin in the file system.
    writing: Mutex<()>,
    /// The bytes that were written since the last sync began.
    unsynced: AtomicU64,
}

impl Store {
    /// Opens the hidden file of this digest. Returns which of its parts are valid: the data of an
    /// interrupted download is verified with the manifest.
    pub(crate) fn open(
        downloads: &Path,
        manifest: Arc<Manifest>,
    ) -> Result<(Self, Vec<bool>), StoreFailure> {
        let path = part_path(downloads, &manifest.digest());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = options.custom_flags(flags.bits().cast_signed()).open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(StoreFailure::Io(io::ErrorKind::AlreadyExists.into()));
        }
        let layout = manifest.layout();
        let store =
            Self { file, path, manifest, writing: Mutex::new(()), unsynced: AtomicU64::new(0) };
        let mut there = vec![false; usize::try_from(layout.parts()).unwrap_or(0)];
        if metadata.len() != layout.size() {
            // A file of another length is discarded. An empty file is not truncated, because some
            // file systems then write the whole file to the disk when it is closed.
            if metadata.len() > 0 {
                store.file.set_len(0)?;
            }
            // The file is sparse: unwritten parts take no room.
            store.file.set_len(layout.size())?;
        } else if metadata.blocks() > 0 {
            store.verify(&mut there)?;
        }
        Ok((store, there))
    }

    fn verify(&self, there: &mut [bool]) -> Result<(), StoreFailure> {
        let (layout, mut buffer) = (self.manifest.layout(), Vec::new());
        for (index, there) in (0..).zip(there) {
            buffer.resize(layout.len(index), 0);
            self.file.read_exact_at(&mut buffer, layout.offset(index))?;
            *there = self.manifest.is_part(index, &buffer);
        }
        Ok(())
    }

    /// Verifies a part and writes it. Returns false if it does not match the digest.
    pub(crate) fn write(&self, index: u64, data: &[u8]) -> Result<bool, StoreFailure> {
        let good = self.manifest.is_part(index, data);
        if good {
            let turn = self.writing.lock();
            let mut at = self.manifest.layout().offset(index);
            for piece in data.chunks(WRITE_LEN) {
                self.file.write_all_at(piece, at)?;
                at += piece.len() as u64;
            }
            drop(turn);
            let len = data.len() as u64;
            if self.unsynced.fetch_add(len, Ordering::Relaxed) + len >= SYNC_EVERY {
                self.unsynced.store(0, Ordering::Relaxed);
                self.file.sync_data()?;
            }
        }
        Ok(good)
    }

    /// Renames the complete file, as [`give_name`] does. If that fails, the hidden file is kept for
    /// another attempt.
    pub(crate) fn finish(
        &self,
        downloads: &Path,
        name: &FileName,
        replace: bool,
    ) -> Result<PathBuf, StoreFailure> {
        self.file.sync_all()?;
        let from = TempPath::try_from_path(&self.path)?;
        put(from, downloads, name, replace).map_err(|(failure, path)| {
            // A temporary path removes its file when it is dropped.
            path.keep().ok();
            failure
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use actix_peer::content::{Digesting, Layout};

    use super::*;
    use crate::share::PART_PREFIX;

    fn manifest(data: &[u8]) -> Arc<Manifest> {
        let mut digesting = Digesting::new(Layout::of(data.len() as u64).unwrap());
        data.chunks(1 << 20).for_each(|part| digesting.push(part));
        Arc::new(digesting.finish().unwrap())
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_download_resumes_and_verifies_the_data_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..(3 << 20) + 1).map(|n: u32| (n % 253) as u8).collect();
        let parts: Vec<_> = data.chunks(1 << 20).collect();
        let manifest = manifest(&data);
        let (store, there) = Store::open(folder.path(), Arc::clone(&manifest)).unwrap();
        assert_eq!(there, [false; 4]);
        assert!(!store.write(0, parts[1]).unwrap(), "a wrong part is not written");
        for index in [0, 2, 3] {
            assert!(store.write(index as u64, parts[index]).unwrap());
        }
        store.file.write_all_at(b"x", 5).unwrap();
        drop(store);
        let (store, there) = Store::open(folder.path(), manifest).unwrap();
        assert_eq!(there, [false, false, true, true]);
        assert!(names(folder.path())[0].starts_with(PART_PREFIX));
        assert!(store.write(0, parts[0]).unwrap() && store.write(1, parts[1]).unwrap());
        let path = store.finish(folder.path(), &"a.bin".parse().unwrap(), false).unwrap();
        assert_eq!(fs::read(path).unwrap(), data);
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn an_existing_file_is_kept_unless_replacement_is_requested() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, name) = (manifest(b"new"), "a".parse().unwrap());
        fs::write(folder.path().join("a"), "old").unwrap();
        let (store, _) = Store::open(folder.path(), manifest).unwrap();
        store.write(0, b"new").unwrap();
        let refused = store.finish(folder.path(), &name, false);
        assert!(matches!(refused, Err(StoreFailure::Exists(_))), "{refused:?}");
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
        assert_eq!(names(folder.path()).len(), 2, "the download is kept for another try");
        store.finish(folder.path(), &name, true).unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_symbolic_link_in_place_of_the_hidden_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let manifest = manifest(b"data");
        let hidden = format!("{PART_PREFIX}{}", manifest.digest());
        std::os::unix::fs::symlink(&victim, folder.path().join(hidden)).unwrap();
        assert!(Store::open(folder.path(), manifest).is_err());
        assert_eq!(fs::read(victim).unwrap(), b"mine");
    }

    #[test]
    fn an_empty_file_is_a_download_without_parts() {
        let folder = tempfile::tempdir().unwrap();
        let (store, there) = Store::open(folder.path(), manifest(b"")).unwrap();
        assert!(there.is_empty());
        store.finish(folder.path(), &"empty".parse().unwrap(), false).unwrap();
        assert_eq!(fs::read(folder.path().join("empty")).unwrap(), b"");
    }
}
