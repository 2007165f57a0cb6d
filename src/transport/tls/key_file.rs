//! A small file that only its owner may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::IdentityError;

/// A longer file is not a key.
const MAX_LEN: u64 = 16 << 10; // bytes

/// The permission bits that must not be set: those of the group and of others.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let shown = || path.display().to_string();
    let failed = |source| IdentityError::Read { path: shown(), source };
    // Only a regular file is opened: a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(IdentityError::NotAFile { path: shown() });
    }
    let file = File::open(path).map_err(failed)?;
    // Checked on the open file, because the path may lead to another one by now.
    let opened = file.metadata().map_err(failed)?;
    if !opened.is_file() {
        return Err(IdentityError::NotAFile { path: shown() });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = opened.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(IdentityError::ReadableByOthers { path: shown(), mode });
        }
    }
    let mut text = Zeroizing::new(Vec::with_capacity(256));
    file.take(MAX_LEN).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// Removes a temporary file when it is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may be removed already.
        fs::remove_file(&self.0).ok();
    }
}

/// Writes a temporary file next to `path` and links it to `path` when it is complete. Never
/// replaces a file.
pub(super) fn create(path: &Path, text: &str) -> Result<(), IdentityError> {
    let shown = || path.display().to_string();
    let result = write_and_name(path, text);
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path: shown() },
        _ => IdentityError::Write { path: shown(), source },
    })
}

fn write_and_name(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(format!(".{}-{}.new", std::process::id(), unique()));
    let beside = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let beside = Temporary(beside);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Unlike a rename, a hard link never replaces a file.
    fs::hard_link(&beside.0, path)?;
    drop(beside);
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// A number that is unique in this process.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
