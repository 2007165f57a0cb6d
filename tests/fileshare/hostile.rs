//! Attacks of remote peers on the file-sharing program.

use std::{fs, net::TcpListener, os::unix::fs::symlink, time::Duration};

use actix::prelude::Actor;
use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler};
use serde_json::{Value, json};

use crate::{
    Instance,
    common::frames::frame,
    names,
    originals::{Original, exchange, joins},
};

const NOT_FOUND: &str = r"ERRO\x00\x00\x00\x0eFile not found";

#[test]
fn nothing_outside_the_shared_folders_can_be_fetched() {
    let ada = Instance::start("ada", &[]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), ada.share().join("link")).unwrap();
    symlink(outside.path(), ada.share().join("folder")).unwrap();
    symlink("/proc/self/environ", ada.share().join("magic")).unwrap();
    fs::write(ada.share().join(".hidden"), "secret").unwrap();
    fs::create_dir(ada.share().join("inner")).unwrap();
    fs::write(ada.share().join("inner/secret"), "secret").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    assert_eq!(ada.get("/api/files").json(), json!([]));
    let absolute = outside.path().join("secret");
    for name in [
        "../run",
        "..",
        ".",
        "",
        "/etc/passwd",
        absolute.to_str().unwrap(),
        "../../../../../../etc/passwd",
        "..\\..\\etc\\passwd",
        "inner/secret",
        "folder/secret",
        "./link",
        "link",
        "magic",
        "folder",
        "inner",
        ".hidden",
        "a\0b",
        "%2e%2e%2fsecret",
        "con",
    ] {
        assert_eq!(exchange(&ada.address, b"FGET", name), NOT_FOUND, "{name:?}");
        assert_eq!(exchange(&ada.address, b"FINF", name), NOT_FOUND, "{name:?}");
    }
    assert_eq!(exchange(&ada.address, b"FGET", [0xff, 0xfe]), NOT_FOUND);
    assert_eq!(exchange(&ada.address, b"FGET", vec![b'x'; 100_000]), NOT_FOUND);
}

#[test]
fn missing_files_and_forbidden_files_are_refused_in_the_same_words() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join(".hidden"), "secret").unwrap();
    symlink("/etc/hostname", ada.share().join("link")).unwrap();
    for name in ["no such file", ".hidden", "link", "../share/.hidden", "/etc/hostname", "\0"] {
        for code in [b"FGET", b"FINF"] {
            assert_eq!(exchange(&ada.address, code, name), NOT_FOUND, "{name:?}");
        }
    }
}

#[test]
fn a_response_is_accepted_about_the_senders_own_files_or_after_a_query() {
    let ada = Instance::start("ada", &[]);
    let respond = |text: &str| exchange(&ada.address, b"RESP", text);
    let not_asked = r"ERRO\x00\x00\x00\x13Resp: not asked for";
    // Not asked for, and about the files of another peer.
    assert_eq!(respond("song.ogg 127.0.0.2:9"), not_asked);
    ada.search("s");
    // A name that is not valid on this machine is only shown, as a name that cannot be fetched.
    for name in ["../s", "/etc/passwd", ".ssh", "a/s", "s\u{202e}", "aux.s", "s\0t"] {
        assert!(respond(&format!("{name} 127.0.0.1:9")).starts_with("REPL"), "{name:?}");
        let refused = ada.post("/api/fetch", &json!({ "name": name }));
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{name:?}");
    }
    let shown = ada.get("/api/files").json();
    for row in shown.as_array().unwrap() {
        assert!(row["why_not"].is_string(), "{row}");
        assert!(!row["name"].as_str().unwrap().contains(['\0', '\u{202e}']), "{row}");
    }
    for owner in ["nobody", "0.0.0.0:9", "127.0.0.1:0", "224.0.0.1:9", &ada.address] {
        let heard = respond(&format!("s.ogg {owner}"));
        assert_eq!(heard, r"ERRO\x00\x00\x00\x19Resp: incorrect arguments", "{owner:?}");
    }
    assert_eq!(respond("other 127.0.0.2:9"), not_asked);
    assert_eq!(ada.get("/api/files").json(), shown);
    // The answers to one search are limited. A program on this machine may list any number of its
    // own files; other hosts have a limit.
    let taken = |host: &str| {
        (0..80).filter(|n| respond(&format!("s{n} {host}:9")).starts_with("REPL")).count()
    };
    assert_eq!(taken("127.0.0.2") + shown.as_array().unwrap().len(), 64);
    assert_eq!(taken("127.0.0.1"), 80);
}

#[test]
fn a_flood_of_queries_causes_few_connections_to_the_address_that_they_name() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join("abcdefghijklmnopqrstuvwxyz"), "x").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let victim = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = victim.local_addr().unwrap();
    // Each query is accepted, because it comes from this machine, and matches.
    for key in 'a'..='z' {
        let heard = exchange(&ada.address, b"QUER", format!("{to} {key} 7"));
        assert_eq!(heard, r"REPL\x00\x00\x00\nQuery: ACK");
    }
    // The victim never answers. Its connections are counted.
    let (count, counted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in victim.incoming() {
            drop(stream);
            if count.send(()).is_err() {
                return;
            }
        }
    });
    let dials = std::iter::from_fn(|| counted.recv_timeout(Duration::from_millis(1_500)).ok());
    let dials = dials.count();
    assert!((1..=3).contains(&dials), "{dials} connections to an address that a query named");
}

/// Fetches from an original that answers `FGET` with these bytes. Returns how the transfer ends.
fn fetched_from(reply: Vec<u8>) -> (String, Value) {
    let original = Original::start(move |me, code, text| match code {
        "FGET" => reply.clone(),
        _ => joins(me, code, text),
    });
    let ada = Instance::start("ada", &[]);
    let ended = ada.fetched(&json!({"name": "a.bin", "from": original.address}));
    assert_eq!(ended["state"], "failed", "{ended}");
    assert_eq!(names(&ada.downloads()), [""; 0], "no file is left");
    assert_eq!(ada.get("/api/files").json(), json!([]));
    let error = ended["error"].as_str().unwrap().replace(&original.address, "PEER");
    (error, ended)
}

#[test]
fn a_wrong_reply_of_a_classic_peer_is_a_clear_error_and_leaves_no_file() {
    let short = [b"REPL\0\0\0\x64".as_slice(), &[7; 50]].concat();
    assert!(fetched_from(short).0.starts_with("PEER sent less than it announced"));
    let large = [b"REPL\0\x20\0\0".as_slice(), &[7; 1 << 20]].concat();
    assert!(fetched_from(large).0.starts_with("PEER sent less than it announced"));
    let long = [frame(b"REPL", "ten bytes."), frame(b"REPL", "and more")].concat();
    assert_eq!(fetched_from(long).0, "PEER sent more than it announced");
    assert_eq!(fetched_from(Vec::new()).0, "PEER closed the connection without an answer");
    let said = fetched_from(frame(b"ERRO", "File\nnot\x1b[31m found")).0;
    assert_eq!(said, "PEER does not send the file: Filenot[31m found");
    let said = fetched_from(b"REP".to_vec()).0;
    assert!(said.starts_with("the connection with PEER broke"), "{said}");
}

/// A node that announces `content` and sends `parts` instead.
fn liar(content: &'static [u8], parts: &'static [u8]) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix::System::new().block_on(async move {
            let info = handler::from_fn(async move |_: Incoming| {
                let (len, digest) = (content.len(), blake3::hash(content).to_hex());
                Reply::one(Frame::text("REPL", format!("{len} {digest} mallory")))
            });
            let get =
                handler::from_fn(async move |_: Incoming| Reply::one(Frame::new("REPL", parts)));
            let node = Peer::builder()
                .id("mallory")
                .well_known()
                .handle("FINF", info.start())
                .unwrap()
                .handle("FGRC", get.start())
                .unwrap()
                .start()
                .await
                .unwrap();
            tell.send(node.info().address().to_string()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    told.recv().unwrap()
}

#[test]
fn data_that_does_not_match_its_digest_is_never_kept() {
    for (parts, why) in [
        (b"good datA".as_slice(), "data that does not match the digest"),
        (b"good dat", "less than it announced"),
        (b"good data and more", "more than it announced"),
        (b"", "less than it announced"),
    ] {
        let mallory = liar(b"good data", parts);
        let ada = Instance::start("ada", &[]);
        let ended = ada.fetched(&json!({"name": "a.bin", "from": mallory}));
        let error = ended["error"].as_str().unwrap();
        assert!(ended["state"] == "failed" && error.contains(why), "{ended}");
        assert!(error.contains("mallory"), "{error}");
        assert!(!ada.downloads().join("a.bin").exists());
        assert_eq!(ada.get("/api/files").json(), json!([]));
    }
}

#[test]
fn a_source_of_wrong_data_is_dropped_and_an_honest_one_completes_the_fetch() {
    let bob = Instance::start("bob", &[]);
    fs::write(bob.share().join("a.bin"), "good data").unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    bob.until_file(|file| file["digest"].is_string());
    let ada = Instance::start("ada", &["--join", &bob.address]);
    ada.until_peers(|ids| ids == ["bob"]);
    // The lying source becomes known first.
    let mallory = liar(b"good data", b"bad  data");
    ada.search("a.b");
    let added = exchange(&ada.address, b"RESP", format!("a.bin {mallory}"));
    assert!(added.starts_with("REPL"), "{added}");
    ada.until_file(|file| file["owners"].as_array().unwrap().len() == 2);
    let ended = ada.fetched(&json!({"name": "a.bin"}));
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(fs::read(ada.downloads().join("a.bin")).unwrap(), b"good data");
}

#[test]
fn a_fetch_fails_when_its_file_changes_meanwhile() {
    let bob = Instance::start("bob", &[]);
    let file = bob.share().join("film.mkv");
    crate::large_file(&file, 512);
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    let ada = Instance::start("ada", &["--join", &bob.address]);
    ada.until_peers(|ids| ids == ["bob"]);
    ada.find("film.mkv", true);
    let mut events = ada.events();
    ada.fetch(&json!({"name": "film.mkv"}));
    events.wait("transfer", |transfer| transfer["done"].as_u64() > Some(0));
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 20).unwrap();
    let ended = events.wait("transfer", |transfer| transfer["state"] != "running");
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("bob: File has changed"), "{ended}");
    assert!(!ada.downloads().join("film.mkv").exists());
    assert_eq!(bob.status()["peers"], 1, "the program keeps its peer");
}
