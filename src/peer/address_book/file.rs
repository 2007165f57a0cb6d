//! The file of the book: read whole or not at all, replaced whole or not at all. Everything here
//! blocks.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::overlay::AddressBook;

/// Damaged files that are kept; older ones are removed.
const DAMAGED_KEPT: usize = 3;

/// What became of reading.
#[derive(Debug)]
pub(super) enum Loaded {
    /// It is in the book; or there is no file yet.
    Done,
    /// It was damaged, and is set aside.
    SetAside(String),
}

fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut name: OsString = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(ending);
    Ok(path.with_file_name(name))
}

/// Reads the file into the book. A damaged one is set aside; an error says that it is left as it is.
pub(super) fn load(path: &Path, book: &mut AddressBook, now: u64) -> io::Result<Loaded> {
    // Opening what is no file could wait for ever.
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
        Err(_) => "it is not text".to_owned(),
        Ok(text) => match book.load(&text, now) {
            Ok(_) => return Ok(Loaded::Done),
            Err(damage) => damage.to_string(),
        },
    };
    let aside = beside(path, &format!(".damaged-{now}"))?;
    fs::rename(path, &aside)?;
    // That old ones stay harms nobody.
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

/// Removes what is half done.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It has its name already, or there is nobody to tell.
        fs::remove_file(&self.0).ok();
    }
}

/// Replaces the file: a new one beside it gets its name when all of it is on the disk. Only the user
/// may read it.
pub(super) fn save(path: &Path, text: &str) -> io::Result<()> {
    let temporary = Temporary(beside(path, ".new")?);
    // What a killed process has left.
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
