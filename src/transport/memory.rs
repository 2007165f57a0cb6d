//! A network inside the process: for tests, examples and simulation (feature `test-utils`).
//!
//! Hosts are names or IPs that exist when a node uses them. Connections are pipes that behave like
//! TCP: order is kept, a slow reader slows its writer after 64 KiB, and dropping the writer ends
//! the stream after the written data.
//!
//! A test injects the faults of a real network: latency, low bandwidth, stalls, broken connections,
//! crashes, and partitions in one direction or both. [`Chaos`] draws more of them from the seed.
//! There is no packet loss, as TCP turns it into latency. [`record`](MemoryNetwork::record) reports
//! each frame that is written.
//!
//! Under tokio's paused clock and on one thread, everything is deterministic for a seed. No task is
//! spawned; latency is a timer in the reader. Without latency, bandwidth and stalls no timer is
//! used.
//!
//! # Examples
//!
//! Two hosts a few milliseconds apart, until one of them crashes:
//!
//! ```
//! use std::future::poll_fn;
//! use std::io::ErrorKind;
//! use std::time::Duration;
//!
//! use actix_peer::overlay::Host;
//! use actix_peer::transport::{Transport, memory::MemoryNetwork};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
//! let network = MemoryNetwork::new(42);
//! network.latency(Duration::from_millis(5)..Duration::from_millis(20));
//! let (ada, bob): (Host, Host) = ("ada".parse()?, "bob".parse()?);
//!
//! let mut listener = network.transport(bob.clone()).listen(&"bob:9000".parse()?).await?;
//! let mut here = network.transport(ada).dial(&"bob:9000".parse()?).await?;
//! let mut there = poll_fn(|cx| listener.poll_accept(cx)).await?;
//!
//! here.writer.write_all(b"hello").await?;
//! let mut word = [0; 5];
//! there.reader.read_exact(&mut word).await?;
//! assert_eq!(&word, b"hello");
//!
//! network.crash(&bob);
//! let broken = here.reader.read_u8().await.unwrap_err();
//! assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
//! assert_eq!((network.dials(), network.connections()), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chaos;
mod clock;
mod connection;
pub(crate) mod fnv;
mod latency;
mod node;
mod pipe;
mod record;
mod state;
mod uplink;

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroU64,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use tokio::runtime::Handle;
use tokio::time::Instant;

pub use self::chaos::{Chaos, ChaosCounts};
pub use self::clock::ClockOffset;
pub(in crate::transport) use self::clock::OffsetCell;
pub use self::latency::Latency;
pub use self::node::MemoryTransport;
pub use self::record::{FrameRecord, Recording, WireEvent};
use self::state::{NetworkState, key};
use crate::{
    overlay::{Address, Host},
    sync::Mutex,
    time::Later,
};

/// A network inside the process. A clone is the same network.
///
/// All settings may be changed at any time. See [the module](self) for an example.
#[derive(Clone)]
pub struct MemoryNetwork {
    state: Arc<Mutex<NetworkState>>,
}

impl MemoryNetwork {
    /// A network without latency or faults. The seed determines all random numbers: the latencies,
    /// and those of the nodes on it. Their wall clocks follow tokio's clock, which tests may pause.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let network = Self { state: Arc::new(Mutex::new(NetworkState::new(seed))) };
        if Handle::try_current().is_ok() {
            network.begin();
        }
        network
    }

    /// Starts the clock of the network, and returns the time. A network that is created outside of
    /// a runtime otherwise starts it with its first node or event.
    pub(crate) fn begin(&self) -> Instant {
        self.lock().tap.begin()
    }

    /// The transport of a node on `host`. Several nodes may share a host, on different ports.
    #[must_use]
    pub fn transport(&self, host: impl Into<Host>) -> MemoryTransport {
        MemoryTransport::new(self.clone(), host.into())
    }

    /// Sets the latency. One latency is drawn for each direction of a connection when it is
    /// dialled. The dial takes both of them, and data takes the one of its direction. A range of
    /// times and a single time convert into a [`Latency`].
    ///
    /// Default: none. It applies to new dials. Tokio's clock counts whole milliseconds. With
    /// latency, at most 64 KiB are in transit in a direction.
    pub fn latency(&self, latency: impl Into<Latency>) {
        self.lock().latency = latency.into();
    }

    /// As [`latency`](Self::latency), between these two hosts, whichever dials, or on one host if
    /// they are the same. It overrides the latency of the network.
    pub fn latency_between(&self, a: &Host, b: &Host, latency: impl Into<Latency>) {
        self.lock().set_latency_between(a, b, latency.into());
    }

    /// Sets the bytes per second that each host sends over all its connections together. `None`
    /// (the default) is no limit. It applies to data that is written from now on. Hosts with a
    /// [`bandwidth_of`](Self::bandwidth_of) of their own keep it.
    ///
    /// Data is sent in packets of 1,460 bytes, in the order of the writes. The time of the packet
    /// is added to the latency. A dial takes no bandwidth.
    pub fn bandwidth(&self, bytes_per_second: Option<NonZeroU64>) {
        self.lock().set_rate(None, bytes_per_second.map_or(0, NonZeroU64::get));
    }

    /// Sets the bytes per second that this host sends, as [`bandwidth`](Self::bandwidth).
    pub fn bandwidth_of(&self, host: &Host, bytes_per_second: Option<NonZeroU64>) {
        self.lock().set_rate(Some(host), bytes_per_second.map_or(0, NonZeroU64::get));
    }

    /// Waits until all bytes have left a host that it sent while its bandwidth was limited.
    pub(crate) async fn has_sent(&self, host: &Host) {
        let free_at = self.lock().uplink(host).free_at();
        if let Some(free_at) = free_at {
            tokio::time::sleep_until(free_at).await;
        }
    }

    /// Sets how a broken connection appears to its sides: [`Ending::Reset`] (the default) or
    /// [`Ending::Eof`]. It applies to connections that are dialled from now on.
    pub fn ending(&self, ending: Ending) {
        self.lock().ending = ending;
    }

    /// Breaks the next connection as soon as this number of bytes was written in a direction. They
    /// can all be read, but nothing after them. 0 breaks it before the first byte. If both
    /// directions have a number, the one that is reached first breaks the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use actix_peer::overlay::Host;
    /// # use actix_peer::transport::Transport;
    /// # use actix_peer::transport::memory::{Ending, MemoryNetwork, StreamDirection};
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let network = MemoryNetwork::new(1);
    /// network.ending(Ending::Eof);
    /// let transport = network.transport("n1".parse::<Host>()?);
    /// let mut listener = transport.listen(&"n1:9000".parse()?).await?;
    /// for bytes in 0..5 {
    ///     network.break_after(StreamDirection::ToListener, bytes);
    ///     let mut here = transport.dial(&"n1:9000".parse()?).await?;
    ///     let mut there = poll_fn(|cx| listener.poll_accept(cx)).await?;
    ///     assert!(here.writer.write_all(b"hello").await.is_err());
    ///     let mut got = Vec::new();
    ///     there.reader.read_to_end(&mut got).await?;
    ///     assert_eq!(got, &b"hello"[..bytes as usize]);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn break_after(&self, direction: StreamDirection, bytes: u64) {
        self.lock().break_after(direction, bytes);
    }

    /// Breaks one connection at once. False if it does not exist. See [`links`](Self::links) for
    /// its number. Data that has arrived can still be read; data in transit is lost.
    pub fn break_link(&self, number: u64) -> bool {
        let deferred = self.lock().break_links(|link| link.number == number);
        deferred.run() > 0
    }

    /// Breaks all connections between two hosts, as [`break_link`](Self::break_link) does. Returns their
    /// number.
    pub fn break_links_between(&self, a: &Host, b: &Host) -> usize {
        let (a, b) = (key(a), key(b));
        let deferred = self.lock().break_links(|link| {
            let (from, to) = (key(link.from.host()), key(link.to.host()));
            (from == a && to == b) || (from == b && to == a)
        });
        deferred.run()
    }

    /// Crashes a host. Its connections break, for both sides. Its listeners fail once and accept
    /// nothing more. It cannot listen, and dials from it and to it are never answered: the dialler
    /// needs a time-out. To refuse dials to it, call `network.crash(&host).refuse()`.
    ///
    /// The actors of a node on this host continue to run; the caller has to stop them.
    pub fn crash(&self, host: &Host) -> Crashed<'_> {
        let host = key(host);
        let deferred = self.lock().crash(&host);
        deferred.run();
        Crashed { network: self, host }
    }

    /// Ends a crash: the host can dial and listen again. Broken connections stay broken, and
    /// earlier dials stay unanswered.
    pub fn revive(&self, host: &Host) {
        self.lock().revive(&key(host));
    }

    /// Separates some hosts from others, in both directions. Dials between them are never answered,
    /// not even later. Connections between them stall: data, and the end of a stream, arrives after
    /// [`heal`](Self::heal), and writers can write 64 KiB more. Hosts on the same side are not
    /// affected. Partitions are cumulative.
    pub fn partition(&self, these: &[Host], those: &[Host]) {
        let deferred = self.lock().partition(these, those, true);
        deferred.run();
    }

    /// Partitions one direction: data from the hosts `from` does not arrive at the hosts `to` until
    /// [`heal`](Self::heal), without an error. The other direction continues. A dial needs both
    /// directions, so dials from either side are never answered.
    ///
    /// Unlike in TCP, whose acknowledgements would be lost as well, the other direction continues
    /// for any number of bytes.
    pub fn partition_one_way(&self, from: &[Host], to: &[Host]) {
        let deferred = self.lock().partition(from, to, false);
        deferred.run();
    }

    /// Ends all partitions, of one direction or both.
    pub fn heal(&self) {
        let deferred = self.lock().heal();
        deferred.run();
    }

    /// Stalls a host for a time, like a stopped process or a long garbage collection. Data from it
    /// and to it arrives only after that, and dials from it and to it wait. Nothing is lost, unless
    /// a side times out.
    ///
    /// The actors of a node on this host, and its timers, continue. A second stall does not shorten
    /// the first.
    pub fn stall(&self, host: &Host, time: Duration) {
        let deferred = self.lock().stall(&key(host), Instant::now().later(time));
        deferred.run();
    }

    /// Stalls one connection for a time. False if it does not exist. See [`links`](Self::links) for
    /// its number.
    pub fn stall_link(&self, number: u64, time: Duration) -> bool {
        let deferred = self.lock().stall_link(number, Instant::now().later(time));
        deferred.run() > 0
    }

    /// The number of connections that are neither broken nor dropped by both sides.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.links().len()
    }

    /// The existing connections, in the order in which they were opened.
    #[must_use]
    pub fn links(&self) -> Vec<MemoryLink> {
        self.lock().links()
    }

    /// The number of dials since the network was created, successful or not.
    #[must_use]
    pub fn dials(&self) -> u64 {
        self.lock().dials
    }

    /// Sets the addresses of a name, in the order in which a look-up returns them. Each is a host
    /// of its own. A name with an empty list does not exist. A name without a list is a host
    /// itself.
    ///
    /// ```
    /// use actix_peer::overlay::Host;
    /// use actix_peer::transport::{Transport, memory::MemoryNetwork};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
    /// let network = MemoryNetwork::new(42);
    /// let (six, four): (Host, Host) = ("2001:db8::1".parse()?, "192.0.2.1".parse()?);
    /// network.name(&"seed".parse()?, ["2001:db8::1".parse()?, "192.0.2.1".parse()?]);
    /// network.crash(&six);
    ///
    /// let _listener = network.transport(four).listen(&"192.0.2.1:9000".parse()?).await?;
    /// let here = network.transport("ada".parse::<Host>()?).dial(&"seed:9000".parse()?).await?;
    /// assert_eq!(here.remote, "192.0.2.1:9000".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self, name: &Host, addresses: impl IntoIterator<Item = IpAddr>) {
        self.lock().name(name, addresses.into_iter().collect());
    }

    /// Sets how long a look-up of a [name](Self::name) takes. Default: no time.
    pub fn lookup_time(&self, time: Duration) {
        self.lock().lookup_time = time;
    }

    /// The number of look-ups.
    #[must_use]
    pub fn lookups(&self) -> u64 {
        self.lock().lookups
    }

    fn lock(&self) -> MutexGuard<'_, NetworkState> {
        self.state.lock()
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

/// A direction of a connection, named by its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamDirection {
    /// From the side that dialled to the side that listened.
    ToListener,
    /// From the side that listened to the side that dialled.
    ToDialler,
}

impl StreamDirection {
    const fn reverse(self) -> Self {
        match self {
            Self::ToListener => Self::ToDialler,
            Self::ToDialler => Self::ToListener,
        }
    }
}

/// How a broken connection appears to both sides. Data that arrived before can be read in either
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// Reads and writes fail with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset), as
    /// after the reboot of a machine.
    Reset,
    /// The stream ends, and writes fail with [`BrokenPipe`](std::io::ErrorKind::BrokenPipe), as
    /// after the death of a process, whose system closes the socket.
    Eof,
}

/// A connection, as the network sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryLink {
    number: u64,
    from: Address,
    to: Address,
}

impl MemoryLink {
    /// Its number: connections are counted from 0 in the order in which they were opened.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The address of the dialler, with the port from which it dialled.
    #[must_use]
    pub const fn from(&self) -> &Address {
        &self.from
    }

    /// The address of the listener.
    #[must_use]
    pub const fn to(&self) -> &Address {
        &self.to
    }

    /// The addresses of the writer and of the reader of a direction.
    const fn ends(&self, direction: StreamDirection) -> (&Address, &Address) {
        match direction {
            StreamDirection::ToListener => (&self.from, &self.to),
            StreamDirection::ToDialler => (&self.to, &self.from),
        }
    }
}

/// A crash that has just happened; see [`MemoryNetwork::crash`].
#[derive(Debug)]
pub struct Crashed<'a> {
    network: &'a MemoryNetwork,
    host: String,
}

impl Crashed<'_> {
    /// Refuses dials to the host until it is revived, instead of leaving them unanswered: its
    /// system runs, but its process does not.
    pub fn refuse(self) {
        self.network.lock().refuse(&self.host);
    }
}

#[cfg(test)]
mod tests;
