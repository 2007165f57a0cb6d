use std::{fs, os::unix::fs::symlink};

use super::*;

struct Place {
    _root: tempfile::TempDir,
    share: Share,
    shared: PathBuf,
    downloads: PathBuf,
    outside: PathBuf,
}

fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    let [shared, downloads, outside] =
        ["shared", "downloads", "outside"].map(|name| root.path().join(name));
    for folder in [&shared, &downloads, &outside] {
        fs::create_dir(folder).unwrap();
    }
    let share = Share::new(shared.clone(), downloads.clone());
    Place { _root: root, share, shared, downloads, outside }
}

fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

impl Place {
    fn ready(&self) {
        self.share.scan().unwrap();
        self.share.digest_pending();
    }

    fn names(&self) -> Vec<String> {
        self.share.rows("me").into_iter().map(|row| row.name).collect()
    }

    fn digest(&self, file: &str) -> Digest {
        match self.share.known(&name(file)) {
            Some(Known::Digested(manifest)) => manifest.digest(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn f50_regular_files_with_safe_names_of_both_folders_are_shared_and_nothing_else() {
    let place = place();
    fs::write(place.shared.join("b.txt"), "b").unwrap();
    fs::write(place.downloads.join("a.txt"), "a").unwrap();
    fs::write(place.downloads.join("b.txt"), "another").unwrap();
    fs::write(place.shared.join(".hidden"), "h").unwrap();
    fs::write(place.shared.join("con.txt"), "c").unwrap();
    fs::create_dir(place.shared.join("folder")).unwrap();
    fs::write(place.outside.join("secret"), "s").unwrap();
    symlink(place.outside.join("secret"), place.shared.join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.shared.join("pipe"), rustix::fs::Mode::RWXU)
        .unwrap();
    place.ready();
    assert_eq!(place.names(), ["a.txt", "b.txt"]);
    let rows = place.share.rows("me");
    let digest = |text: &str| Some(blake3::hash(text.as_bytes()).to_hex().to_string());
    assert_eq!((rows[0].digest.clone(), rows[1].digest.clone()), (digest("a"), digest("b")));
    for unsafe_name in ["link", "pipe", "folder", "missing"] {
        let opened = place.share.open(&name(unsafe_name));
        assert!(matches!(opened, Err(OpenFailure::NotFound)), "{unsafe_name}: {opened:?}");
    }
    assert_eq!(place.share.open(&name("b.txt")).unwrap().stamp().len(), 1);
}

#[test]
fn f51_a_file_that_changes_shrinks_or_vanishes_is_not_served_under_its_old_digest() {
    for change in [
        |path: &Path| fs::write(path, "other").unwrap(),
        |path: &Path| fs::write(path, "x").unwrap(),
        |path: &Path| fs::remove_file(path).unwrap(),
    ] {
        let place = place();
        let path = place.shared.join("a");
        fs::write(&path, "first").unwrap();
        place.ready();
        let digest = place.digest("a");
        let mut buffer = [0; 5];
        place.share.read_part(&digest, 0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"first");
        assert!(matches!(
            place.share.read_part(&digest, 1, &mut buffer),
            Err(PartFailure::NoSuchPart)
        ));
        // The same length within one tick of the clock would go unnoticed; an inode does not.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        change(&path);
        assert!(place.share.read_part(&digest, 0, &mut buffer).is_err());
    }
}

#[test]
fn a_file_is_digested_again_only_when_it_changed() {
    let place = place();
    fs::write(place.shared.join("a"), "one").unwrap();
    place.ready();
    place.share.scan().unwrap();
    let digest = place.digest("a");
    fs::write(place.shared.join("a"), "three").unwrap();
    place.share.scan().unwrap();
    assert!(matches!(place.share.known(&name("a")), Some(Known::NotYet)));
    assert!(place.share.manifest(&digest).is_none());
    place.share.digest_pending();
    assert_eq!(place.digest("a").to_string(), blake3::hash(b"three").to_hex().as_str());
}

#[test]
fn a_file_is_added_whole_and_never_over_another_one() {
    let place = place();
    let from = place.outside.join("from");
    fs::write(&from, "new").unwrap();
    place.share.add(&name("a b.txt"), &from).unwrap();
    assert_eq!(fs::read_to_string(place.shared.join("a b.txt")).unwrap(), "new");
    let again = place.share.add(&name("a b.txt"), &from);
    assert!(matches!(again, Err(AddFailure::Exists(_))), "{again:?}");
    // One that no scan has seen yet is safe as well.
    fs::write(place.shared.join("unseen"), "old").unwrap();
    assert!(matches!(place.share.add(&name("unseen"), &from), Err(AddFailure::Exists(_))));
    assert_eq!(fs::read_to_string(place.shared.join("unseen")).unwrap(), "old");
    let missing = place.share.add(&name("x"), &place.outside.join("missing"));
    assert!(matches!(missing, Err(AddFailure::Source { .. })));
    assert!(matches!(place.share.add(&name("x"), &place.outside), Err(AddFailure::Source { .. })));
    assert_eq!(fs::read_dir(&place.shared).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn ten_thousand_files_are_listed_and_searched_at_once() {
    let place = place();
    for n in 0..10_000 {
        fs::write(place.shared.join(format!("File {n:05}.txt")), "").unwrap();
    }
    place.ready();
    let begun = tokio::time::Instant::now();
    assert_eq!(place.share.rows("me").len(), 10_000);
    assert_eq!(place.share.matching("FILE 0999", 64).len(), 10);
    assert_eq!(place.share.matching("file", 64).len(), 64);
    // Generous: it takes a few milliseconds, in a debug build on a busy machine more.
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
}
