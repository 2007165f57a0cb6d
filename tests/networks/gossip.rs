//! Neighbours: no node is left alone, however small the tables are, and whichever nodes die meanwhile.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Builder, Incoming, Peer, PeerEvent, PeerInfo, Reply,
    frame::Frame,
    handler,
    message::Via,
    overlay::Host,
    peer::{BroadcastError, MAX_BROADCAST, RegisterError},
    sim::{SimError, SimNetwork},
};
use futures::StreamExt;

use crate::common::SECOND;

/// The neighbours of each node.
fn neighbors(peers: &[Peer]) -> BTreeMap<String, BTreeSet<String>> {
    let ids = |peer: &Peer| peer.active_neighbors().iter().map(|of| of.id().to_string()).collect();
    peers.iter().map(|peer| (peer.id().to_string(), ids(peer))).collect()
}

/// The nodes that the first node reaches over neighbours.
fn reached(neighbors: &BTreeMap<String, BTreeSet<String>>) -> usize {
    let mut reached = BTreeSet::new();
    let mut to_visit: Vec<&String> = neighbors.keys().take(1).collect();
    while let Some(id) = to_visit.pop() {
        if reached.insert(id) {
            to_visit.extend(neighbors.get(id).into_iter().flatten());
        }
    }
    reached.len()
}

/// What is wrong with the network: nodes that are alone, parts that do not reach each other,
/// neighbours on one side only, and neighbours that are not in the table.
async fn wrong(peers: &[Peer]) -> Vec<String> {
    let neighbors = neighbors(peers);
    let mut wrong = Vec::new();
    for (id, of) in &neighbors {
        if of.is_empty() {
            wrong.push(format!("{id} is alone"));
        }
        for other in
            of.iter().filter(|other| !neighbors.get(*other).is_some_and(|of| of.contains(id)))
        {
            wrong.push(format!("{id} has {other}, and not the other way round"));
        }
    }
    for peer in peers {
        let list = peer.peers().list().await.unwrap();
        let missing = peer.active_neighbors().into_iter().filter(|of| list.get(of.id()).is_none());
        wrong.extend(missing.map(|of| format!("{} does not list {}", peer.id(), of.id())));
    }
    let reached = reached(&neighbors);
    if reached != neighbors.len() {
        wrong.push(format!("{reached} of {} are one network", neighbors.len()));
    }
    wrong
}

/// Waits until nothing is wrong.
async fn whole_within(net: &SimNetwork, peers: &[Peer], limit: Duration) -> Result<(), SimError> {
    let begun = tokio::time::Instant::now();
    loop {
        let wrong = wrong(peers).await;
        if wrong.is_empty() {
            println!("{} nodes: whole after {:?}", peers.len(), begun.elapsed());
            return Ok(());
        }
        assert!(begun.elapsed() < limit, "after {limit:?}: {wrong:#?}");
        net.advance(SECOND / 4).await;
    }
}

/// Nodes that join by one contact, each with these options beside all defaults.
pub(crate) async fn network(
    net: &SimNetwork,
    nodes: usize,
    options: impl Fn(Builder) -> Builder + Clone + 'static,
) -> Result<Vec<Peer>, SimError> {
    net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
    let recipe = move |n, builder: Builder| {
        let builder = options(builder).well_known();
        Ok(if n == 0 { builder } else { builder.contacts(["n0:9000"]) })
    };
    net.start_many(nodes, recipe).await
}

#[test]
fn twelve_nodes_with_tables_of_four_are_one_network_within_thirty_seconds() {
    let run = SimNetwork::new(1).run(async |net| {
        let peers = network(&net, 12, |builder| builder.max_peers(4)).await?;
        whole_within(&net, &peers, SECOND * 30).await
    });
    run.unwrap();
}

#[test]
fn a_hundred_and_sixty_nodes_with_all_defaults_are_one_network_within_thirty_seconds() {
    let run = SimNetwork::new(1).run(async |net| {
        let peers = network(&net, 160, |builder| builder).await?;
        whole_within(&net, &peers, SECOND * 30).await
    });
    run.unwrap();
}

#[test]
fn a_network_is_whole_within_thirty_seconds_whenever_its_contact_dies() {
    for after in [300, 1_000, 3_000] {
        let run = SimNetwork::new(after).run(async |net| {
            let mut peers = network(&net, 40, |builder| builder).await?;
            net.advance(Duration::from_millis(after)).await;
            net.crash("n0").await?;
            drop(peers.remove(0));
            whole_within(&net, &peers, SECOND * 30).await
        });
        run.unwrap();
    }
}

#[test]
fn a_node_whose_neighbours_are_gone_says_so_and_joins_again_when_its_contact_is_back() {
    let run = SimNetwork::new(1).run(async |net| {
        let peers = network(&net, 2, |builder| builder).await?;
        whole_within(&net, &peers, SECOND * 10).await?;
        let mut events = peers[1].events();
        net.crash("n0").await?;
        let mut alone = async || {
            while let Some(event) = events.next().await {
                if matches!(event, PeerEvent::Alone) {
                    return;
                }
            }
        };
        tokio::time::timeout(SECOND * 30, alone()).await.expect("it says that it is alone");
        net.advance(SECOND * 60).await;
        let back = net.restart("n0").await?;
        whole_within(&net, &[back, peers[1].clone()], SECOND * 150).await
    });
    run.unwrap();
}

/// What the nodes have heard, by node and author, in the order in which it came.
type Heard = Rc<RefCell<BTreeMap<(usize, String), Vec<u64>>>>;

/// A node that notes the numbers in the broadcasts that it handles.
fn hears(n: usize, builder: Builder, heard: &Heard) -> Result<Builder, RegisterError> {
    let heard = Rc::clone(heard);
    let hear = handler::from_fn(async move |msg: Incoming| {
        let Via::Broadcast { author, .. } = msg.sender().via() else { panic!("{msg:?}") };
        let number = msg.frame.as_str().unwrap().parse().unwrap();
        heard.borrow_mut().entry((n, author.id().to_string())).or_default().push(number);
        Reply::none()
    });
    let builder = builder.well_known().handle("NEWS", hear.start())?;
    Ok(if n == 0 { builder } else { builder.contacts(["n0:9000"]) })
}

#[test]
fn what_is_broadcast_reaches_all_nodes_once_and_in_the_order_of_its_author() {
    let heard = Heard::default();
    let all = Rc::clone(&heard);
    let run = SimNetwork::new(1).run(async move |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        let recipe = move |n, builder: Builder| hears(n, builder, &all);
        let peers = net.start_many(40, recipe).await?;
        whole_within(&net, &peers, SECOND * 30).await?;
        for number in 0..20 {
            for author in [0, 7, 39] {
                peers[author].broadcast(Frame::text("NEWS", number.to_string())).unwrap();
            }
            net.advance(SECOND / 10).await;
        }
        net.advance(SECOND * 3).await;
        Ok::<_, SimError>(())
    });
    run.unwrap();
    let heard = heard.borrow();
    for node in 0..40 {
        for author in [0, 7, 39].into_iter().filter(|author| *author != node) {
            let numbers = heard.get(&(node, format!("n{author}"))).cloned().unwrap_or_default();
            assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "{node} of {author}");
        }
        assert!(!heard.contains_key(&(node, format!("n{node}"))), "{node} hears itself");
    }
}

#[test]
fn a_node_that_leaves_and_joins_again_hears_nothing_twice() {
    let heard = Heard::default();
    let all = Rc::clone(&heard);
    let run = SimNetwork::new(1).run(async move |net| {
        let recipe = move |n, builder: Builder| hears(n, builder, &all);
        let peers = net.start_many(5, recipe).await?;
        whole_within(&net, &peers, SECOND * 30).await?;
        for number in 0..6 {
            peers[1].broadcast(Frame::text("NEWS", number.to_string())).unwrap();
            peers[2].broadcast(Frame::text("NEWS", number.to_string())).unwrap();
            net.advance(SECOND).await;
            if number == 2 {
                peers[2].leave().await.unwrap();
                net.advance(SECOND * 3).await;
                peers[2].join("n0:9000").await.unwrap();
            }
        }
        net.advance(SECOND * 5).await;
        Ok::<_, SimError>(())
    });
    run.unwrap();
    let all: Vec<u64> = (0..6).collect();
    let heard = heard.borrow();
    assert_eq!(heard.get(&(2, "n1".to_owned())), Some(&all));
    for node in [0, 1, 3, 4] {
        assert_eq!(heard.get(&(node, "n2".to_owned())), Some(&all), "{node}");
    }
}

#[test]
fn of_a_network_that_loses_two_thirds_of_its_nodes_all_that_are_left_hear_what_is_said_then() {
    let heard = Heard::default();
    let all = Rc::clone(&heard);
    let run = SimNetwork::new(2).run(async move |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        let recipe = move |n, builder: Builder| hears(n, builder, &all);
        let mut peers = net.start_many(60, recipe).await?;
        whole_within(&net, &peers, SECOND * 30).await?;
        net.advance(SECOND * 5).await;
        for n in 20..60 {
            net.crash(&format!("n{n}")).await?;
        }
        peers.truncate(20);
        peers[3].broadcast(Frame::text("NEWS", "1")).unwrap();
        net.advance(SECOND * 15).await;
        Ok::<_, SimError>(())
    });
    run.unwrap();
    let heard = heard.borrow();
    let missed: Vec<_> = (0..20)
        .filter(|node| *node != 3 && !heard.contains_key(&(*node, "n3".to_owned())))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_broadcast_that_cannot_be_sent_is_an_error_that_says_why() {
    let run = SimNetwork::new(1).run(async |net| {
        let ada = net.start("ada").await?;
        let longest = Frame::new("NEWS", vec![0; MAX_BROADCAST]);
        assert_eq!(ada.broadcast(longest), Ok(0));
        let longer = Frame::new("NEWS", vec![0; MAX_BROADCAST + 1]);
        let len = MAX_BROADCAST + 1;
        assert_eq!(ada.broadcast(longer), Err(BroadcastError::TooLong { len }));
        let reserved = ada.broadcast(Frame::empty("@KAD"));
        assert!(matches!(reserved, Err(BroadcastError::Reserved(_))), "{reserved:?}");
        let bob = net.start_with("bob", |builder| Ok(builder.without_gossip())).await?;
        assert_eq!(bob.broadcast(Frame::empty("NEWS")), Err(BroadcastError::NotEnabled));
        ada.stop().await;
        assert!(matches!(ada.broadcast(Frame::empty("NEWS")), Err(BroadcastError::Down(_))));
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_node_whose_contact_has_a_full_table_is_taken_in_and_a_removed_neighbour_is_none_any_more() {
    let run = SimNetwork::new(1).run(async |net| {
        let small = |builder: Builder| Ok(builder.max_peers(1));
        let ada = net.start_with("ada", small).await?;
        let bob = net.start("bob").await?;
        bob.join("ada:9000").await.unwrap();
        net.advance(SECOND).await;
        let cyd = net.start("cyd").await?;
        let report = cyd.join("ada:9000").await.unwrap();
        assert_eq!(report.neighbor(), Some(ada.info()));
        let peers = [ada, bob, cyd];
        whole_within(&net, &peers, SECOND * 10).await?;
        let [ada, bob, cyd] = peers;
        for other in [ada.id(), cyd.id()] {
            bob.peers().remove(other).await.unwrap();
        }
        net.advance(SECOND * 3).await;
        assert_eq!(bob.active_neighbors(), []);
        assert!(!cyd.active_neighbors().contains(bob.info()));
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_node_that_has_left_does_not_join_by_its_contacts_until_it_is_told_to() {
    let run = SimNetwork::new(1).run(async |net| {
        let peers = network(&net, 3, |builder| builder).await?;
        whole_within(&net, &peers, SECOND * 10).await?;
        peers[1].leave().await.unwrap();
        net.advance(SECOND * 120).await;
        assert_eq!(peers[1].active_neighbors(), []);
        assert!(peers[1].neighbors().await.unwrap().iter().all(|of| !of.is_kept));
        peers[1].join("n0:9000").await.unwrap();
        whole_within(&net, &peers, SECOND * 10).await
    });
    run.unwrap();
}

#[test]
fn a_contact_that_is_a_name_is_tried_at_all_its_addresses_and_the_node_itself_is_skipped() {
    let run = SimNetwork::new(1).run(async |net| {
        let ip = |n: u8| std::net::IpAddr::from([192, 0, 2, n]);
        net.wires().name(&"all".parse().unwrap(), [ip(1), ip(2), ip(3)]);
        let mut peers = Vec::new();
        // Nothing listens at the first address.
        for n in [2, 3] {
            let builder = Peer::builder().transport(net.wires().transport(ip(n)));
            let builder = builder.listen(format!("192.0.2.{n}:9000")).contacts(["all:9000"]);
            peers.push(builder.start().await.unwrap());
        }
        whole_within(&net, &peers, SECOND * 30).await
    });
    run.unwrap();
}

#[test]
fn a_kept_link_stays_open_without_messages_and_is_dialled_again() {
    let run = SimNetwork::new(1).run(async |net| {
        let ada = net.start_with("ada", |b| Ok(b.without_gossip())).await?;
        let bob = net.start_with("bob", |b| Ok(b.without_gossip().keep_linked("ada:9000"))).await?;
        net.advance(SECOND * 300).await;
        let status = bob.status().await;
        assert_eq!((status.kept_links, status.kept_links_open, status.links.len()), (1, 1, 1));
        let known = ada.neighbors().await.unwrap();
        assert!(known.len() == 1 && known[0].entry.is_none() && known[0].link.is_some());
        net.crash("ada").await?;
        net.advance(SECOND * 10).await;
        assert_eq!(bob.status().await.kept_links_open, 0);
        let _ada = net.restart("ada").await?;
        net.advance(SECOND * 120).await;
        assert_eq!(bob.status().await.kept_links_open, 1);
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn texts_that_are_no_addresses_are_errors_at_the_start_that_name_them() {
    let run = SimNetwork::new(1).run(async |net| {
        let builder =
            || Peer::builder().transport(net.wires().transport("ada".parse::<Host>().unwrap()));
        let ada = builder().listen("ada:9000").advertise("outside:1234").start().await.unwrap();
        assert_eq!(ada.info().address().to_string(), "outside:1234");
        for (builder, expected) in [
            (builder().contacts(["here"]), "the contact \"here\" is invalid"),
            (builder().advertise("here"), "cannot announce \"here\""),
            (builder().advertise("0.0.0.0:9000"), "no other node can reach 0.0.0.0"),
            (builder().keep_linked("a b"), "cannot keep a link with \"a b\""),
        ] {
            let error = builder.listen("ada:9001").start().await.unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_hundred_ids_at_one_address_get_their_share_of_the_table_and_half_of_the_neighbours() {
    let run = SimNetwork::new(1).run(async |net| {
        let ip = |n: u8| std::net::IpAddr::from([192, 0, 2, n]);
        let node = async |n: u8, port: u16, builder: Builder| {
            let builder = builder.transport(net.wires().transport(ip(n)));
            builder.listen(format!("192.0.2.{n}:{port}")).well_known().start().await.unwrap()
        };
        let ada = node(1, 9_000, Peer::builder()).await;
        let mut others = Vec::new();
        for port in 1_000..1_100 {
            others.push(node(66, port, Peer::builder().contacts(["192.0.2.1:9000"])).await);
        }
        net.advance(SECOND * 10).await;
        let hosts =
            |peers: &[PeerInfo]| peers.iter().filter(|of| of.host() == &Host::Ip(ip(66))).count();
        assert!(hosts(&ada.active_neighbors()) <= 4, "{:?}", ada.active_neighbors());
        let list = ada.peers().list().await.unwrap();
        let listed: Vec<_> = list.iter().map(|entry| entry.info().clone()).collect();
        assert!((4..=32).contains(&hosts(&listed)), "{}", hosts(&listed));
        // Others still find a place.
        for n in 10..16 {
            others.push(node(n, 9_000, Peer::builder().contacts(["192.0.2.1:9000"])).await);
        }
        net.advance(SECOND * 10).await;
        let neighbors = ada.active_neighbors();
        assert!(neighbors.len() > hosts(&neighbors), "{neighbors:?}");
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_contact_that_the_application_removes_on_both_sides_does_not_come_back() {
    let run = SimNetwork::new(1).run(async |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        let peers = net.start_many(2, |_, builder: Builder| Ok(builder.well_known())).await?;
        peers[1].join("n0:9000").await.unwrap();
        whole_within(&net, &peers, SECOND * 10).await?;
        // As a program does that takes its leave of one peer.
        for (peer, other) in [(&peers[1], &peers[0]), (&peers[0], &peers[1])] {
            assert!(peer.peers().remove(other.id()).await.unwrap().is_some());
        }
        for tenth in 0..600 {
            net.advance(SECOND / 10).await;
            for peer in &peers {
                let list = peer.peers().list().await.unwrap();
                assert!(list.is_empty(), "{} lists a peer after {tenth} tenths", peer.id());
            }
        }
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_network_at_rest_keeps_its_neighbours_whatever_the_size_of_its_tables() {
    for max_peers in [4, 6, 128] {
        let run = SimNetwork::new(1).run(async |net| {
            let peers = network(&net, 12, move |builder| builder.max_peers(max_peers)).await?;
            whole_within(&net, &peers, SECOND * 30).await?;
            net.advance(SECOND * 30).await;
            let (before, mut changes) = (neighbors(&peers), 0);
            for _ in 0..60 {
                net.advance(SECOND / 2).await;
                changes += usize::from(neighbors(&peers) != before);
            }
            assert_eq!(changes, 0, "with tables of {max_peers}");
            Ok::<_, SimError>(())
        });
        run.unwrap();
    }
}

#[test]
fn a_burst_of_long_broadcasts_over_slow_links_costs_no_neighbour_and_loses_no_message() {
    let heard = Heard::default();
    let all = Rc::clone(&heard);
    let run = SimNetwork::new(1).run(async move |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        let recipe = move |n, builder: Builder| hears(n, builder, &all);
        let peers = net.start_many(12, recipe).await?;
        whole_within(&net, &peers, SECOND * 30).await?;
        net.wires().bandwidth(std::num::NonZeroU64::new(1 << 20));
        let before = neighbors(&peers);
        // The author sends each to all of its neighbours, which takes half a minute.
        for number in 0..64 {
            let text = format!("{number:060000}");
            peers[3].broadcast(Frame::text("NEWS", text)).unwrap();
        }
        let mut rounds = 0;
        for _ in 0..120 {
            net.advance(SECOND / 2).await;
            rounds += usize::from(neighbors(&peers) != before);
        }
        assert_eq!(rounds, 0, "the neighbours have changed");
        Ok::<_, SimError>(())
    });
    run.unwrap();
    for node in (0..12).filter(|node| *node != 3) {
        let numbers = heard.borrow().get(&(node, "n3".to_owned())).cloned().unwrap_or_default();
        assert_eq!(numbers, (0..64).collect::<Vec<_>>(), "{node}");
    }
}
