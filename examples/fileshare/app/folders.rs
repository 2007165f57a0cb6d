//! The folders of shared and fetched files.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{app::StartFailed, options::Options};

/// Fetched files have a folder of their own, so that other files in the user's folder for downloads
/// are not shared.
const OWN_FOLDER: &str = "fileshare";

/// The folders, which exist and can be read.
pub(super) struct Folders {
    pub(super) share: PathBuf,
    pub(super) downloads: PathBuf,
    /// The share, if it is removed at the end.
    pub(super) temporary: Option<TempDir>,
}

impl Folders {
    /// The folders of the options, otherwise a temporary share and a permanent folder for
    /// downloads.
    pub(super) fn of(options: &Options) -> Result<Self, StartFailed> {
        let (share, temporary) = match &options.share {
            Some(share) => (existing(share)?, None),
            None => {
                let made = tempfile::Builder::new().prefix("fileshare-").tempdir();
                let temporary = made.map_err(StartFailed::Temporary)?;
                (existing(temporary.path())?, Some(temporary))
            }
        };
        let downloads = match (&options.downloads, &temporary) {
            (Some(downloads), _) => existing(downloads)?,
            (None, None) => share.clone(),
            (None, Some(_)) => created(&downloads_of(|name| std::env::var_os(name)))?,
        };
        Ok(Self { share, downloads, temporary })
    }
}

fn existing(path: &Path) -> Result<PathBuf, StartFailed> {
    let failed = |source| StartFailed::Folder { path: path.to_owned(), source };
    let path = fs::canonicalize(path).map_err(failed)?;
    // Fails if it is not a folder or cannot be read.
    fs::read_dir(&path).map_err(failed)?;
    Ok(path)
}

/// Creates the folder `OWN_FOLDER` inside of `parent`.
fn created(parent: &Path) -> Result<PathBuf, StartFailed> {
    let path = parent.join(OWN_FOLDER);
    match fs::create_dir(&path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(StartFailed::Folder { path, source })
        }
        _ => existing(&path),
    }
}

/// The user's folder for downloads, otherwise the current folder.
fn downloads_of(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let variable = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    let config =
        variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let configured = || {
        // Of xdg-user-dirs: lines such as XDG_DOWNLOAD_DIR="$HOME/Downloads".
        let text = fs::read_to_string(config?.join("user-dirs.dirs")).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("XDG_DOWNLOAD_DIR="));
        let path = line?.trim_matches('"');
        match path.strip_prefix("$HOME/") {
            Some(rest) => Some(home.as_ref()?.join(rest)),
            None => Some(path.into()),
        }
    };
    let usual = || Some(home.as_ref()?.join("Downloads"));
    let found = [variable("XDG_DOWNLOAD_DIR"), configured(), usual()].into_iter().flatten();
    found.filter(|path| path.is_absolute()).find(|path| path.is_dir()).unwrap_or_else(|| ".".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_go_to_the_folder_that_the_user_has_for_them_or_else_to_the_current_one() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let found = |variables: &[(&str, &Path)]| {
            let of = |wanted: &str| {
                let mut known = variables.iter().filter(|(name, _)| *name == wanted);
                known.next().map(|(_, value)| value.into())
            };
            downloads_of(of)
        };
        assert_eq!(found(&[]), Path::new("."));
        assert_eq!(found(&[("HOME", home)]), Path::new("."), "there is none");
        for folder in ["Downloads", "Laden", "Other", ".config"] {
            fs::create_dir(home.join(folder)).unwrap();
        }
        assert_eq!(found(&[("HOME", home)]), home.join("Downloads"));
        let told = "# a comment\nXDG_DOWNLOAD_DIR=\"$HOME/Laden\"\n";
        fs::write(home.join(".config/user-dirs.dirs"), told).unwrap();
        assert_eq!(found(&[("HOME", home)]), home.join("Laden"));
        let other = home.join("Other");
        assert_eq!(found(&[("HOME", home), ("XDG_DOWNLOAD_DIR", &other)]), other);
        let gone = home.join("gone");
        assert_eq!(found(&[("HOME", home), ("XDG_DOWNLOAD_DIR", &gone)]), home.join("Laden"));
    }

    #[test]
    fn fetched_files_do_not_have_the_other_downloads_shared() {
        let downloads = tempfile::tempdir().unwrap();
        let path = created(downloads.path()).unwrap();
        assert_eq!(path.file_name().unwrap(), OWN_FOLDER);
        assert_eq!(created(downloads.path()).unwrap(), path, "it stays from one run to the next");
    }
}
