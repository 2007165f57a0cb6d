//! Plain TCP, over IPv4 and IPv6, with host names.

mod keep_alive;
mod listening;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};

use self::listening::Accepting;
pub use self::listening::bind_all;
use super::{Io, Listener, Transport, names::Names};
use crate::overlay::{Address, Host};

/// Plain TCP.
///
/// - Host names are resolved by the system. Listening takes all addresses of a name, with one port, as
///   [`bind_all`] does; the node tells others the first one.
/// - Dialling tries the addresses side by side (RFC 8305): IPv6 and IPv4 in turn, beginning with the
///   family that the system says first, but the address that was connected to last in front. The next
///   attempt begins when the former has failed, or 250 ms after it began; the first connection wins,
///   and the other attempts are given up. Each of several addresses has 10 s, and a single one all the
///   time that the caller gives; of one name 16 addresses are tried at most.
/// - A look-up has 5 s ([`NameFault`](super::NameFault)). It is kept for 30 s, unless no address of it
///   could be connected to, and for ten minutes for the case that the next one fails or takes longer
///   than half a second; at most 1,024 names are kept. Clones share them.
/// - `TCP_NODELAY` is set on both sides: frames are written whole, and waiting for more would only
///   delay them.
/// - The kernel asks on idle connections whether the other end is there, see
///   [`keep_alive`](Self::keep_alive).
/// - Remotes that come as IPv4-mapped IPv6 (`::ffff:192.0.2.1`) are shown as IPv4.
/// - A socket that got connected to itself, which may happen when a port of the ephemeral range is
///   dialled on the own machine while nobody listens there, counts as refused.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::future::poll_fn;
///
/// use actix_peer::transport::{Transport, tcp::Tcp};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let tcp = Tcp::default();
/// let mut listener = tcp.listen(&"127.0.0.1:0".parse()?).await?;
///
/// let mut here = tcp.dial(&listener.local_address()).await?;
/// let mut there = poll_fn(|cx| listener.poll_accept(cx)).await?;
///
/// here.writer.write_all(b"hello").await?;
/// let mut word = [0; 5];
/// there.reader.read_exact(&mut word).await?;
/// assert_eq!(&word, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tcp {
    keep_alive: Option<Duration>,
    names: Arc<Names>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { keep_alive: Some(keep_alive::IDLE), names: Arc::default() }
    }
}

impl Tcp {
    /// How long a connection may be idle before the kernel asks whether the other end is still there;
    /// `None`: it never does. Default 60 s.
    ///
    /// It asks four times, each a quarter of `idle` apart, and then the connection is dead: twice
    /// `idle` after the last sign of life. On Linux and Android bytes that the other end does not
    /// take, or does not acknowledge, end a connection after the same time (`TCP_USER_TIMEOUT`).
    /// A handler that waits for such a connection sees its end as any other: as an error.
    ///
    /// It is the second line, for a machine that lost its power and a router that forgot the
    /// connection. The node has shorter times of its own for nearly everything
    /// ([`Config`](crate::Config): `keep_alive` of a link, `stall_timeout`, `reply_timeout`); a
    /// longer `stall_timeout` than twice `idle` has no effect.
    ///
    /// Whole seconds, from 4 to 32,767; what is beyond is taken as the nearest of these. A system
    /// that does not have these options serves connections without.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use actix_peer::{Peer, transport::tcp::Tcp};
    ///
    /// let peer = Peer::builder().transport(Tcp::default().keep_alive(Duration::from_secs(20)));
    /// let never = Tcp::default().keep_alive(None);
    /// # drop((peer, never));
    /// ```
    #[must_use]
    pub fn keep_alive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = idle.into();
        self
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Io> {
        self.dialled(TcpStream::connect(to).await?)
    }

    /// Makes an [`Io`] of a socket that was dialled, unless it is connected to itself (TCP
    /// simultaneous open, RFC 9293 section 3.5, with both ends the same).
    fn dialled(&self, stream: TcpStream) -> io::Result<Io> {
        // Who dials an unspecified address gets somewhere else.
        let remote = stream.peer_addr()?;
        if stream.local_addr()? == remote {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "the socket was connected to itself",
            ));
        }
        self.set_options(&SockRef::from(&stream))?;
        Ok(open(stream, remote))
    }

    fn take(&self, stream: TcpStream, remote: SocketAddr) -> io::Result<Io> {
        if !INHERITED {
            self.set_options(&SockRef::from(&stream))?;
        }
        Ok(open(stream, remote))
    }

    fn set_options(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if let Some(idle) = self.keep_alive {
            keep_alive::set(socket, idle);
        }
        Ok(())
    }
}

/// Whether sockets that are accepted have the options of the one that listens: six system calls less
/// for each. So it is on Linux, and not everywhere.
const INHERITED: bool = cfg!(any(target_os = "linux", target_os = "android"));

fn open(stream: TcpStream, remote: SocketAddr) -> Io {
    let (reader, writer) = stream.into_split();
    Io::new(reader, writer, shown(remote))
}

impl Transport for Tcp {
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let accepting = Accepting::at(&addresses_of(at).await?, self.clone())?;
            Ok(Box::new(accepting) as Box<dyn Listener>)
        })
    }

    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            if to.port() == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "port 0 cannot be dialled",
                ));
            }
            let host = match to.host() {
                Host::Ip(ip) => return self.connect((*ip, to.port()).into()).await,
                name @ Host::Name(_) => name,
            };
            // The zone of a link-local address stays with it.
            let connect = |mut at: SocketAddr| {
                at.set_port(to.port());
                self.connect(at)
            };
            self.names.dial(host, look_up(host), connect).await
        })
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, io::Result<Vec<Host>>> {
        Box::pin(async move {
            let addresses = match host {
                Host::Ip(ip) => vec![(*ip, 0).into()],
                name @ Host::Name(_) => self.names.resolve(name, look_up(name)).await?,
            };
            Ok(addresses.into_iter().map(|at| Host::Ip(at.ip().to_canonical())).collect())
        })
    }

    /// Whether the way to that address begins at it, which it does for the machine's own.
    fn is_here(&self, host: &Host) -> bool {
        let Host::Ip(ip) = host else { return false };
        let any: IpAddr = match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        route((any, 0).into(), (*ip, 9).into()) == Some(*ip)
    }

    /// The IP or name that `listening` has. For `0.0.0.0` and `::` the address of the interface
    /// with the default route (for `::` of IPv6, else of IPv4, which such a socket serves as well),
    /// and loopback without such a route.
    fn own_host(&self, listening: &Address) -> Host {
        match listening.host() {
            Host::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => {
                Host::Ip(route_v4().unwrap_or(Ipv4Addr::LOCALHOST.into()))
            }
            Host::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => {
                Host::Ip(route_v6().or_else(route_v4).unwrap_or(Ipv6Addr::LOCALHOST.into()))
            }
            Host::Ip(ip) => Host::Ip(ip.to_canonical()),
            name @ Host::Name(_) => name.clone(),
        }
    }
}

/// Looks a name up by the system, on a thread for that.
async fn look_up(name: &Host) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((name.to_string(), 0)).await?.collect())
}

/// The addresses of a host to listen at.
async fn addresses_of(at: &Address) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = match at.host() {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, 0)],
        name @ Host::Name(_) => look_up(name).await?,
    };
    addresses.iter_mut().for_each(|address| address.set_port(at.port()));
    Ok(addresses)
}

fn shown(address: SocketAddr) -> Address {
    Address::from(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The own address towards the IPv4 internet. Connecting a UDP socket sends nothing, it only picks
/// the route; the destination is a documentation address (RFC 5737), so nobody could ever be
/// bothered.
fn route_v4() -> Option<IpAddr> {
    route((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
}

/// The same for IPv6 (RFC 3849).
fn route_v6() -> Option<IpAddr> {
    route(
        (Ipv6Addr::UNSPECIFIED, 0).into(),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
    )
}

fn route(from: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    // A link-local address is of no use to others: they would have to know the interface, too.
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (!ip.is_unspecified() && !link_local).then_some(ip)
}

#[cfg(test)]
mod tests;
