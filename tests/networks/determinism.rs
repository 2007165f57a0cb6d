//! Networks that use every feature live the same life for the same seed, in one process and in
//! several.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
    process::Command,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
#[cfg(feature = "tls")]
use actix_peer::transport::tls::{NodeIdentity, TlsTransport};
use actix_peer::{
    Body, Builder, Config, Incoming, JoinPolicy, Outgoing, Over, Peer, PeerInfo, PingSweep, Reply,
    frame::Frame,
    handler,
    link::AckLevel,
    overlay::{PeerExchange, kademlia::Key, swim::SwimConfig},
    peer::{AddressBookConfig, KademliaConfig, RegisterError},
    reliable::{Kept, KeptId, Outbox, Reliability},
    sim::{self, SimError, SimNetwork},
    transport::memory::{Chaos, Latency},
};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all, ready},
    stream,
};
use tokio::time::{sleep, timeout};

use crate::common::{SECOND, nodes::zeros};

/// The nodes of a network.
const NODES: usize = 6;

/// The steps of a life.
const STEPS: usize = 10;

/// The seeds of the short test.
const FEW: u64 = 4;

/// The seeds of the long test.
const MANY: u64 = 40;

/// The seeds that another process lives through, and the file that it writes to.
const SEEDS: &str = "DETERMINISM_SEEDS";
const FILE: &str = "DETERMINISM_FILE";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What the application sees: what its handlers receive, and how its messages end.
#[derive(Clone, Debug, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn note(&self, node: usize, what: fmt::Arguments<'_>) {
        let at = sim::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        self.0.borrow_mut().push(format!("{at:?} n{node} {what}"));
    }
}

/// An outbox that outlives its node.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<BTreeMap<KeptId, Kept>>>);

impl Outbox for Shelf {
    fn store<'a>(&'a self, kept: &'a Kept) -> BoxFuture<'a, io::Result<()>> {
        self.0.lock().unwrap().insert(kept.id(), kept.clone());
        ready(Ok(())).boxed()
    }

    fn delete(&self, id: KeptId) -> BoxFuture<'_, io::Result<()>> {
        self.0.lock().unwrap().remove(&id);
        ready(Ok(())).boxed()
    }

    fn load(&self) -> BoxFuture<'_, io::Result<Vec<Kept>>> {
        ready(Ok(self.0.lock().unwrap().values().cloned().collect())).boxed()
    }
}

/// Whether ids are proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    Claimed,
    #[cfg(feature = "tls")]
    Proven,
}

impl Ids {
    /// Every fourth network proves its ids.
    fn of(seed: u64) -> Self {
        #[cfg(feature = "tls")]
        if seed % 4 == 3 {
            return Self::Proven;
        }
        let _ = seed;
        Self::Claimed
    }

    /// What happens to a network: faults and messages. Cryptography is slow without optimisation.
    const fn steps(self) -> usize {
        match self {
            Self::Claimed => STEPS,
            #[cfg(feature = "tls")]
            Self::Proven => STEPS / 2,
        }
    }

    fn info(self, n: usize) -> PeerInfo {
        let id = match self {
            Self::Claimed => format!("n{n}"),
            #[cfg(feature = "tls")]
            Self::Proven => NodeIdentity::for_tests(&format!("n{n}")).id().to_string(),
        };
        format!("{id} n{n} 9000").parse().unwrap()
    }

    fn builder(self, net: &SimNetwork, n: usize, builder: Builder) -> Builder {
        match self {
            Self::Claimed => {
                let _ = (net, n);
                builder
            }
            #[cfg(feature = "tls")]
            Self::Proven => {
                let name = format!("n{n}");
                let host: actix_peer::overlay::Host = name.parse().unwrap();
                let identity = NodeIdentity::for_tests(&name);
                let builder = builder.id(identity.id().as_str());
                builder.transport(TlsTransport::over(net.wires().transport(host), identity))
            }
        }
    }
}

/// A node with every feature. Its address book is in `folder`.
fn node(
    builder: Builder,
    n: usize,
    (folder, outbox, seen): (&Path, &Shelf, &Seen),
) -> Result<Builder, RegisterError> {
    let config = Config::default().join_policy(JoinPolicy::Open).reliable_timeout(SECOND * 20);
    let config = config.connect_timeout(SECOND * 2).drain_timeout(SECOND * 2);
    let book = AddressBookConfig::new(folder.join(format!("n{n}"))).save_every(SECOND * 3);
    let builder = builder.config(config.max_peers(5));
    let builder = builder.stabilizer(PingSweep::new().every(SECOND * 3).within(SECOND));
    let builder = builder.peer_exchange(PeerExchange::new().every(SECOND * 4));
    let kademlia = KademliaConfig::default().k(3).refresh(SECOND * 20).republish(SECOND * 20);
    let builder = builder.kademlia(kademlia).address_book(book).outbox(outbox.clone());
    let builder = builder.swim(SwimConfig::lan(10), format!("metadata of n{n}"))?;
    let seen = || seen.clone();

    let log = seen();
    let note = handler::from_fn(async move |msg: Incoming| {
        log.note(n, format_args!("NOTE {:?}", msg.frame.as_str()));
        sleep(ms(sim::rng().u64(0..30))).await;
        Reply::none()
    });
    let log = seen();
    let work = handler::from_fn(async move |msg: Incoming| {
        log.note(n, format_args!("WORK {:?}", msg.frame.as_str()));
        sleep(ms(sim::rng().u64(0..3_000))).await;
        Reply::one(msg.frame)
    });
    let log = seen();
    let sink = handler::from_fn(async move |msg: Incoming| {
        let mut body: Body = msg.into_body();
        while let Some(Ok(_)) = body.next().await {}
        log.note(n, format_args!("SINK {}", body.received()));
        Reply::one(Frame::text("REPL", body.received().to_string()))
    });
    let many = handler::from_fn(async move |_: Incoming| {
        let parts = sim::rng().u64(1..200);
        Reply::stream(stream::iter(0..parts).map(|n| Frame::new("PART", vec![0; n as usize])))
    });
    let log = seen();
    let tell = async move |peer: Peer| {
        let known = peer.peers().list().await.map(|list| list.iter().count());
        log.note(n, format_args!("knows {known:?}, {} members", peer.members().len()));
    };
    let builder = builder.every(SECOND * 9, "tell", tell);
    let builder = builder.handle("NOTE", note.start())?.handle("WORK", work.start())?;
    builder.handle_stream("SINK", sink.start())?.handle("MANY", many.start())
}

/// Sends something from `from` to `to`. Returns what became of it.
async fn send(from: &Peer, to: &PeerInfo, step: usize) -> String {
    let over = [Over::Any, Over::Link, Over::Classic][step % 3];
    let text = |code: &'static str| Outgoing::from(Frame::text(code, step.to_string())).over(over);
    let kind = sim::rng().u64(0..11);
    match kind {
        0 => match from.request(to, text("WORK")).await {
            Ok(replies) => format!("WORK {:?}", replies.collect().await),
            Err(error) => format!("WORK {error:?}"),
        },
        1 => format!("NOTE {:?}", from.notify(to, text("NOTE")).await),
        2 => {
            let notes = (0..50).map(|n| Frame::text("NOTE", format!("{step} {n}")));
            format!("NOTEs {:?}", from.notify_all(to, notes).await)
        }
        3 => format!("acked {:?}", from.notify_acked(to, text("NOTE"), AckLevel::Handled).await),
        4 => {
            let sent = (0..5).map(|n| {
                let how = Reliability::from([AckLevel::Delivered, AckLevel::Handled][n % 2]);
                from.send_reliable(to, Frame::text("NOTE", format!("{step} kept {n}")), how)
            });
            format!("reliable {:?}", join_all(sent).await)
        }
        5 => {
            let len = 100_000;
            match from.request(to, Outgoing::body("SINK", len, zeros(len)).over(over)).await {
                Ok(replies) => format!("SINK {:?}", replies.collect().await),
                Err(error) => format!("SINK {error:?}"),
            }
        }
        6 => match from.request(to, text("MANY")).await {
            Ok(replies) => {
                let parts = replies.collect().await.map(|parts| parts.len());
                format!("MANY {parts:?}")
            }
            Err(error) => format!("MANY {error:?}"),
        },
        7 => match from.route(to.id(), Frame::text("WORK", step.to_string())).await {
            Ok(replies) => format!("routed {:?}", replies.collect().await),
            Err(error) => format!("routed {error:?}"),
        },
        8 => {
            let key = Key::of_bytes(&[step as u8]);
            format!("put {:?}", from.put(key, "value", SECOND * 300).await)
        }
        9 => {
            let key = Key::of_bytes(&[(step / 2) as u8]);
            format!("got {:?}", from.get(key).await)
        }
        _ => {
            let provided = from.provide("service").await;
            format!("provided {provided:?}, providers {:?}", from.providers("service").await)
        }
    }
}

/// Six nodes join, talk, and suffer faults. Returns the digest of all that happened, and all
/// that happened.
fn live(seed: u64) -> (u64, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (ids, seen) = (Ids::of(seed), Seen::default());
    let shelves: Vec<_> = (0..NODES).map(|_| Shelf::default()).collect();
    let (path, log) = (folder.path().to_owned(), seen.clone());
    let lived = SimNetwork::new(seed).run(async |net| {
        net.wires().latency(Latency::log_normal(ms(15), 0.7, ms(400)));
        let recipe = {
            let (net, seen) = (net.clone(), log.clone());
            move |n: usize, builder: Builder| {
                node(ids.builder(&net, n, builder), n, (&path, &shelves[n], &seen))
            }
        };
        if seed.is_multiple_of(2) {
            net.wires().chaos(Chaos::light());
        }
        net.start_many(NODES, recipe).await?;
        for n in 1..NODES {
            let peer = net.peer(&format!("n{n}"))?;
            let joined = peer.join(&format!("n{}:9000", n / 2)).await;
            log.note(n, format_args!("joined {joined:?}"));
            let joined = peer.join_kademlia("n0:9000").await;
            log.note(n, format_args!("joined {joined:?}"));
        }
        let mut under_way = Vec::new();
        for step in 0..ids.steps() {
            let any = |net: &SimNetwork| net.random(0..NODES as u64) as usize;
            let (n, to) = (any(&net), ids.info(any(&net)));
            let name = format!("n{n}");
            match net.random(0..16) {
                0 if net.names().len() > 4 => drop(net.crash(&name).await),
                1 if net.names().len() > 4 => drop(net.power_off(&name).await),
                2 if net.names().len() > 4 => drop(net.stop(&name).await),
                0..=4 => drop(net.restart(&name).await?),
                5 => net.stall(&name, ms(net.random(100..9_000)))?,
                6 => {
                    let mut all: Vec<_> = (0..NODES).map(|n| format!("n{n}")).collect();
                    net.shuffle(&mut all);
                    let all: Vec<_> = all.iter().map(String::as_str).collect();
                    net.partition(&all[..3], &all[3..])?;
                }
                7 | 8 => net.heal(),
                _ => {}
            }
            // Several messages to one node share a dial.
            for _ in 0..4 {
                let from = any(&net);
                let Ok(peer) = net.peer(&format!("n{from}")) else { continue };
                let (log, to) = (log.clone(), to.clone());
                under_way.push(actix_rt::spawn(async move {
                    log.note(from, format_args!("{step} to {to}"));
                    let sent = send(&peer, &to, step).await;
                    log.note(from, format_args!("{step} to {to}: {sent}"));
                }));
            }
            net.advance(ms(net.random(0..1_500))).await;
        }
        net.heal();
        for n in 0..NODES {
            if net.peer(&format!("n{n}")).is_err() {
                drop(net.restart(&format!("n{n}")).await?);
            }
        }
        net.advance(SECOND * 6).await;
        for sent in under_way {
            assert!(timeout(SECOND * 30, sent).await.is_ok(), "a message has no outcome: {log:?}");
        }
        for n in 0..3 {
            let stopped = net.stop(&format!("n{n}")).await?;
            log.note(n, format_args!("stopped {stopped:?}"));
        }
        Ok::<_, SimError>((net.digest(), net.history()))
    });
    let (digest, mut lines) = lived.unwrap();
    let seen = seen.0.borrow();
    let mut hasher = DefaultHasher::new();
    (digest, &*seen).hash(&mut hasher);
    lines.extend(seen.iter().cloned());
    (hasher.finish(), lines)
}

/// Where two lives with one seed part.
fn first_difference(one: &[String], other: &[String]) -> String {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let shown =
        |lines: &[String]| lines[same.saturating_sub(3)..].iter().take(6).cloned().collect();
    let (one, other): (Vec<_>, Vec<_>) = (shown(one), shown(other));
    format!("line {same}:\n{}\n--- and\n{}", one.join("\n"), other.join("\n"))
}

/// The digests of these seeds in another process, which writes what happened in the last to a file.
fn in_another_process(seeds: &[u64], file: &Path) -> BTreeMap<u64, u64> {
    let list = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let test = "determinism::another_process_lives_through_the_seeds_that_it_is_given";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(SEEDS, list)
        .env(FILE, file)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");
    let digest = |line: &str| {
        let (seed, digest) = line.split_once("digest ")?.1.split_once(' ')?;
        Some((seed.parse().unwrap(), digest.parse().unwrap()))
    };
    printed.lines().filter_map(digest).collect()
}

/// Lives through each seed here, once or twice, and in another process.
fn lives_are_the_same(seeds: &[u64], twice: bool) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let (ours, others) = std::thread::scope(|scope| {
        let others = scope.spawn(|| in_another_process(seeds, &file));
        let life = |&seed: &u64| {
            let one = live(seed);
            if twice {
                let again = live(seed);
                assert!(one == again, "seed {seed}, {}", first_difference(&one.1, &again.1));
            }
            (seed, one.0)
        };
        let ours: BTreeMap<_, _> = seeds.iter().map(life).collect();
        (ours, others.join().unwrap())
    });
    assert_eq!(ours.len(), others.len());
    if let Some((&seed, _)) = ours.iter().find(|(seed, digest)| others[seed] != **digest) {
        in_another_process(&[seed], &file);
        let theirs: Vec<_> = read(&file).lines().map(str::to_owned).collect();
        panic!("seed {seed} in another process, {}", first_difference(&live(seed).1, &theirs));
    }
    let different: BTreeSet<_> = ours.values().collect();
    assert_eq!(different.len(), ours.len(), "another seed is another life");
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_network_with_every_feature_lives_the_same_life_twice_and_in_another_process() {
    lives_are_the_same(&(0..FEW).collect::<Vec<_>>(), true);
}

#[test]
#[ignore = "forty seeds take most of a minute"]
fn forty_networks_with_every_feature_live_the_same_life_in_another_process() {
    lives_are_the_same(&(FEW..FEW + MANY).collect::<Vec<_>>(), false);
}

/// The other process of the tests above.
#[test]
#[ignore = "does nothing unless another test starts it"]
fn another_process_lives_through_the_seeds_that_it_is_given() {
    let Ok(seeds) = std::env::var(SEEDS) else { return };
    for seed in seeds.split(',').map(|seed| seed.parse().unwrap()) {
        let (digest, lines) = live(seed);
        println!("\ndigest {seed} {digest}");
        std::fs::write(std::env::var_os(FILE).unwrap(), lines.join("\n")).unwrap();
    }
}
