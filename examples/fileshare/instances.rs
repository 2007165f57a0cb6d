//! The running instances of this user on this machine: each has a small file in the runtime folder.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The name of the folder in the user's runtime folder.
const FOLDER: &str = "actix-peer-fileshare";

/// The maximum number of bytes that are read of one file.
const MAX_FILE: u64 = 8 * 1024;

/// The maximum number of files that are read.
const MAX_FILES: usize = 256;

/// The address and the token of an instance. Only its user can read the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// The address of its page, without the token.
    pub(crate) url: String,
    pub(crate) token: Option<String>,
}

/// The file of this instance; removed when dropped.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
}

impl Announced {
    /// Writes the file of an instance that is listening.
    ///
    /// # Errors
    /// The folder does not belong to this user, or cannot be written to. The instance can run
    /// without.
    pub(crate) fn new(url: &str, token: Option<&str>) -> io::Result<Self> {
        let folder = folder();
        create_private(&folder)?;
        check_private(&folder)?;
        // The name is the address, so that it replaces the file of a killed instance.
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
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The content of all files, with their paths. Some instances may have been killed.
///
/// # Errors
/// The folder does not belong to this user, or cannot be read.
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

/// Removes the file of an instance, if it exists.
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

/// Checks the owner: another user may have created the folder to read tokens or to redirect
/// commands.
fn check_private(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    if metadata.is_dir() && metadata.uid() == user() && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let text = format!("{} is not a folder that only this user can read", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}
