//! Searches, transfers and peers on the page.

use std::{cell::RefCell, fs};

use serde_json::{Value, json};

use super::{acquainted, browser::Browser, refresh, search};
use crate::{
    common::frames::frame,
    instance::Instance,
    originals::{Original, joins},
};

/// A program like the originals. `list` returns its `LIST` entry for the node that joined, by the
/// port of that node.
fn original(list: impl Fn(&str) -> Option<String> + Send + 'static) -> Original {
    let joined = RefCell::new(String::new());
    Original::start(move |me, code, text| match code {
        "JOIN" => {
            *joined.borrow_mut() = text.split(' ').next_back().unwrap().to_owned();
            joins(me, code, text)
        }
        "LIST" => match list(&joined.borrow()) {
            Some(entry) => [frame("REPL", "1"), frame("REPL", entry)].concat(),
            None => joins(me, code, text),
        },
        "QUER" => frame("REPL", "Query: ACK"),
        _ => joins(me, code, text),
    })
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_search_shows_the_matches_of_each_peer_and_that_more_may_arrive() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    let carol = Instance::start("carol", &["--join", &ada.address]);
    carol.events().wait("peers", |network| network["peers"].as_array().unwrap().len() == 2);
    for (instance, name) in [(&ada, "a song.ogg"), (&bob, "another song.ogg"), (&carol, "mine")] {
        fs::write(instance.share().join(name), name).unwrap();
        refresh(instance);
    }
    let page = Browser::start().await;
    page.open(&carol.url).await;
    page.see_text("#files", "mine").await;
    search(&page, "SONG").await;
    page.see_text(
        "#search-said",
        "2 files of others with “SONG”, from ada and bob so far. More may arrive.",
    )
    .await;
    assert_eq!(page.run("return document.querySelector('#filter').value").await, "");
    page.see_text("#files-count", "3 files").await;
    // A page that is opened later shows it as well.
    page.open(&carol.url).await;
    page.see_text("#search-said", "from ada and bob so far").await;
    page.click("#search-only").await;
    page.see_text("#files-count", "2 of 3 files").await;
    assert_eq!(page.run("return document.querySelector('#filter').value").await, "SONG");
    let searches = carol.get("/api/searches").json();
    assert_eq!(
        (&searches[0]["from"], &searches[0]["over"]),
        (&json!(["ada", "bob"]), &json!(false))
    );
    // A filter without a match says so, and how to show the files again.
    page.write("#filter", "s of nobody").await;
    page.see_text("#files-empty", "No file here has “SONGs of nobody” in its name").await;
    page.click("#files-empty button").await;
    page.see_text("#files-count", "3 files").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_search_without_an_answer_shows_that_it_ended_and_found_nothing() {
    let alone = Instance::start("alone", &[]);
    let page = Browser::start().await;
    page.open(&alone.url).await;
    search(&page, "song").await;
    page.see_text("#search-said", "There is no peer to ask for “song”: join a network first.")
        .await;

    let old = original(|_| None);
    // A query that is not forwarded ends first.
    let ada = Instance::start("ada", &["--join", &old.address, "--ttl", "0"]);
    ada.events().wait("peers", |network| network["peers"] != json!([]));
    page.open(&ada.url).await;
    search(&page, "song").await;
    page.see_text("#search-said", "Asking 1 peer for “song”. Nothing yet").await;
    page.see_text("#search-said", "Nothing found with “song”. 1 peer").await;
    page.see_text("#search-said", "the search is over").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_long_list_of_transfers_scrolls_and_is_cleared_singly_or_at_once() {
    const COUNT: usize = 25;
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    let name = |n: usize| format!("number {n}.txt");
    (0..COUNT).for_each(|n| fs::write(ada.share().join(name(n)), name(n)).unwrap());
    refresh(&ada);
    assert_eq!(bob.post("/api/search", &json!({ "key": "number" })).status, 200);
    bob.events().wait("files", |files| files.as_array().unwrap().len() == COUNT);
    for n in 0..COUNT {
        let number = bob.post("/api/fetch", &json!({ "name": name(n) })).json()["number"].clone();
        bob.events().wait("transfer", |it| it["number"] == number && it["state"] == "done");
    }
    let page = Browser::start().await;
    for (width, height, phone, below) in
        [(1280, 900, false, "#network-title"), (360, 740, true, "#files-title")]
    {
        page.size(width, height, 1.0, phone);
        page.open(&bob.url).await;
        page.see(&format!("return document.querySelectorAll('#transfers li').length === {COUNT}"))
            .await;
        let top = format!("return document.querySelector('{below}').getBoundingClientRect().top");
        let top = page.run(&top).await.as_f64().unwrap();
        assert!(top < f64::from(height), "{below} is at {top} of {height}");
        let inside = "const list = document.querySelector('#transfers');
                      return list.scrollHeight > list.clientHeight";
        assert_eq!(page.run(inside).await, true, "the list scrolls");
    }
    let other = Browser::start().await;
    other.open(&bob.url).await;
    other.see_text("#transfers-count", "25 ended").await;
    page.click("button[aria-label='Clear number 24.txt']").await;
    for page in [&page, &other] {
        page.see_text("#transfers-count", "24 ended").await;
        page.see("return !document.querySelector(\"button[aria-label='Clear number 24.txt']\")")
            .await;
    }
    assert_eq!(bob.get("/api/transfers").json().as_array().unwrap().len(), COUNT - 1);
    page.click("#transfers-clear").await;
    for page in [&page, &other] {
        page.see("return document.querySelector('#transfers-card').hidden").await;
    }
    assert_eq!(bob.get("/api/transfers").json(), json!([]));
    assert!(bob.downloads().join(name(24)).exists(), "clearing keeps the files");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn peers_are_shown_with_full_names_round_trip_times_and_explanations() {
    let name = format!("{}.example.org:49152", "workshop-of-the-house".repeat(2));
    let ada = Instance::start(&name, &[]);
    // An original that knows this node by another name.
    let old = original(|port| Some(format!("localhost:{port} localhost {port}")));
    let bob = Instance::start("bob", &["--join", &ada.address, "--join", &old.address]);
    let timed = |network: &Value| {
        let peers = network["peers"].as_array().unwrap();
        let classic = peers.iter().any(|peer| peer["speaks"] == "classic");
        classic && peers.len() == 2 && peers.iter().all(|peer| peer["round_trip_us"].is_u64())
    };
    let network = bob.events().wait("peers", timed);
    let nodes: Vec<&str> =
        network["nodes"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(!nodes.iter().any(|id| id.starts_with("localhost")), "{nodes:?}");
    assert!(
        network["knows"].as_array().unwrap().contains(&json!([old.address, "bob"])),
        "{network}"
    );
    let page = Browser::start().await;
    for (width, phone) in [(1280, false), (360, true)] {
        page.size(width, 900, 1.0, phone);
        page.open(&bob.url).await;
        page.see_text("#network-count", "3 nodes").await;
        page.see_text("#peers", &old.address).await;
        page.see("return [...document.querySelectorAll('#peers .trip')].every((trip) => /^(< 1|[\\d,]+) ms$/.test(trip.innerText))").await;
        let cut = page
            .run(
                "return [...document.querySelectorAll('#peers li')].flatMap((row) => {
                     const who = row.querySelector('b');
                     const words = new Range();
                     words.selectNodeContents(who);
                     const name = words.getBoundingClientRect();
                     const others = [...row.querySelectorAll('.speaks, .trip, button')].map((part) => part.getBoundingClientRect());
                     const covered = others.some((part) => Math.min(part.right, name.right) > Math.max(part.left, name.left) && Math.min(part.bottom, name.bottom) > Math.max(part.top, name.top));
                     return covered || who.scrollWidth > who.clientWidth || name.right > innerWidth ? [who.innerText] : [];
                 })",
            )
            .await;
        assert_eq!(cut, json!([]), "{width} wide");
        for (word, help) in
            [("fileshare", "one connection stays open"), ("original", "Python and Java")]
        {
            page.see_text("#peers", word).await;
            page.see_text(".peers-card .help", help).await;
        }
        page.see("return document.querySelector('#peers-help-unknown').hidden").await;
    }
}
