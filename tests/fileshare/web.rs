//! The HTTP API of the page, and the subcommands that use it.

use std::{fs, process::Stdio};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::instance::{Answer, Instance, LIMIT, has, program, subcommand, text};

// ---- access ----

#[test]
fn the_page_loads_only_the_programs_own_files() {
    let ada = Instance::start("ada", &[]);
    let page = ada.get("/");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    for path in [
        "/",
        "/app.js",
        "/app.css",
        "/dom.js",
        "/files.js",
        "/layout.js",
        "/names.js",
        "/network.js",
        "/search.js",
        "/transfers.js",
    ] {
        let asset = ada.get(path);
        assert_eq!(asset.status, 200, "{path}");
        let content = text(&asset.body).replace("http://www.w3.org/2000/svg", "");
        assert!(
            !content.contains("//www.") && !content.contains("http"),
            "{path} refers to another host"
        );
        assert!(!content.contains("innerHTML") && !content.contains("<script>"), "{path}");
    }
}

#[test]
fn a_foreign_host_name_that_resolves_to_this_machine_is_refused() {
    let ada = Instance::start("ada", &[]);
    let port = ada.web.rsplit(':').next().unwrap();
    let ask = |host: &str| ada.call("GET", "/api/status", &[&format!("Host: {host}")], b"").status;
    for host in ["localhost", "127.0.0.1", "127.5.6.7", "[::1]"] {
        assert_eq!(ask(&format!("{host}:{port}")), 200, "{host}");
        assert_eq!(ask(host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.0.2.1",
        "a@127.0.0.1",
        "[::1",
        "",
        "absent",
    ] {
        assert!([400, 403].contains(&ask(host)), "{host}");
    }
    let page = ada.call("GET", "/", &["Host: evil.example"], b"");
    assert_eq!(page.refusal(), (403, "refused".into()), "the page is refused as well");
}

#[test]
fn pages_of_other_origins_can_neither_change_nor_read_anything() {
    let ada = Instance::start("ada", &[]);
    let own = format!("Origin: http://{}", ada.web);
    let refresh = |headers: &[&str]| ada.call("POST", "/api/refresh", headers, b"");
    assert_eq!(refresh(&[]).status, 200, "a program without an `Origin` header is served");
    assert_eq!(
        refresh(&[&own, "Sec-Fetch-Site: same-origin"]).status,
        200,
        "the page itself is served"
    );
    for headers in [
        ["Origin: http://evil.example"].as_slice(),
        &["Origin: null"],
        &["Origin: https://127.0.0.1"],
        &["Origin: http://127.0.0.1:1"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &[&own, "Sec-Fetch-Site: cross-site"],
        &[&own, "Origin: http://evil.example"],
    ] {
        assert_eq!(refresh(headers).refusal(), (403, "refused".into()), "{headers:?}");
        let events = ada.call("GET", "/api/events", headers, b"");
        assert_eq!(events.refusal(), (403, "refused".into()), "{headers:?}");
    }
    // A form on any page can send this without a preflight request.
    let form =
        ada.call("POST", "/api/join", &["Content-Type: text/plain"], br#"{"address":"a:1"}"#);
    assert_eq!(form.refusal(), (415, "bad_request".into()));
}

#[test]
fn a_page_that_other_machines_can_reach_needs_a_long_token() {
    let folders = tempfile::tempdir().unwrap();
    for token in [&[][..], &["--token", "short"]] {
        let output = program()
            .args(["--listen", "127.0.0.1:0", "--web", "0.0.0.0:0"])
            .args(token)
            .env("XDG_RUNTIME_DIR", folders.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!([1, 2].contains(&output.status.code().unwrap()));
        let said = text(&output.stderr);
        assert!(said.contains("others can reach 0.0.0.0:0") && said.contains("--token"), "{said}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn the_metrics_need_the_same_access_as_the_api() {
    let ada = Instance::start("ada", &["--token", "correct horse & battery"]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    let bearer = "Authorization: Bearer correct horse & battery";
    let missing = "the program was built without `metrics`: cargo build --all-features --examples";
    let scrape = |headers: &[&str]| ada.call("GET", "/metrics", headers, b"");
    assert_eq!(scrape(&[]).refusal(), (401, "refused".into()), "{missing}");
    assert_eq!(scrape(&[bearer, "Origin: http://evil.example"]).status, 403);
    assert_eq!(scrape(&[bearer, "Host: evil.example"]).status, 403);
    bob.events().wait("peers", |network| network["peers"].as_array().unwrap().len() == 1);
    let answer = scrape(&[bearer]);
    assert_eq!(answer.status, 200, "{missing}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in ["# TYPE actix_peer_peers gauge\n", "actix_peer_peers 1\n", "{code=\"JOIN\""] {
        assert!(text(&answer.body).contains(line), "{line}: {}", text(&answer.body));
    }
}

#[test]
fn the_api_answers_only_callers_that_present_the_token() {
    let ada = Instance::start("ada", &["--token", "correct horse & battery"]);
    let status = |headers: &[&str]| ada.call("GET", "/api/status", headers, b"").status;
    assert_eq!(ada.get("/api/status").refusal(), (401, "refused".into()));
    assert_eq!(status(&["Authorization: Bearer wrong"]), 401);
    assert_eq!(status(&["Authorization: Bearer correct horse & battery"]), 200);
    assert_eq!(status(&["Cookie: fileshare-0=correct horse & battery"]), 401);

    // The printed address sets a cookie that does not contain the token.
    let entrance = ada.url.split_once(&ada.web).unwrap().1;
    assert!(entrance.starts_with("/?token="), "{entrance}");
    let page = ada.get(entrance);
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("horse"), "{cookie}");
    let cookie = format!("Cookie: other=1; {}", cookie.split(';').next().unwrap());
    assert_eq!(status(&[&cookie]), 200);
    assert_eq!(ada.get("/?token=wrong").header("set-cookie"), None);
    assert_eq!(status(&[&cookie, "Origin: http://evil.example"]), 403);

    // Subcommands of the same user find the token. Other users pass it as an option.
    assert_eq!(ada.json(&["status"])["id"], "ada");
    let elsewhere = tempfile::tempdir().unwrap();
    let ask = |token: &str| {
        let arguments = ["status", "--web", &ada.web, "--token", token];
        subcommand(elsewhere.path(), &arguments).status.code()
    };
    assert_eq!(ask("correct horse & battery"), Some(0));
    assert_eq!(ask("wrong"), Some(1));
}

// ---- refusals ----

#[test]
fn too_large_bodies_are_refused_before_they_are_read() {
    let ada = Instance::start("ada", &[]);
    let long = json!({ "key": "k".repeat(20_000) });
    assert_eq!(ada.post("/api/search", &long).refusal(), (413, "bad_request".into()));
    let announced = format!("Content-Length: {}", 5_u64 << 30);
    let huge = ada.call("POST", "/api/files?name=huge", &[&announced], b"");
    assert_eq!(huge.refusal(), (413, "bad_request".into()));
    assert_eq!(fs::read_dir(ada.downloads()).unwrap().count(), 0, "no data is stored");
}

#[test]
fn an_endless_body_is_refused_in_time() {
    use std::io::{BufReader, Write};
    let ada = Instance::start("ada", &[]);
    let head = |length: &str| {
        let json = "Content-Type: application/json";
        format!("POST /api/search HTTP/1.1\r\nHost: {}\r\n{json}\r\n{length}\r\n\r\n", ada.web)
    };
    let mut slow: Vec<_> =
        [head("Content-Length: 100") + "{", head("Transfer-Encoding: chunked") + "1\r\n{\r\n"]
            .iter()
            .map(|begin| {
                let mut stream = ada.connect();
                stream.write_all(begin.as_bytes()).unwrap();
                stream
            })
            .collect();
    for stream in slow.drain(..) {
        let answer = Answer::read(BufReader::new(stream.try_clone().unwrap()));
        assert_eq!(answer.refusal(), (408, "bad_request".into()));
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[test]
fn the_page_stays_available_with_six_hundred_endless_bodies_open() {
    use std::io::Write;
    let ada = Instance::start("ada", &[]);
    let never = |path: &str| {
        let mut stream = ada.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
            ada.web
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    // One call that waits for its body, and one that ignores it.
    let all: Vec<_> = ["/api/search", "/api/nothing"]
        .iter()
        .flat_map(|path| (0..300).map(|_| never(path)).collect::<Vec<_>>())
        .collect();
    assert_eq!(ada.get("/").status, 200);
    assert_eq!(ada.get("/api/status").status, 200);
    drop(all);
}

#[test]
fn requests_for_unknown_or_invalid_things_are_refused_with_a_reason() {
    let ada = Instance::start("ada", &[]);
    let not_found = (404, "not_found".to_owned());
    assert_eq!(ada.call("DELETE", "/api/peers/nobody", &[], b"").refusal(), not_found);
    assert_eq!(ada.post("/api/fetch", &json!({ "name": "nothing" })).refusal(), not_found);
    assert_eq!(ada.get("/api/nothing").refusal(), not_found);
    assert_eq!(ada.get("/../Cargo.toml").refusal(), not_found);
    assert_eq!(
        ada.post("/api/status", &json!({})).refusal(),
        not_found,
        "the method is not allowed"
    );
    let bad = |answer: Answer| {
        let (status, kind) = answer.refusal();
        assert_eq!((status, kind.as_str()), (400, "bad_request"), "{answer:?}");
    };
    bad(ada.post("/api/join", &json!({ "address": "nonsense" })));
    bad(ada.post("/api/join", &json!({ "nothing": 1 })));
    bad(ada.post("/api/search", &json!({ "key": "" })));
    bad(ada.call("POST", "/api/files", &[], b"no name"));
    let nobody = ada.post("/api/join", &json!({ "address": "127.0.0.1:1" }));
    assert_eq!(nobody.refusal(), (502, "unreachable".into()));
}

#[test]
fn an_added_file_is_complete_and_never_replaces_another_one() {
    let ada = Instance::start("ada", &[]);
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let added = ada.call("POST", "/api/files?name=many%20numbers.bin", &[], &content);
    assert_eq!(added.status, 201, "{}", text(&added.body));
    assert_eq!(added.json()["name"], "many numbers.bin");
    assert!(fs::read(ada.share().join("many numbers.bin")).unwrap() == content);
    let again = ada.call("POST", "/api/files?name=many%20numbers.bin", &[], b"other");
    assert_eq!(again.refusal(), (409, "exists".into()));
    assert!(fs::read(ada.share().join("many numbers.bin")).unwrap() == content);
    for name in ["..", "a/b", "..%2F..%2Fetc%2Fpasswd", "%00", "a%0Ab", ""] {
        let answer = ada.call("POST", &format!("/api/files?name={name}"), &[], b"x");
        assert_eq!(answer.refusal(), (400, "bad_request".into()), "{name}");
    }
    assert_eq!(fs::read_dir(ada.downloads()).unwrap().count(), 0, "no temporary file is left");
}

// ---- events ----

#[test]
fn events_begin_with_a_snapshot_and_report_each_change() {
    let ada = Instance::start("ada", &[]);
    let mut events = ada.events();
    assert_eq!(events.status, 200);
    let first: Vec<_> = std::iter::from_fn(|| events.next()).take(4).collect();
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["status", "peers", "files", "transfers"]);
    assert_eq!(first[0].1["id"], "ada");
    assert_eq!(first[0].1["web"], format!("http://{}/", ada.web));
    assert_eq!(first[1].1["peers"], json!([]));

    assert_eq!(ada.call("POST", "/api/files?name=news.txt", &[], b"news").status, 201);
    events.wait("files", |files| has(files, "news.txt"));
    let bob = Instance::start("bob", &["--join", &ada.address]);
    events.wait("peers", |network| network["peers"][0]["id"] == "bob");
    drop(bob);
}

#[test]
fn listeners_receive_the_events_of_a_search_from_its_beginning_to_its_end() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join("a song.ogg"), "la").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    let mut events = bob.events();
    let acquainted = ada.events().wait("peers", |network| network["peers"][0]["id"] == "bob");
    assert_eq!(acquainted["nodes"], json!(["ada", "bob"]));
    events.wait("peers", |network| network["peers"][0]["id"] == "ada");
    let begun = bob.post("/api/search", &json!({ "key": "SONG" })).json();
    assert_eq!((&begun["key"], &begun["asked"]), (&json!("SONG"), &json!(1)));
    let found = events.wait("search", |search| search["files"] == 1);
    assert_eq!(
        (&found["number"], &found["from"], &found["over"]),
        (&begun["number"], &json!(["ada"]), &json!(false))
    );
    // A listener that connects later receives the search as well.
    bob.events().wait("search", |search| search["number"] == begun["number"]);
    assert_eq!(bob.get("/api/searches").json(), json!([found]));
    // Without peers the search ends at once.
    let carol = Instance::start("carol", &[]);
    let alone = carol.post("/api/search", &json!({ "key": "song" })).json();
    assert_eq!((&alone["asked"], &alone["over"]), (&json!(0), &json!(true)));
}

#[test]
fn clearing_ended_transfers_reaches_every_listener_and_keeps_the_files() {
    let ada = Instance::start("ada", &[]);
    for name in ["one.txt", "two.txt", "three.txt"] {
        fs::write(ada.share().join(name), name).unwrap();
    }
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    let mut events = bob.events();
    events.wait("peers", |network| network["peers"][0]["id"] == "ada");
    assert_eq!(bob.post("/api/search", &json!({ "key": ".txt" })).status, 200);
    events.wait("files", |files| files.as_array().unwrap().len() == 3);
    for name in ["one.txt", "two.txt", "three.txt"] {
        assert_eq!(bob.post("/api/fetch", &json!({ "name": name })).status, 200);
        events.wait("transfer", |it| it["name"] == name && it["state"] == "done");
    }
    let clear = |path: &str| bob.call("DELETE", path, &[], b"");
    assert_eq!(clear("/api/transfers/2").status, 200);
    events.wait("transfers", |numbers| *numbers == json!([3, 1]));
    assert_eq!(clear("/api/transfers/2").refusal(), (404, "not_found".into()));
    assert_eq!(clear("/api/transfers/two").refusal(), (400, "bad_request".into()));
    assert_eq!(clear("/api/transfers").status, 200);
    events.wait("transfers", |numbers| *numbers == json!([]));
    assert_eq!(bob.get("/api/transfers").json(), json!([]));
    assert!(bob.downloads().join("two.txt").exists());
}

#[test]
fn the_number_of_listeners_is_bounded_and_a_leaving_listener_frees_its_permit() {
    let ada = Instance::start("ada", &[]);
    let mut listeners = Vec::new();
    for _ in 0..64 {
        let mut listener = ada.events();
        assert_eq!(listener.status, 200);
        listener.next().expect("a snapshot");
        listeners.push(listener);
    }
    assert_eq!(ada.get("/api/events").refusal(), (503, "busy".into()));
    assert_eq!(ada.get("/api/status").status, 200, "other calls are answered");
    drop(listeners);
    // The server sees the ends of the streams in no fixed order, so the test polls.
    let began = Instant::now();
    while ada.events().status != 200 {
        assert!(began.elapsed() < LIMIT, "no listener's permit is freed");
    }
}

#[test]
fn a_stopping_instance_ends_its_event_streams_and_removes_its_runtime_file() {
    let mut ada = Instance::start("ada", &[]);
    let mut events = ada.events();
    events.next().expect("a snapshot");
    let folder = ada.run().join("actix-peer-fileshare");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let (code, _) = ada.interrupt();
    assert_eq!(code, Some(0));
    while events.next().is_some() {}
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

// ---- subcommands ----

#[test]
fn subcommands_find_the_only_instance_and_list_several() {
    let user = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        let output = subcommand(user.path(), arguments);
        let code = output.status.code().unwrap();
        (code, text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (code, _, said) = ask(&["status"]);
    assert_eq!(code, 1);
    assert!(said.starts_with("no node of this user is running"), "{said}");

    let mut ada = Instance::start_with(user.path(), "ada", &[]);
    let (code, status, _) = ask(&["status"]);
    assert_eq!(code, 0);
    assert!(status.contains("id         ada\n"), "{status}");
    assert!(status.contains(&format!("address    {}\n", ada.address)), "{status}");

    let bob = Instance::start_with(user.path(), "bob", &[]);
    let (code, _, said) = ask(&["peers"]);
    assert_eq!(code, 1);
    for (instance, id) in [(&ada, "ada"), (&bob, "bob")] {
        let line = format!("--web {}  (node {id} at {})", instance.web, instance.address);
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(ask(&["peers", "--web", &bob.web]).0, 0);
    let (_, _, said) = ask(&["peers", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["kind"], "bad_request");

    // A killed instance leaves its file behind. Subcommands do not use that file.
    ada.kill();
    let (code, status, said) = ask(&["status"]);
    assert_eq!(code, 0, "{said}");
    assert!(status.contains("id         bob\n"), "{status}");
}

#[test]
fn subcommands_join_search_fetch_and_leave() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &[]);
    let content = "la ".repeat(100_000);
    fs::write(ada.share().join("Song of ada.txt"), &content).unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);

    let (code, said, errors) = bob.subcommand(&["join", &ada.address]);
    assert_eq!((code, said.as_str()), (0, "1 new peer, 1 peer known\n"), "{errors}");
    let (_, peers, _) = bob.subcommand(&["peers"]);
    assert!(peers.starts_with("ID   ADDRESS"), "{peers}");
    assert!(peers.contains(&format!("ada  {}  ", ada.address)), "{peers}");
    assert_eq!(bob.json(&["peers"])["peers"][0]["id"], "ada");

    let (code, found, _) = bob.subcommand(&["search", "SONG", "--wait", "3"]);
    assert_eq!(code, 0);
    assert!(found.contains("Song of ada.txt  300.00 kB  ada\n"), "{found}");
    let found = bob.json(&["search", "song", "--wait", "0.5"]);
    assert_eq!(found[0]["owners"], json!(["ada"]));
    let (code, nothing, _) = bob.subcommand(&["search", "no such name", "--wait", "0.1"]);
    assert_eq!(code, 0);
    assert!(nothing.starts_with("nothing found for \"no such name\""), "{nothing}");

    let (code, said, errors) = bob.subcommand(&["fetch", "Song of ada.txt"]);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("Song of ada.txt") && said.contains("from ada"), "{said}");
    assert!(fs::read_to_string(bob.downloads().join("Song of ada.txt")).unwrap() == content);
    let (code, _, errors) = bob.subcommand(&["fetch", "Song of ada.txt"]);
    assert_eq!(code, 1);
    assert!(errors.contains("--replace"), "{errors}");
    let again = bob.json(&["fetch", "Song of ada.txt", "--from", "ada", "--replace"]);
    assert_eq!((again["state"].as_str(), again["done"].as_u64()), (Some("done"), Some(300_000)));
    let (code, _, errors) = bob.subcommand(&["fetch", "nothing"]);
    assert_eq!(code, 1);
    assert!(!errors.is_empty());
    let (_, files, _) = bob.subcommand(&["files"]);
    assert!(files.contains("Song of ada.txt  300.00 kB"), "{files}");

    assert_eq!(bob.subcommand(&["leave", "ada"]).1, "left ada\n");
    assert_eq!(bob.json(&["peers"])["peers"], json!([]));
    let (code, _, errors) = bob.subcommand(&["leave", "ada"]);
    assert_eq!(code, 1);
    assert!(errors.contains("ada"), "{errors}");
}

#[test]
fn a_fetch_whose_instance_is_killed_fails_with_the_reason() {
    let ada = Instance::start("ada", &[]);
    let mut bob = Instance::start("bob", &["--join", &ada.address]);
    let hidden = ada.share().join(".film");
    fs::File::create(&hidden).unwrap().set_len(8 << 30).unwrap();
    fs::rename(hidden, ada.share().join("film.mp4")).unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let mut events = bob.events();
    events.wait("peers", |network| network["peers"] != json!([]));
    ada.events().wait("files", |files| has(files, "film.mp4"));
    assert_eq!(bob.post("/api/search", &json!({ "key": "film" })).status, 200);
    events.wait("files", |files| has(files, "film.mp4"));
    let fetch = program()
        .args(["fetch", "film.mp4"])
        .env("XDG_RUNTIME_DIR", bob.run())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    events.wait("transfer", |transfer| transfer["state"] == "running");
    bob.kill();
    let output = fetch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no answer from http://"), "{}", text(&output.stderr));
}
