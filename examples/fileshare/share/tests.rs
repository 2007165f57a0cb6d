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
        self.share.index.lock().rows("me").into_iter().map(|row| row.name).collect()
    }

    fn digest(&self, file: &str) -> Digest {
        match self.share.index.lock().known(&name(file)) {
            Some(Known::Digested(manifest)) => manifest.digest(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn regular_files_with_safe_names_of_both_folders_are_shared_and_nothing_else() {
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
    let rows = place.share.index.lock().rows("me");
    let digest = |text: &str| Some(blake3::hash(text.as_bytes()).to_hex().to_string());
    assert_eq!((rows[0].digest.clone(), rows[1].digest.clone()), (digest("a"), digest("b")));
    for unsafe_name in ["link", "pipe", "folder", "missing"] {
        let error = place.share.open(&name(unsafe_name)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{unsafe_name}");
    }
    assert_eq!(place.share.open(&name("b.txt")).unwrap().stamp().len(), 1);
}

#[test]
fn a_file_that_changes_in_place_is_not_served_under_its_old_digest() {
    for change in [
        |path: &Path| fs::write(path, "longer other").unwrap(),
        |path: &Path| fs::write(path, "x").unwrap(),
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
        change(&path);
        let read = place.share.read_part(&digest, 0, &mut buffer);
        assert!(matches!(read, Err(PartFailure::Changed)), "{read:?}");
        let read = place.share.read_part(&digest, 0, &mut buffer);
        assert!(matches!(read, Err(PartFailure::Unknown)), "{read:?}");
        place.ready();
        assert_ne!(place.digest("a"), digest);
    }
}

#[test]
fn a_fetch_receives_one_version_even_if_the_name_changes() {
    for change in [
        |path: &Path| fs::rename(path, path.with_file_name("b")).unwrap(),
        |path: &Path| fs::remove_file(path).unwrap(),
        |path: &Path| {
            fs::write(path.with_file_name("new"), "other").unwrap();
            fs::rename(path.with_file_name("new"), path).unwrap();
        },
        |path: &Path| append(path, " and more"),
    ] {
        let place = place();
        let path = place.shared.join("a");
        fs::write(&path, "first").unwrap();
        place.ready();
        let digest = place.digest("a");
        place.share.hold(&digest).unwrap();
        change(&path);
        place.ready();
        let mut buffer = [0; 5];
        place.share.read_part(&digest, 0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"first");
    }
}

fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_with_another_name_is_found_by_its_digest_and_not_digested_again() {
    let place = place();
    fs::write(place.shared.join("a"), "first").unwrap();
    place.ready();
    let digest = place.digest("a");
    fs::rename(place.shared.join("a"), place.shared.join("b")).unwrap();
    let mut buffer = [0; 5];
    place.share.read_part(&digest, 0, &mut buffer).unwrap();
    assert_eq!((&buffer, place.digest("b")), (b"first", digest));
}

#[test]
fn a_file_that_grows_is_offered_as_it_was_until_its_new_digest_is_known() {
    let place = place();
    let path = place.shared.join("log");
    fs::write(&path, "one\n").unwrap();
    place.ready();
    let digest = place.digest("log");
    let opened = place.share.open_known(&name("log")).unwrap();
    append(&path, "two\n");
    place.share.scan().unwrap();
    assert_eq!(place.digest("log"), digest);
    assert_eq!(place.share.index.lock().row(&name("log"), "me").unwrap().size, Some(4));
    place.share.digest_pending();
    assert_eq!(place.digest("log").to_string(), blake3::hash(b"one\ntwo\n").to_hex().as_str());
    // A whole file is sent as it was when it was asked for; other bytes in its place are not sent.
    let mut buffer = [0; 4];
    for manifest in [opened.1.as_deref(), None] {
        opened.0.read_as_opened(&mut buffer, 0, manifest).unwrap();
        assert_eq!(&buffer, b"one\n");
    }
    fs::write(&path, "other bytes").unwrap();
    assert!(opened.0.read_as_opened(&mut buffer, 0, opened.1.as_deref()).is_err());
    fs::write(&path, "x").unwrap();
    assert!(opened.0.read_as_opened(&mut buffer, 0, None).is_err());
}

#[test]
fn a_file_that_is_too_long_or_unreadable_is_left_out_with_the_reason() {
    let place = place();
    fs::write(place.shared.join("good"), "x").unwrap();
    let long = fs::File::create(place.shared.join("long")).unwrap();
    long.set_len(actix_peer::content::MAX_SIZE + 1).unwrap();
    fs::write(place.downloads.join("good"), "another").unwrap();
    place.ready();
    assert_eq!(place.names(), ["good"]);
    assert!(matches!(
        place.share.index.lock().known(&name("long")),
        Some(Known::Not(Unfit::TooLong))
    ));
    let left_out = |share: &Share| {
        let rows = share.index.lock().left_out().into_iter();
        rows.map(|row| (row.example, row.count)).collect::<Vec<_>>()
    };
    assert_eq!(left_out(&place.share), [("long".to_owned(), 1), ("good".to_owned(), 1)]);
    assert_eq!(place.share.index.lock().left_out_news().unwrap().len(), 2);
    place.share.scan().unwrap();
    assert_eq!(place.share.index.lock().left_out_news(), None, "it is said once");

    // Files that say they have 4096 bytes and have fewer: nobody can read the rest.
    let system = Path::new("/sys/class/net/lo");
    if system.join("mtu").exists() {
        let share = Share::new(system.to_owned(), system.to_owned());
        share.scan().unwrap();
        share.digest_pending();
        let unreadable = share.index.lock().known(&name("mtu"));
        assert!(matches!(unreadable, Some(Known::Not(Unfit::Unreadable))), "{unreadable:?}");
        assert!(share.index.lock().row(&name("mtu"), "me").is_none());
        share.scan().unwrap();
        assert!(
            share.index.lock().row(&name("mtu"), "me").is_none(),
            "it is not tried again unless it changes"
        );
    }
}

#[test]
fn a_folder_reports_the_number_of_files_beyond_the_limit() {
    let place = place();
    for n in 0..5 {
        fs::write(place.shared.join(format!("f{n}")), "").unwrap();
    }
    place.share.scan_at_most(3).unwrap();
    assert_eq!(place.share.index.lock().len(), 3);
    assert_eq!(place.share.index.lock().left_out()[0].count, 2);
}

#[test]
fn a_file_is_digested_again_only_when_it_changed() {
    let place = place();
    fs::write(place.shared.join("a"), "one").unwrap();
    place.ready();
    place.share.scan().unwrap();
    let digest = place.digest("a");
    fs::write(place.shared.join("a"), "three").unwrap();
    place.ready();
    assert!(place.share.manifest(&digest).is_none());
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
    assert_eq!(place.share.index.lock().rows("me").len(), 10_000);
    assert_eq!(place.share.index.lock().matching("FILE 0999", 64).0.len(), 10);
    let (first, all) = place.share.index.lock().matching("file", 64);
    assert_eq!((first.len(), all), (64, 10_000));
    // Generous: it takes a few milliseconds, in a debug build on a busy machine more.
    assert!(begun.elapsed() < Duration::from_secs(1));
}
