//! The address book: what a node remembers over a restart.

use std::{fs, path::Path, time::Duration};

use actix_peer::{
    Builder, Config, Peer, PeerEvent, PeerInfo,
    overlay::{AddressBook, JoinConfig, Learned},
    peer::AddressBookConfig,
    transport::{Transport, memory::MemoryNetwork},
};
use futures::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::common::{
    SECOND,
    nodes::{host as at, known, on_host},
};

const NODE: &str = "10.9.9.9";

fn network() -> MemoryNetwork {
    tokio::time::pause();
    MemoryNetwork::new(1)
}

fn on(wires: &MemoryNetwork, host: &str) -> Builder {
    on_host(wires, host).id(format!("id-{host}")).well_known()
}

async fn honest(wires: &MemoryNetwork, hosts: &[&str]) -> Vec<Peer> {
    let mut peers = Vec::new();
    for host in hosts {
        peers.push(on(wires, host).start().await.unwrap());
    }
    peers
}

/// Waits for an event for which `of` returns a value.
async fn heard<T>(node: &Peer, of: impl Fn(PeerEvent) -> Option<T>) -> T {
    let mut events = node.events();
    let next = async {
        loop {
            if let Some(found) = of(events.next().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(1_000 * SECOND, next).await.expect("the event occurs in time")
}

async fn rejoined(node: &Peer) -> (usize, usize) {
    heard(node, |event| match event {
        PeerEvent::Rejoined { asked, added } => Some((asked, added)),
        _ => None,
    })
    .await
}

async fn failed(node: &Peer) -> String {
    heard(node, |event| match event {
        PeerEvent::AddressBookFailed { error } => Some(error),
        _ => None,
    })
    .await
}

/// The content of the file.
fn read(path: &Path) -> AddressBook {
    let mut book = AddressBook::new(1_024, Duration::from_secs(u64::MAX));
    book.load(&fs::read_to_string(path).unwrap(), u64::MAX / 2).unwrap();
    book
}

#[actix::test]
async fn after_a_restart_a_node_rejoins_without_a_configured_contact() {
    let wires = network();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let others = honest(&wires, &["10.0.1.1", "10.0.2.1", "10.0.3.1"]).await;
    for other in &others[1..] {
        other.join("10.0.1.1:9000").await.unwrap();
    }
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    node.join("10.0.1.1:9000").await.unwrap();
    let before = known(&node).await;
    assert_eq!(before, ["id-10.0.1.1", "id-10.0.2.1", "id-10.0.3.1"]);
    node.stop().await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    assert_eq!(rejoined(&node).await, (3, 3));
    assert_eq!(known(&node).await, before);
    let list = node.peers().list().await.unwrap();
    assert!(list.iter().all(|e| *e.learned() == Learned::Remembered && e.verified().is_some()));
    for other in &others {
        assert!(known(other).await.contains(&format!("id-{NODE}")), "{other:?}");
    }
    node.stop().await;
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["peers"], "no other file is left");
}

#[actix::test]
async fn a_node_at_a_remembered_address_is_added_only_with_the_remembered_id() {
    let wires = network();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let others = honest(&wires, &["10.0.1.1", "10.0.2.1"]).await;
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    for other in &others {
        node.join(&other.info().address().to_string()).await.unwrap();
    }
    node.stop().await;
    others[0].clone().stop().await;
    let _eve = on(&wires, "10.0.1.1").id("eve").start().await.unwrap();
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    assert_eq!(rejoined(&node).await, (2, 1));
    assert_eq!(known(&node).await, ["id-10.0.2.1"]);
}

/// Sends one `JOIN` from `host` and ignores the answer.
async fn join(wires: &MemoryNetwork, host: &str, id: &str) {
    let dialled = at(wires, host).dial(&format!("{NODE}:9000").parse().unwrap()).await;
    let mut io = dialled.unwrap();
    let text = format!("{id} {host} 9000");
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    io.writer.write_all(&[b"JOIN", &len[..], text.as_bytes()].concat()).await.unwrap();
    let mut answer = Vec::new();
    timeout(100 * SECOND, io.reader.read_to_end(&mut answer)).await.unwrap().ok();
}

#[actix::test]
async fn two_anchors_survive_ten_thousand_hostile_joins_and_a_restart() {
    let wires = network();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let _others = honest(&wires, &["10.0.1.1", "10.0.2.1"]).await;
    let book = AddressBookConfig::new(&path).rejoin(2);
    let start = || on(&wires, NODE).config(Config::default()).address_book(book.clone()).start();
    let node = start().await.unwrap();
    for contact in ["10.0.1.1:9000", "10.0.2.1:9000"] {
        node.join_with(contact.parse().unwrap(), JoinConfig::new().hops(1)).await.unwrap();
    }
    // In eight networks. A node answers with its own id at the first addresses of each network.
    let mut hostile = Vec::new();
    for network in 0..8 {
        for n in 0..5 {
            hostile.push(on(&wires, &format!("172.16.{network}.{n}")).start().await.unwrap());
        }
    }
    for n in 0..10_000 {
        let host = format!("172.16.{}.{}", n % 8, n / 8 % 40);
        let id = if n < 320 { format!("id-{host}") } else { format!("e{n}") };
        join(&wires, &host, &id).await;
    }
    sleep(90 * SECOND).await;
    let remembered = read(&path);
    assert!(remembered.len() > 20, "hostile peers that answer are remembered as well");
    node.stop().await;
    let node = start().await.unwrap();
    assert_eq!(rejoined(&node).await, (2, 2));
    assert_eq!(known(&node).await, ["id-10.0.1.1", "id-10.0.2.1"]);
}

#[actix::test]
async fn a_damaged_address_book_is_set_aside_and_the_node_starts_without_it() {
    let wires = network();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let other = honest(&wires, &["10.0.1.1"]).await.remove(0);
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    node.join("10.0.1.1:9000").await.unwrap();
    node.stop().await;
    let good = fs::read(&path).unwrap();
    let cut = good[..good.len() - 1].to_vec();
    for damaged in [b"".to_vec(), b"garbage\n".to_vec(), vec![0xff; 100], cut] {
        fs::write(&path, &damaged).unwrap();
        let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
        let error = failed(&node).await;
        assert!(error.contains("peers.damaged-"), "{error}");
        let aside = error.rsplit("kept as ").next().unwrap();
        assert_eq!(fs::read(aside).unwrap(), damaged);
        assert!(known(&node).await.is_empty());
        node.join("10.0.1.1:9000").await.unwrap();
        node.stop().await;
        assert!(read(&path).get(other.id()).is_some());
    }
    // A file that is too long is not read into memory. Three damaged files are kept.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    for time in 1..=9 {
        fs::write(folder.path().join(format!("peers.damaged-{time}")), "").unwrap();
    }
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    assert!(failed(&node).await.contains("longer"));
    let names = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name());
    let kept = names.filter(|name| name.to_string_lossy().contains("damaged")).count();
    assert_eq!(kept, 3);
}

#[actix::test]
async fn an_address_book_that_cannot_be_written_causes_warnings_until_it_can() {
    let wires = network();
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("peers");
    let other = honest(&wires, &["10.0.1.1"]).await.remove(0);
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    node.join("10.0.1.1:9000").await.unwrap();
    fs::remove_dir(&inner).unwrap();
    failed(&node).await;
    failed(&node).await;
    assert_eq!(known(&node).await, ["id-10.0.1.1"], "the node keeps its peer");
    fs::create_dir(&inner).unwrap();
    sleep(61 * SECOND).await;
    assert!(read(&path).get(other.id()).is_some());
}

#[actix::test]
async fn an_address_book_path_that_is_no_regular_file_is_neither_read_nor_replaced() {
    let wires = network();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    fs::create_dir(&path).unwrap();
    let node = on(&wires, NODE).address_book(&path).start().await.unwrap();
    assert!(failed(&node).await.contains("regular file"));
    node.stop().await;
    assert!(path.is_dir());
}

/// The number of peers that the killed process remembers.
const MANY: usize = 300;

/// The process that another test kills. It does nothing by itself.
#[actix::test]
#[ignore = "runs as a child process of another test"]
async fn writes_an_address_book_until_it_is_killed() {
    let Ok(path) = std::env::var("ACTIX_PEER_TEST_BOOK") else { return };
    let often = AddressBookConfig::new(path).save_every(Duration::from_millis(10)).rejoin(0);
    let config = Config::default().max_peers(0);
    let node = Peer::builder().config(config).address_book(often).start().await.unwrap();
    for n in 0..MANY {
        let peer: PeerInfo = format!("p{n} 10.{}.{}.1 9000", n / 250, n % 250).parse().unwrap();
        node.peers().add(peer).await.unwrap();
    }
    std::future::pending::<()>().await;
}

#[cfg(unix)]
#[test]
fn a_process_that_is_killed_during_a_write_leaves_a_complete_address_book() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let inode = || fs::metadata(&path).map_or(0, |metadata| metadata.ino());
    for round in 0..6 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "book::writes_an_address_book_until_it_is_killed"]);
        child.stdout(std::process::Stdio::null());
        let mut child = child.env("ACTIX_PEER_TEST_BOOK", &path).spawn().unwrap();
        // Kill it after some of its writes, at another moment each time.
        for _ in 0..3 + round {
            let before = inode();
            while inode() == before {
                assert!(
                    child.try_wait().unwrap().is_none(),
                    "the process ended before it was killed"
                );
                std::thread::yield_now();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read(&path).len(), MANY);
    }
}
