//! Files for one person.

use std::path::Path;

use crate::instance::Instance;

/// A file with bytes that are all over the place.
fn file(folder: &Path, name: &str, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
    std::fs::write(folder.join(name), &bytes).unwrap();
    bytes
}

/// Ada and bob, who have seen each other.
fn two(options: &[&str]) -> (Instance, Instance) {
    let mut ada = Instance::start("ada", &[]);
    let bob = Instance::join("bob", &ada, options);
    ada.until("bob~");
    (ada, bob)
}

#[test]
fn a_file_arrives_whole_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let content = file(folder.path(), "a file.bin", 5 << 20);
    let path = folder.path().join("a file.bin");
    let (mut ada, mut bob) = two(&[]);
    for name in ["a file.bin", "a file (2).bin"] {
        ada.say(&format!("/send bob {}", path.display()));
        ada.until(&format!("you offer a file.bin (5.0 MiB) to {}", bob.label));
        let offer = bob.until(&format!("{} offers a file.bin (5.0 MiB): /accept ", ada.label));
        let number = offer.split("/accept ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        bob.say(&format!("/accept {number}"));
        bob.until(&format!("file a file.bin from {}: 0 % of 5.0 MiB", ada.label));
        bob.until(&format!("file a file.bin from {}: complete, ", ada.label));
        ada.until(&format!("file a file.bin to {}: 0 % of 5.0 MiB", bob.label));
        ada.until("100 % of 5.0 MiB");
        ada.until(&format!("{} has received a file.bin", bob.label));
        assert_eq!(std::fs::read(bob.downloads().join(name)).unwrap(), content);
    }
    // Nothing else is left, such as a temporary file.
    assert_eq!(bob.files(), ["a file (2).bin", "a file.bin"]);
}

#[test]
fn an_empty_file_is_taken_without_a_question_if_all_are() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "empty", 0);
    let (mut ada, mut bob) = two(&["--accept"]);
    ada.say(&format!("/send bob {}", folder.path().join("empty").display()));
    bob.until("complete, ");
    ada.until("has received empty");
    assert_eq!(bob.files(), ["empty"]);
}

#[test]
fn an_offer_is_declined_or_no_longer_there() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "a.bin", 9);
    let path = folder.path().join("a.bin");
    let (mut ada, mut bob) = two(&[]);
    bob.say("/accept");
    bob.until("! no file is offered to you");
    ada.say(&format!("/send bob {}", path.display()));
    bob.until("offers a.bin");
    bob.say("/decline");
    ada.until(&format!("{} declines a.bin", bob.label));
    ada.say(&format!("/send bob {}", path.display()));
    bob.until("offers a.bin");
    file(folder.path(), "a.bin", 10);
    bob.say("/accept");
    bob.until("failed, the other node says: the file has changed");
    ada.until("could not receive the file");
    assert!(bob.files().is_empty());
}

#[test]
fn a_file_that_cannot_be_offered_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ada, bob) = two(&[]);
    let missing = folder.path().join("missing");
    ada.say(&format!("/send bob {}", missing.display()));
    ada.until(&format!("! cannot read {}: No such file", missing.display()));
    ada.say(&format!("/send bob {}", folder.path().display()));
    ada.until("is not a file");
    ada.say("/send zoe x");
    ada.until("! no one called zoe was seen: /who lists who is here");
    ada.say("/send ada x");
    ada.until("! ada is you");
    drop(bob);
}
