//! One folder of files, accessed only by safe names.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use actix_peer::content::{Layout, Manifest};
use rustix::{
    fs::{Access, OFlags},
    io::Errno,
};

use crate::{
    name::FileName,
    share::{
        AddFailure,
        left_out::{Tally, Unfit},
    },
};

/// The maximum number of shared files of one folder.
pub(super) const MAX_FILES: usize = 100_000;

/// The prefix of unfinished downloads, followed by the digest. Hidden files are not shared.
pub(crate) const PART_PREFIX: &str = ".fileshare-part-";

/// The prefix of files that are renamed after they are written.
const TEMP_PREFIX: &str = ".fileshare-temp-";

/// How long an interrupted download can be resumed.
const KEEP_PARTS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long other temporary files are kept: another instance may be writing them.
const KEEP_TEMPS: Duration = Duration::from_secs(24 * 3_600);

/// The metadata that shows whether a file is unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

    /// Whether it is the same file and at least as long, so that it may still contain the old data.
    pub(super) const fn may_hold(&self, then: &Self) -> bool {
        self.device == then.device && self.inode == then.inode && self.len >= then.len
    }
}

/// An open regular file, and its stamp when it was opened.
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

    /// Its current stamp.
    fn now(&self) -> Stamp {
        self.file.metadata().map(|metadata| Stamp::of(&metadata)).unwrap_or_default()
    }

    /// Whether its stamp is still the same.
    pub(super) fn is_still(&self, then: &Stamp) -> bool {
        self.now() == *then
    }

    /// Whether it is the same file and has become longer.
    pub(super) fn has_grown(&self) -> bool {
        let now = self.now();
        now.may_hold(&self.stamp) && now.len > self.stamp.len
    }

    /// Reads a piece of the version that was opened. If the file has changed since, the check
    /// values must match; without them, it must only have grown.
    pub(crate) fn read_as_opened(
        &self,
        buffer: &mut [u8],
        offset: u64,
        manifest: Option<&Manifest>,
    ) -> io::Result<()> {
        let read = self.read_exact_at(buffer, offset);
        if self.is_still(&self.stamp) {
            return read;
        }
        let good = match manifest {
            Some(manifest) => self.read_proven(buffer, offset, manifest).is_some(),
            None => read.is_ok() && self.has_grown(),
        };
        let changed = || io::Error::new(io::ErrorKind::InvalidData, "the file has changed");
        good.then_some(()).ok_or_else(changed)
    }

    /// Reads the whole part that contains the piece, and verifies it.
    fn read_proven(&self, buffer: &mut [u8], offset: u64, manifest: &Manifest) -> Option<()> {
        let (layout, index) = (manifest.layout(), manifest.layout().index(offset));
        let mut part = vec![0; layout.len(index)];
        self.read_exact_at(&mut part, layout.offset(index)).ok()?;
        let begin = usize::try_from(offset - layout.offset(index)).ok()?;
        let piece = part.get(begin..begin.checked_add(buffer.len())?)?;
        manifest.is_part(index, &part).then(|| buffer.copy_from_slice(piece))
    }
}

/// A file with a hidden name, which is removed unless it is renamed.
pub(crate) fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    // As for any file of the user, the umask applies.
    let mode = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(TEMP_PREFIX).permissions(mode).tempfile_in(folder)
}

/// How long a hidden file of this program is kept; `None` for any other file.
fn kept_for(name: &OsStr) -> Option<Duration> {
    let begins = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
    if begins(PART_PREFIX) { Some(KEEP_PARTS) } else { begins(TEMP_PREFIX).then_some(KEEP_TEMPS) }
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

    /// Opens a regular file. Links are not followed, and pipes do not block. For a link, a device,
    /// a pipe or a folder the error is "not found", so that other nodes learn nothing about it.
    pub(super) fn open(&self, name: &FileName) -> io::Result<Opened> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = options.open(self.0.join(name)).map_err(|error| {
            match Errno::from_io_error(&error) {
                // The errors for links and sockets.
                Some(Errno::LOOP | Errno::NXIO) => io::ErrorKind::NotFound.into(),
                _ => error,
            }
        })?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Opened { file, stamp: Stamp::of(&metadata) })
    }

    /// The regular files with safe names, at most `most`. Other entries go to `left_out`, and to
    /// `unfit` if their name is safe.
    pub(super) fn list(
        &self,
        most: usize,
        unfit: &mut Vec<(FileName, Unfit)>,
        left_out: &mut Tally,
    ) -> io::Result<Vec<(FileName, Stamp)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let text = entry.file_name();
            // The temporary files of the program are skipped.
            if kept_for(&text).is_some() {
                continue;
            }
            let named = FileName::from_bytes(text.as_bytes()).map_err(Unfit::from);
            let why = match named {
                Ok(_) if files.len() >= most => Unfit::TooMany,
                // The metadata is that of the entry itself, so links are not regular files.
                Ok(name) => match entry.metadata().map(|metadata| self.look(&name, &metadata)) {
                    Ok(Ok(stamp)) => {
                        files.push((name, stamp));
                        continue;
                    }
                    Ok(Err(Unfit::NotAFile)) => Unfit::NotAFile,
                    Ok(Err(why)) => {
                        unfit.push((name, why));
                        why
                    }
                    Err(_) => continue,
                },
                Err(why) => why,
            };
            left_out.add(why, &text.to_string_lossy());
        }
        Ok(files)
    }

    fn look(&self, name: &FileName, metadata: &Metadata) -> Result<Stamp, Unfit> {
        if !metadata.is_file() {
            return Err(Unfit::NotAFile);
        }
        Layout::of(metadata.len()).ok_or(Unfit::TooLong)?;
        let read = rustix::fs::access(self.0.join(name), Access::READ_OK);
        read.map(|()| Stamp::of(metadata)).map_err(|_| Unfit::Unreadable)
    }

    /// Copies a file into the folder, atomically. Never replaces another file.
    pub(super) fn copy_in(&self, name: &FileName, from: &Path) -> Result<(), AddFailure> {
        let write = |source| AddFailure::Write { name: name.clone(), source };
        let mut input = File::open(from).map_err(write)?;
        let mut output = temporary_in(&self.0).map_err(write)?;
        io::copy(&mut input, output.as_file_mut()).map_err(write)?;
        output.persist_noclobber(self.0.join(name)).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => AddFailure::Exists(name.clone()),
            _ => write(error.error),
        })?;
        Ok(())
    }

    /// Removes old temporary files. Errors are ignored.
    #[expect(clippy::disallowed_methods, reason = "the age of files on a real disk")]
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(keep) = kept_for(&name) else { continue };
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > keep) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }
}
