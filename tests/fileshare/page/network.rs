//! The picture of the network on the page.

use std::path::Path;

use serde_json::{Value, json};

use super::{acquainted, browser::Browser, refresh};
use crate::instance::Instance;

/// Shows a network of this many nodes on the page. Each node knows some of the others, as after
/// joins.
async fn show(page: &Browser, count: usize, id: impl Fn(usize) -> String) {
    let ids: Vec<String> = (0..count).map(id).collect();
    let own = &ids[0];
    let peers = &ids[1..ids.len().min(count.div_ceil(2) + 1)];
    let mut knows: Vec<(&String, &String)> = peers.iter().map(|peer| (own, peer)).collect();
    for (n, peer) in peers.iter().enumerate() {
        knows.push((peer, own));
        for step in [1, 3, 7, 12, 20, 25] {
            knows.push((peer, &ids[(n + 1 + step) % count]));
        }
    }
    knows.retain(|(a, b)| a != b);
    let rows = peers
        .iter()
        .map(|id| json!({ "id": id, "address": id, "speaks": "links", "round_trip_us": 300 }));
    let network = json!({ "peers": rows.collect::<Vec<_>>(), "nodes": ids, "knows": knows });
    // Close the live connection, which would replace this network by the real one.
    page.run(&format!(
        "Object.defineProperty(document, 'hidden', {{ value: true, configurable: true }});
         document.dispatchEvent(new Event('visibilitychange'));
         return import('/network.js').then((network) => network.showNetwork({network}, {}))",
        json!(own)
    ))
    .await;
    // Wait until the picture is at rest.
    page.see(
        "const places = [...document.querySelectorAll('#network .node')].map((node) => node.getAttribute('transform')).join();
         const rest = window.places === places;
         window.places = places;
         return rest",
    )
    .await;
}

/// The faults of the picture; empty if there are none.
async fn faults(page: &Browser) -> Value {
    page.run(
        "const faults = [];
         const svg = document.querySelector('#network svg').getBoundingClientRect();
         const boxes = [...document.querySelectorAll('#network .node')].flatMap((node) =>
             ['text', '.dot'].map((part) => {
                 const { left, right, top, bottom } = node.querySelector(part).getBoundingClientRect();
                 return { id: node.dataset.id, part, left, right, top, bottom, shown: getComputedStyle(node.querySelector(part)).opacity !== '0' };
             })).filter((box) => box.shown);
         const slack = 1;
         for (const [n, a] of boxes.entries()) {
             if (a.left < svg.left - slack || a.right > svg.right + slack || a.top < svg.top - slack || a.bottom > svg.bottom + slack) faults.push(`${a.id} sticks out`);
             for (const b of boxes.slice(n + 1)) {
                 const over = Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack;
                 if (over && a.id !== b.id) faults.push(`${a.part} of ${a.id} and ${b.part} of ${b.id} overlap`);
             }
         }
         const nodes = document.querySelectorAll('#network .node').length;
         if (boxes.length < 2 * nodes) faults.push(`${2 * nodes - boxes.length} names are hidden`);
         const own = document.querySelector('#network .own .dot').getBoundingClientRect();
         document.querySelector('#network').scrollIntoView({ block: 'center' });
         const seen = document.querySelector('#network .own .dot').getBoundingClientRect();
         const top = document.elementFromPoint((seen.left + seen.right) / 2, (seen.top + seen.bottom) / 2);
         if (!top?.closest('.own')) faults.push('this node is hidden');
         const spread = (low, high) => Math.max(...boxes.map((box) => box[high])) - Math.min(...boxes.map((box) => box[low]));
         if (spread('left', 'right') < svg.width * 0.8 || spread('top', 'bottom') < svg.height * 0.8) faults.push('much of the card is empty');
         return faults",
    )
    .await
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn every_name_in_the_network_picture_is_legible_with_3_10_and_50_nodes() {
    let ada = Instance::start("ada", &[]);
    let page = Browser::start().await;
    for (width, phone) in [(1280, false), (360, true)] {
        page.size(width, 900, 1.0, phone);
        page.open(&ada.url).await;
        page.see_text("#network-count", "1 node").await;
        for count in [3, 10, 50] {
            show(&page, count, |n| format!("127.0.0.1:{}", 9_000 + n)).await;
            assert_eq!(faults(&page).await, json!([]), "{count} addresses, {width} wide");
            let name = page.run("return document.querySelector('#network .own text').textContent");
            assert_eq!(name.await, ":9000", "only the part that differs is shown");
            page.see_text("#legend-names", ":9000 is 127.0.0.1:9000").await;
            show(&page, count, |n| format!("workshop-{n}")).await;
            assert_eq!(faults(&page).await, json!([]), "{count} names, {width} wide");
        }
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn addresses_are_shortened_to_the_part_that_differs() {
    let ada = Instance::start("ada", &[]);
    let page = Browser::start().await;
    page.open(&ada.url).await;
    for (ids, expected) in [
        (json!(["10.0.0.1:9000", "10.0.0.2:9000"]), json!([".1:9000", ".2:9000"])),
        (
            json!(["192.168.7.1:9000", "192.168.7.1:9001", "192.168.7.20:9000"]),
            json!([":9000", ":9001", ".20:9000"]),
        ),
        (json!(["[::1]:1", "[::1]:2", "ada"]), json!([":1", ":2", "ada"])),
        (json!(["ada", "localhost:9000"]), json!(["ada", "localhost:9000"])),
        (
            json!(["a very long name that ends in 1", "a very long name that ends in 2"]),
            json!(["a very lo…nds in 1", "a very lo…nds in 2"]),
        ),
        // Equal addresses.
        (
            json!(["beginning one the very same end", "beginning two the very same end"]),
            json!(["beginning one the very same end", "beginning two the very same end"]),
        ),
    ] {
        let script = format!(
            "return import('/names.js').then(({{ shortNames }}) => [...shortNames({ids}).names.values()])"
        );
        assert_eq!(page.run(&script).await, expected, "{ids}");
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn a_node_and_its_peers_can_be_inspected_by_pointer_and_by_keyboard() {
    // Neighbours of the network's broadcast would know each other, all three.
    let start = |id, contact: &[&str]| {
        Instance::start(id, &[&["--table-only", "--hops", "1"], contact].concat())
    };
    let ada = start("ada", &[]);
    let bob = start("bob", &["--join", &ada.address]);
    let carol = start("carol", &["--join", &bob.address]);
    acquainted(&ada, &bob);
    acquainted(&bob, &carol);
    let nodes = |network: &Value| network["nodes"].as_array().unwrap().len() == 3;
    ada.events().wait("peers", nodes);
    let page = Browser::start().await;
    page.open(&ada.url).await;
    page.see("return document.querySelectorAll('#network .node').length === 3").await;
    page.run("document.querySelector('#network .node[data-id=bob] .dot').dispatchEvent(new MouseEvent('click', { bubbles: true }))").await;
    page.see_text("#node", "A peer of this node").await;
    page.see_text("#node", "Knows 2").await;
    page.see("return document.querySelectorAll('#network .near.node').length === 3").await;
    // The links in the text lead from one node to the next.
    page.see_text("#node .chips", "carol").await;
    page.click("#node .chip[title=carol]").await;
    page.see_text("#node b", "carol").await;
    page.see_text("#node", "known from its peers").await;
    page.see(
        "return !document.querySelector('#network .node[data-id=ada]').classList.contains('near')",
    )
    .await;
    // Escape returns to the picture, whose nodes are reachable by the arrow keys.
    page.press(fantoccini::key::Key::Escape).await;
    page.see("return document.querySelector('#node').hidden").await;
    assert_eq!(page.focus().await, "carol, known from peers");
    let mut reached = std::collections::BTreeSet::new();
    for key in ["Left", "Left", "Right", "Up", "Down", "Right", "Up", "Left", "Down"] {
        reached.insert(page.focus().await);
        page.press(match key {
            "Left" => fantoccini::key::Key::Left,
            "Right" => fantoccini::key::Key::Right,
            "Up" => fantoccini::key::Key::Up,
            _ => fantoccini::key::Key::Down,
        })
        .await;
    }
    assert_eq!(
        reached.into_iter().collect::<Vec<_>>(),
        ["ada, this node", "bob, a peer", "carol, known from peers"]
    );
    page.press(fantoccini::key::Key::Enter).await;
    page.see("return !document.querySelector('#node').hidden").await;
}

/// Stores pictures for inspection in the folder `FILESHARE_PICTURES`.
#[tokio::test]
#[ignore = "needs chromium and chromedriver"]
async fn pictures_of_the_page_are_taken_with_3_10_and_50_nodes() {
    let Some(folder) = std::env::var_os("FILESHARE_PICTURES") else { return };
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--join", &ada.address]);
    acquainted(&ada, &bob);
    for n in 0..24 {
        std::fs::write(bob.share().join(format!("Lecture {n:02}, notes.md")), "x".repeat(n * 977))
            .unwrap();
        std::fs::write(ada.share().join(format!("Own file {n}.txt")), "y".repeat(n * 77)).unwrap();
    }
    refresh(&ada);
    refresh(&bob);
    assert_eq!(ada.post("/api/search", &json!({ "key": "lecture" })).status, 200);
    ada.events().wait("files", |files| files.as_array().unwrap().len() == 48);
    for n in 0..18 {
        let name = format!("Lecture {n:02}, notes.md");
        let began = ada.post("/api/fetch", &json!({ "name": name }));
        let number = began.json()["number"].clone();
        ada.events().wait("transfer", |t| t["number"] == number && t["state"] != "running");
    }
    let page = Browser::start().await;
    for colours in ["light", "dark"] {
        for (width, height, phone) in [(1280, 1500, false), (360, 2500, true), (800, 2000, false)] {
            page.colours(colours);
            page.size(width, height, 1.0, phone);
            for count in [3, 10, 50] {
                page.open(&ada.url).await;
                page.see_text("#files", "Lecture").await;
                page.write("#filter", "Lecture 1").await;
                show(&page, count, |n| format!("127.0.0.1:{}", 9_000 + n)).await;
                if count == 10 {
                    page.run("document.querySelectorAll('#network .node')[5].dispatchEvent(new MouseEvent('click', { bubbles: true }))").await;
                }
                let name = format!("{colours}-{width}-{count}.png");
                page.photograph(&Path::new(&folder).join(name)).await;
            }
        }
    }
}
