//! Transfers that wait, resume, are cancelled or cannot start.

use std::{fs, io::Write, process::Command};

use serde_json::{Value, json};

use crate::{
    Instance,
    common::frames::frame,
    instance::has,
    large_file, names,
    originals::{Original, exchange, joins},
    same_content,
};

const MIB: u64 = 512;

/// Starts two nodes. The first has a long film, which the second knows.
fn with_film() -> (Instance, Instance) {
    let bob = Instance::start("bob", &[]);
    large_file(&bob.share().join("film.mkv"), MIB);
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    bob.until_file(|file| file["digest"].is_string());
    let ada = Instance::start("ada", &["--join", &bob.address]);
    ada.until_peers(|ids| ids == ["bob"]);
    ada.find("film.mkv", true);
    (bob, ada)
}

fn waits_for<'a>(words: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |transfer| transfer["waits"].as_str().is_some_and(|what| what.contains(words))
}

#[test]
fn a_transfer_is_cancelled_by_number_or_name_and_leaves_no_file() {
    let (bob, ada) = with_film();
    for by_name in [true, false] {
        let mut events = ada.events();
        let begun = ada.fetch(&json!({"name": "film.mkv"}));
        events.wait("transfer", |transfer| transfer["done"].as_u64() > Some(0));
        // Keeps the transfer from completing.
        bob.signal("STOP");
        let number = begun["number"].to_string();
        if by_name {
            let (code, said, errors) = ada.subcommand(&["cancel", "film.mkv"]);
            assert_eq!((code, said.as_str()), (0, "cancelled film.mkv\n"), "{errors}");
        } else {
            let cancelled = ada.post(&format!("/api/transfers/{number}/cancel"), &json!({}));
            assert_eq!(cancelled.json()["number"], begun["number"]);
        }
        let ended = events.wait("transfer", |transfer| transfer["state"] != "running");
        assert_eq!(
            (&ended["state"], &ended["number"]),
            (&json!("cancelled"), &begun["number"]),
            "{ended}"
        );
        assert_eq!(names(&ada.downloads()), [""; 0]);
        bob.signal("CONT");
        let again = ada.post(&format!("/api/transfers/{number}/cancel"), &json!({}));
        assert_eq!(again.refusal(), (404, "not_found".into()));
    }
    let (code, _, said) = ada.subcommand(&["cancel", "film.mkv"]);
    assert!(code == 1 && said.contains("no open transfer"), "{said}");
}

#[test]
fn a_fetch_from_a_suspended_owner_waits_and_resumes_where_it_was() {
    let (bob, ada) = with_film();
    let bytes_in = || ada.status()["bytes_in"].as_u64().unwrap();
    let mut tries = 0;
    // On a busy machine the transfer may complete before the signal arrives. Then try again.
    let (mut events, before) = loop {
        tries += 1;
        assert!(tries < 20, "the owner was never suspended during a transfer");
        let (mut events, before) = (ada.events(), bytes_in());
        ada.fetch(&json!({"name": "film.mkv", "replace": true}));
        events.wait("transfer", |transfer| transfer["done"].as_u64() > Some(64 << 20));
        bob.signal("STOP");
        let transfer = ada.get("/api/transfers").json()[0].clone();
        if transfer["state"] == "running" && transfer["done"].as_u64() < Some((MIB - 64) << 20) {
            break (events, before);
        }
        bob.signal("CONT");
        let mut all = ada.events();
        while ada.get("/api/transfers").json()[0]["state"] == "running" {
            all.next();
        }
    };
    let waiting = events.wait("transfer", waits_for("bob does not answer"));
    assert_eq!(waiting["state"], "running");
    bob.signal("CONT");
    let ended = events.wait("transfer", |transfer| transfer["state"] != "running");
    assert_eq!((&ended["state"], &ended["waits"]), (&json!("done"), &Value::Null), "{ended}");
    let came = bytes_in() - before;
    assert!(came < (MIB + 32) << 20, "parts that were stored were fetched again: {came}");
    assert!(same_content(&ada.downloads().join("film.mkv"), &bob.share().join("film.mkv")));
}

#[test]
fn a_file_that_grows_and_is_renamed_arrives_as_it_was_at_the_request() {
    let (bob, ada) = with_film();
    let mut events = ada.events();
    ada.fetch(&json!({"name": "film.mkv"}));
    let moving = events.wait("transfer", |transfer| transfer["done"].as_u64() > Some(0));
    assert!(moving["done"].as_u64() < Some(MIB << 20), "the fetch had completed already: {moving}");
    let [film, other] = ["film.mkv", "other.mkv"].map(|name| bob.share().join(name));
    let mut file = fs::OpenOptions::new().append(true).open(&film).unwrap();
    file.write_all(b"and more").unwrap();
    fs::rename(&film, &other).unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    let ended = events.wait("transfer", |transfer| transfer["state"] != "running");
    assert_eq!(ended["state"], "done", "{ended}");
    file.set_len(MIB << 20).unwrap();
    assert!(same_content(&ada.downloads().join("film.mkv"), &other));
}

#[test]
fn the_files_of_an_unresponsive_owner_need_no_new_search() {
    let mut bob = Instance::start("bob", &[]);
    fs::write(bob.share().join("a.txt"), "a").unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    let ada = Instance::start("ada", &["--join", &bob.address]);
    ada.until_peers(|ids| ids == ["bob"]);
    ada.find("a.txt", true);
    bob.kill();
    ada.until_peers(|ids| ids.is_empty());
    assert!(has(&ada.get("/api/files").json(), "a.txt"));
    // The node that fetches learns the reason, and the transfer stays active.
    let mut events = ada.events();
    ada.fetch(&json!({"name": "a.txt"}));
    events.wait("transfer", waits_for("bob does not answer"));
}

#[test]
fn a_file_that_cannot_be_served_is_not_offered_and_the_reason_is_shown() {
    let bob = Instance::start("bob", &[]);
    // The folder is also read periodically, so the file may be seen before the request.
    let mut events = bob.events();
    let share = bob.share();
    fs::File::create(share.join("huge.img")).unwrap().set_len((256 << 30) + 1).unwrap();
    fs::write(share.join("exe\u{202e}txt"), "x").unwrap();
    fs::create_dir(share.join("inner")).unwrap();
    let persian = "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}.txt";
    fs::write(share.join(persian), "x").unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    let files = bob.get("/api/files").json();
    assert!(files.as_array().unwrap().len() == 1 && has(&files, persian), "{files}");
    let left_out = bob.status()["left_out"].clone();
    let left_out = left_out.as_array().unwrap();
    for (example, why) in
        [("huge.img", "longer than 256 GiB"), ("exe\u{fffd}txt", "invisible"), ("inner", "folders")]
    {
        let is_it = |row: &&Value| row["example"] == example && row["count"] == 1;
        let row = left_out.iter().find(is_it).unwrap_or_else(|| panic!("{left_out:?}"));
        assert!(row["why"].as_str().unwrap().contains(why), "{row}");
    }
    let said = Instance::until_notice(&mut events, "huge.img");
    assert!(said["text"].as_str().unwrap().contains("longer than 256 GiB"), "{said}");
    let (_, listed, _) = bob.subcommand(&["files"]);
    assert!(listed.contains("such as \"huge.img\""), "{listed}");

    // A request for the file fails at once.
    let ada = Instance::start("ada", &["--join", &bob.address]);
    ada.until_peers(|ids| ids == ["bob"]);
    let ended = ada.fetched(&json!({"name": "huge.img", "from": "bob"}));
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("bob: File too long"), "{ended}");
}

#[test]
fn a_file_that_was_fetched_from_an_original_is_listed_once() {
    let java = Original::start(|me, code, text| match code {
        "FGET" => frame(b"REPL", "la la la"),
        _ => joins(me, code, text),
    });
    let ada = Instance::start("ada", &["--join", &java.address]);
    java.until("JOIN");
    ada.search("song");
    let found = exchange(&ada.address, b"RESP", format!("song.ogg {}", java.address));
    assert!(found.starts_with("REPL"), "{found}");
    ada.until_file(|file| file["name"] == "song.ogg");
    let ended = ada.fetched(&json!({"name": "song.ogg"}));
    assert_eq!(ended["state"], "done", "{ended}");
    let files = ada.get("/api/files").json();
    let digest = blake3::hash(b"la la la").to_hex().to_string();
    assert_eq!(
        files,
        json!([{
            "name": "song.ogg", "owners": ["ada", java.address], "local": true, "size": 8,
            "digest": digest
        }])
    );
}

#[test]
fn a_file_name_that_is_a_path_is_shown_with_the_reason_it_cannot_be_fetched() {
    let java = Original::start(joins);
    let ada = Instance::start("ada", &["--join", &java.address]);
    java.until("JOIN");
    ada.search("deep");
    for path in ["dir/deep.txt", "/home/me/deep.txt", "C:\\deep.txt"] {
        let heard = exchange(&ada.address, b"RESP", format!("{path} {}", java.address));
        let text = format!("Resp: file info added {path}").replace('\\', "\\\\");
        assert!(heard.ends_with(&text), "{heard}");
        let row = ada.until_file(|file| file["name"] == path);
        assert!(row["why_not"].as_str().unwrap().contains("path"), "{row}");
        let refused = ada.post("/api/fetch", &json!({"name": path}));
        assert!(refused.json()["error"].as_str().unwrap().contains("path"), "{refused:?}");
    }
    let (_, listed, _) = ada.subcommand(&["files"]);
    assert!(listed.contains("dir/deep.txt cannot be fetched: the name is a path"), "{listed}");
}

#[test]
fn a_file_that_does_not_fit_on_the_disk_waits_for_space_and_small_files_arrive() {
    let bob = Instance::start("bob", &[]);
    large_file(&bob.share().join("film.mkv"), 16);
    fs::write(bob.share().join("small.txt"), "small").unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    let small = tempfile::tempdir().unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(small.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]) {
        eprintln!("not tested: this user may not mount a small disk");
        return;
    }
    let downloads = small.path().join("d");
    fs::create_dir(&downloads).unwrap();
    // A leftover file of an earlier run is removed.
    let left = downloads.join(format!(".fileshare-part-{}", "0".repeat(64)));
    fs::write(&left, vec![7; 4 << 20]).unwrap();
    let options = ["--join", &bob.address, "--downloads", downloads.to_str().unwrap()];
    let ada = Instance::start_at("ada", &options);
    ada.until_peers(|ids| !ids.is_empty());
    ada.find("film.mkv", true);
    ada.find("small.txt", true);
    let mut events = ada.events();
    ada.fetch(&json!({"name": "film.mkv"}));
    let waits = events.wait("transfer", waits_for("it needs 16.78 MB in "));
    assert!(waits["waits"].as_str().unwrap().contains(downloads.to_str().unwrap()), "{waits}");
    let came = ada.fetched(&json!({"name": "small.txt"}));
    assert_eq!(came["state"], "done", "{came}");
    assert_eq!(names(&downloads), ["small.txt"], "no hidden file takes space");
    assert!(mount("mount", &["-o", "remount,size=64m"]));
    let ended = events.wait("transfer", |transfer| {
        transfer["name"] == "film.mkv" && transfer["state"] != "running"
    });
    assert_eq!((&ended["state"], &ended["waits"]), (&json!("done"), &Value::Null), "{ended}");
    assert!(same_content(&downloads.join("film.mkv"), &bob.share().join("film.mkv")));
    drop(ada);
    assert!(mount("umount", &[]));
}
