//! Messages over several nodes: eight hops, a hop that fails, and nodes that do not forward.

use std::{future::poll_fn, time::Duration};

use actix::prelude::*;
use actix_peer::{
    Builder, Config, Incoming, Peer, PeerId, PeerInfo, Reply, RequestError, Target,
    frame::Frame,
    handler,
    overlay::{Address, ForwardPolicy, RouteReason},
    peer::RegisterError,
    router,
    sim::{SimError, SimNetwork},
    transport::Transport,
};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::SECOND;

/// A node in a line. It routes towards the end or the beginning by the numbers in the names,
/// answers with the path of a message, and ticks once a second for ten seconds.
fn in_line(n: usize, builder: Builder) -> Result<Builder, RegisterError> {
    let number = |id: &str| id[1..].parse::<usize>().unwrap();
    let by_number = router::from_fn(move |to, peers| {
        let next = if number(to.as_str()) > n { n + 1 } else { n - 1 };
        peers.get(&format!("n{next}").parse().ok()?).map(|entry| entry.info().clone())
    });
    let way = handler::from_fn(async |msg: Incoming| {
        let sender = msg.sender();
        let path: Vec<_> = sender.path().iter().map(ToString::to_string).collect();
        let origin = sender.origin().map_or("nobody", |id| id.as_str());
        Reply::one(Frame::text("REPL", format!("{origin} {} {}", sender.hops(), path.join(" "))))
    });
    let tick = handler::from_fn(async |_: Incoming| {
        Reply::stream(futures::stream::iter(0..10).then(async |n| {
            tokio::time::sleep(SECOND).await;
            Frame::text("TICK", n.to_string())
        }))
    });
    builder.router(by_number).handle("WAY_", way.start())?.handle("TICK", tick.start())
}

async fn line(
    net: &SimNetwork,
    nodes: usize,
    config: impl Fn(usize) -> Config + 'static,
) -> Result<Vec<Peer>, SimError> {
    let recipe = move |n, builder: Builder| in_line(n, builder.config(config(n)));
    let line = net.start_many(nodes, recipe).await?;
    for n in 1..nodes {
        net.acquaint(&format!("n{}", n - 1), &format!("n{n}")).await?;
    }
    Ok(line)
}

async fn ask(from: &Peer, to: &Peer) -> Result<String, RequestError> {
    let replies = from.route(to.id(), Frame::empty("WAY_")).await?.collect().await?;
    Ok(replies[0].as_str().unwrap().to_owned())
}

/// The reason, the node and the number of hops of a routing error.
fn stuck<T: std::fmt::Debug>(result: Result<T, RequestError>) -> (RouteReason, String, Option<u8>) {
    match result {
        Err(RequestError::Route(fault)) => (fault.reason(), fault.at().to_string(), fault.hop()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn by_default_a_message_passes_eight_hops_with_streamed_replies_and_not_nine()
-> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        let line = line(&net, 10, |_| Config::default()).await?;
        assert_eq!(ask(&line[0], &line[8]).await.unwrap(), "n0 8 n0 n1 n2 n3 n4 n5 n6 n7");
        let ticks = line[0].route(line[8].id(), Frame::empty("TICK")).await.unwrap();
        assert_eq!(ticks.collect().await.unwrap().len(), 10);
        let too_far = ask(&line[0], &line[9]).await;
        assert_eq!(stuck(too_far), (RouteReason::HopLimit, "n8".to_owned(), Some(8)));
        Ok(())
    })
}

#[test]
fn a_hop_that_fails_during_a_stream_is_named_by_the_hop_before_it() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let line = line(&net, 9, |_| Config::default()).await?;
        let mut ticks = line[0].route(line[8].id(), Frame::empty("TICK")).await.unwrap();
        for n in 0..3 {
            assert_eq!(ticks.next().await.unwrap().unwrap(), Frame::text("TICK", n.to_string()));
        }
        net.crash("n5").await?;
        let error = ticks.next().await.unwrap();
        assert!(error.as_ref().unwrap_err().may_have_been_handled());
        assert_eq!(stuck(error), (RouteReason::Broken, "n4".to_owned(), Some(4)));
        assert!(ticks.next().await.is_none());
        // The sender of a one-way message is not told; the hop counts the failure.
        let to = Target::routed(line[8].id().clone());
        line[0].notify(to, Frame::empty("WAY_")).await.unwrap();
        let lost = async || line[4].status().await.counts.forwards_lost == 1;
        net.wait_until(SECOND * 30, "the loss is counted", lost).await?;
        Ok(())
    })
}

#[test]
fn a_node_forwards_only_for_the_peers_that_its_policy_allows() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let policy = |n| match n {
            2 => Config::default().forward(ForwardPolicy::Nobody),
            1 => Config::default().forward(ForwardPolicy::KnownPeers),
            _ => Config::default(),
        };
        let line = line(&net, 4, policy).await?;
        let refused = (RouteReason::Refused, "n2".to_owned(), Some(2));
        assert_eq!(stuck(ask(&line[0], &line[3]).await), refused);
        assert_eq!(
            ask(&line[0], &line[2]).await.unwrap(),
            "n0 2 n0 n1",
            "messages for the node itself are accepted"
        );
        line[1].peers().remove(line[0].id()).await.unwrap();
        let refused = (RouteReason::Refused, "n1".to_owned(), Some(1));
        assert_eq!(stuck(ask(&line[0], &line[2]).await), refused);
        assert_eq!(line[1].status().await.counts.forwards_refused, 1);
        Ok(())
    })
}

#[test]
fn the_messages_forwarded_for_a_neighbour_have_a_rate_limit() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let line = line(&net, 3, |_| Config::default().max_forwards_per_source(2)).await?;
        for _ in 0..4 {
            ask(&line[0], &line[2]).await.unwrap();
        }
        let busy = (RouteReason::Busy, "n1".to_owned(), Some(1));
        assert_eq!(stuck(ask(&line[0], &line[2]).await), busy);
        net.advance(SECOND).await;
        ask(&line[0], &line[2]).await.unwrap();
        Ok(())
    })
}

#[test]
fn nodes_without_links_forward_messages_as_well() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let line = line(&net, 5, |n| Config::default().links(n % 2 == 0)).await?;
        assert_eq!(ask(&line[0], &line[4]).await.unwrap(), "n0 4 n0 n1 n2 n3");
        assert_eq!(ask(&line[4], &line[1]).await.unwrap(), "n4 3 n4 n3 n2");
        Ok(())
    })
}

/// A program like the originals: one frame per connection, answers to the codes that it knows, and
/// a silent end for all others.
async fn original(net: &SimNetwork, name: &str) -> PeerInfo {
    let at: Address = format!("{name}:9000").parse().unwrap();
    let mut listener = net.wires().transport(at.host().clone()).listen(&at).await.unwrap();
    actix::spawn(async move {
        while let Ok(mut io) = poll_fn(|cx| listener.poll_accept(cx)).await {
            actix::spawn(async move {
                let mut header = [0; 8];
                if io.reader.read_exact(&mut header).await.is_ok() && header == *b"WAY_\0\0\0\0" {
                    io.writer.write_all(b"REPL\0\0\0\x05plain").await.ok();
                }
                io.writer.shutdown().await.ok();
            });
        }
    });
    PeerInfo::new(name.parse().unwrap(), at).unwrap()
}

#[test]
fn an_original_program_receives_the_plain_message_and_forwards_nothing() -> Result<(), SimError> {
    SimNetwork::new(1).run(async |net| {
        let line = line(&net, 2, |_| Config::default()).await?;
        let old = original(&net, "n2").await;
        line[1].peers().add(old.clone()).await.unwrap();
        // Through a node to the original, for a code that it handles and for one that it does not.
        let replies = line[0].route(old.id(), Frame::empty("WAY_")).await.unwrap();
        assert_eq!(replies.collect().await.unwrap(), [Frame::text("REPL", "plain")]);
        let replies = line[0].route(old.id(), Frame::empty("TICK")).await.unwrap();
        assert_eq!(replies.collect().await.unwrap(), []);
        // The original forwards nothing, and the node before it reports that.
        let beyond = "n3".parse::<PeerId>().unwrap();
        for (from, at, hop) in [(0, "n1", 1), (1, "n1", 0)] {
            let replies = match line[from].route(&beyond, Frame::empty("WAY_")).await {
                Ok(replies) => replies.collect().await,
                Err(error) => Err(error),
            };
            assert_eq!(stuck(replies), (RouteReason::NotForwarding, at.to_owned(), Some(hop)));
        }
        Ok(())
    })
}
