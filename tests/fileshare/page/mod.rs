//! The page of the program in a real browser. Run these tests with
//! `cargo test --test fileshare page:: -- --ignored`.
//!
//! They need Debian's `chromium` and `chromium-driver`. With `FILESHARE_SCREENSHOT=PATH` one of the
//! tests writes the screenshot for the README.
//!
//! - `lists`: searches, transfers and peers on the page.
//! - `network`: the picture of the network.
//!
//! `browser` drives Chromium.

mod browser;
mod lists;
mod network;

use std::{fs, path::Path};

use fantoccini::key::Key;
use serde_json::json;

use self::browser::Browser;
use crate::instance::{Instance, has};

/// The rows of the table of files.
const ROWS: &str = "[...document.querySelectorAll('#files tr')]";

/// Creates a file that is large enough to observe its transfer. It is sparse, so it takes no space.
fn large_file(path: &Path, len: u64) {
    // Hidden until it is complete: the program may read the folder at any time.
    let hidden = path.with_file_name(".large");
    fs::File::create(&hidden).unwrap().set_len(len).unwrap();
    fs::rename(hidden, path).unwrap();
}

/// Reads the shared folder again, and waits until every digest is known.
fn refresh(instance: &Instance) {
    assert_eq!(instance.post("/api/refresh", &json!({})).status, 200);
    instance.events().wait("files", |files| {
        let files = files.as_array().unwrap();
        files.iter().all(|file| file["local"] == false || file["digest"].is_string())
    });
}

/// Searches as a user does.
async fn search(page: &Browser, key: &str) {
    page.write("#search-key", key).await;
    page.click("#search button").await;
}

/// Waits until both instances know each other.
fn acquainted(one: &Instance, other: &Instance) {
    for instance in [one, other] {
        instance.events().wait("peers", |network| network["peers"] != json!([]));
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_file_added_on_one_page_is_found_and_fetched_on_another() {
    const LEN: u64 = 256 << 20;
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("a long film.mp4");
    large_file(&original, LEN);

    let page = Browser::start().await;
    page.open(&ada.url).await;
    page.write("#add-input", original.to_str().unwrap()).await;
    page.see_text("#files-said", "a long film.mp4 is shared now").await;
    page.see_text("#files", "a long film.mp4").await;
    page.see_text("#files tr .owner", "here").await;
    refresh(&ada);

    page.open(&bob.url).await;
    search(&page, "LONG").await;
    page.see_text("#files tr", "a long film.mp4").await;
    page.see_text("#files tr .owner", "ada").await;
    page.see_text("#search-said", "1 file of others with “LONG”, from ada so far").await;

    // Every state of the progress bar, from before the click.
    page.run(
        "window.states = [];
         const look = () => {
             const row = document.querySelector('.transfer');
             if (row) states.push([row.className, row.querySelector('progress').value, row.innerText]);
         };
         new MutationObserver(look).observe(document.querySelector('#transfers'),
             { subtree: true, childList: true, attributes: true, characterData: true });",
    )
    .await;
    page.click("button[aria-label='Fetch a long film.mp4']").await;
    page.see("return document.querySelector('.transfer.done')").await;
    let states = page.run("return states").await;
    let between = states.as_array().unwrap().iter().filter(|state| {
        let value = state[1].as_f64().unwrap_or(0.0);
        value > 0.0 && value < 1.0
    });
    let seen: Vec<_> = between.collect();
    assert!(!seen.is_empty(), "the page showed no progress: {states}");
    assert!(seen.iter().any(|state| state[2].as_str().unwrap().contains("MB/s")), "{seen:?}");
    page.see_text("#files tr .owner", "here").await;
    assert_eq!(fs::metadata(bob.downloads().join("a long film.mp4")).unwrap().len(), LEN);
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_removed_peer_disappears_from_the_page_and_the_node() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    let page = Browser::start().await;
    page.open(&bob.url).await;
    page.see_text("#peers", "ada").await;
    page.see("return document.querySelectorAll('#network .node').length === 2").await;
    page.click("button[aria-label='Remove ada']").await;
    page.see("return document.querySelectorAll('#peers li').length === 0").await;
    page.see_text("#peers-empty", &format!("--join {}", bob.address)).await;
    assert_eq!(page.focus().await, "Peers", "the focus moves when its row is removed");
    assert_eq!(bob.json(&["peers"])["peers"], json!([]));
    // The removed peer was notified, so it forgets the node as well.
    ada.events().wait("peers", |network| network["peers"] == json!([]));
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn an_error_is_shown_where_it_happens() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    fs::write(ada.share().join("notes.txt"), "new notes").unwrap();
    refresh(&ada);
    fs::write(bob.downloads().join("notes.txt"), "old notes").unwrap();
    let page = Browser::start().await;
    page.open(&bob.url).await;

    // At the form, which keeps its text and the focus.
    page.write("#join-address", "127.0.0.1:1").await;
    page.click("#join button").await;
    page.see("return document.querySelector('#join-said.bad').innerText.includes('127.0.0.1:1')")
        .await;
    page.see("return document.querySelector('#join-address[aria-invalid=true]')").await;
    assert_eq!(page.focus().await, "Join a network");
    page.click("#search button").await;
    page.see_text("#search-said.bad", "Type a part of the name").await;

    // At the row of the file that is being added.
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken.txt");
    fs::write(&taken, "one").unwrap();
    fs::write(bob.share().join("taken.txt"), "another").unwrap();
    refresh(&bob);
    page.write("#add-input", taken.to_str().unwrap()).await;
    page.see_text("#uploads li", "Not added").await;
    assert_eq!(fs::read_to_string(bob.share().join("taken.txt")).unwrap(), "another");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_file_is_replaced_only_after_a_confirmation_in_its_row() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    fs::write(ada.share().join("notes.txt"), "new notes").unwrap();
    refresh(&ada);
    let page = Browser::start().await;
    page.open(&bob.url).await;
    search(&page, "notes").await;
    page.see_text("#files tr", "notes.txt").await;
    // The file appears in the downloads, and the node has not seen it yet.
    fs::write(bob.downloads().join("notes.txt"), "old notes").unwrap();
    page.click("button[aria-label='Fetch notes.txt']").await;
    page.see_text("#files tr .asked", "Replace it").await;
    assert_eq!(fs::read_to_string(bob.downloads().join("notes.txt")).unwrap(), "old notes");
    page.click("#files tr .asked button").await;
    page.see("return document.querySelector('.transfer.done')").await;
    assert_eq!(fs::read_to_string(bob.downloads().join("notes.txt")).unwrap(), "new notes");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn every_control_is_reachable_named_and_usable_by_keyboard() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    let carol = Instance::start("carol", &[]);
    acquainted(&ada, &bob);
    fs::write(ada.share().join("song.ogg"), "la").unwrap();
    refresh(&ada);
    let page = Browser::start().await;
    page.open(&bob.url).await;
    page.see_text("#peers", "ada").await;

    page.click("#search-key").await;
    page.type_text("song").await;
    page.press(Key::Enter).await;
    page.see_text("#files tr", "song.ogg").await;
    page.run("document.activeElement.blur(); window.getSelection().removeAllRanges()").await;
    page.open(&bob.url).await;
    page.see_text("#files", "song.ogg").await;
    page.see_text("#peers", "ada").await;
    let mut reached = Vec::new();
    loop {
        page.press(Key::Tab).await;
        let name = page.focus().await;
        let ring = page.run("return getComputedStyle(document.activeElement).outlineStyle").await;
        let hidden = page.run("return document.activeElement.type === 'radio'").await;
        assert!(!name.is_empty(), "an element has no name, after {reached:?}");
        assert!(ring == "solid" || hidden == true, "{name} shows no focus");
        reached.push(name);
        if reached.last().is_some_and(|name| name == "Join a network") || reached.len() > 60 {
            break;
        }
    }
    let expected = [
        "Skip to the files",
        "Search the network",
        "Search",
        "Refresh",
        "Add file",
        "Show only names with",
        "All",
        "Name",
        "Size",
        "Owner",
        "Fetch song.ogg",
        "Rebuild",
        "Remove ada",
        "Join a network",
    ];
    // Other files may be listed as well; these come in this order.
    let mut rest = reached.iter();
    for name in expected {
        assert!(rest.any(|reached| reached == name), "{name} is not reached in order: {reached:?}");
    }
    page.type_text(&carol.address).await;
    page.press(Key::Enter).await;
    page.see_text("#peers", "carol").await;
    page.see_text("#join-said", "1 new peer").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn names_from_the_network_are_shown_as_plain_text() {
    const NAME: &str = "<img src=x onerror=document.title='owned'><b>bold.txt";
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    fs::write(ada.share().join(NAME), "x").unwrap();
    refresh(&ada);
    let page = Browser::start().await;
    page.open(&bob.url).await;
    search(&page, "<b>bold").await;
    page.see_text("#files tr .name", NAME).await;
    page.click("#files tr .fetch").await;
    page.see("return document.querySelector('.transfer.done')").await;
    page.see_text(".transfer", NAME).await;
    assert_eq!(page.run("return document.querySelectorAll('main img, main b b').length").await, 0);
    assert_eq!(page.run("return document.title").await, "bob · fileshare");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_transfer_shows_what_it_waits_for_and_is_cancelled_by_its_button() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    fs::write(ada.share().join("film.mp4"), "x").unwrap();
    refresh(&ada);
    let page = Browser::start().await;
    page.open(&bob.url).await;
    search(&page, "film").await;
    page.see_text("#files tr .name", "film.mp4").await;
    ada.signal("STOP");
    page.click("#files tr .fetch").await;
    // Meanwhile a file in the folder that is not shared is listed with the reason.
    fs::create_dir(bob.share().join("inner")).unwrap();
    assert_eq!(bob.post("/api/refresh", &json!({})).status, 200);
    page.see_text("#left-out", "such as “inner”: only regular files are shared").await;
    page.see_text(".transfer.running .second", "ada does not answer").await;
    page.click(".transfer .cancel").await;
    page.see_text(".transfer.cancelled .figures", "cancelled").await;
    page.see_text("#files tr .get", "Fetch").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn the_page_reports_that_the_program_is_gone_and_recovers_with_it() {
    let user = tempfile::tempdir().unwrap();
    let mut ada = Instance::start_with(user.path(), "ada", &[]);
    let page = Browser::start().await;
    page.open(&ada.url).await;
    page.see_text("#own-id", "ada").await;
    ada.kill();
    page.see_text("#connection.offline", "offline").await;
    page.click("#refresh").await;
    page.see_text("#files-said.bad", "does not answer").await;
    let _again = Instance::start_with(user.path(), "ada-again", &["--web", &ada.web]);
    page.see_text("#connection.live", "live").await;
    page.see_text("#own-id", "ada-again").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn ten_thousand_files_are_filtered_and_sorted_without_delay() {
    let ada = Instance::start("ada", &[]);
    for number in 0..10_000 {
        let name = format!("file {number:05}.txt");
        fs::write(ada.share().join(name), number.to_string()).unwrap();
    }
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    ada.events().wait("files", |files| files.as_array().unwrap().len() >= 10_000);
    let page = Browser::start().await;
    page.open(&ada.url).await;
    page.see_text("#files-count", "10,000 files").await;
    let rows = page.run(&format!("return {ROWS}.length")).await;
    assert_eq!(rows, 50, "only the visible rows are drawn");
    let took = page
        .run(
            "const began = performance.now();
             const filter = document.querySelector('#filter');
             filter.value = '0999';
             filter.dispatchEvent(new Event('input'));
             document.querySelector('[data-sort=size]').click();
             document.body.offsetHeight;
             return performance.now() - began",
        )
        .await;
    assert!(took.as_f64().unwrap() < 500.0, "{took} ms");
    // `file 00999`, and `09990` to `09999`.
    page.see_text("#files-count", "11 of 10,000 files").await;
    page.run("const filter = document.querySelector('#filter'); filter.value = ''; filter.dispatchEvent(new Event('input'))").await;
    page.click("#page-on").await;
    page.see_text("#page-range", "51–100 of 10,000").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn the_page_fits_a_phone_and_follows_the_colour_scheme_of_the_system() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join(format!("{}.txt", "a long name ".repeat(12).trim_end())), "x")
        .unwrap();
    refresh(&ada);
    let page = Browser::start().await;
    page.size(360, 740, 1.0, true);
    page.open(&ada.url).await;
    page.see_text("#files", "a long name").await;
    let width = page.run("return document.documentElement.scrollWidth").await;
    assert_eq!(width, 360, "nothing is wider than the screen");
    let background = "return getComputedStyle(document.body).backgroundColor";
    page.colours("light");
    let light = page.run(background).await;
    page.colours("dark");
    let dark = page.run(background).await;
    assert_ne!(light, dark);
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn with_a_token_the_page_opens_only_at_the_printed_address() {
    let ada = Instance::start("ada", &["--token", "a token of many words"]);
    let page = Browser::start().await;
    page.visit(&format!("http://{}/", ada.web)).await;
    page.see_text("#banner", "The token is missing").await;
    page.open(&ada.url).await;
    page.see_text("#own-id", "ada").await;
    assert_eq!(
        page.run("return location.search").await,
        "",
        "the token does not stay in the history"
    );
    page.open(&format!("http://{}/", ada.web)).await;
}

/// The files of the five nodes in the screenshot, with their lengths in bytes.
const FILES: [&[(&str, u64)]; 5] = [
    &[
        ("Field recording, 11 May.flac", 148_300_112),
        ("Reading list.md", 4_210),
        ("Seven short stories.epub", 1_204_077),
    ],
    &[
        ("Holiday in the Alps.mp4", 3_221_225_472),
        ("Sourdough, step by step.pdf", 2_318_020),
        ("Kitchen radio.opus", 9_120_400),
    ],
    &[
        ("Holiday in the Alps.mp4", 3_221_225_472),
        ("Map of the old town.svg", 811_442),
        ("Seven short stories.epub", 1_204_077),
        ("Old photographs.tar", 731_904_000),
    ],
    &[
        ("Holiday notes.txt", 18_320),
        ("Choir rehearsal.ogg", 61_204_100),
        ("Garden plan, second version.pdf", 3_902_118),
        ("Old photographs.tar", 731_904_000),
    ],
    &[("Holiday playlist.m3u", 2_904)],
];

/// The screenshot for the README: a network of five nodes, and a transfer in progress.
#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn the_screenshot_in_the_readme_shows_a_real_session() {
    let Some(to) = std::env::var_os("FILESHARE_SCREENSHOT") else { return };
    let ada = Instance::start("ada", &[]);
    let join = ["--join", ada.address.as_str(), "--hops", "1"];
    let bob = Instance::start("bob", &join);
    let carol = Instance::start("carol", &join);
    let dave = Instance::start("dave", &["--join", &carol.address, "--hops", "2"]);
    let erin = Instance::start("erin", &["--join", &bob.address, "--hops", "1"]);
    for (instance, files) in [&ada, &bob, &carol, &dave, &erin].into_iter().zip(FILES) {
        for (name, len) in files {
            large_file(&instance.share().join(name), *len);
        }
        refresh(instance);
    }
    ada.events().wait("peers", |network| network["nodes"].as_array().unwrap().len() == 5);
    // A node with a match does not forward a query, so each key is meant for some of the nodes.
    for key in ["o", "playlist"] {
        assert_eq!(ada.post("/api/search", &json!({ "key": key })).status, 200);
    }
    ada.events().wait("files", |files| {
        has(files, "Holiday playlist.m3u") && has(files, "Choir rehearsal.ogg")
    });
    let page = Browser::start().await;
    page.colours("light");
    page.size(1280, 1040, 1.5, false);
    page.open(&ada.url).await;
    page.click("button[aria-label='Fetch Sourdough, step by step.pdf']").await;
    page.see("return document.querySelector('.transfer.done')").await;
    page.click("button[aria-label='Fetch Holiday in the Alps.mp4']").await;
    page.run("document.activeElement.blur()").await;
    page.see("return document.querySelector('.transfer.running progress').value > 0.4").await;
    page.photograph(Path::new(&to)).await;
}
