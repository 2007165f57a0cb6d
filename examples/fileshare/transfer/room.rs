//! Room on the disk: checked before a download is written. A download that does not fit waits.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use actix_peer::content::Digest;
use indicatif::DecimalBytes;

use crate::{
    share::PART_PREFIX,
    state::State,
    transfer::{Job, TransferFailure, blocking, store::StoreFailure},
};

/// The bytes of a block in the metadata of a file.
const BLOCK: u64 = 512;

/// The hidden file of a download.
pub(super) fn part_path(downloads: &Path, digest: &Digest) -> PathBuf {
    downloads.join(format!("{PART_PREFIX}{digest}"))
}

/// The bytes of a download that are already on the disk.
pub(super) fn bytes_of_part(downloads: &Path, digest: &Digest) -> u64 {
    let found = fs::symlink_metadata(part_path(downloads, digest));
    found.map_or(0, |metadata| metadata.len().min(metadata.blocks() * BLOCK))
}

/// Room that is reserved for a transfer while it is written; released when dropped.
pub(super) struct Room(Arc<Job>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.running.set_room(0);
        self.0.state.transfers.room_changed();
    }
}

impl Room {
    /// Reserves room for `size` bytes, including those that are already written. The room of other
    /// transfers is not free. Data of interrupted transfers is removed if needed.
    pub(super) async fn reserve(job: &Arc<Job>, size: u64) -> Result<Self, TransferFailure> {
        let needed = job.running.set_room(size);
        let state = Arc::clone(&job.state);
        let made = blocking(move || {
            let folder = state.downloads.clone();
            make(&state, 0)?.map_err(|free| StoreFailure::NoRoom { folder, needed, free })
        });
        // Transfers that wait are not woken, because no room was released.
        made.await.inspect_err(|_| _ = job.running.set_room(0)).map(|()| Self(Arc::clone(job)))
    }
}

/// Makes room for all transfers and `more` bytes. The error has the free bytes.
fn make(state: &State, more: u64) -> io::Result<Result<(), u64>> {
    let free = free(&state.downloads)?;
    let Some(lacking) = state.transfers.reserved().saturating_add(more).checked_sub(free) else {
        return Ok(Ok(()));
    };
    let writing = state.transfers.writing();
    let is_written = |name: &str| writing.iter().any(|digest| is_of(name, digest));
    let Some(gone) = choose(left_parts(&state.downloads, is_written), lacking) else {
        return Ok(Err(free));
    };
    gone.into_iter().try_for_each(fs::remove_file).map(Ok)
}

/// Whether there is room for `len` bytes besides all transfers; true if that is unknown.
pub(crate) fn has_room(state: &State, len: u64) -> bool {
    make(state, len).map_or(true, |made| made.is_ok())
}

fn is_of(name: &str, digest: &Digest) -> bool {
    name.strip_prefix(PART_PREFIX) == Some(&*digest.to_string())
}

fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The file of an interrupted download.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Left {
    written: SystemTime,
    bytes: u64,
    path: PathBuf,
}

fn left_parts(downloads: &Path, is_written: impl Fn(&str) -> bool) -> Vec<Left> {
    let entries = fs::read_dir(downloads).into_iter().flatten().flatten();
    let left = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let metadata = entry.metadata().ok()?;
        let is_left = name.starts_with(PART_PREFIX) && metadata.is_file() && !is_written(&name);
        let (written, bytes) = (metadata.modified().ok()?, metadata.blocks() * BLOCK);
        is_left.then(|| Left { written, bytes, path: entry.path() })
    });
    left.collect()
}

/// Chooses the files to remove, the oldest first; `None` if all of them are not enough.
fn choose(mut left: Vec<Left>, lacking: u64) -> Option<Vec<PathBuf>> {
    left.sort();
    let (mut chosen, mut freed) = (Vec::new(), 0_u64);
    for Left { bytes, path, .. } in left {
        if freed >= lacking {
            break;
        }
        freed = freed.saturating_add(bytes);
        chosen.push(path);
    }
    (freed >= lacking).then_some(chosen)
}

/// A number of bytes as text.
pub(super) fn bytes(count: u64) -> String {
    DecimalBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_leftovers_are_deleted_only_if_that_makes_enough_room() {
        let left = |age: u64, bytes| Left {
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(100 - age),
            bytes,
            path: format!("{age}").into(),
        };
        let all = vec![left(1, 10), left(9, 10), left(5, 10)];
        let paths = |ages: &[&str]| Some(ages.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(choose(all.clone(), 0), paths(&[]));
        assert_eq!(choose(all.clone(), 1), paths(&["9"]));
        assert_eq!(choose(all.clone(), 11), paths(&["9", "5"]));
        assert_eq!(choose(all, 31), None);
    }
}
