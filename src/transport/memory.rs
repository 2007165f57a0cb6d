//! A network inside the process: for tests, examples and simulation (feature `test-utils`).
//!
//! Hosts are names or IPs that exist because a node uses them. Connections are pipes with the
//! manners of TCP: order is kept, a slow reader slows its writer after 64 KiB, dropping the writer
//! ends the stream behind what was written. What a real network does now and then, this one does
//! when it is told to: it delays, has little bandwidth, stalls, cuts, crashes, partitions, in one
//! direction or both. Loss of packets is not among them: TCP makes a delay of it.
//!
//! Under tokio's paused clock and on one thread everything is the same for the same seed. No task
//! is spawned; latency is a timer in whoever reads. Without latency, bandwidth and stalls no timer is used at all.
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

mod connection;
mod latency;
mod line;
mod node;
mod pipe;
mod state;

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use self::latency::Latency;
pub use self::node::MemoryTransport;
use self::state::{State, key};
use crate::{
    overlay::{Address, Host},
    time::Later,
};

/// A network inside the process. A clone is the same network.
///
/// All knobs may be turned at any time. See [the module](self) for an example.
#[derive(Clone)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
}

impl MemoryNetwork {
    /// A network without latency or faults. The seed decides everything that is drawn: the latencies,
    /// and what the nodes on it draw. Their wall clocks go with tokio's clock, which tests may pause.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    /// What a node on `host` reaches the network by. Several nodes may share a host, on different
    /// ports.
    #[must_use]
    pub fn transport(&self, host: impl Into<Host>) -> MemoryTransport {
        MemoryTransport::new(self.clone(), host.into())
    }

    /// Delays what is sent. For each connection and direction one latency is drawn, when it is
    /// dialled: the dial takes one there and one back, bytes take the one of their direction. A range
    /// of times is a [`Latency`], as is a time.
    ///
    /// Default: none. It holds for dials from now on. Tokio's clock counts whole milliseconds. With
    /// latency, no more than 64 KiB are on their way in a direction.
    pub fn latency(&self, latency: impl Into<Latency>) {
        self.lock().latency = latency.into();
    }

    /// As [`latency`](Self::latency), between these two hosts, whoever dials; or on one host, when
    /// they are the same. It goes before what holds for all.
    pub fn latency_between(&self, a: &Host, b: &Host, latency: impl Into<Latency>) {
        self.lock().set_latency_between(a, b, latency.into());
    }

    /// How many bytes each host sends in a second, all its connections together; `None` (the
    /// default) is any number. It holds for what is written from now on. Hosts with a
    /// [`bandwidth_of`](Self::bandwidth_of) their own keep it.
    ///
    /// What is written leaves in packets of 1,460 bytes, first come, first sent; the time of the
    /// packet comes before the latency. A dial takes no bandwidth.
    pub fn bandwidth(&self, bytes_per_second: Option<NonZeroU64>) {
        self.lock().set_rate(None, bytes_per_second.map_or(0, NonZeroU64::get));
    }

    /// How many bytes this host sends in a second, as [`bandwidth`](Self::bandwidth).
    pub fn bandwidth_of(&self, host: &Host, bytes_per_second: Option<NonZeroU64>) {
        self.lock().set_rate(Some(host), bytes_per_second.map_or(0, NonZeroU64::get));
    }

    /// How connections that break from now on look to those who read: [`Ending::Reset`] (the
    /// default) or [`Ending::Eof`]. It holds for connections dialled from now on.
    pub fn ending(&self, ending: Ending) {
        self.lock().ending = ending;
    }

    /// Breaks the next connection as soon as so many bytes were written in a direction: they can
    /// all be read, nothing after them. 0 breaks it before the first byte. Both directions may be
    /// given a number; whichever comes first breaks the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use actix_peer::overlay::Host;
    /// # use actix_peer::transport::Transport;
    /// # use actix_peer::transport::memory::{Direction, Ending, MemoryNetwork};
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let network = MemoryNetwork::new(1);
    /// network.ending(Ending::Eof);
    /// let transport = network.transport("n1".parse::<Host>()?);
    /// let mut listener = transport.listen(&"n1:9000".parse()?).await?;
    /// for bytes in 0..5 {
    ///     network.cut_after(Direction::ToListener, bytes);
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
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.lock().cut_after(direction, bytes);
    }

    /// Breaks one connection at once, and says whether it was there: see [`links`](Self::links) for
    /// its number. What has arrived can still be read, what is on its way is lost.
    pub fn cut(&self, number: u64) -> bool {
        let after = self.lock().cut(|link| link.number == number);
        after.tell() > 0
    }

    /// Breaks all connections between two hosts, as [`cut`](Self::cut) does, and says how many
    /// there were.
    pub fn cut_all_between(&self, a: &Host, b: &Host) -> usize {
        let (a, b) = (key(a), key(b));
        let after = self.lock().cut(|link| {
            let (from, to) = (key(link.from.host()), key(link.to.host()));
            (from == a && to == b) || (from == b && to == a)
        });
        after.tell()
    }

    /// Crashes a host. Its connections break, for both sides; its listeners fail once and accept
    /// nothing more; it cannot listen, and dials from it and to it are never answered: the dialler
    /// needs a time limit. To have dials to it refused, say `network.crash(&host).refuse()`.
    ///
    /// The actors of a node on this host live on: stopping them is the caller's affair.
    pub fn crash(&self, host: &Host) -> Crashed<'_> {
        let host = key(host);
        let after = self.lock().crash(&host);
        after.tell();
        Crashed { network: self, host }
    }

    /// Ends a crash: the host can dial, and listen anew. What the crash broke stays broken, and a
    /// dial that was never answered stays so.
    pub fn revive(&self, host: &Host) {
        self.lock().revive(&key(host));
    }

    /// Separates some hosts from others, in both directions. Dials between them are never answered,
    /// not even later. Connections between them stall: what is written, and the end of a stream,
    /// arrives after [`heal`](Self::heal); writers can go on for 64 KiB. Hosts on the same side are
    /// not affected. Partitions add up.
    pub fn partition(&self, these: &[Host], those: &[Host]) {
        let after = self.lock().cut_off(these, those, true);
        after.tell();
    }

    /// Cuts one direction: what the hosts `from` write does not arrive at the hosts `to`, while the
    /// other direction goes on, and nobody is told. Until [`heal`](Self::heal), as a
    /// [`partition`](Self::partition); it takes both directions to connect, so that dials are never
    /// answered from either side.
    ///
    /// Unlike TCP, whose acknowledgements would be lost as well, the direction that goes on does so
    /// for any number of bytes.
    pub fn cut_one_way(&self, from: &[Host], to: &[Host]) {
        let after = self.lock().cut_off(from, to, false);
        after.tell();
    }

    /// Ends all partitions and cuts of one direction.
    pub fn heal(&self) {
        let after = self.lock().heal();
        after.tell();
    }

    /// Stops a host for a time, as a stopped process or a long collection of garbage does: nothing
    /// that it writes, or that is written to it, arrives before, and dials from it and to it wait.
    /// Everything is there afterwards, unless somebody has given up.
    ///
    /// The actors of a node on this host, and its timers, go on. A second stall does not shorten the
    /// first.
    pub fn stall(&self, host: &Host, time: Duration) {
        let after = self.lock().stall(&key(host), Instant::now().later(time));
        after.tell();
    }

    /// Stops one connection for a time, and says whether it was there: see [`links`](Self::links) for
    /// its number.
    pub fn stall_link(&self, number: u64, time: Duration) -> bool {
        let after = self.lock().stall_link(number, Instant::now().later(time));
        after.tell() > 0
    }

    /// How many connections there are: neither broken nor let go of by both sides.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.links().len()
    }

    /// The connections that there are, in the order in which they were opened.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        self.lock().links()
    }

    /// How many dials have been started since the network was made, successful or not.
    #[must_use]
    pub fn dials(&self) -> u64 {
        self.lock().dials
    }

    /// Gives a name these addresses, in the order in which a look-up finds them; each is a host of its
    /// own. One without any does not exist. A name that was never given addresses is a host itself.
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

    /// How long a look-up of a [name](Self::name) takes. Default: no time.
    pub fn look_up_takes(&self, time: Duration) {
        self.lock().look_up_takes = time;
    }

    /// How many names were looked up.
    #[must_use]
    pub fn look_ups(&self) -> u64 {
        self.lock().look_ups
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

/// A direction of a connection, by who is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the side that dialled to the side that listened.
    ToListener,
    /// From the side that listened to the side that dialled.
    ToDialler,
}

impl Direction {
    const fn reverse(self) -> Self {
        match self {
            Self::ToListener => Self::ToDialler,
            Self::ToDialler => Self::ToListener,
        }
    }
}

/// How a broken connection looks to both sides. What had arrived before can be read in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// Reading and writing fail with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset), as
    /// when a machine has lost its memory.
    Reset,
    /// The stream ends, and writing fails with [`BrokenPipe`](std::io::ErrorKind::BrokenPipe), as
    /// when a process has died and its system has closed the socket.
    Eof,
}

/// A connection, as the network sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    number: u64,
    from: Address,
    to: Address,
}

impl Link {
    /// Its number: connections are counted from 0 in the order in which they were opened.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Who dialled, with the port that it dialled from.
    #[must_use]
    pub const fn from(&self) -> &Address {
        &self.from
    }

    /// Who listened.
    #[must_use]
    pub const fn to(&self) -> &Address {
        &self.to
    }
}

/// A crash that has just happened; see [`MemoryNetwork::crash`].
#[derive(Debug)]
pub struct Crashed<'a> {
    network: &'a MemoryNetwork,
    host: String,
}

impl Crashed<'_> {
    /// Has dials to the host refused until it is revived, instead of never answered: its system
    /// lives, its process does not.
    pub fn refuse(self) {
        self.network.lock().refuse(&self.host);
    }
}

#[cfg(test)]
mod tests;
