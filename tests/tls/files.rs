//! The file with the private key.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use actix_peer::transport::tls::{IdentityError, NodeIdentity};

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("actix-peer-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("node.pem")
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        fs::read_dir(&self.0).unwrap().map(|entry| name(entry.unwrap())).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_stored_identity_is_loaded_again_and_no_other_file_is_left() {
    let folder = Folder::new();
    let identity = NodeIdentity::generate().unwrap();
    identity.store(folder.file()).unwrap();
    assert_eq!(NodeIdentity::load(folder.file()).unwrap().id(), identity.id());
    assert_eq!(folder.names(), ["node.pem"]);
    assert!(
        fs::read_to_string(folder.file()).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n")
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file_and_one_that_others_can_read_is_refused() {
    let folder = Folder::new();
    NodeIdentity::generate().unwrap().store(folder.file()).unwrap();
    assert_eq!(mode(&folder.file()), 0o600);
    for wrong in [0o640, 0o604, 0o644, 0o660, 0o602, 0o610, 0o601, 0o777] {
        set_mode(&folder.file(), wrong);
        let error = NodeIdentity::load(folder.file()).unwrap_err();
        let IdentityError::ReadableByOthers { mode, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*mode, wrong);
        assert!(
            error.to_string().contains(&format!("(mode {wrong:04o}): set its mode to 0600")),
            "{error}"
        );
        // It is not replaced by a new one either.
        assert!(NodeIdentity::load_or_generate(folder.file()).is_err());
    }
    for right in [0o600, 0o400] {
        set_mode(&folder.file(), right);
        NodeIdentity::load(folder.file()).unwrap();
    }
}

#[test]
fn an_identity_file_is_never_overwritten() {
    let folder = Folder::new();
    fs::write(folder.file(), "something").unwrap();
    let error = NodeIdentity::generate().unwrap().store(folder.file()).unwrap_err();
    assert!(matches!(error, IdentityError::Exists { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(folder.file()).unwrap(), "something");
    assert_eq!(folder.names(), ["node.pem"]);
}

#[test]
fn concurrent_starts_share_one_identity() {
    let folder = Folder::new();
    let ids: Vec<_> = thread::scope(|scope| {
        let load = || NodeIdentity::load_or_generate(folder.file()).unwrap().id().clone();
        let all: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(folder.names(), ["node.pem"]);
}

#[test]
fn a_file_without_a_key_is_an_error_that_names_the_file() {
    let folder = Folder::new();
    let missing = NodeIdentity::load(folder.file()).unwrap_err();
    assert!(matches!(missing, IdentityError::Read { .. }), "{missing:?}");
    fs::write(folder.file(), "no key").unwrap();
    #[cfg(unix)]
    set_mode(&folder.file(), 0o600);
    let error = NodeIdentity::load(folder.file()).unwrap_err();
    assert!(matches!(error, IdentityError::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains("node.pem"));
    // A folder, and an endless device.
    for path in [folder.0.as_path(), Path::new("/dev/zero")] {
        let error = NodeIdentity::load(path).unwrap_err();
        assert!(matches!(error, IdentityError::NotAFile { .. }), "{error:?}");
    }
    let nowhere = folder.0.join("none").join("node.pem");
    let error = NodeIdentity::load_or_generate(nowhere).unwrap_err();
    assert!(matches!(error, IdentityError::Write { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_the_file_does_not_block() {
    let folder = Folder::new();
    let made = std::process::Command::new("mkfifo").arg(folder.file()).status();
    assert!(made.unwrap().success());
    let (tell, told) = std::sync::mpsc::channel();
    let file = folder.file();
    thread::spawn(move || tell.send(NodeIdentity::load(file)));
    let error = told.recv_timeout(std::time::Duration::from_secs(10)).unwrap().unwrap_err();
    assert!(matches!(error, IdentityError::NotAFile { .. }), "{error:?}");
}

#[test]
fn the_private_key_is_in_no_message() {
    let folder = Folder::new();
    let identity = NodeIdentity::generate().unwrap();
    identity.store(folder.file()).unwrap();
    let text = fs::read_to_string(folder.file()).unwrap();
    let key = text.lines().nth(1).unwrap();
    let transport = actix_peer::transport::tls::TlsTransport::new(identity.clone());
    for shown in [format!("{identity:?}"), format!("{transport:?}"), format!("{transport:#?}")] {
        assert!(shown.contains(identity.id().as_str()) && !shown.contains(key), "{shown}");
        assert!(shown.len() < 400, "{shown}");
    }
}
