//! What the network knows: who listens, who is connected, who cannot reach whom. No IO and no
//! waiting.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::Connection;
use super::pipe::{Course, Wakers};
use super::{Direction, Ending, Link};
use crate::overlay::{Address, Host};
use crate::transport::Io;

/// First port given to who listens on port 0.
const FIRST_FREE_PORT: u16 = 49152;
/// Ports that diallers seem to come from, taken in turn.
const DIALLERS_PORTS: Range<u16> = 32768..FIRST_FREE_PORT;

/// A host as a key: names are the same in either case.
pub(super) fn key(host: &Host) -> String {
    host.to_string().to_ascii_lowercase()
}

/// A place to listen at.
pub(super) type Place = (String, u16);

#[derive(Debug)]
struct Listening {
    number: u64,
    queue: mpsc::Sender<Io>,
}

/// What a dial finds when it arrives.
pub(super) enum Way {
    /// No answer will ever come.
    BlackHole,
    Refused,
    /// Somebody listens; the number tells this listener from a later one in the same place.
    Open(mpsc::Sender<Io>, u64),
}

/// A dial that has set out.
pub(super) struct Dial {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) there: Duration,
    pub(super) back: Duration,
}

#[derive(Debug)]
struct Linked {
    link: Link,
    connection: Weak<Connection>,
}

impl Linked {
    fn is_open(&self) -> bool {
        let connection = self.connection.upgrade();
        connection.is_some_and(|connection| !connection.is_broken())
    }
}

/// How many connections something happened to, and who is to hear of it once the lock is free.
#[derive(Default)]
#[must_use]
pub(super) struct After {
    count: usize,
    wakers: Wakers,
    /// Listeners that are no more.
    gone: Vec<Listening>,
}

impl After {
    /// Tells whom it concerns. No lock may be held.
    pub(super) fn tell(self) -> usize {
        drop(self.gone);
        self.wakers.wake();
        self.count
    }
}

#[derive(Debug)]
pub(super) struct State {
    random: fastrand::Rng,
    pub(super) latency: Range<Duration>,
    pub(super) ending: Ending,
    cut_to_listener: Option<u64>,
    cut_to_dialler: Option<u64>,
    listeners: BTreeMap<Place, Listening>,
    diallers: BTreeMap<String, u16>,
    /// Crashed hosts, and whether each refuses dials.
    crashed: BTreeMap<String, bool>,
    partitions: Vec<(BTreeSet<String>, BTreeSet<String>)>,
    links: Vec<Linked>,
    pub(super) dials: u64,
    opened: u64,
    listened: u64,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            latency: Duration::ZERO..Duration::ZERO,
            ending: Ending::Reset,
            cut_to_listener: None,
            cut_to_dialler: None,
            listeners: BTreeMap::new(),
            diallers: BTreeMap::new(),
            crashed: BTreeMap::new(),
            partitions: Vec::new(),
            links: Vec::new(),
            dials: 0,
            opened: 0,
            listened: 0,
        }
    }

    pub(super) fn listen(
        &mut self,
        host: &Host,
        port: u16,
        queue: mpsc::Sender<Io>,
    ) -> io::Result<(Place, u64)> {
        let host = key(host);
        if self.crashed.contains_key(&host) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let place = if port == 0 {
            (FIRST_FREE_PORT..=u16::MAX)
                .map(|port| (host.clone(), port))
                .find(|place| !self.listeners.contains_key(place))
        } else {
            Some((host, port)).filter(|place| !self.listeners.contains_key(place))
        };
        let place = place.ok_or(io::ErrorKind::AddrInUse)?;
        let number = self.listened;
        self.listened += 1;
        self.listeners.insert(place.clone(), Listening { number, queue });
        Ok((place, number))
    }

    pub(super) fn unlisten(&mut self, place: &Place, number: u64) -> After {
        let mut after = After::default();
        if self.listeners.get(place).is_some_and(|listening| listening.number == number) {
            after.gone.extend(self.listeners.remove(place));
        }
        after
    }

    pub(super) fn set_out(&mut self, from: &Host, to: Address) -> Dial {
        self.dials += 1;
        let next = self.diallers.entry(key(from)).or_insert(DIALLERS_PORTS.start);
        let port = *next;
        *next = if DIALLERS_PORTS.contains(&(port + 1)) { port + 1 } else { DIALLERS_PORTS.start };
        let from = Address::new(from.clone(), port);
        Dial { from, to, there: self.draw(), back: self.draw() }
    }

    fn draw(&mut self) -> Duration {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (least, end) = (nanos(self.latency.start), nanos(self.latency.end));
        Duration::from_nanos(if least < end { self.random.u64(least..end) } else { least })
    }

    pub(super) fn way(&self, dial: &Dial) -> Way {
        let (from, to) = (key(dial.from.host()), key(dial.to.host()));
        if self.crashed.contains_key(&from) || self.parted(&from, &to) {
            return Way::BlackHole;
        }
        match self.crashed.get(&to) {
            Some(true) => return Way::Refused,
            Some(false) => return Way::BlackHole,
            None => {}
        }
        match self.listeners.get(&(to, dial.to.port())) {
            Some(listening) => Way::Open(listening.queue.clone(), listening.number),
            None => Way::Refused,
        }
    }

    /// Connects a dial with the listener it was let in by, if that is still the one. The dialler's
    /// end comes first.
    pub(super) fn connect(&mut self, dial: &Dial, listener: u64) -> Option<(Io, Io)> {
        match self.way(dial) {
            Way::Open(_, number) if number == listener => {}
            Way::Open(..) | Way::BlackHole | Way::Refused => return None,
        }
        let there = Course { latency: dial.there, cut_after: self.cut_to_listener.take() };
        let back = Course { latency: dial.back, cut_after: self.cut_to_dialler.take() };
        let (connection, ours, theirs) = Connection::open(there, back, self.ending);
        let link = Link { number: self.opened, from: dial.from.clone(), to: dial.to.clone() };
        self.opened += 1;
        self.links.retain(|linked| linked.connection.strong_count() > 0);
        self.links.push(Linked { link, connection: Arc::downgrade(&connection) });
        let io = |(reader, writer), remote: &Address| Io::new(reader, writer, remote.clone());
        Some((io(ours, &dial.to), io(theirs, &dial.from)))
    }

    pub(super) fn cut_after(&mut self, direction: Direction, bytes: u64) {
        match direction {
            Direction::ToListener => self.cut_to_listener = Some(bytes),
            Direction::ToDialler => self.cut_to_dialler = Some(bytes),
        }
    }

    pub(super) fn links(&self) -> Vec<Link> {
        let open = self.links.iter().filter(|linked| linked.is_open());
        open.map(|linked| linked.link.clone()).collect()
    }
}
