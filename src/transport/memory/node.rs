//! The transport of one node: listening and dialling.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use super::chaos::DialFate;
use super::state::{Connected, DialOutcome, ListenAddress, key};
use super::{MemoryNetwork, WireEvent};
use crate::{
    overlay::{Address, Host},
    time::Later,
    transport::{Io, Listener, Simulated, Transport, names::Names},
};

/// Connections that wait to be accepted, for each listener. Further dials wait.
const BACKLOG: usize = 128;

/// The transport of a node on one host, created by [`MemoryNetwork::transport`].
///
/// - Listening: on this host, or on `0.0.0.0`, `::`, `localhost` or a loopback address, which all
///   mean this host. Port 0 selects the lowest free port from 49152.
/// - Dialling: `localhost` and loopback addresses mean this host. A dial without a listener fails
///   with [`ConnectionRefused`](io::ErrorKind::ConnectionRefused). A host that is partitioned or
///   crashed never answers.
/// - A name with [addresses of its own](MemoryNetwork::name) is looked up, cached and dialled like
///   in [`Tcp`](crate::transport::tcp::Tcp). Clones share the cache.
/// - A listener on a host that crashes fails once, with
///   [`NetworkDown`](io::ErrorKind::NetworkDown), and then accepts nothing. Listening on the host
///   fails in the same way until it is revived.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    host: Host,
    names: Arc<Names>,
}

impl MemoryTransport {
    pub(super) fn new(network: MemoryNetwork, host: Host) -> Self {
        Self { network, host, names: Arc::default() }
    }

    /// The host of this transport.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    fn is_own(&self, host: &Host) -> bool {
        let own = match host {
            Host::Ip(ip) => ip.is_unspecified() || ip.is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        };
        own || key(host) == key(&self.host)
    }

    fn listen_now(&self, at: &Address) -> io::Result<MemoryListener> {
        if !self.is_own(at.host()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let (sender, queue) = mpsc::channel(BACKLOG);
        let (address, number) = self.network.lock().listen(&self.host, at.port(), sender)?;
        let local = Address::new(self.host.clone(), address.1);
        let network = self.network.clone();
        Ok(MemoryListener { network, address, number, local, queue, crashed: false })
    }

    async fn connect(&self, to: &Address) -> io::Result<Io> {
        if to.port() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "port 0 cannot be dialled"));
        }
        if !self.is_own(to.host()) && self.network.lock().has_addresses(to.host()) {
            let connect =
                |at: SocketAddr| self.connect_to(Address::new(Host::Ip(at.ip()), to.port()));
            return self.names.dial(to.host(), self.look_up(to.host()), connect).await;
        }
        self.connect_to(to.clone()).await
    }

    async fn look_up(&self, name: &Host) -> io::Result<Vec<SocketAddr>> {
        let (addresses, takes) = self.network.lock().look_up(name);
        pause(takes).await;
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
    }

    async fn connect_to(&self, to: Address) -> io::Result<Io> {
        let host = if self.is_own(to.host()) { &self.host } else { to.host() };
        let to = Address::new(host.clone(), to.port());
        let (dial, tap) = {
            let mut state = self.network.lock();
            (state.begin_dial(&self.host, to), Arc::clone(&state.tap))
        };
        let (from, to) = (&dial.from, &dial.to);
        tap.emit(|at| WireEvent::Dialled { at, from: from.clone(), to: to.clone() });
        pause(dial.there.later(dial.longer)).await;
        loop {
            let outcome = self.network.lock().dial_outcome(&dial);
            let (queue, listener) = match outcome {
                DialOutcome::Open(queue, listener) if dial.fate != DialFate::Refused => {
                    (queue, listener)
                }
                DialOutcome::BlackHole => {
                    tap.emit(|at| WireEvent::Unanswered { at, from: from.clone(), to: to.clone() });
                    return pending().await;
                }
                DialOutcome::Later(until) => {
                    sleep_until(until).await;
                    continue;
                }
                outcome @ (DialOutcome::Refused | DialOutcome::Open(..)) => {
                    if matches!(outcome, DialOutcome::Open(..)) {
                        self.network.lock().chaos.count_refused_dial();
                    }
                    tap.emit(|at| WireEvent::Refused { at, from: from.clone(), to: to.clone() });
                    pause(dial.back).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            };
            // While it waits for room, the listener may be dropped or the network change: check
            // again.
            let Ok(room) = queue.reserve_owned().await else {
                continue;
            };
            let connected = self.network.lock().connect(&dial, listener);
            if let Some(Connected { connection, dialler, listener }) = connected {
                connection.record_opened();
                drop(connection);
                drop(room.send(listener));
                pause(dial.back).await;
                return Ok(dialler);
            }
        }
    }
}

/// Without latency this creates no timer, and needs no runtime with time.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl Transport for MemoryTransport {
    fn simulated(&self) -> Option<Simulated> {
        Some(self.network.lock().start_node(&self.host))
    }

    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            self.listen_now(at).map(|listener| Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(self.connect(to))
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, io::Result<Vec<Host>>> {
        Box::pin(async move {
            if !self.network.lock().has_addresses(host) {
                return Ok(vec![host.clone()]);
            }
            let addresses = self.names.resolve(host, self.look_up(host)).await?;
            Ok(addresses.into_iter().map(|address| Host::Ip(address.ip())).collect())
        })
    }

    fn own_host(&self, _listening: &Address) -> Host {
        self.host.clone()
    }
}

#[derive(Debug)]
struct MemoryListener {
    network: MemoryNetwork,
    address: ListenAddress,
    number: u64,
    local: Address,
    queue: mpsc::Receiver<Io>,
    crashed: bool,
}

impl Listener for MemoryListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        if self.crashed {
            return Poll::Pending;
        }
        // The network holds the sender while the host is up.
        Poll::Ready(match ready!(self.queue.poll_recv(cx)) {
            Some(io) => Ok(io),
            None => {
                self.crashed = true;
                Err(io::ErrorKind::NetworkDown.into())
            }
        })
    }

    fn local_address(&self) -> Address {
        self.local.clone()
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        // Before the queue is dropped: a dial that finds the queue closed checks the table again.
        let deferred = self.network.lock().unlisten(&self.address, self.number);
        deferred.run();
    }
}
