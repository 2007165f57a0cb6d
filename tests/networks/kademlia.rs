//! Networks of nodes with partial tables, under the paused clock.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use actix::prelude::*;
use actix_peer::{
    Builder, Peer, PeerInfo,
    frame::Frame,
    overlay::{
        Host,
        kademlia::{
            Key, Record,
            message::{Answer, Question, Request, Response},
        },
    },
    peer::{KademliaConfig, KademliaError},
    transport::{Transport, memory::MemoryNetwork},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use crate::common::{frames::encoded, handlers, nodes::on_host};

/// The time between two refreshes, and between two transmissions of a record. Open links are
/// expensive over hours of virtual time.
const ROUND: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(300);

fn quick() -> KademliaConfig {
    KademliaConfig::default().refresh(ROUND).republish(ROUND)
}

/// Runs `work` on a paused clock, so that hours pass quickly.
fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    System::with_tokio_rt(runtime).block_on(work)
}

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

fn builder(wires: &MemoryNetwork, name: &str, config: KademliaConfig) -> Builder {
    on_host(wires, name).well_known().handle("ECHO", handlers::echo()).unwrap().kademlia(config)
}

async fn node(wires: &MemoryNetwork, name: &str, config: KademliaConfig) -> Peer {
    builder(wires, name, config).start().await.unwrap()
}

/// Nodes that join in sequence, each through a running node.
async fn network(count: usize, config: &KademliaConfig) -> (MemoryNetwork, Vec<Peer>) {
    let wires = MemoryNetwork::new(7);
    let mut random = fastrand::Rng::with_seed(7);
    let mut nodes: Vec<Peer> = Vec::new();
    for n in 0..count {
        let peer = node(&wires, &format!("n{n}"), config.clone()).await;
        if n > 0 {
            let contact = random.usize(..n);
            peer.join_kademlia(&format!("n{contact}:9000")).await.unwrap();
        }
        nodes.push(peer);
    }
    // The node that was asked last is checked for its presence.
    sleep(Duration::from_secs(5)).await;
    (wires, nodes)
}

async fn end(nodes: &[Peer]) {
    for peer in nodes {
        peer.abort().await;
    }
}

/// Checks that look-ups of every node and of random keys are exact from every node.
async fn look_ups_are_exact(nodes: &[Peer], count: usize, k: usize) {
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..count {
        let (from, to) = (random.usize(..nodes.len()), random.usize(..nodes.len()));
        let found = nodes[from].find(nodes[to].id()).await.unwrap();
        assert_eq!(found.as_ref(), Some(nodes[to].info()), "n{from} looks for n{to}");
        if n % 10 == 0 {
            let target = Key::of_bytes(&n.to_be_bytes());
            let closest = nodes[from].lookup(target).await.unwrap();
            let others = nodes.iter().map(Peer::info).filter(|info| *info != nodes[from].info());
            let mut all: Vec<PeerInfo> = others.cloned().collect();
            all.sort_by_key(|info| Key::of(info.id()).distance(target));
            all.truncate(k);
            assert_eq!(closest, all);
        }
    }
}

#[test]
fn every_look_up_is_exact_among_50_nodes_that_joined_through_one_contact_each() {
    in_virtual_time(async {
        let (_wires, nodes) = network(50, &KademliaConfig::default()).await;
        look_ups_are_exact(&nodes, 100, 20).await;
        end(&nodes).await;
    });
}

#[test]
#[ignore = "minutes in a debug build"]
fn look_ups_are_exact_and_messages_are_routed_among_100_nodes_with_partial_tables() {
    in_virtual_time(async {
        let (_wires, nodes) = network(100, &KademliaConfig::default().k(8)).await;
        look_ups_are_exact(&nodes, 100, 8).await;
        messages_are_routed(&nodes, 100).await;
        end(&nodes).await;
    });
}

#[test]
fn messages_are_routed_among_nodes_with_partial_tables() {
    in_virtual_time(async {
        let (_wires, nodes) = network(30, &KademliaConfig::default().k(3)).await;
        messages_are_routed(&nodes, 60).await;
        end(&nodes).await;
    });
}

#[test]
fn a_node_that_has_just_answered_is_asked_again_without_delay() {
    in_virtual_time(async {
        let (_wires, nodes) = network(30, &KademliaConfig::default().k(3)).await;
        let keys: Vec<Key> = (0..30_u8).map(|n| Key::of_bytes(&[n])).collect();
        let look = async || {
            for key in &keys {
                nodes[0].lookup(*key).await.unwrap();
            }
        };
        look().await;
        let begun = tokio::time::Instant::now();
        look().await;
        // The node asks about 100 nodes that its table has no room for. At 32 dials a second, that
        // takes three seconds.
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        end(&nodes).await;
    });
}

async fn messages_are_routed(nodes: &[Peer], count: usize) {
    let mut random = fastrand::Rng::with_seed(5);
    for n in 0..count {
        let (from, to) = (random.usize(..nodes.len()), random.usize(..nodes.len()));
        let message = Frame::text("ECHO", n.to_string());
        let replies = nodes[from].route(nodes[to].id(), message.clone()).await.unwrap();
        assert_eq!(replies.collect().await.unwrap(), [message], "n{from} to n{to}");
    }
}

#[test]
fn after_a_message_failed_at_a_dead_hop_the_next_message_takes_another_hop() {
    in_virtual_time(async {
        let (wires, mut nodes) = network(30, &KademliaConfig::default().k(3)).await;
        for n in (0..30).rev().filter(|n| n % 4 == 1) {
            // The node crashes, and no look-up runs meanwhile.
            wires.crash(nodes.remove(n).info().address().host()).refuse();
        }
        let mut failed = 0;
        for (n, from) in nodes.iter().enumerate() {
            let to = &nodes[(n + 7) % nodes.len()];
            let mut hops: BTreeSet<_> = BTreeSet::new();
            loop {
                let asked = async {
                    let replies = from.route(to.id(), Frame::text("ECHO", "x")).await?;
                    replies.collect().await
                };
                match asked.await {
                    Ok(replies) => break assert_eq!(replies, [Frame::text("ECHO", "x")]),
                    Err(error) => {
                        assert!(!error.may_have_been_handled(), "{error:?}");
                        assert!(hops.insert(error.to_string()), "again: {error}");
                    }
                }
            }
            failed += hops.len();
        }
        assert!(failed > 0, "no hop was dead");
        end(&nodes).await;
    });
}

#[test]
fn a_value_is_readable_from_every_node_and_survives_the_loss_of_a_fifth_of_the_nodes() {
    in_virtual_time(async {
        let (wires, mut nodes) = network(20, &quick().k(8)).await;
        let key = Key::of_bytes(b"song");
        assert!(nodes[3].put(key, "la", TTL).await.unwrap() >= 7);
        for n in [4, 5, 12] {
            nodes[n].provide("printer").await.unwrap();
        }
        for peer in nodes.iter().step_by(5) {
            assert_eq!(peer.get(key).await.unwrap().as_deref(), Some(&b"la"[..]));
        }
        // The publisher is one of the four.
        for _ in 0..4 {
            let gone = nodes.remove(3);
            wires.crash(gone.info().host()).refuse();
            gone.abort().await;
        }
        sleep(ROUND * 3 / 2).await;
        for peer in nodes.iter().step_by(4) {
            assert_eq!(peer.get(key).await.unwrap().as_deref(), Some(&b"la"[..]));
            let providers = peer.providers("printer").await.unwrap();
            assert_eq!(providers, [nodes[8].info().clone()], "only the live provider is returned");
        }
        sleep(TTL).await;
        assert_eq!(nodes[0].get(key).await.unwrap(), None);
        end(&nodes).await;
    });
}

#[test]
fn a_newer_value_replaces_the_old_one_and_expires_in_time() {
    in_virtual_time(async {
        let (_wires, nodes) = network(12, &KademliaConfig::default()).await;
        let key = Key::of_bytes(b"song");
        nodes[3].put(key, "la", TTL).await.unwrap();
        nodes[3].put(key, "li", Duration::from_secs(100)).await.unwrap();
        assert_eq!(nodes[7].get(key).await.unwrap().as_deref(), Some(&b"li"[..]));
        sleep(Duration::from_secs(101)).await;
        assert_eq!(nodes[7].get(key).await.unwrap(), None);
        let long = nodes[3].put(key, vec![0; 1_025], TTL).await;
        assert_eq!(long, Err(KademliaError::TooLong { len: 1_025, limit: 1_024 }));
        end(&nodes).await;
    });
}

#[test]
fn a_provider_stays_known_while_it_runs_and_is_forgotten_afterwards() {
    in_virtual_time(async {
        let config = quick().ttl(ROUND * 3);
        let (wires, mut nodes) = network(6, &config).await;
        nodes[5].provide("printer").await.unwrap();
        sleep(ROUND * 5).await;
        assert_eq!(nodes[0].providers("printer").await.unwrap(), [nodes[5].info().clone()]);
        let gone = nodes.pop().unwrap();
        wires.crash(gone.info().host()).refuse();
        gone.abort().await;
        sleep(ROUND * 4).await;
        assert!(nodes[0].providers("printer").await.unwrap().is_empty());
        end(&nodes).await;
    });
}

#[test]
fn records_of_the_first_node_are_found_by_later_nodes_and_soon_stored_by_them() {
    in_virtual_time(async {
        let config = KademliaConfig::default;
        let wires = MemoryNetwork::new(7);
        let first = node(&wires, "first", config()).await;
        let key = Key::of_bytes(b"song");
        assert_eq!(first.provide("printer").await, Ok(0));
        assert_eq!(first.put(key, "la", TTL).await, Ok(0));
        assert_eq!(first.providers("printer").await.unwrap(), [first.info().clone()]);
        // A node that joins through the first one finds the record at once, because the first node
        // answers itself.
        let second = node(&wires, "second", config()).await;
        second.join_kademlia("first:9000").await.unwrap();
        assert_eq!(second.providers("printer").await.unwrap(), [first.info().clone()]);
        assert_eq!(second.get(key).await.unwrap().as_deref(), Some(&b"la"[..]));
        // The record is soon stored by other nodes too, although records are otherwise sent once an
        // hour.
        let third = node(&wires, "third", config()).await;
        third.join_kademlia("second:9000").await.unwrap();
        sleep(Duration::from_secs(10)).await;
        wires.crash(first.info().host());
        assert_eq!(second.get(key).await.unwrap().as_deref(), Some(&b"la"[..]));
        assert_eq!(third.get(key).await.unwrap().as_deref(), Some(&b"la"[..]));
        assert!(
            third.providers("printer").await.unwrap().is_empty(),
            "the dead provider is not returned"
        );
        end(&[first, second, third]).await;
    });
}

#[test]
fn a_record_that_no_known_node_stored_is_reported_and_soon_sent_again() {
    in_virtual_time(async {
        let wires = MemoryNetwork::new(7);
        let config = KademliaConfig::default;
        // The node stores nothing for others.
        let full = node(&wires, "full", config().max_records(0)).await;
        let ada = node(&wires, "ada", config()).await;
        ada.join_kademlia("full:9000").await.unwrap();
        let key = Key::of_bytes(b"song");
        assert_eq!(ada.put(key, "la", TTL).await, Err(KademliaError::NobodyKeepsIt));
        assert_eq!(
            full.get(key).await.unwrap().as_deref(),
            Some(&b"la"[..]),
            "its own record is returned"
        );
        let bob = node(&wires, "bob", config()).await;
        bob.join_kademlia("full:9000").await.unwrap();
        sleep(Duration::from_secs(20)).await;
        wires.crash(ada.info().host());
        assert_eq!(bob.get(key).await.unwrap().as_deref(), Some(&b"la"[..]));
        end(&[full, ada, bob]).await;
    });
}

#[test]
fn returned_providers_are_alive_and_dead_providers_do_not_reappear() {
    in_virtual_time(async {
        let (wires, nodes) = network(10, &KademliaConfig::default()).await;
        for provider in &nodes[3..7] {
            provider.provide("printer").await.unwrap();
        }
        // One is silent, one refuses connections, one stops.
        wires.crash(nodes[3].info().host());
        wires.crash(nodes[4].info().host()).refuse();
        nodes[5].stop().await;
        let living = [nodes[6].info().clone()];
        for _ in 0..3 {
            for n in [0, 1, 2, 6, 7, 8, 9] {
                assert_eq!(nodes[n].providers("printer").await.unwrap(), living, "n{n}");
            }
            sleep(Duration::from_secs(40)).await;
        }
        // A provider that returns is listed again as soon as it announces itself.
        wires.revive(nodes[3].info().host());
        nodes[3].abort().await;
        let again = node(&wires, "n3", KademliaConfig::default()).await;
        again.join_kademlia("n0:9000").await.unwrap();
        again.provide("printer").await.unwrap();
        for n in [0, 1, 2, 6, 7, 8, 9] {
            let providers = nodes[n].providers("printer").await.unwrap();
            let both = [again.info().clone(), living[0].clone()];
            assert_eq!(providers.iter().collect::<BTreeSet<_>>(), both.iter().collect(), "n{n}");
        }
        end(&nodes).await;
        again.abort().await;
    });
}

/// Of 22 providers all but one crash. The live one announced itself as number `living`.
async fn the_living_one_is_told(living: usize) {
    let (wires, nodes) = network(26, &KademliaConfig::default()).await;
    for provider in &nodes[4..] {
        provider.provide("printer").await.unwrap();
    }
    let living = nodes[4 + living].info().clone();
    for dead in nodes[4..].iter().filter(|node| *node.info() != living) {
        wires.crash(dead.info().host());
    }
    for n in [0, 3] {
        let begun = tokio::time::Instant::now();
        let providers = nodes[n].providers("printer").await.unwrap();
        assert_eq!(providers, std::slice::from_ref(&living), "n{n}");
        println!("n{n}: told after {:?}", begun.elapsed());
    }
    end(&nodes).await;
}

#[test]
fn the_one_live_provider_of_22_is_returned_whenever_it_announced_itself() {
    for living in [0, 10, 21] {
        in_virtual_time(the_living_one_is_told(living));
    }
}

#[test]
fn records_published_after_a_clock_was_set_back_replace_the_older_ones() {
    in_virtual_time(async {
        let (wires, nodes) = network(6, &KademliaConfig::default()).await;
        let key = Key::of_bytes(b"song");
        for (life, day) in [20_000, 19_000, 19_500, 0].into_iter().enumerate() {
            let date = move || SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let config = KademliaConfig::default();
            let ada = builder(&wires, "ada", config).wall_clock(date).start().await.unwrap();
            ada.join_kademlia("n0:9000").await.unwrap();
            assert!(ada.provide("printer").await.unwrap() >= 6, "life {life}");
            for word in ["la", "li"] {
                let value = format!("{word}{life}");
                assert!(ada.put(key, value.clone(), TTL).await.unwrap() >= 6, "life {life}");
                for peer in &nodes {
                    let got = peer.get(key).await.unwrap();
                    assert_eq!(got.as_deref(), Some(value.as_bytes()), "life {life}");
                }
            }
            ada.abort().await;
            sleep(Duration::from_secs(20)).await;
        }
        end(&nodes).await;
    });
}

#[cfg(feature = "swim")]
#[test]
fn a_provider_that_the_membership_reports_as_up_is_returned_without_a_question() {
    use actix_peer::overlay::swim::{MemberState, SwimConfig};

    in_virtual_time(async {
        let wires = MemoryNetwork::new(7);
        let mut nodes = Vec::new();
        for name in ["n0", "n1", "n2"] {
            let swim =
                builder(&wires, name, KademliaConfig::default()).swim(SwimConfig::lan(3), "");
            let peer = swim.unwrap().start().await.unwrap();
            if name != "n0" {
                peer.join("n0:9000").await.unwrap();
            }
            nodes.push(peer);
        }
        let up = |member: &actix_peer::overlay::swim::Member| member.state() == MemberState::Up;
        while nodes[0].members().iter().filter(|member| up(member)).count() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        nodes[2].provide("printer").await.unwrap();
        // The node stalls for a shorter time than the membership allows.
        wires.stall(nodes[2].info().host(), Duration::from_secs(3));
        let providers = nodes[0].providers("printer").await.unwrap();
        assert_eq!(providers, [nodes[2].info().clone()]);
        end(&nodes).await;
    });
}

#[test]
fn a_node_that_joined_the_peer_table_joins_the_overlay_automatically() {
    in_virtual_time(async {
        let (wires, mut nodes) = network(5, &KademliaConfig::default()).await;
        let late = node(&wires, "late", KademliaConfig::default()).await;
        late.join("n0:9000").await.unwrap();
        sleep(Duration::from_secs(3)).await;
        nodes.push(late);
        look_ups_are_exact(&nodes, 30, 20).await;
        end(&nodes).await;
    });
}

#[test]
fn the_sides_of_a_partition_find_each_other_again_within_30_seconds_of_its_end() {
    in_virtual_time(async {
        let (wires, nodes) = network(4, &KademliaConfig::default()).await;
        let hosts: Vec<_> = nodes.iter().map(|node| node.info().host().clone()).collect();
        for sides in [2, 1] {
            wires.partition(&hosts[..sides], &hosts[sides..]);
            for _ in 0..3 {
                for (n, node) in nodes.iter().enumerate() {
                    for (m, other) in nodes.iter().enumerate() {
                        let found = node.find(other.id()).await.unwrap();
                        let reached = (n < sides) == (m < sides);
                        assert_eq!(found.is_some(), reached, "{n} looks for {m}");
                    }
                }
            }
            wires.heal();
            sleep(Duration::from_secs(30)).await;
            look_ups_are_exact(&nodes, 30, 20).await;
        }
        end(&nodes).await;
    });
}

#[test]
fn two_kademlia_networks_become_one_when_two_of_their_nodes_know_each_other_as_peers() {
    in_virtual_time(async {
        let (wires, mut nodes) = network(3, &KademliaConfig::default()).await;
        // A peer without Kademlia is asked, and makes no difference.
        let plain = on_host(&wires, "plain").well_known().start().await.unwrap();
        for name in ["m0", "m1"] {
            nodes.push(node(&wires, name, KademliaConfig::default()).await);
        }
        nodes[4].join_kademlia("m0:9000").await.unwrap();
        for peer in [plain.info(), nodes[3].info()] {
            nodes[0].peers().add(peer.clone()).await.unwrap();
        }
        sleep(Duration::from_secs(15)).await;
        look_ups_are_exact(&nodes, 40, 20).await;
        end(&nodes).await;
        plain.abort().await;
    });
}

#[test]
fn a_node_without_kademlia_or_without_a_contact_returns_a_matching_error() {
    in_virtual_time(async {
        let wires = MemoryNetwork::new(1);
        let transport = wires.transport(host("plain"));
        let plain = Peer::builder().transport(transport).listen("plain:9000").well_known();
        let plain = plain.start().await.unwrap();
        let target = Key::of_bytes(b"x");
        assert_eq!(plain.lookup(target).await, Err(KademliaError::NotEnabled));
        let alone = node(&wires, "alone", KademliaConfig::default()).await;
        for contact in ["plain:9000", "nobody:9000", "alone:9000"] {
            let failed = alone.join_kademlia(contact).await;
            assert_eq!(failed, Err(KademliaError::ContactFailed(contact.parse().unwrap())));
        }
        assert_eq!(alone.put(target, "x", TTL).await, Ok(0), "no other node stores the record yet");
        assert_eq!(
            alone.get(target).await.unwrap().as_deref(),
            Some(&b"x"[..]),
            "its own record is returned"
        );
        alone.stop().await;
        assert!(matches!(alone.lookup(target).await, Err(KademliaError::Stopped(_))));
        plain.stop().await;
    });
}

// ---- hostile nodes ----

/// Sends a question to `n0` from `from`, in the name of `claimed`.
async fn ask(
    wires: &MemoryNetwork,
    from: &str,
    claimed: &PeerInfo,
    question: Question,
) -> Option<Answer> {
    let mut io = wires.transport(host(from)).dial(&"n0:9000".parse().unwrap()).await.unwrap();
    let request = Request { from: claimed.clone(), question }.encode().unwrap();
    io.writer.write_all(&encoded(&request)).await.unwrap();
    let mut reply = Vec::new();
    io.reader.read_to_end(&mut reply).await.ok()?;
    let frame = Frame::new("@KAD", reply.get(8..)?.to_vec());
    Response::decode(&frame).map(|response| response.answer)
}

fn peer(id: &str, at: &str) -> PeerInfo {
    format!("{id} {at} 9000").parse().unwrap()
}

#[test]
fn a_node_that_does_not_answer_at_its_claimed_address_enters_no_table_and_causes_few_dials() {
    in_virtual_time(async {
        let (wires, nodes) = network(2, &KademliaConfig::default()).await;
        let before = nodes[0].lookup(Key::of_bytes(b"x")).await.unwrap();
        let dials = wires.dials();
        for n in 0..200 {
            // In the name of another host, and of its own host, where no node listens.
            let question = Question::FindNode(Key::of_bytes(b"x"));
            let from = peer(&format!("forged{n}"), "victim");
            assert!(ask(&wires, "evil", &from, question.clone()).await.is_some());
            ask(&wires, "evil", &peer(&format!("mine{n}"), "evil"), question).await;
        }
        sleep(Duration::from_secs(20)).await;
        // 400 dials of its own, and at most 3 a minute to the claimed address.
        let asked = wires.dials() - dials - 400;
        assert!(asked <= 10, "{asked} dials");
        assert_eq!(nodes[0].lookup(Key::of_bytes(b"x")).await.unwrap(), before);
        end(&nodes).await;
    });
}

#[test]
fn a_source_can_store_no_more_records_than_its_share() {
    in_virtual_time(async {
        let config = KademliaConfig::default().max_records_per_source(10);
        let (wires, nodes) = network(3, &config).await;
        let (mut kept, from) = (0, peer("evil", "evil"));
        for n in 0..40_u32 {
            let key = Key::of_bytes(&n.to_be_bytes());
            let record = Record::new(key, from.clone(), 1, u32::MAX, vec![0; 9]);
            kept += usize::from(
                ask(&wires, "evil", &from, Question::Store(record)).await == Some(Answer::Kept),
            );
        }
        assert_eq!(kept, 10);
        // Records of other sources are stored.
        assert!(nodes[1].put(Key::of_bytes(b"x"), "x", TTL).await.unwrap() >= 2);
        end(&nodes).await;
    });
}

/// A node that answers `@KAD` with these frames.
async fn liar(wires: &MemoryNetwork, name: &str, answer: impl Fn() -> Vec<u8> + 'static) {
    let at = format!("{name}:9000").parse().unwrap();
    let mut listener = wires.transport(host(name)).listen(&at).await.unwrap();
    actix::spawn(async move {
        while let Ok(mut io) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await {
            let mut header = [0; 8];
            if io.reader.read_exact(&mut header).await.is_err() {
                continue;
            }
            let len = u32::from_be_bytes(header[4..].try_into().unwrap());
            let mut data = vec![0; usize::try_from(len).unwrap()];
            if io.reader.read_exact(&mut data).await.is_ok() {
                io.writer.write_all(&answer()).await.ok();
            }
        }
    });
}

fn bytes(me: &str, answer: Answer) -> Vec<u8> {
    encoded(&Response { me: me.parse().unwrap(), answer }.encode().unwrap())
}

#[test]
fn giant_answers_wrong_ids_and_made_up_nodes_have_no_effect() {
    in_virtual_time(async {
        let (wires, nodes) = network(3, &KademliaConfig::default()).await;
        liar(&wires, "giant", || {
            let mut bytes = b"@KAD".to_vec();
            bytes.extend((64_u32 << 20).to_be_bytes());
            bytes.resize(1 << 20, 1);
            bytes
        })
        .await;
        let failed = nodes[0].join_kademlia("giant:9000").await;
        assert!(matches!(failed, Err(KademliaError::ContactFailed(_))));
        // The second answer has another id.
        let turn = std::cell::Cell::new(0);
        liar(&wires, "many", move || {
            turn.set(turn.get() + 1);
            bytes(&format!("id{}", turn.get()), Answer::Here)
        })
        .await;
        let failed = nodes[0].join_kademlia("many:9000").await;
        assert!(matches!(failed, Err(KademliaError::ContactFailed(_))));
        // It has its own id and lists nodes that do not exist.
        liar(&wires, "liar", || {
            let made_up = |n| format!("made{n} victim {}", 1_000 + n).parse().unwrap();
            bytes("liar", Answer::Nodes((0..64).map(made_up).collect()))
        })
        .await;
        nodes[0].join_kademlia("liar:9000").await.unwrap();
        let closest = nodes[0].lookup(Key::of_bytes(b"x")).await.unwrap();
        let ids: Vec<_> = closest.iter().map(|info| info.id().as_str()).collect();
        assert!(ids.len() == 3 && !ids.iter().any(|id| id.starts_with("made")), "{ids:?}");
        assert_eq!(nodes[0].find(nodes[2].id()).await.unwrap().as_ref(), Some(nodes[2].info()));
        end(&nodes).await;
    });
}
