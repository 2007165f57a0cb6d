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
/// - The system resolves host names. A listener uses all addresses of a name, with one port, as
///   [`bind_all`] does; the node announces the first one.
/// - Dialling tries the addresses concurrently (RFC 8305): IPv6 and IPv4 alternate, beginning with
///   the family that the system returns first. The address that was connected last comes before
///   all others. The next attempt begins when the previous one has failed, or 250 ms after its
///   start. The first connection wins, and the other attempts are cancelled. Each of several
///   addresses has 10 s; a single one has all the time that the caller gives. At most 16 addresses
///   of a name are tried.
/// - A look-up has 5 s ([`NameFault`](super::NameFault)). Its result is cached for 30 s, unless no
///   address of it could be connected. For ten minutes it is used if the next look-up fails or
///   takes longer than half a second. At most 1,024 names are cached. Clones share the cache.
/// - `TCP_NODELAY` is set on both sides: frames are written whole, and waiting for more would only
///   delay them.
/// - The kernel sends keepalives on idle connections, see [`keep_alive`](Self::keep_alive).
/// - IPv4-mapped IPv6 addresses of remotes (`::ffff:192.0.2.1`) are shown as IPv4.
/// - A socket that is connected to itself counts as refused. This may happen when a port of the
///   ephemeral range is dialled on this machine while nothing listens there.
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
    /// How long a connection may be idle before the kernel sends keepalives. `None` if it never
    /// sends them. Default 60 s.
    ///
    /// It sends four, each a quarter of `idle` apart. Then the connection is dead: twice `idle`
    /// after the last received packet. On Linux and Android a connection also ends after this time
    /// if the other end does not accept or acknowledge data (`TCP_USER_TIMEOUT`). A handler that
    /// waits for such a connection gets an error.
    ///
    /// This is a second line of defence, for example for a machine that lost its power or a router
    /// that forgot the connection. The node has shorter time-outs for nearly everything
    /// ([`Config`](crate::Config): `keep_alive` of a link, `stall_timeout`, `reply_timeout`). A
    /// `stall_timeout` longer than twice `idle` has no effect.
    ///
    /// The value is in whole seconds and is clamped to 4 to 32,767. A system without these options
    /// serves connections without them.
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

    /// Makes an [`Io`] of a dialled socket, unless it is connected to itself (TCP simultaneous
    /// open, RFC 9293 section 3.5, with both ends the same).
    fn dialled(&self, stream: TcpStream) -> io::Result<Io> {
        // The remote address differs from the dialled one if that was unspecified.
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

/// Whether accepted sockets inherit the options of the listening one, which saves six system calls
/// for each. This is so on Linux, but not everywhere.
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
            // Keeps the zone of a link-local address.
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

    /// Whether the source address of the route to that address is the address itself, as it is for
    /// addresses of this machine.
    fn is_here(&self, host: &Host) -> bool {
        let Host::Ip(ip) = host else { return false };
        let any: IpAddr = match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        route((any, 0).into(), (*ip, 9).into()) == Some(*ip)
    }

    /// The IP or name of `listening`. For `0.0.0.0` and `::`, the address of the interface with the
    /// default route (for `::` that of IPv6, otherwise that of IPv4, which such a socket serves as
    /// well), or loopback without such a route.
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

/// Looks a name up with the system's resolver, on a separate thread.
async fn look_up(name: &Host) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((name.to_string(), 0)).await?.collect())
}

/// The addresses at which a listener for a host listens.
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

/// The local address towards the IPv4 internet. Connecting a UDP socket sends nothing and only
/// selects the route. The destination is a documentation address (RFC 5737).
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
    // Others cannot use a link-local address without its interface.
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (!ip.is_unspecified() && !link_local).then_some(ip)
}

#[cfg(test)]
mod tests;
