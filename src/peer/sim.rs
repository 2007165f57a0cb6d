//! Whole networks of nodes in one test, in virtual time and reproducible from a seed (feature
//! `test-utils`).
//!
//! A [`SimNetwork`] is a [`MemoryNetwork`] with nodes on it. One call starts a node.
//! [`run`](SimNetwork::run) sets up an arbiter whose clock is paused: time advances only while
//! every task waits, so hours of virtual time take a moment, and the result does not depend on the
//! speed of the machine. Nodes are crashed, restarted, stalled and partitioned by name. It serves
//! the tests of this crate and those of applications.
//!
//! # Examples
//!
//! A test of an application: words that two nodes store survive the crash of one of them.
//!
//! ```
//! use std::{cell::RefCell, collections::BTreeSet, time::Duration};
//!
//! use actix::prelude::*;
//! use actix_peer::{Builder, Incoming, Reply, frame::Frame, handler, peer::RegisterError};
//! use actix_peer::{sim::SimNetwork, transport::memory::Latency};
//!
//! /// The application: `KEEP` stores a word, and answers with all stored words.
//! fn shelf(builder: Builder) -> Result<Builder, RegisterError> {
//!     let words = RefCell::new(BTreeSet::new());
//!     let keep = handler::from_fn(async move |msg: Incoming| {
//!         words.borrow_mut().insert(msg.frame.as_str().unwrap_or_default().to_owned());
//!         let words: Vec<_> = words.borrow().iter().cloned().collect();
//!         Reply::one(Frame::text("REPL", words.join(" ")))
//!     });
//!     builder.handle("KEEP", keep.start())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ms = Duration::from_millis;
//! SimNetwork::new(42).run(async |net| {
//!     net.wires().latency(Latency::log_normal(ms(20), 0.5, ms(500)));
//!     for name in ["ada", "bob", "cyd"] {
//!         drop(net.start_with(name, shelf).await?);
//!     }
//!     let ada = net.peer("ada")?;
//!     for to in ["bob:9000", "cyd:9000"] {
//!         ada.request(to, Frame::text("KEEP", "rose")).await?.collect().await?;
//!     }
//!     net.crash("bob").await?;
//!     assert!(ada.request("bob:9000", Frame::text("KEEP", "iris")).await.is_err());
//!     let kept = ada.request("cyd:9000", Frame::text("KEEP", "iris")).await?.collect().await?;
//!     assert_eq!(kept, [Frame::text("REPL", "iris rose")]);
//!
//!     let _bob = net.restart("bob").await?;
//!     let answers = async || ada.request("bob:9000", Frame::text("KEEP", "lily")).await.is_ok();
//!     net.wait_until(Duration::from_secs(60), "bob answers again", answers).await?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # What a test must not do
//!
//! The same seed gives the same history, in each process, if the code of the test and the handlers
//! of its nodes depend on nothing else. Avoid:
//!
//! | what | why | instead |
//! | --- | --- | --- |
//! | to iterate over a `HashMap` or `HashSet` | the order differs from process to process | a `BTreeMap`, or an `IndexMap` |
//! | `tokio::select!` without `biased` | it polls its branches in a random order | `biased;`, or [`futures::future::select`] |
//! | a `tokio::sync::watch` with several receivers | it wakes them in a random order | a `tokio::sync::broadcast`, or a `Notify` |
//! | `std::time::Instant` and `SystemTime::now` | the real clock | [`tokio::time::Instant`] and [`now`] |
//! | random numbers of the system | they do not follow the seed | [`rng`] |
//! | threads, `spawn_blocking`, [`Builder::workers`] | a thread ends at a real time | the work in place, or an actor |
//! | real sockets and processes | data arrives at a real time | nodes of the network |
//! | addresses of allocations, as keys or in an order | they differ from run to run | a number that counts up |
//! | `tokio::time::resume` | virtual time becomes real time | [`SimNetwork::advance`] |
//!
//! The nodes follow these rules themselves: they take date and random numbers from the network,
//! read and write their address books in place, and do not start with workers
//! ([`StartError::WorkersInSimulation`](crate::StartError::WorkersInSimulation)). Only the keys of a
//! TLS session come from the system. They change the encrypted bytes, but no length and no order.
//! The identity that `NodeIdentity::for_tests` returns is the same in each run.

mod ambient;
mod disk;
mod error;
mod explore;
mod fault_points;
mod faults;
mod history;
mod life;
mod options;
mod plan;
mod traffic;
mod violation;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    ops::Range,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use self::history::History;
pub use self::{
    ambient::{SimRng, now, rng},
    disk::SimDisk,
    error::{NodeState, SimError, SimState},
    explore::{Explore, Found, LifeReport, Report},
    life::Life,
    plan::{Fault, FaultLevel, Mood, Plan, PlanSize, PlannedFault, Restart, UnknownFaultLevel},
    traffic::Traffic,
    violation::Violation,
};
pub use crate::fault_points::{FaultPoint, Sometimes};
use crate::{
    fault_points::FaultPoints,
    node::simulation,
    overlay::Host,
    peer::{Builder, Peer, RegisterError},
    sync::Mutex,
    transport::{
        Simulated,
        memory::{MemoryNetwork, Recording},
    },
};

/// The port that every node listens on, each on a host of its own.
pub const PORT: u16 = 9000;

/// The pause between two checks of [`SimNetwork::wait_until`].
const LOOK: Duration = Duration::from_millis(10);

/// The limit of virtual time for a test unless [`SimNetwork::limit`] sets another.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);

type Recipe = Rc<dyn Fn(Builder) -> Result<Builder, RegisterError>>;

/// A network of nodes for tests. A clone refers to the same network. See [the module](self) for an
/// example.
#[derive(Clone)]
pub struct SimNetwork(Rc<Inner>);

struct Inner {
    wires: MemoryNetwork,
    seed: u64,
    random: RefCell<SimRng>,
    nodes: RefCell<BTreeMap<String, SimNode>>,
    history: Arc<Mutex<History>>,
    _recording: Recording,
    limit: Cell<Duration>,
    fault_points: Rc<FaultPoints>,
}

/// A node that was started at some time, running or not.
struct SimNode {
    recipe: Recipe,
    peer: Option<Peer>,
    /// The host that it runs on, or ran on.
    host: Host,
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNetwork").field("nodes", &self.names()).finish_non_exhaustive()
    }
}

impl SimNetwork {
    /// Makes a network without nodes. The seed decides all random values: the latencies, and the
    /// results of [`random`](Self::random), [`pick`](Self::pick) and [`shuffle`](Self::shuffle).
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (wires, history) = (MemoryNetwork::new(seed), Arc::new(Mutex::new(History::default())));
        let recorded = Arc::clone(&history);
        let recording = wires.record(move |event| recorded.lock().wire(event));
        Self(Rc::new(Inner {
            wires,
            seed,
            random: RefCell::new(SimRng::new(seed)),
            nodes: RefCell::default(),
            history,
            _recording: recording,
            limit: Cell::new(LIMIT),
            fault_points: FaultPoints::new(seed),
        }))
    }

    /// The time that [`run`](Self::run) allows for a test, in virtual time. Default 24 hours.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        self.0.limit.set(limit);
        self
    }

    /// Runs a test on its own arbiter with a paused clock, and ends the nodes that the test leaves
    /// running.
    ///
    /// # Errors
    /// The error of the test; [`SimError::StillRunning`] if the test does not end within the limit,
    /// which is reported at once, because the time is virtual; [`SimError::InsideRuntime`] if it is
    /// called inside a runtime.
    ///
    /// # Panics
    /// If the test panics.
    pub fn run<T, E: From<SimError>>(
        self,
        test: impl AsyncFnOnce(Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(SimError::InsideRuntime.into());
        }
        let _entered = self.0.fault_points.enter();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().map_err(SimError::Runtime)?;
        actix_rt::System::with_tokio_rt(|| runtime).block_on(async {
            self.0.history.lock().begin();
            let simulated = Simulated::new(self.0.wires.begin(), self.0.seed);
            let _running = simulation::begin(simulated);
            let limit = self.0.limit.get();
            let ended = timeout(limit, test(self.clone())).await;
            for peer in self.peers() {
                peer.abort().await;
            }
            ended.map_err(|_| SimError::StillRunning { limit })?
        })
    }

    /// The underlying network, with all its controls: latency, bandwidth, partitions.
    #[must_use]
    pub fn wires(&self) -> &MemoryNetwork {
        &self.0.wires
    }

    /// The options of a node on the host `name`: it has that id, listens on [`PORT`] there, and
    /// serves the well-known codes. Use it to start a node yourself; the network does not manage
    /// that node.
    ///
    /// # Errors
    /// [`SimError::InvalidName`].
    pub fn node(&self, name: &str) -> Result<Builder, SimError> {
        Ok(self.builder(&host(name)?, name))
    }

    fn builder(&self, host: &Host, id: &str) -> Builder {
        let transport = self.0.wires.transport(host.clone());
        Peer::builder().transport(transport).listen(format!("{host}:{PORT}")).id(id).well_known()
    }

    /// The host that the node `name` runs on, or ran on: its name, unless
    /// [`restart_at`](Self::restart_at) moved it.
    ///
    /// # Errors
    /// [`SimError::InvalidName`].
    pub fn host_of(&self, name: &str) -> Result<Host, SimError> {
        let known = self.0.nodes.borrow().get(name).map(|node| node.host.clone());
        known.map_or_else(|| host(name), Ok)
    }

    /// Starts the node `name` with the options of [`node`](Self::node).
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    pub async fn start(&self, name: &str) -> Result<Peer, SimError> {
        self.start_with(name, Ok).await
    }

    /// Starts the node `name` by a recipe, which receives the options of [`node`](Self::node). The
    /// recipe is used again by [`restart`](Self::restart). The network keeps the node running; the
    /// returned handle may be dropped.
    ///
    /// # Errors
    /// [`SimError::InvalidName`], [`SimError::Running`], [`SimError::Register`],
    /// [`SimError::Start`].
    pub async fn start_with(
        &self,
        name: &str,
        recipe: impl Fn(Builder) -> Result<Builder, RegisterError> + 'static,
    ) -> Result<Peer, SimError> {
        if self.peer(name).is_ok() {
            return Err(SimError::Running(name.to_owned()));
        }
        self.launch(name, (&host(name)?, name), Rc::new(recipe)).await
    }

    /// Starts `n0`, `n1` and so on, by a recipe that receives the number.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with); the nodes before the failing one keep running.
    pub async fn start_many(
        &self,
        count: usize,
        recipe: impl Fn(usize, Builder) -> Result<Builder, RegisterError> + 'static,
    ) -> Result<Vec<Peer>, SimError> {
        let recipe = Rc::new(recipe);
        let mut peers = Vec::new();
        for n in 0..count {
            let recipe = Rc::clone(&recipe);
            peers.push(self.start_with(&format!("n{n}"), move |builder| recipe(n, builder)).await?);
        }
        Ok(peers)
    }

    async fn launch(
        &self,
        name: &str,
        (host, id): (&Host, &str),
        recipe: Recipe,
    ) -> Result<Peer, SimError> {
        let builder = recipe(self.builder(host, id))?;
        let peer = builder
            .start()
            .await
            .map_err(|source| SimError::Start { name: name.to_owned(), source })?;
        self.note(name, "started");
        self.watch(name, &peer);
        let node = SimNode { recipe, peer: Some(peer.clone()), host: host.clone() };
        self.0.nodes.borrow_mut().insert(name.to_owned(), node);
        Ok(peer)
    }

    /// Records the node's events until it has stopped.
    fn watch(&self, name: &str, peer: &Peer) {
        let (network, name, mut events) = (Rc::downgrade(&self.0), name.to_owned(), peer.events());
        actix_rt::spawn(async move {
            while let Some(event) = events.next().await {
                let Some(inner) = network.upgrade() else { break };
                inner.history.lock().note(&name, format_args!("{event:?}"));
            }
        });
    }

    fn note(&self, name: &str, what: &str) {
        self.0.history.lock().note(name, format_args!("{what}"));
    }

    /// The running node `name`.
    ///
    /// # Errors
    /// [`SimError::NotRunning`].
    pub fn peer(&self, name: &str) -> Result<Peer, SimError> {
        let nodes = self.0.nodes.borrow();
        let peer = nodes.get(name).and_then(|node| node.peer.clone());
        peer.ok_or_else(|| SimError::NotRunning(name.to_owned()))
    }

    /// The running nodes, in the order of their names.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.0.nodes.borrow().values().filter_map(|node| node.peer.clone()).collect()
    }

    /// The names of the running nodes, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let nodes = self.0.nodes.borrow();
        let running = nodes.iter().filter(|(_, node)| node.peer.is_some());
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Adds each of two nodes to the table of the other.
    ///
    /// # Errors
    /// [`SimError::NotRunning`].
    pub async fn acquaint(&self, a: &str, b: &str) -> Result<(), SimError> {
        for (knows, known) in [(a, b), (b, a)] {
            let known = self.peer(known)?.info().clone();
            let added = self.peer(knows)?.peers().add(known).await;
            added.map_err(|_| SimError::NotRunning(knows.to_owned()))?;
        }
        Ok(())
    }

    /// Advances virtual time by `time`; everything that is due meanwhile happens.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    pub async fn advance(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until a condition is true, checking every 10 ms of virtual time. Returns how long it
    /// waited.
    ///
    /// # Errors
    /// [`SimError::NotInTime`], with `what` and the state of the network.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait, and a check that is under way.
    pub async fn wait_until(
        &self,
        limit: Duration,
        what: &str,
        mut is_true: impl AsyncFnMut() -> bool,
    ) -> Result<Duration, SimError> {
        let begun = Instant::now();
        loop {
            match timeout(limit.saturating_sub(begun.elapsed()), is_true()).await {
                Ok(true) => return Ok(begun.elapsed()),
                Ok(false) if begun.elapsed() < limit => sleep(LOOK).await,
                Ok(false) | Err(_) => {
                    let state = Box::new(self.state().await);
                    return Err(SimError::NotInTime { what: what.to_owned(), limit, state });
                }
            }
        }
    }

    /// The state of the network and its nodes now.
    pub async fn state(&self) -> SimState {
        let all: Vec<_> = self
            .0
            .nodes
            .borrow()
            .iter()
            .map(|(name, node)| (name.clone(), node.peer.clone()))
            .collect();
        let mut nodes = Vec::new();
        for (name, peer) in all {
            let status = match &peer {
                Some(peer) => Some(peer.status().await),
                None => None,
            };
            let (peers, links) = status.map_or((0, 0), |status| (status.peers, status.links.len()));
            nodes.push(NodeState { name, running: peer.is_some(), peers, links });
        }
        let at = self.0.history.lock().elapsed();
        let (connections, dials) = (self.0.wires.connections(), self.0.wires.dials());
        SimState { at, nodes, connections, dials }
    }

    /// A random number of the range, determined by the seed; the start of an empty range.
    #[must_use]
    pub fn random(&self, range: Range<u64>) -> u64 {
        self.0.random.borrow_mut().u64(range)
    }

    /// A random element, determined by the seed; `None` if the slice is empty.
    #[must_use]
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        self.0.random.borrow_mut().pick(of)
    }

    /// Shuffles the slice, in an order determined by the seed.
    pub fn shuffle<T>(&self, these: &mut [T]) {
        self.0.random.borrow_mut().shuffle(these);
    }

    /// A hash of everything that has happened, and when: the [events](crate::PeerEvent) of each
    /// node, what the test did to the network, and
    /// [each frame](crate::transport::memory::WireEvent). Two runs with the same seed have the same
    /// digest.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.history.lock().digest()
    }

    /// The lines that the [`digest`](Self::digest) is computed from: at most the first 65,536 of
    /// nodes and tests, and the first 65,536 of the network.
    /// Compare them to find where two runs diverge.
    #[must_use]
    pub fn history(&self) -> Vec<String> {
        self.0.history.lock().lines()
    }
}

fn host(name: &str) -> Result<Host, SimError> {
    name.parse().map_err(|source| SimError::InvalidName { name: name.to_owned(), source })
}
