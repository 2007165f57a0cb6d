//! Joining a network: no node stays isolated unnoticed, and a refused node learns why.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix_peer::{
    Builder, Config, JoinPolicy, Peer, PeerEvent, PingSweep,
    frame::Frame,
    overlay::{Address, Host, JoinConfig, JoinFailure},
    peer::JoinError,
    sim::{SimError, SimNetwork},
    transport::{Transport, memory::MemoryNetwork},
};
use futures::{StreamExt, future::join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::common::{SECOND, nodes::on_host};

/// The ids in the table of each node.
async fn tables(peers: &[Peer]) -> BTreeMap<String, BTreeSet<String>> {
    let mut tables = BTreeMap::new();
    for peer in peers {
        let list = peer.peers().list().await.unwrap();
        let known = list.iter().map(|entry| entry.info().id().to_string()).collect();
        tables.insert(peer.id().to_string(), known);
    }
    tables
}

/// The nodes that are in no table.
fn listed_nowhere(tables: &BTreeMap<String, BTreeSet<String>>) -> Vec<&String> {
    let listed: BTreeSet<_> = tables.values().flatten().collect();
    tables.keys().filter(|id| !listed.contains(id)).collect()
}

/// The number of nodes that a message from `n0` reaches over the tables, in either direction.
fn reached(tables: &BTreeMap<String, BTreeSet<String>>) -> usize {
    let mut reached = BTreeSet::new();
    let mut to_visit = vec!["n0"];
    while let Some(id) = to_visit.pop() {
        if reached.insert(id) {
            to_visit.extend(tables[id].iter().map(String::as_str));
            let knows_it = tables.iter().filter(|(_, known)| known.contains(id));
            to_visit.extend(knows_it.map(|(id, _)| id.as_str()));
        }
    }
    reached.len()
}

/// This many nodes join one contact at the same moment, with the default options of a program.
fn crowd(nodes: usize) {
    let network = SimNetwork::new(1);
    let lived = network.run(async |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        // Sweeps among hundreds of nodes take long and add nothing here.
        let sweep = move |_, builder: Builder| {
            Ok(if nodes <= 100 { builder.stabilizer(PingSweep::new()) } else { builder })
        };
        let peers = net.start_many(nodes, sweep).await?;
        let joins = join_all(peers[1..].iter().map(|peer| peer.join("n0:9000"))).await;
        let known = tables(&peers).await;
        for (joined, peer) in joins.iter().zip(&peers[1..]) {
            let alone = known[peer.id().as_str()].is_empty();
            assert!(joined.is_err() || !alone, "{peer:?} is isolated, and its join succeeded");
        }
        let failed = joins.iter().filter(|joined| joined.is_err()).count();
        println!("{nodes} nodes: {failed} joins failed at first");
        let mut seconds = 0;
        loop {
            net.advance(SECOND).await;
            let tables = tables(&peers).await;
            let alone: Vec<_> = tables.iter().filter(|(_, known)| known.is_empty()).collect();
            let nowhere = listed_nowhere(&tables);
            if alone.is_empty() && nowhere.is_empty() && reached(&tables) == nodes {
                break;
            }
            seconds += 1;
            assert!(seconds < 60, "isolated: {alone:?}; in no table: {nowhere:?}");
        }
        println!("all are in after {seconds} s");
        // This stays so after the peers were verified, or not, and pinged.
        net.advance(25 * SECOND).await;
        let tables = tables(&peers).await;
        assert_eq!(listed_nowhere(&tables), Vec::<&String>::new());
        assert_eq!(reached(&tables), nodes);
        Ok::<_, SimError>(())
    });
    lived.unwrap();
}

#[test]
fn a_hundred_nodes_that_join_one_contact_at_once_leave_no_node_isolated() {
    crowd(100);
}

#[test]
fn a_hundred_and_fifty_nodes_that_join_one_contact_at_once_leave_no_node_isolated() {
    crowd(150);
}

#[test]
fn five_hundred_nodes_that_join_one_contact_at_once_leave_no_node_isolated() {
    crowd(500);
}

#[actix::test]
async fn a_hundred_nodes_of_one_machine_that_join_at_once_over_tcp_are_all_admitted() {
    // The joins exceed the connections of one address, so some get the busy error.
    let contact = Peer::builder().well_known().start().await.unwrap();
    let to = contact.info().address().to_string();
    let mut peers = Vec::new();
    for _ in 0..100 {
        peers.push(Peer::builder().well_known().start().await.unwrap());
    }
    let events: Vec<_> = peers.iter().map(Peer::events).collect();
    let joins = join_all(peers.iter().map(|peer| peer.join(&to))).await;
    for (joined, mut events) in joins.into_iter().zip(events) {
        match joined {
            Ok(report) => assert!(!report.listed_by().is_empty(), "{report:?}"),
            // On a slow machine the contact is busy for longer than a request waits.
            Err(error) => {
                assert!(error.is_tried_again(), "{error}");
                let let_in = |event: &PeerEvent| matches!(event, PeerEvent::Joined { .. });
                while !events.next().await.as_ref().is_some_and(let_in) {}
            }
        }
    }
    join_all(peers.iter().map(Peer::abort)).await;
}

#[test]
fn a_joined_node_stays_in_the_table_of_its_contact_whatever_it_serves() {
    let network = SimNetwork::new(1);
    let lived = network.run(async |net| {
        let sweep = |builder: Builder| Ok(builder.stabilizer(PingSweep::new()));
        let contact = net.start_with("n0", sweep).await?;
        let peer = on_host(net.wires(), "n1").start().await.unwrap();
        peer.join("n0:9000").await.unwrap();
        net.advance(60 * SECOND).await;
        let list = contact.peers().list().await.unwrap();
        assert!(list.contains(peer.id()), "a node that does not serve `NAME` stays listed");
        Ok::<_, SimError>(())
    });
    lived.unwrap();
}

/// A program at `host:9000` that answers every request with these bytes and closes. With `None` it
/// accepts connections and stays silent.
async fn program(wires: &MemoryNetwork, host: &str, answer: Option<Vec<u8>>) {
    let host: Host = host.parse().unwrap();
    let transport = wires.transport(host.clone());
    let mut listener = transport.listen(&Address::new(host, 9000)).await.unwrap();
    actix_rt::spawn(async move {
        let mut open = Vec::new();
        while let Ok(mut io) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await {
            if let Some(answer) = &answer {
                io.reader.read_exact(&mut [0; 8]).await.ok();
                io.writer.write_all(answer).await.ok();
            } else {
                open.push(io);
            }
        }
    });
}

/// The reason why a join through this contact failed.
async fn why(peer: &Peer, contact: &str) -> JoinFailure {
    let error = peer.join(contact).await.unwrap_err();
    let cause = error.cause().unwrap_or_else(|| panic!("{error}")).clone();
    assert!(error.to_string().ends_with(&cause.to_string()), "{error} says {cause}");
    cause
}

#[actix::test]
async fn a_failed_join_says_why_the_contact_did_not_admit_the_node() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = on_host(&wires, "ada").well_known().start().await.unwrap();
    wires.name(&"nowhere".parse().unwrap(), []);
    assert!(matches!(why(&ada, "nowhere:9000").await, JoinFailure::UnknownName { .. }));
    assert_eq!(why(&ada, "closed:9000").await, JoinFailure::PortClosed);
    wires.crash(&"dead".parse().unwrap());
    assert_eq!(why(&ada, "dead:9000").await, JoinFailure::NoConnection);
    program(&wires, "silent", None).await;
    assert_eq!(why(&ada, "silent:9000").await, JoinFailure::NoAnswer);
    program(&wires, "mute", Some(Vec::new())).await;
    assert_eq!(why(&ada, "mute:9000").await, JoinFailure::NoReply);
    let page = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    program(&wires, "page", Some(page)).await;
    assert_eq!(why(&ada, "page:9000").await, JoinFailure::NotThisProtocol);
    program(&wires, "huge", Some(b"REPL\x40\0\0\0xxxx".to_vec())).await;
    assert_eq!(why(&ada, "huge:9000").await, JoinFailure::NotThisProtocol);
    let bare = on_host(&wires, "bare").start().await.unwrap();
    let no_name = JoinFailure::NoHandler { code: "NAME".parse().unwrap() };
    assert_eq!(why(&ada, "bare:9000").await, no_name);
    let closed = on_host(&wires, "club").well_known().join_policy(JoinPolicy::Closed);
    let _club = closed.start().await.unwrap();
    let refused = JoinFailure::Refused { words: "Join: not allowed".to_owned() };
    assert_eq!(why(&ada, "club:9000").await, refused);
    program(&wires, "busy", Some(b"ERRO\0\0\0\x04Busy".to_vec())).await;
    let error = ada.join("busy:9000").await.unwrap_err();
    assert_eq!((error.cause(), error.is_tried_again()), (Some(&JoinFailure::Busy), true));
    assert!(ada.peers().list().await.unwrap().is_empty());
    drop(bare);
}

#[actix::test]
async fn a_name_look_up_that_is_not_answered_is_reported_as_late() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    wires.name(&"seed".parse().unwrap(), ["10.0.0.1".parse().unwrap()]);
    wires.lookup_time(3_600 * SECOND);
    let ada = on_host(&wires, "ada").well_known().start().await.unwrap();
    // The look-up has the same time limit as the connection: either may end first.
    let late = why(&ada, "seed:9000").await;
    assert!(matches!(late, JoinFailure::LookupLate | JoinFailure::NoConnection), "{late}");
}

#[cfg(feature = "tls")]
#[actix::test]
async fn a_failed_join_distinguishes_a_tls_contact_from_a_plain_contact() {
    use actix_peer::transport::tls::{Admission, NodeIdentity, TlsTransport};

    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let over = |name: &str| {
        let transport = wires.transport(name.parse::<Host>().unwrap());
        let transport = TlsTransport::over(transport, NodeIdentity::for_tests(name));
        (Peer::builder().listen(format!("{name}:9000")).well_known(), transport)
    };
    let plain = on_host(&wires, "plain").well_known().start().await.unwrap();
    let (builder, transport) = over("tls");
    let tls = builder.transport(transport).start().await.unwrap();
    assert_eq!(why(&plain, "tls:9000").await, JoinFailure::TlsRequired);
    assert_eq!(why(&tls, "plain:9000").await, JoinFailure::NotTls);
    let (builder, transport) = over("club");
    let transport = transport.admission(Admission::allow_list([]));
    let _club = builder.transport(transport).start().await.unwrap();
    assert_eq!(why(&tls, "club:9000").await, JoinFailure::NotAdmitted);
}

/// A contact whose table has one entry, the peer that took it, and a node that has not joined.
async fn full_contact(net: &SimNetwork) -> Result<[Peer; 3], SimError> {
    let full =
        |builder: Builder| Ok(builder.without_gossip().config(Config::default().max_peers(1)));
    let contact = net.start_with("n0", full).await?;
    // The peer in the table lists no other node and admits none.
    let closed = |builder: Builder| Ok(builder.without_gossip().join_policy(JoinPolicy::Closed));
    let first = net.start_with("n1", closed).await?;
    first.join("n0:9000").await.unwrap();
    let second = net.start_with("n2", |builder| Ok(builder.without_gossip())).await?;
    Ok([contact, first, second])
}

#[test]
fn a_node_whose_contact_is_full_joins_as_soon_as_the_contact_has_room() {
    let network = SimNetwork::new(1);
    let lived = network.run(async |net| {
        let [contact, first, second] = full_contact(&net).await?;
        let mut events = second.events();
        let begun = Instant::now();
        let error = second.join("n0:9000").await.unwrap_err();
        assert!(begun.elapsed() < 2 * SECOND, "the join does not wait for a full table");
        assert!(matches!(error, JoinError::NotTakenIn { .. }), "{error}");
        assert!(error.is_tried_again(), "{error}");
        let told = events.next().await;
        assert!(matches!(told, Some(PeerEvent::NotJoined { again: true, .. })), "{told:?}");
        net.advance(300 * SECOND).await;
        first.leave().await.unwrap();
        net.wait_until(130 * SECOND, "the contact lists the node", async || {
            contact.peers().list().await.unwrap().contains(second.id())
        })
        .await?;
        let joined = PeerEvent::Joined { contact: "n0:9000".parse().unwrap(), added: 1 };
        while events.next().await.unwrap() != joined {}
        Ok::<_, SimError>(())
    });
    lived.unwrap();
}

#[test]
fn leaving_ends_a_join_in_the_background() {
    let network = SimNetwork::new(1);
    let lived = network.run(async |net| {
        let [contact, first, second] = full_contact(&net).await?;
        assert!(second.join("n0:9000").await.unwrap_err().is_tried_again());
        second.leave().await.unwrap();
        first.leave().await.unwrap();
        net.advance(600 * SECOND).await;
        assert!(contact.peers().list().await.unwrap().is_empty());
        Ok::<_, SimError>(())
    });
    lived.unwrap();
}

/// Runs `test` with two nodes. The host name of the first one has silent addresses beside the real
/// one.
fn with_silent_addresses(silent: &[&str], test: impl AsyncFnOnce(SimNetwork, Peer, Peer)) {
    let network = SimNetwork::new(1);
    let lived = network.run(async |net| {
        let wires = net.wires();
        wires.latency(Duration::from_millis(10)..Duration::from_millis(30));
        let real = "192.0.2.1".parse::<std::net::IpAddr>().unwrap();
        let found = silent.iter().map(|ip| ip.parse().unwrap()).chain([real]);
        wires.name(&"seed".parse().unwrap(), found);
        for ip in silent {
            wires.crash(&ip.parse().unwrap());
        }
        let seed = Peer::builder().transport(wires.transport(real)).listen("192.0.2.1:9000");
        let seed = seed.host("seed").id("seed").well_known().stabilizer(PingSweep::new());
        let seed = seed.start().await.unwrap();
        let peer = net.start_with("peer", |b| Ok(b.stabilizer(PingSweep::new()))).await?;
        test(net, seed, peer).await;
        Ok::<_, SimError>(())
    });
    lived.unwrap();
}

#[test]
fn a_healthy_peer_stays_listed_whatever_else_its_host_name_resolves_to() {
    with_silent_addresses(&["2001:db8::1"], async |net, seed, peer| {
        peer.join("seed:9000").await.unwrap();
        let id = seed.id();
        for _ in 0..120 {
            net.advance(SECOND).await;
            assert!(
                peer.peers().list().await.unwrap().contains(id),
                "the peer was removed meanwhile"
            );
        }
        let looked_up = net.wires().lookups();
        assert!(looked_up < 30, "{looked_up} look-ups: the results are not cached");
    });
}

#[test]
fn a_contact_with_three_silent_addresses_is_joined_and_asked_with_and_without_links() {
    let silent = ["2001:db8::1", "2001:db8::2", "192.0.2.9"];
    with_silent_addresses(&silent, async |_, seed, peer| {
        let begun = Instant::now();
        let name = || Frame::empty("NAME");
        let contact = "seed:9000".parse::<Address>().unwrap();
        let report = peer.join_with(contact, JoinConfig::new()).await.unwrap();
        assert_eq!(report.listed_by().len(), 1);
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
        for over in [actix_peer::Over::Link, actix_peer::Over::Classic] {
            let begun = Instant::now();
            let ask = actix_peer::Outgoing::from(name()).over(over);
            let replies = peer.request("seed:9000", ask).await.unwrap().collect().await.unwrap();
            assert_eq!(replies[0].as_str().unwrap(), seed.id().as_str());
            // The address that worked last is tried first now.
            assert!(begun.elapsed() < SECOND / 5, "{over:?} {:?}", begun.elapsed());
        }
    });
}

/// Ada has dialled bob in vain as often as she may in a minute. Then he starts, and joins her.
async fn joins_after_dials(net: &SimNetwork, has_link: bool) -> Result<(Peer, Peer), SimError> {
    for name in ["ada", "eve", "bob"] {
        let start = net.start_with(name, |builder| Ok(builder.well_known().without_gossip()));
        start.await.map(drop)?;
    }
    net.peer("bob")?.join("eve:9000").await.unwrap();
    net.advance(SECOND * 5).await;
    net.crash("bob").await?;
    // Eve names him.
    let ada = net.peer("ada")?;
    for _ in 0..4 {
        ada.join("eve:9000").await.unwrap();
        net.advance(SECOND).await;
    }
    assert!(ada.status().await.counts.dials_held_back > 0);
    let bob = net.restart("bob").await?;
    if has_link {
        bob.notify(ada.info(), Frame::empty("NAME")).await.unwrap();
    }
    bob.join("ada:9000").await.unwrap();
    Ok((ada, bob))
}

/// Whether a peer lists the other, and has verified it.
async fn lists(peer: &Peer, other: &Peer) -> Option<bool> {
    let list = peer.peers().list().await.unwrap();
    list.get(other.id()).map(|entry| entry.verified().is_some())
}

#[test]
fn a_node_that_joins_over_a_link_is_verified_although_its_address_was_dialled_often() {
    let run = SimNetwork::new(1).run(async |net| {
        let (ada, bob) = joins_after_dials(&net, true).await?;
        net.advance(SECOND * 5).await;
        assert_eq!(lists(&ada, &bob).await, Some(true));
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_node_that_may_not_be_dialled_yet_is_not_removed_before_it_was_asked() {
    let run = SimNetwork::new(1).run(async |net| {
        let (ada, bob) = joins_after_dials(&net, false).await?;
        net.advance(SECOND * 20).await;
        assert_eq!(lists(&ada, &bob).await, Some(false));
        net.advance(SECOND * 60).await;
        assert_eq!(lists(&ada, &bob).await, Some(true));
        Ok::<_, SimError>(())
    });
    run.unwrap();
}
