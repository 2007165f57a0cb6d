//! One folder of files, entered by safe names only.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{fs::OFlags, io::Errno};

use crate::{name::FileName, share::AddFailure};

/// Files of one folder that are looked at.
const MAX_FILES: usize = 100_000;

/// Interrupted downloads have this before their digest: hidden, and no name that is shared.
pub(crate) const PART_PREFIX: &str = ".fileshare-part-";

/// What is written in one go and then renamed.
const TEMP_PREFIX: &str = ".fileshare-temp-";

/// Uploads through the page.
const UPLOAD_PREFIX: &str = ".upload-";

/// How long an interrupted download can be taken up again.
const KEEP_PARTS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Other temporary files are of no use after the program that wrote them; another one may be
/// writing now.
const KEEP_TEMPS: Duration = Duration::from_secs(24 * 3_600);

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFailure {
    /// There is none, or it is a link, a device, a pipe or a folder: others are not told which.
    #[error("there is no such file")]
    NotFound,
    #[error(transparent)]
    Io(io::Error),
}

/// By what a file is recognised as unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }
}

/// An open regular file, and what it was when it was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    stamp: Stamp,
}

impl Opened {
    pub(crate) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Whether it is no longer what it was when it was opened.
    pub(crate) fn has_changed(&self) -> bool {
        self.file.metadata().map_or(true, |metadata| Stamp::of(&metadata) != self.stamp)
    }
}

/// A file that is written under a hidden name, and removed unless it gets its own.
pub(crate) fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    // As any other file of the user: the mask takes off what is not wanted.
    let mode = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(TEMP_PREFIX).permissions(mode).tempfile_in(folder)
}

#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Opens a regular file. Links are not followed, wherever they lead; a pipe does not block.
    pub(super) fn open(&self, name: &FileName) -> Result<Opened, OpenFailure> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = options.open(self.0.join(name)).map_err(|error| {
            match Errno::from_io_error(&error) {
                // What is said of a link that is not followed, and of a socket.
                Some(Errno::NOENT | Errno::LOOP | Errno::NXIO) => OpenFailure::NotFound,
                _ => OpenFailure::Io(error),
            }
        })?;
        let metadata = file.metadata().map_err(OpenFailure::Io)?;
        if metadata.is_file() {
            Ok(Opened { file, stamp: Stamp::of(&metadata) })
        } else {
            Err(OpenFailure::NotFound)
        }
    }

    /// The regular files with safe names.
    pub(super) fn list(&self) -> io::Result<Vec<(FileName, Stamp)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let Ok(name) = FileName::from_bytes(entry.file_name().as_bytes()) else { continue };
            // Of the entry itself: a link is none of the regular files. One that has just vanished
            // is none either.
            if let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                files.push((name, Stamp::of(&metadata)));
            }
            if files.len() >= MAX_FILES {
                break;
            }
        }
        Ok(files)
    }

    /// Copies a file into the folder: whole or not at all, and never over another one.
    pub(super) fn copy_in(&self, name: &FileName, from: &Path) -> Result<(), AddFailure> {
        let source = |source| AddFailure::Source { path: from.to_owned(), source };
        let mut input = File::open(from).map_err(source)?;
        if !input.metadata().map_err(source)?.is_file() {
            return Err(source(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let write = |source| AddFailure::Write { name: name.clone(), source };
        let mut output = temporary_in(&self.0).map_err(write)?;
        io::copy(&mut input, output.as_file_mut()).map_err(write)?;
        output.persist_noclobber(self.0.join(name)).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => AddFailure::Exists(name.clone()),
            _ => write(error.error),
        })?;
        Ok(())
    }

    /// Removes old temporary files. What cannot be removed is no harm.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let begins = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
            let keep = if begins(PART_PREFIX) {
                KEEP_PARTS
            } else if begins(TEMP_PREFIX) || begins(UPLOAD_PREFIX) {
                KEEP_TEMPS
            } else {
                continue;
            };
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > keep) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }
}
