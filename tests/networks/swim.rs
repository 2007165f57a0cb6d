//! Nodes with the feature `swim`, on a network in memory.

use std::time::Duration;

use actix::prelude::System;
use actix_peer::{
    Builder, Config, JoinPolicy, Peer, PeerEvent,
    overlay::{
        Host,
        swim::{MemberState, SwimConfig},
    },
    peer::RegisterError,
    sim::{SimError, SimNetwork},
    transport::memory::MemoryNetwork,
};
use futures::StreamExt;
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, handlers::echo, nodes::on_host};

fn paused<R>(work: impl Future<Output = R>) -> R {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    System::with_tokio_rt(runtime).block_on(work)
}

async fn start(wires: &MemoryNetwork, n: usize, config: SwimConfig) -> Peer {
    let builder = on_host(wires, &format!("n{n}"))
        .config(Config::default().join_policy(JoinPolicy::Open))
        .well_known();
    builder.swim(config, format!("node {n}")).unwrap().start().await.unwrap()
}

/// Nodes that know the first one.
async fn network(wires: &MemoryNetwork, nodes: usize, config: &SwimConfig) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for n in 0..nodes {
        let peer = start(wires, n, config.clone()).await;
        if let Some(first) = peers.first() {
            peer.peers().add(first.info().clone()).await.unwrap();
        }
        peers.push(peer);
    }
    peers
}

#[test]
fn a_recipe_of_a_simulated_network_can_use_every_fallible_builder_step() {
    fn recipe(builder: Builder) -> Result<Builder, RegisterError> {
        let builder = builder.well_known().swim(SwimConfig::lan(3), "store 1.2")?;
        #[cfg(feature = "mdns")]
        drop(actix_peer::peer::mdns::MdnsConfig::new("my-application")?);
        builder.handle("ECHO", echo())?.handle_stream("LONG", echo())?.max_len("ECHO", 64)
    }
    let long = |builder: Builder| builder.swim(SwimConfig::lan(3), [0; 257]);
    let network = SimNetwork::new(1);
    let ran = network.run(async |net| {
        drop(net.start_with("ada", recipe).await?);
        let refused = net.start_with("bob", long).await.err().map(|error| error.to_string());
        assert_eq!(refused.unwrap(), "metadata has at most 256 bytes, not 257");
        Ok::<_, SimError>(())
    });
    ran.unwrap();
}

fn up(peer: &Peer) -> usize {
    peer.members().iter().filter(|member| member.state() != MemberState::Down).count()
}

async fn until(most: Duration, is: impl Fn() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    while !is() {
        if begun.elapsed() > most {
            return None;
        }
        sleep(SECOND / 10).await;
    }
    Some(begun.elapsed())
}

async fn found(nodes: usize, config: SwimConfig) -> (Duration, Duration) {
    let wires = MemoryNetwork::new(7);
    let mut peers = network(&wires, nodes, &config).await;
    let whole = until(60 * SECOND, || peers.iter().all(|peer| up(peer) == nodes - 1)).await;
    println!(
        "{nodes} nodes: whole after {:?}",
        whole.expect("all nodes are members of one network")
    );
    let victim = peers.pop().unwrap();
    victim.abort().await;
    let down = until(60 * SECOND, || peers.iter().all(|peer| up(peer) == nodes - 2)).await;
    println!("{nodes} nodes: down after {:?}", down.expect("every node detects the dead node"));
    for peer in &peers {
        peer.abort().await;
    }
    (whole.unwrap(), down.unwrap())
}

#[test]
fn a_dead_node_is_detected_by_all_of_3_and_of_20_nodes() {
    paused(async {
        for nodes in [3, 20] {
            let (_, down) = found(nodes, SwimConfig::lan(20)).await;
            assert!(down <= 12 * SECOND, "{nodes}: {down:?}");
        }
    });
}

#[test]
#[ignore = "a minute; prints figures"]
fn a_dead_node_is_detected_by_all_of_100_nodes() {
    paused(async {
        let (_, down) = found(100, SwimConfig::lan(100)).await;
        assert!(down <= 15 * SECOND, "{down:?}");
    });
}

#[test]
fn a_member_that_restarts_with_its_clock_set_back_is_a_member_again() {
    paused(async {
        let wires = MemoryNetwork::new(7);
        let peers = network(&wires, 3, &SwimConfig::fast()).await;
        for days in [20_000, 10_000, 15_000, 0] {
            let date = move || std::time::UNIX_EPOCH + Duration::from_secs(days * 86_400);
            let host: Host = "ada".parse().unwrap();
            let ada = Peer::builder().transport(wires.transport(host)).listen("ada:9000").id("ada");
            let ada = ada.config(Config::default().join_policy(JoinPolicy::Open)).well_known();
            let ada = ada.swim(SwimConfig::fast(), "ada").unwrap().wall_clock(date);
            let ada = ada.start().await.unwrap();
            ada.peers().add(peers[0].info().clone()).await.unwrap();
            let whole = || up(&ada) == 3 && peers.iter().all(|peer| up(peer) == 3);
            until(20 * SECOND, whole).await.expect("a member");
            ada.abort().await;
            until(20 * SECOND, || peers.iter().all(|peer| up(peer) == 2)).await.expect("down");
        }
        for peer in &peers {
            peer.abort().await;
        }
    });
}

#[test]
fn events_report_members_and_a_stopped_node_as_left() {
    paused(async {
        let wires = MemoryNetwork::new(7);
        let peers = network(&wires, 3, &SwimConfig::fast()).await;
        let mut events = peers[0].events();
        until(20 * SECOND, || peers.iter().all(|peer| up(peer) == 2)).await.unwrap();
        peers[1].set_metadata(b"roles: store").unwrap();
        let knows = || peers[0].members().iter().any(|member| member.metadata() == b"roles: store");
        until(5 * SECOND, knows).await.unwrap();
        let left = Instant::now();
        peers[2].stop().await;
        until(5 * SECOND, || up(&peers[0]) == 1).await.unwrap();
        assert!(left.elapsed() < SECOND, "a departure needs no probe: {:?}", left.elapsed());
        peers[0].stop().await;
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                PeerEvent::MemberUp { peer } => told.push(format!("up {}", peer.id())),
                PeerEvent::MemberDown { peer } => told.push(format!("down {}", peer.id())),
                PeerEvent::MemberChanged { peer } => told.push(format!("changed {}", peer.id())),
                _ => {}
            }
        }
        told[..2].sort();
        assert_eq!(told, ["up n1", "up n2", "changed n1", "down n2"]);
    });
}

#[test]
fn a_member_that_is_down_keeps_its_link_and_its_entry_in_the_table() {
    paused(async {
        let wires = MemoryNetwork::new(7);
        let peers = network(&wires, 2, &SwimConfig::fast()).await;
        until(20 * SECOND, || peers.iter().all(|peer| up(peer) == 1)).await.unwrap();
        let mut events = peers[1].events();
        // The node has left the membership and continues to run.
        peers[0].leave_members().await;
        until(5 * SECOND, || up(&peers[1]) == 0).await.unwrap();
        sleep(5 * SECOND).await;
        assert_eq!(peers[1].peers().list().await.unwrap().len(), 1);
        assert!(!peers[1].status().await.links.is_empty());
        peers[1].abort().await;
        let mut downs = 0;
        while let Some(event) = events.next().await {
            downs += usize::from(matches!(event, PeerEvent::MemberDown { .. }));
            assert!(!matches!(event, PeerEvent::PeerRemoved { .. }), "{event:?}");
        }
        assert_eq!(downs, 1);
    });
}

#[test]
fn the_sides_of_a_healed_partition_are_one_network_within_20_seconds() {
    paused(async {
        let wires = MemoryNetwork::new(7);
        let peers = network(&wires, 10, &SwimConfig::lan(10)).await;
        until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 9)).await.unwrap();
        let hosts: Vec<Host> =
            peers.iter().map(|peer| peer.info().address().host().clone()).collect();
        wires.partition(&hosts[..5], &hosts[5..]);
        let torn = until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 4)).await;
        println!("torn after {:?}", torn.expect("each side detects that the other is away"));
        sleep(60 * SECOND).await;
        assert!(peers.iter().all(|peer| up(peer) == 4), "each side keeps its own members");
        wires.heal();
        let whole = until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 9)).await;
        let whole = whole.expect("all nodes are members of one network");
        println!("whole after {whole:?}");
        assert!(whole <= 20 * SECOND, "{whole:?}");
        for peer in &peers {
            peer.abort().await;
        }
    });
}

#[test]
fn a_stalled_host_goes_down_at_most_once_for_each_node_and_no_other_host_does() {
    paused(async {
        let wires = MemoryNetwork::new(7);
        let peers = network(&wires, 10, &SwimConfig::lan(10)).await;
        until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 9)).await.unwrap();
        let mut events: Vec<_> = peers[..9].iter().map(Peer::events).collect();
        wires.stall(peers[9].info().address().host(), 12 * SECOND);
        sleep(60 * SECOND).await;
        assert!(peers.iter().all(|peer| up(peer) == 9), "all members are up again");
        for peer in &peers {
            peer.abort().await;
        }
        for events in &mut events {
            let mut downs = Vec::new();
            while let Some(event) = events.next().await {
                if let PeerEvent::MemberDown { peer } = event {
                    downs.push(peer.id().to_string());
                }
            }
            assert!(downs.len() <= 1 && downs.iter().all(|id| id == "n9"), "{downs:?}");
        }
    });
}

/// The dials of each side fail until the partition ends, however long that takes.
#[test]
fn a_partition_of_any_length_heals_within_20_seconds() {
    for (seed, length) in [(1, 20), (2, 35), (3, 65), (4, 110)] {
        paused(async {
            let wires = MemoryNetwork::new(seed);
            let peers = network(&wires, 6, &SwimConfig::lan(6)).await;
            until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 5)).await.unwrap();
            let hosts: Vec<Host> =
                peers.iter().map(|peer| peer.info().address().host().clone()).collect();
            wires.partition(&hosts[..3], &hosts[3..]);
            sleep(length * SECOND).await;
            wires.heal();
            let whole = until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 5)).await;
            println!("{length} s: whole after {whole:?}");
            assert!(whole.is_some_and(|whole| whole <= 20 * SECOND), "{length} s: {whole:?}");
        });
    }
}

#[test]
fn of_two_live_nodes_with_one_id_the_first_stays_a_member_and_no_change_is_reported() {
    paused(async {
        let (wires, config) = (MemoryNetwork::new(7), SwimConfig::fast());
        let peers = network(&wires, 4, &config).await;
        assert!(until(60 * SECOND, || peers.iter().all(|peer| up(peer) == 3)).await.is_some());
        let transport = wires.transport("twin".parse::<Host>().unwrap());
        let twin = Peer::builder().transport(transport).listen("twin:9000").id("n3").well_known();
        let twin = twin.swim(config.clone(), Vec::new()).unwrap().start().await.unwrap();
        let mut events = peers[1].events();
        for peer in &peers[..3] {
            twin.peers().add(peer.info().clone()).await.unwrap();
        }
        sleep(60 * SECOND).await;
        let mut changes = 0;
        while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
            changes += usize::from(matches!(
                event,
                PeerEvent::MemberDown { .. }
                    | PeerEvent::MemberChanged { .. }
                    | PeerEvent::MemberRejoined { .. }
            ));
        }
        assert_eq!(changes, 0);
        let members = peers[1].members();
        let first = members.iter().find(|member| member.info().id().as_str() == "n3").unwrap();
        assert_eq!(first.info().address().to_string(), "n3:9000");
        // When the first node is gone, the second one takes its place.
        peers[3].abort().await;
        let moved = || {
            peers[1].members().iter().any(|member| {
                member.info().address().to_string() == "twin:9000"
                    && member.state() == MemberState::Up
            })
        };
        assert!(until(60 * SECOND, moved).await.is_some());
    });
}

/// The counters of each node and all events after one of six nodes has crashed.
async fn history(seed: u64) -> Vec<String> {
    let wires = MemoryNetwork::new(seed);
    wires.latency(Duration::from_millis(1)..Duration::from_millis(20));
    let mut peers = network(&wires, 6, &SwimConfig::fast()).await;
    let events: Vec<_> = peers.iter().map(Peer::events).collect();
    sleep(10 * SECOND).await;
    peers.pop().unwrap().abort().await;
    sleep(10 * SECOND).await;
    let mut history = Vec::new();
    for peer in &peers {
        history.push(format!("{:?}", peer.status().await.counts));
        peer.abort().await;
    }
    for mut events in events {
        while let Some(event) = events.next().await {
            history.push(format!("{event:?}"));
        }
    }
    history
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_a_different_one() {
    let [first, again, other] = [7, 7, 8].map(|seed| paused(history(seed)));
    assert!(first.len() > 6);
    assert_eq!(first, again);
    assert_ne!(first, other);
}
