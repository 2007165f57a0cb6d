//! `SimNetwork`: virtual time, faults by name, and the same run for the same seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix_peer::{
    Config, PingSweep,
    frame::Frame,
    overlay::PeerExchange,
    sim::{SimError, SimNetwork},
};
use tokio::time::Instant;

use crate::common::SECOND;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs a network of ten nodes. Returns its digest and its history.
fn life(seed: u64) -> (u64, Vec<String>) {
    let network = SimNetwork::new(seed);
    let lived = network.run(async |net| {
        net.wires().latency(ms(1)..ms(30));
        let sweep = |_, builder: actix_peer::Builder| {
            Ok(builder.stabilizer(PingSweep::new().every(SECOND * 5)))
        };
        for peer in net.start_many(10, sweep).await?.iter().skip(1) {
            peer.join("n0:9000").await.unwrap();
        }
        let victim = net.pick(&net.names()).unwrap().clone();
        net.crash(&victim).await?;
        net.advance(SECOND * 60).await;
        let _next_life = net.restart(&victim).await?;
        net.advance(SECOND).await;
        Ok::<_, SimError>((net.digest(), net.history()))
    });
    lived.unwrap()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_a_different_one() {
    let (one, again, other) = (life(1), life(1), life(2));
    assert_eq!(one.1, again.1);
    assert_eq!(one.0, again.0);
    assert_ne!(one.0, other.0);
    assert!(one.1.iter().any(|line| line.ends_with(": crashed")));
    assert!(one.1.iter().any(|line| line.contains("PeerRemoved")), "{:#?}", one.1);
    // Each frame is part of it.
    let is_frame = |line: &&String| line.contains(" -> n0:9000 #") && line.contains(" JOIN ");
    let frame = one.1.iter().find(is_frame).expect("a frame");
    let from_other = |line: &String| line.contains("n0:9000 -> ");
    assert!(frame.contains(" bytes ") && one.1.iter().any(from_other), "{frame}");
}

/// The same with nodes that use every source of random numbers and time.
#[cfg(all(feature = "kademlia", feature = "swim"))]
fn full_life(seed: u64) -> (u64, Vec<String>) {
    use actix_peer::{
        overlay::{kademlia::Key, swim::SwimConfig},
        peer::KademliaConfig,
    };

    let network = SimNetwork::new(seed);
    let lived = network.run(async |net| {
        net.wires().latency(ms(1)..ms(30));
        let all = |_, builder: actix_peer::Builder| {
            let builder = builder.stabilizer(PingSweep::new().every(SECOND * 5));
            let builder = builder.kademlia(KademliaConfig::default());
            builder.swim(SwimConfig::fast(), Vec::new())
        };
        let peers = net.start_many(6, all).await?;
        for peer in peers.iter().skip(1) {
            peer.join("n0:9000").await.unwrap();
            peer.join_kademlia("n0:9000").await.unwrap();
        }
        let key = Key::of_bytes(b"key");
        peers[3].put(key, "value", SECOND * 3_600).await.unwrap();
        peers[4].provide("service").await.unwrap();
        let victim = net.pick(&net.names()).unwrap().clone();
        net.crash(&victim).await?;
        net.advance(SECOND * 60).await;
        let mut history = net.history();
        for name in net.names().iter().filter(|name| **name != victim) {
            let status = net.peer(name)?.status().await;
            history.push(format!("{name}: {:?}", status.counts));
        }
        Ok::<_, SimError>((net.digest(), history))
    });
    lived.unwrap()
}

#[cfg(all(feature = "kademlia", feature = "swim"))]
#[test]
fn the_same_seed_gives_the_same_run_with_look_ups_and_membership() {
    let (one, again, other) = (full_life(1), full_life(1), full_life(2));
    assert_eq!(one, again);
    assert_ne!(one.0, other.0);
}

#[test]
fn a_crashed_node_is_gone_at_once_and_restarts_from_the_same_recipe() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let small =
            |builder: actix_peer::Builder| Ok(builder.config(Config::default().max_peers(3)));
        let (ada, bob) = (net.start("ada").await?, net.start_with("bob", small).await?);
        net.acquaint("ada", "bob").await?;
        assert_eq!(bob.peers().list().await.unwrap().len(), 1);
        let ask = async || ada.request("bob:9000", Frame::empty("NAME")).await?.collect().await;
        ask().await.unwrap();
        net.crash("bob").await?;
        let begun = Instant::now();
        assert!(ask().await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO, "the dial is refused at once");
        assert!(matches!(net.crash("bob").await, Err(SimError::NotRunning(name)) if name == "bob"));
        let bob = net.restart("bob").await?;
        let took = net.wait_until(SECOND * 60, "bob answers", async || ask().await.is_ok()).await?;
        assert!(took < SECOND * 60);
        let status = bob.status().await;
        assert_eq!((status.max_peers, status.peers), (3, 0));
        assert!(matches!(net.start("bob").await, Err(SimError::Running(_))));
        Ok(())
    })
}

#[test]
fn a_condition_that_is_not_met_in_time_is_an_error_that_describes_the_nodes() -> Result<(), SimError>
{
    SimNetwork::new(1).run(async |net| {
        let _nodes = (net.start("ada").await?, net.start("bob").await?);
        net.power_off("bob").await?;
        let begun = Instant::now();
        let error = net.wait_until(SECOND * 3, "pigs fly", async || false).await.unwrap_err();
        assert_eq!(begun.elapsed(), SECOND * 3);
        let text = error.to_string();
        assert!(text.starts_with("timed out after 3s of virtual time: pigs fly\n"), "{text}");
        assert!(text.ends_with("\nada: 0 peers, 0 links\nbob: does not run"), "{text}");
        let look = async || std::future::pending().await;
        assert!(net.wait_until(SECOND, "a look that hangs", look).await.is_err());
        Ok(())
    })
}

#[test]
fn a_test_that_hangs_ends_in_an_error() {
    let network = SimNetwork::new(1).limit(SECOND * 600);
    let ended = network.run(async |net| {
        let _ada = net.start("ada").await?;
        std::future::pending::<Result<(), SimError>>().await
    });
    assert!(matches!(ended, Err(SimError::StillRunning { limit }) if limit == SECOND * 600));
}

#[test]
fn a_stall_delays_a_reply_and_a_one_way_cut_loses_it() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let (ada, _) = (net.start("ada").await?, net.start("bob").await?);
        let ask = async || ada.request("bob:9000", Frame::empty("NAME")).await?.collect().await;
        ask().await.unwrap();
        net.stall("bob", SECOND * 2)?;
        let begun = Instant::now();
        ask().await.unwrap();
        assert_eq!(begun.elapsed(), SECOND * 2);
        // Three keep-alives arrive, and no answer returns.
        net.partition_one_way("bob", "ada")?;
        assert!(ask().await.is_err());
        net.heal();
        net.wait_until(SECOND * 120, "they find together", async || ask().await.is_ok()).await?;
        Ok(())
    })
}

#[tokio::test]
async fn a_simulated_network_refuses_to_run_inside_a_runtime() {
    let ended = SimNetwork::new(1).run(async |_| Ok::<(), SimError>(()));
    assert!(matches!(ended, Err(SimError::InsideRuntime)));
}

/// The tables of a ring of nodes that know one contact each, after two minutes.
fn ring(nodes: usize, seed: u64) -> BTreeMap<String, Vec<String>> {
    let network = SimNetwork::new(seed);
    let lived = network.run(async |net| {
        net.wires().latency(ms(1)..ms(30));
        let exchange = move |n, builder: actix_peer::Builder| {
            let builder = builder.config(Config::default().max_peers(32));
            let exchange = PeerExchange::new().every(SECOND * 10).seed(seed + n as u64);
            Ok(builder.stabilizer(PingSweep::new().every(SECOND * 60)).peer_exchange(exchange))
        };
        let started = net.start_many(nodes, exchange).await?;
        for (n, node) in started.iter().enumerate() {
            let contact = format!("n{0} n{0} 9000", (n + 1) % nodes).parse().unwrap();
            node.peers().add(contact).await.unwrap();
        }
        net.advance(SECOND * 120).await;
        let mut tables = BTreeMap::new();
        for (n, node) in started.iter().enumerate() {
            let list = node.peers().list().await.unwrap();
            let known = list.iter().map(|entry| entry.info().id().to_string()).collect();
            tables.insert(format!("n{n}"), known);
        }
        Ok::<_, SimError>(tables)
    });
    lived.unwrap()
}

#[test]
fn a_hundred_nodes_with_one_contact_each_fill_their_tables_and_stay_connected() {
    let tables = ring(100, 7);
    let fewest = tables.values().map(Vec::len).min().unwrap();
    assert!(fewest >= 16, "{fewest} of 32");
    // Without every third node the others still form one network.
    let stays = |id: &String| id[1..].parse::<usize>().unwrap() % 3 != 0;
    let mut reached: BTreeSet<String> = ["n1".to_owned()].into();
    let mut next = vec!["n1".to_owned()];
    while let Some(id) = next.pop() {
        for known in tables[&id].iter().filter(|id| stays(id)) {
            if reached.insert(known.clone()) {
                next.push(known.clone());
            }
        }
    }
    assert_eq!(reached.len(), tables.keys().filter(|id| stays(id)).count());
    assert_eq!(ring(12, 7), ring(12, 7), "the same seed gives the same network");
}
