//! Searches, fetches and departures in a network of instances.

use std::fs;

use serde_json::json;

use crate::{Instance, ids, large_file, names, same_content};

/// Starts an instance that knows only its contact.
fn joined(id: &str, contact: &Instance) -> Instance {
    let node = Instance::start(id, &["--table-only", "--hops", "1", "--join", &contact.address]);
    node.until_peers(|ids| !ids.is_empty());
    node
}

#[test]
fn a_file_is_found_over_three_hops_and_fetched_with_its_digest() {
    let dave = Instance::start("dave", &[]);
    fs::write(dave.share().join("My Song.ogg"), "la la la").unwrap();
    assert_eq!(dave.post("/api/refresh", &json!({})).status, 200);
    let carol = joined("carol", &dave);
    let bob = joined("bob", &carol);
    let ada = joined("ada", &bob);
    assert_eq!(ids(&ada.get("/api/peers").json()), ["bob"]);
    // No node within two hops has the file.
    assert_eq!(ada.post("/api/search", &json!({"key": "my song", "ttl": 1})).status, 200);
    let found = ada.find("My Song.ogg", true);
    assert_eq!(found["owners"], json!(["dave"]));
    assert_eq!(
        (found["size"].as_u64(), found["digest"].as_str()),
        (Some(8), Some(&*blake3::hash(b"la la la").to_hex()))
    );

    let transfer = ada.fetched(&json!({"name": "My Song.ogg"}));
    assert_eq!(transfer["state"], "done", "{transfer}");
    assert_eq!(fs::read(ada.downloads().join("My Song.ogg")).unwrap(), b"la la la");
    assert_eq!(names(&ada.downloads()), ["My Song.ogg"]);
    // The fetched file is shared as well, so other nodes now find it two hops nearer.
    let here = ada.until_file(|file| file["name"] == "My Song.ogg" && file["local"] == true);
    assert_eq!(here["owners"], json!(["ada", "dave"]));
    bob.search("MY SONG");
    bob.until_file(|file| file["owners"].as_array().unwrap().contains(&json!("ada")));
}

#[test]
fn the_network_view_shows_which_nodes_know_each_other() {
    let carol = Instance::start("carol", &[]);
    let bob = joined("bob", &carol);
    let ada = joined("ada", &bob);
    let knows = ada.events().wait("peers", |network| {
        let knows = network["knows"].as_array().unwrap();
        knows.contains(&json!(["ada", "bob"])) && knows.contains(&json!(["bob", "carol"]))
    });
    assert_eq!(knows["nodes"][0], "ada");
    assert_eq!(knows["peers"][0]["speaks"], "links");
}

#[test]
fn a_fetch_continues_from_another_source_when_its_source_is_killed() {
    const MIB: u64 = 768;
    let [mut bob, carol] = ["bob", "carol"].map(|id| Instance::start(id, &[]));
    for owner in [&bob, &carol] {
        large_file(&owner.share().join("film.mkv"), MIB);
        assert_eq!(owner.post("/api/refresh", &json!({})).status, 200);
        owner.until_file(|file| file["digest"].is_string());
    }
    let ada = Instance::start("ada", &["--join", &bob.address, "--join", &carol.address]);
    ada.until_peers(|ids| ids.len() == 2);
    ada.search("film");
    ada.until_file(|file| {
        file["owners"].as_array().unwrap().len() == 2 && file["digest"].is_string()
    });

    let mut events = ada.events();
    ada.fetch(&json!({"name": "film.mkv"}));
    let moving = events.wait("transfer", |transfer| transfer["done"].as_u64() > Some(0));
    assert_eq!(moving["sources"].as_array().unwrap().len(), 2, "{moving}");
    bob.kill();
    assert!(
        moving["done"].as_u64() < Some(MIB << 20),
        "the fetch had completed before the kill: {moving}"
    );
    let ended = events.wait("transfer", |transfer| transfer["state"] != "running");
    assert_eq!(
        (&ended["state"], ended["done"].as_u64()),
        (&json!("done"), Some(MIB << 20)),
        "{ended}"
    );
    assert!(same_content(&ada.downloads().join("film.mkv"), &carol.share().join("film.mkv")));
    assert_eq!(names(&ada.downloads()), ["film.mkv"]);
    // The ping sweep detects the dead node.
    ada.until_peers(|ids| ids == ["carol"]);
}

#[test]
fn a_fetch_resumes_after_the_fetching_process_was_killed() {
    const MIB: u64 = 512;
    let bob = Instance::start("bob", &[]);
    large_file(&bob.share().join("film.mkv"), MIB);
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    bob.until_file(|file| file["digest"].is_string());
    let mut ada = joined("ada", &bob);
    ada.find("film.mkv", true);
    let mut events = ada.events();
    ada.fetch(&json!({"name": "film.mkv"}));
    let moving = events.wait("transfer", |transfer| transfer["done"].as_u64() > Some(64 << 20));
    assert!(
        moving["done"].as_u64() < Some(MIB << 20),
        "the fetch had completed before the kill: {moving}"
    );
    ada.kill();
    let left = names(&ada.downloads());
    assert!(left.len() == 1 && left[0].starts_with(".fileshare-part-"), "{left:?}");

    let ada = ada.again("ada", &["--join", &bob.address]);
    ada.until_peers(|ids| !ids.is_empty());
    assert_eq!(ada.get("/api/files").json(), json!([]), "an incomplete file is not shared");
    ada.find("film.mkv", true);
    let ended = ada.fetched(&json!({"name": "film.mkv"}));
    assert_eq!(ended["state"], "done", "{ended}");
    let came = ada.status()["bytes_in"].as_u64().unwrap();
    assert!(came < (MIB - 48) << 20, "parts that were stored were fetched again: {came}");
    assert!(same_content(&ada.downloads().join("film.mkv"), &bob.share().join("film.mkv")));
    assert_eq!(names(&ada.downloads()), ["film.mkv"]);
}

#[test]
fn a_leaving_node_notifies_its_peers_and_its_files_are_removed() {
    let bob = Instance::start("bob", &[]);
    let mut ada = joined("ada", &bob);
    fs::write(ada.share().join("a.txt"), "a").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    bob.find("a.txt", true);
    let mut events = bob.events();
    let (code, rest) = ada.interrupt();
    assert_eq!(code, Some(0));
    assert!(rest.contains("peers told: 1, exchanges aborted: 0"), "{rest}");
    let left = Instance::until_notice(&mut events, "peer removed");
    assert!(left["text"].as_str().unwrap().contains("it left"), "{left}");
    bob.until_peers(|ids| ids.is_empty());
    bob.events().wait("files", |files| *files == json!([]));
}

#[test]
fn a_removed_peer_is_notified_and_a_rebuild_drops_dead_peers() {
    let carol = Instance::start("carol", &[]);
    let mut bob = joined("bob", &carol);
    // The next sweep is far away, so only this request can drop a peer.
    let ada = Instance::start("ada", &["--ping-every", "3600", "--join", &bob.address]);
    ada.until_peers(|ids| ids.len() == 2);
    bob.kill();
    let rebuilt = ada.post("/api/rebuild", &json!({})).json();
    assert_eq!(rebuilt["peers"], 1, "{rebuilt}");
    assert_eq!(ids(&ada.get("/api/peers").json()), ["carol"]);
    let removed = ada.call("DELETE", "/api/peers/carol", &[], b"");
    assert_eq!(removed.status, 200, "{removed:?}");
    carol.until_peers(|ids| !ids.contains(&"ada"));
    assert_eq!(ada.call("DELETE", "/api/peers/carol", &[], b"").refusal().1, "not_found");
}

#[test]
fn a_repeated_search_finds_files_that_were_added_since() {
    let carol = Instance::start("carol", &[]);
    let bob = joined("bob", &carol);
    let ada = joined("ada", &bob);
    // The first search finds nothing. An answer to the second search shows that the first is over.
    fs::write(carol.share().join("other.txt"), "x").unwrap();
    assert_eq!(carol.post("/api/refresh", &json!({})).status, 200);
    ada.search("new.txt");
    ada.find("other.txt", true);
    fs::write(carol.share().join("new.txt"), "x").unwrap();
    assert_eq!(carol.post("/api/refresh", &json!({})).status, 200);
    ada.find("new.txt", true);
}

#[test]
fn an_existing_file_is_replaced_only_on_request() {
    let bob = Instance::start("bob", &[]);
    fs::write(bob.share().join("a.txt"), "new").unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    let ada = joined("ada", &bob);
    fs::write(ada.downloads().join("a.txt"), "mine").unwrap();
    ada.find("a.txt", true);
    let refused = ada.post("/api/fetch", &json!({"name": "a.txt"})).refusal();
    assert_eq!(refused, (409, "exists".into()));
    assert_eq!(fs::read(ada.downloads().join("a.txt")).unwrap(), b"mine");
    let ended = ada.fetched(&json!({"name": "a.txt", "replace": true}));
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(fs::read(ada.downloads().join("a.txt")).unwrap(), b"new");
}
