//! What the network knows: who listens, who is connected, who cannot reach whom. No IO and no
//! waiting.

mod faults;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    ops::Range,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chaos::{ChaosDice, ChaosState, DialFate};
use super::clock::{ClockOffset, OffsetCell};
use super::connection::{Connection, Opened};
use super::pipe::{PipeConfig, Pipes, Wakers};
use super::record::Tap;
use super::uplink::Uplink;
use super::{Ending, Latency, MemoryLink, StreamDirection};
use crate::{
    overlay::{Address, Host},
    transport::{Io, Simulated},
};

/// The first port for a listener on port 0.
const FIRST_FREE_PORT: u16 = 49152;
/// The source ports of diallers, used in turn.
const DIALLERS_PORTS: Range<u16> = 32768..FIRST_FREE_PORT;

/// The number of the draws of chaos for dials. Those of connections count from 0.
const DIALS: u64 = u64::MAX;

/// A host as a key: names are case-insensitive.
pub(super) fn key(host: &Host) -> String {
    host.to_string().to_ascii_lowercase()
}

fn sorted(a: String, b: String) -> (String, String) {
    if a <= b { (a, b) } else { (b, a) }
}

fn pair(a: &Address, b: &Address) -> (String, String) {
    sorted(key(a.host()), key(b.host()))
}

/// An address at which a host listens.
pub(super) type ListenAddress = (String, u16);

#[derive(Debug)]
struct Listening {
    number: u64,
    queue: mpsc::Sender<Io>,
}

/// The state of the destination when a dial arrives.
pub(super) enum DialOutcome {
    /// The dial is never answered.
    BlackHole,
    /// The dial is delayed until then.
    Later(Instant),
    Refused,
    /// There is a listener. The number distinguishes it from a later one at the same address.
    Open(mpsc::Sender<Io>, u64),
}

/// A dial in transit.
pub(super) struct Dial {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) there: Duration,
    /// The time by which chaos delays the dial, but not the data.
    pub(super) longer: Duration,
    pub(super) back: Duration,
    pub(super) fate: DialFate,
}

/// A connection that was opened by a dial, as both sides see it.
pub(super) struct Connected {
    pub(super) connection: Arc<Connection>,
    pub(super) dialler: Io,
    pub(super) listener: Io,
}

#[derive(Debug)]
struct Linked {
    link: Arc<MemoryLink>,
    connection: Weak<Connection>,
}

impl Linked {
    fn is_open(&self) -> bool {
        let connection = self.connection.upgrade();
        connection.is_some_and(|connection| !connection.is_broken())
    }
}

/// The number of affected connections, and the wakers to wake after the lock is released.
#[derive(Default)]
#[must_use]
pub(super) struct Deferred {
    count: usize,
    wakers: Wakers,
    /// Removed listeners.
    gone: Vec<Listening>,
    /// Connections that a fault broke.
    broken: Vec<Arc<Connection>>,
}

impl Deferred {
    /// Records the faults and wakes the wakers. No lock may be held.
    pub(super) fn run(self) -> usize {
        drop(self.gone);
        self.broken.iter().for_each(|connection| connection.record_broken());
        self.wakers.wake();
        self.count
    }
}

/// A partition of one direction: hosts whose data does not arrive at others.
#[derive(Debug)]
struct Partition {
    these: BTreeSet<String>,
    those: BTreeSet<String>,
    both_ways: bool,
}

#[derive(Debug)]
pub(super) struct NetworkState {
    random: fastrand::Rng,
    seed: u64,
    pub(super) tap: Arc<Tap>,
    pub(super) chaos: Arc<ChaosState>,
    dial_chaos: ChaosDice,
    /// How much the wall clocks of hosts differ from that of the network.
    clock_offsets: BTreeMap<String, OffsetCell>,
    /// The number of started nodes.
    started_nodes: u64,
    pub(super) latency: Latency,
    /// The latencies between two hosts, keyed by their sorted names.
    latencies: BTreeMap<(String, String), Latency>,
    /// Bytes per second of hosts without a rate of their own; 0 means no limit.
    rate: u64,
    rates: BTreeMap<String, u64>,
    uplinks: BTreeMap<String, Arc<Uplink>>,
    pub(super) ending: Ending,
    break_to_listener: Option<u64>,
    break_to_dialler: Option<u64>,
    listeners: BTreeMap<ListenAddress, Listening>,
    diallers: BTreeMap<String, u16>,
    /// Crashed hosts, and whether each refuses dials.
    crashed: BTreeMap<String, bool>,
    partitions: Vec<Partition>,
    /// The ends of the stalls, by host.
    stalled: BTreeMap<String, Instant>,
    links: Vec<Linked>,
    /// The addresses of names.
    names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) lookup_time: Duration,
    pub(super) lookups: u64,
    pub(super) dials: u64,
    opened: u64,
    listened: u64,
}

impl NetworkState {
    /// The replacement of the system's clock and random numbers for a node that starts.
    pub(super) fn start_node(&mut self, host: &Host) -> Simulated {
        self.started_nodes += 1;
        let seed = self.seed.rotate_left(32) ^ self.started_nodes;
        let offset = self.clock_offsets.entry(key(host)).or_default().clone();
        Simulated { offset, ..Simulated::new(self.tap.began(), seed) }
    }

    pub(super) fn set_clock_offset(&mut self, host: &Host, offset: ClockOffset) {
        self.clock_offsets.entry(key(host)).or_default().set(offset);
    }

    pub(super) fn new(seed: u64) -> Self {
        let chaos = Arc::new(ChaosState::new(seed));
        Self {
            random: fastrand::Rng::with_seed(seed),
            seed,
            tap: Arc::default(),
            dial_chaos: ChaosDice::new(&chaos, DIALS),
            chaos,
            clock_offsets: BTreeMap::new(),
            started_nodes: 0,
            latency: Latency::NONE,
            latencies: BTreeMap::new(),
            rate: 0,
            rates: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            ending: Ending::Reset,
            break_to_listener: None,
            break_to_dialler: None,
            listeners: BTreeMap::new(),
            diallers: BTreeMap::new(),
            crashed: BTreeMap::new(),
            partitions: Vec::new(),
            stalled: BTreeMap::new(),
            links: Vec::new(),
            names: BTreeMap::new(),
            lookup_time: Duration::ZERO,
            lookups: 0,
            dials: 0,
            opened: 0,
            listened: 0,
        }
    }

    pub(super) fn name(&mut self, name: &Host, addresses: Vec<IpAddr>) {
        self.names.insert(key(name), addresses);
    }

    pub(super) fn has_addresses(&self, host: &Host) -> bool {
        matches!(host, Host::Name(_)) && self.names.contains_key(&key(host))
    }

    /// The addresses of a name, and how long the look-up takes.
    pub(super) fn look_up(&mut self, name: &Host) -> (Vec<IpAddr>, Duration) {
        self.lookups += 1;
        (self.names.get(&key(name)).cloned().unwrap_or_default(), self.lookup_time)
    }

    pub(super) fn listen(
        &mut self,
        host: &Host,
        port: u16,
        queue: mpsc::Sender<Io>,
    ) -> io::Result<(ListenAddress, u64)> {
        let host = key(host);
        if self.crashed.contains_key(&host) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let address = if port == 0 {
            (FIRST_FREE_PORT..=u16::MAX)
                .map(|port| (host.clone(), port))
                .find(|address| !self.listeners.contains_key(address))
        } else {
            Some((host, port)).filter(|address| !self.listeners.contains_key(address))
        };
        let address = address.ok_or(io::ErrorKind::AddrInUse)?;
        let number = self.listened;
        self.listened += 1;
        self.listeners.insert(address.clone(), Listening { number, queue });
        Ok((address, number))
    }

    pub(super) fn unlisten(&mut self, address: &ListenAddress, number: u64) -> Deferred {
        let mut deferred = Deferred::default();
        if self.listeners.get(address).is_some_and(|listening| listening.number == number) {
            deferred.gone.extend(self.listeners.remove(address));
        }
        deferred
    }

    pub(super) fn begin_dial(&mut self, from: &Host, to: Address) -> Dial {
        self.dials += 1;
        let next = self.diallers.entry(key(from)).or_insert(DIALLERS_PORTS.start);
        let port = *next;
        *next = if DIALLERS_PORTS.contains(&(port + 1)) { port + 1 } else { DIALLERS_PORTS.start };
        let from = Address::new(from.clone(), port);
        let pair = pair(&from, &to);
        let latency = self.latencies.get(&pair).unwrap_or(&self.latency);
        let (there, back) = (latency.draw(&mut self.random), latency.draw(&mut self.random));
        let (longer, fate) = self.dial_chaos.dial();
        Dial { from, to, there, longer, back, fate }
    }

    pub(super) fn set_latency_between(&mut self, a: &Host, b: &Host, latency: Latency) {
        self.latencies.insert(sorted(key(a), key(b)), latency);
    }

    /// Sets the rate of one host, or of all hosts without one of their own.
    pub(super) fn set_rate(&mut self, host: Option<&Host>, rate: u64) {
        match host {
            Some(host) => {
                self.rates.insert(key(host), rate);
            }
            None => self.rate = rate,
        }
        for (host, uplink) in &self.uplinks {
            uplink.set_rate(self.rates.get(host).copied().unwrap_or(self.rate));
        }
    }

    /// The uplink of a host.
    pub(super) fn uplink(&mut self, host: &Host) -> Arc<Uplink> {
        let host = key(host);
        let rate = self.rates.get(&host).copied().unwrap_or(self.rate);
        let uplink = self.uplinks.entry(host).or_default();
        uplink.set_rate(rate);
        Arc::clone(uplink)
    }

    pub(super) fn dial_outcome(&self, dial: &Dial) -> DialOutcome {
        let (from, to) = (key(dial.from.host()), key(dial.to.host()));
        if self.crashed.contains_key(&from) || self.partitioned(&from, &to) {
            return DialOutcome::BlackHole;
        }
        if let Some(until) = self.stalled_until(&from, &to) {
            return DialOutcome::Later(until);
        }
        match self.crashed.get(&to) {
            Some(true) => return DialOutcome::Refused,
            Some(false) => return DialOutcome::BlackHole,
            None => {}
        }
        match self.listeners.get(&(to, dial.to.port())) {
            Some(listening) => DialOutcome::Open(listening.queue.clone(), listening.number),
            None => DialOutcome::Refused,
        }
    }

    /// Connects a dial with the listener that accepted it, if it still exists.
    pub(super) fn connect(&mut self, dial: &Dial, listener: u64) -> Option<Connected> {
        match self.dial_outcome(dial) {
            DialOutcome::Open(_, number) if number == listener => {}
            DialOutcome::Open(..)
            | DialOutcome::BlackHole
            | DialOutcome::Later(_)
            | DialOutcome::Refused => return None,
        }
        let number = self.opened;
        self.opened += 1;
        let (ours, theirs) = (self.uplink(dial.from.host()), self.uplink(dial.to.host()));
        let chaos = ChaosDice::new(&self.chaos, number.wrapping_mul(2));
        let break_after = self.break_to_listener.take();
        let there = PipeConfig { latency: dial.there, uplink: ours, break_after, chaos };
        let chaos = ChaosDice::new(&self.chaos, number.wrapping_mul(2).wrapping_add(1));
        let break_after = self.break_to_dialler.take();
        let back = PipeConfig { latency: dial.back, uplink: theirs, break_after, chaos };
        let broken = match dial.fate {
            DialFate::Broken(ending) => {
                self.chaos.count_broken_dial();
                Some(ending)
            }
            DialFate::Usual | DialFate::Refused => None,
        };
        let link = MemoryLink { number, from: dial.from.clone(), to: dial.to.clone() };
        let pipes = Pipes::new(there, back);
        let Opened { connection, dialler, listener } =
            Connection::open(link, &self.tap, pipes, self.ending, broken);
        self.links.retain(|linked| linked.connection.strong_count() > 0);
        let link = Arc::clone(connection.link());
        self.links.push(Linked { link, connection: Arc::downgrade(&connection) });
        let io = |(reader, writer), remote: &Address| Io::new(reader, writer, remote.clone());
        let (dialler, listener) = (io(dialler, &dial.to), io(listener, &dial.from));
        Some(Connected { connection, dialler, listener })
    }

    pub(super) fn break_after(&mut self, direction: StreamDirection, bytes: u64) {
        match direction {
            StreamDirection::ToListener => self.break_to_listener = Some(bytes),
            StreamDirection::ToDialler => self.break_to_dialler = Some(bytes),
        }
    }

    pub(super) fn links(&self) -> Vec<MemoryLink> {
        let open = self.links.iter().filter(|linked| linked.is_open());
        open.map(|linked| MemoryLink::clone(&linked.link)).collect()
    }
}
