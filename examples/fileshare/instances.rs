//! The instances of this user that run on this machine: each leaves a small file in the runtime folder.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The folder's name inside the user's runtime folder.
const FOLDER: &str = "actix-peer-fileshare";

/// Bytes of one file that are read.
const MAX_FILE: u64 = 8 * 1024;

/// Files that are looked at.
const MAX_FILES: usize = 256;

/// How to reach an instance. The file is readable by its user alone, so the token may be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Of its page, without the token.
    pub(crate) url: String,
    pub(crate) token: Option<String>,
}

/// This instance's file; removed when dropped.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
}

impl Announced {
    /// Writes the file of an instance that listens by now.
    ///
    /// # Errors
    /// The folder is not this user's own, or cannot be written to. The instance itself runs without.
    pub(crate) fn new(url: &str, token: Option<&str>) -> io::Result<Self> {
        let folder = folder();
        create_private(&folder)?;
        check_private(&folder)?;
        // Named after the address, which only one can listen on: it replaces that of a killed instance.
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let name = address.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = folder.join(format!("{name}.json"));
        let instance = Instance { url: url.to_owned(), token: token.map(str::to_owned) };
        remove(&path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let announced = Self { path };
        file.write_all(&serde_json::to_vec(&instance)?)?;
        Ok(announced)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// What the files say, with their paths. Some may be of instances that were killed.
///
/// # Errors
/// The folder is there but not this user's own, or cannot be read.
pub(crate) fn announced() -> io::Result<Vec<(PathBuf, Instance)>> {
    let folder = folder();
    match check_private(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        checked => checked?,
    }
    let mut instances = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("json"))
            && let Ok(instance) = read(&path)
        {
            instances.push((path, instance));
        }
    }
    instances.sort_by(|(_, one), (_, other)| one.url.cmp(&other.url));
    Ok(instances)
}

/// Removes the file of an instance, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Instance> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join(FOLDER),
        // All users share this folder, so each needs a name of its own in it.
        None => std::env::temp_dir().join(format!("{FOLDER}-{}", user())),
    }
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

fn create_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Another user may have made the folder first, to read tokens or to send commands astray.
fn check_private(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    if metadata.is_dir() && metadata.uid() == user() && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let text = format!("{} is not a folder that only this user can read", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}
