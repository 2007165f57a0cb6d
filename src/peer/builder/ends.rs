//! Tests every option at its limits and beyond them: a node either starts and works, or names the
//! option that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{cell::Cell, panic, sync::Once, time::Duration};

use actix::prelude::*;
use futures::TryStreamExt;
use tokio::time::timeout;

use super::{Workers, every::Pause};
use crate::{
    dispatch::handler,
    frame::{Frame, TypeCode},
    link::{AckLevel, OnRestart},
    message::{Incoming, Outgoing, Over, Reply},
    node::Config,
    overlay::{
        JoinConfig, PeerExchange, PingSweep,
        options::{End, Options},
        swim::SwimConfig,
    },
    peer::{
        AddressBookConfig, Builder, JoinError, KademliaConfig, Peer, StartError, mdns::MdnsConfig,
    },
    reliable::Reliability,
    transport::{
        memory::MemoryNetwork,
        tls::{NodeIdentity, TlsTransport},
    },
};

/// The limit for each case that has to work, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the panics of each thread. A panic in a task is reported nowhere else.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.set(panics.get() + 1));
            before(info);
        }));
    });
}

fn echo(builder: Builder) -> Builder {
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let drink = handler::from_fn(async |msg: Incoming| {
        let mut body = msg.into_body();
        while body.try_next().await.ok().flatten().is_some() {}
        Reply::one(Frame::text("LONG", body.received().to_string()))
    });
    let builder = builder.well_known().handle("ECHO", echo.start()).unwrap();
    builder.handle_stream("LONG", drink.start()).unwrap()
}

/// Sends a message in every way, over links and in classic exchanges. Returns what failed.
async fn talk(from: &Peer, to: &Peer) -> Vec<String> {
    let mut failed = Vec::new();
    for over in [Over::Link, Over::Classic] {
        let mut note = |what: &str, error: Option<String>| {
            failed.extend(error.map(|error| format!("{what}, {over:?}: {error}")));
        };
        let short = || Outgoing::from(Frame::text("ECHO", "hello")).over(over);
        let long = || {
            let data: &[u8] = &[7; 300 << 10];
            Outgoing::body("LONG", 300 << 10, data).over(over)
        };
        for (what, message) in [("request", short()), ("body", long())] {
            let replies = async { from.request(to.info(), message).await?.collect().await };
            let replies = replies.await;
            let refused = |replies: Vec<Frame>| {
                let code = replies.first().map(Frame::code);
                (code == Some(TypeCode::ERRO)).then(|| format!("{:?}", replies[0].as_str()))
            };
            note(what, replies.map_or_else(|error| Some(error.to_string()), refused));
        }
        let told = from.notify(to.info(), short()).await;
        note("notify", told.err().map(|error| error.to_string()));
        let acked = from.notify_acked(to.info(), short(), AckLevel::Handled).await;
        note("notify_acked", acked.err().map(|error| error.to_string()));
    }
    let how = Reliability { level: AckLevel::Handled, on_restart: OnRestart::Resend };
    let sent = from.send_reliable(to.info(), Frame::text("ECHO", "hello"), how).await;
    failed.extend(sent.err().map(|error| format!("send_reliable: {error}")));
    failed
}

/// Starts a node with these options and uses it from both sides. Returns what failed.
async fn live(builder: Builder, other: Builder) -> Result<Vec<String>, StartError> {
    let node = echo(builder).start().await?;
    let other = echo(other).start().await.unwrap();
    let mut failed = Vec::new();
    failed.extend(
        node.join(&other.info().address().to_string()).await.err().map(|error| error.to_string()),
    );
    failed.extend(talk(&node, &other).await);
    failed.extend(talk(&other, &node).await);
    // Long enough for timers, sweeps and look-ups to run.
    tokio::time::sleep(Duration::from_secs(6)).await;
    node.stop().await;
    other.stop().await;
    Ok(failed)
}

/// Starts nodes with each option at each of its limits and beyond them. `builder` makes a pair of
/// nodes of which the first has the options.
async fn ends<O: Options>(options: &O, builder: impl Fn(O) -> (Builder, Builder)) -> Vec<String> {
    count_panics();
    let mut faults = Vec::new();
    for at in 0..options.clone().settings().len() {
        for end in [End::Least, End::Greatest, End::Below, End::Above, End::Largest] {
            let mut options = options.clone();
            let setting = options.settings().swap_remove(at);
            let name = setting.option;
            if !setting.set(end) {
                continue;
            }
            let panics = PANICS.with(Cell::get);
            let allowed = options.validate_all().is_ok();
            let (node, other) = builder(options);
            let lived = timeout(Duration::from_secs(40 * 86_400), live(node, other)).await;
            let what = match (end, lived) {
                (_, Err(_)) => Some("does not end".to_owned()),
                // The least length or time may be too little for a message.
                (End::Least, Ok(Ok(_))) => None,
                (End::Greatest, Ok(Ok(failed))) if failed.is_empty() => None,
                // The greatest value of the type may be allowed.
                (End::Largest, Ok(Ok(failed))) if allowed && failed.is_empty() => None,
                (End::Below | End::Above | End::Largest, Ok(Err(StartError::Config(error))))
                    if error.option == name =>
                {
                    None
                }
                (_, lived) => Some(format!("{lived:?}")),
            };
            faults.extend(what.map(|what| format!("{name}, {end:?}: {what}")));
            if PANICS.with(Cell::get) > panics {
                faults.push(format!("{name}, {end:?}: a panic"));
            }
        }
    }
    faults
}

/// Two nodes in virtual time.
fn pair(options: impl FnOnce(Builder) -> Builder) -> (Builder, Builder) {
    let wires = MemoryNetwork::new(1);
    let on = |name: &str| {
        let builder = Peer::builder()
            .transport(wires.transport(name.parse::<crate::overlay::Host>().unwrap()));
        builder.listen(format!("{name}:9000")).id(name)
    };
    (options(on("node")), on("other"))
}

#[actix::test]
async fn a_node_works_with_every_option_at_its_ends_and_does_not_start_beyond() {
    tokio::time::pause();
    let faults = ends(&Config::default(), |config| pair(|node| node.config(config))).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[actix::test]
async fn a_node_works_with_every_option_of_its_parts_at_its_ends() {
    tokio::time::pause();
    let folder = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    faults.extend(ends(&PingSweep::new(), |sweep| pair(|node| node.stabilizer(sweep))).await);
    faults.extend(
        ends(&PeerExchange::new(), |exchange| pair(|node| node.peer_exchange(exchange))).await,
    );
    faults.extend(
        ends(&Pause { every: PATIENCE }, |pause| {
            pair(|node| node.every(pause.every, "nothing", async |_| ()))
        })
        .await,
    );
    faults.extend(
        ends(&KademliaConfig::default(), |config| pair(|node| node.kademlia(config))).await,
    );
    faults.extend(
        ends(&SwimConfig::lan(2), |config| pair(|node| node.swim(config, "").unwrap())).await,
    );
    let book = AddressBookConfig::new(folder.path().join("peers"));
    faults.extend(ends(&book, |book| pair(|node| node.address_book(book))).await);
    let (ada, bob) = (NodeIdentity::generate().unwrap(), NodeIdentity::generate().unwrap());
    let tls = TlsTransport::new(ada);
    faults.extend(
        ends(&tls, |tls| {
            let wires = MemoryNetwork::new(1);
            let wire = |name: &str| wires.transport(name.parse::<crate::overlay::Host>().unwrap());
            let node = Peer::builder().transport(tls.moved_to(wire("node"))).listen("node:9000");
            let other = TlsTransport::over(wire("other"), bob.clone());
            (node, Peer::builder().transport(other).listen("other:9000"))
        })
        .await,
    );
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Real threads and real sockets do not run in virtual time.
#[actix::test]
async fn a_node_works_with_the_options_that_need_real_time_at_their_ends() {
    let mut faults = Vec::new();
    let pair = |options: &dyn Fn(Builder) -> Builder| (options(Peer::builder()), Peer::builder());
    for (workers, starts) in
        [(0, true), (super::MAX_WORKERS, true), (super::MAX_WORKERS + 1, false)]
    {
        assert_eq!(Workers { workers }.validate_all().is_ok(), starts);
        let (node, other) = pair(&|node| node.workers(workers));
        match (live_shortly(node, other).await, starts) {
            (Ok(failed), true) if failed.is_empty() => {}
            (Err(StartError::Config(error)), false) if error.option == "Builder::workers" => {}
            (lived, _) => faults.push(format!("{workers} workers: {lived:?}")),
        }
    }
    let config = MdnsConfig::new("the-ends-of-options").unwrap().port(53_531).loopback(true);
    let (node, other) = pair(&|node| node.mdns(config.clone()));
    match live_shortly(node, other).await {
        Ok(failed) if failed.is_empty() => {}
        lived => faults.push(format!("mdns: {lived:?}")),
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

async fn live_shortly(node: Builder, other: Builder) -> Result<Vec<String>, StartError> {
    let node = echo(node).start().await?;
    let other = echo(other).start().await.unwrap();
    let mut failed = talk(&node, &other).await;
    failed.extend(talk(&other, &node).await);
    node.stop().await;
    other.stop().await;
    Ok(failed)
}

#[actix::test]
async fn a_join_works_with_every_option_at_its_ends_and_is_refused_beyond() {
    tokio::time::pause();
    count_panics();
    let (node, other) = pair(|node| node);
    let (node, other) = (echo(node).start().await.unwrap(), echo(other).start().await.unwrap());
    let panics = PANICS.with(Cell::get);
    let all = JoinConfig::new().target(8);
    for at in 0..all.clone().settings().len() {
        for end in [End::Least, End::Greatest, End::Below, End::Above, End::Largest] {
            let mut config = all.clone();
            let setting = config.settings().swap_remove(at);
            let name = setting.option;
            if !setting.set(end) {
                continue;
            }
            let allowed = config.validate_all().is_ok();
            match node.join_with(other.info().address().clone(), config).await {
                Err(JoinError::Config(error)) => assert!(!allowed && error.option == name),
                joined => {
                    assert!(allowed && (joined.is_ok() || end == End::Least), "{name}: {joined:?}")
                }
            }
        }
    }
    assert_eq!(PANICS.with(Cell::get), panics);
}
