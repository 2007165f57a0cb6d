//! The file of the address book. It is read completely or not at all, and replaced completely or
//! not at all. Everything here blocks.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::overlay::AddressBook;

/// The number of damaged files that are kept; older ones are removed.
const DAMAGED_KEPT: usize = 3;

/// The result of reading.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The file has been read into the book, or does not exist yet.
    Done,
    /// The file was damaged and has been renamed.
    SetAside(String),
}

fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut name: OsString = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(ending);
    Ok(path.with_file_name(name))
}

/// Reads the file into the book. A damaged file is renamed. On an error it stays as it is.
pub(super) fn load(path: &Path, book: &mut AddressBook, now: u64) -> io::Result<Loaded> {
    // Opening another kind of file could block forever.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Done),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(_) => {}
    }
    let limit = u64::try_from(AddressBook::MAX_TEXT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let damage = match String::from_utf8(bytes) {
        Err(_) => "it is not UTF-8 text".to_owned(),
        Ok(text) => match book.load(&text, now) {
            Ok(_) => return Ok(Loaded::Done),
            Err(damage) => damage.to_string(),
        },
    };
    let aside = beside(path, &format!(".damaged-{now}"))?;
    fs::rename(path, &aside)?;
    // Best effort: old files do no harm.
    remove_old(path).ok();
    Ok(Loaded::SetAside(format!("{damage}; it is kept as {}", aside.display())))
}

/// Removes all but the latest damaged files.
fn remove_old(path: &Path) -> io::Result<()> {
    let prefix = beside(path, ".damaged-")?;
    let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok());
        kept.extend(time.map(|time| (time, entry.path())));
    }
    kept.sort();
    let old = kept.len().saturating_sub(DAMAGED_KEPT);
    kept.into_iter().take(old).try_for_each(|(_, path)| fs::remove_file(path))
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// Removes an unfinished file when dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // An error means that the file already has its final name, or cannot be reported.
        fs::remove_file(&self.0).ok();
    }
}

/// Replaces the file. A new file beside it is renamed once it is completely on the disk. Only the
/// user may read it.
pub(super) fn save(path: &Path, text: &str) -> io::Result<()> {
    let temporary = Temporary(beside(path, ".new")?);
    // Left by a process that was killed.
    fs::remove_file(&temporary.0).ok();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary.0)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary.0, path)?;
    #[cfg(unix)]
    File::open(folder_of(path))?.sync_all()?;
    Ok(())
}
