//! Listening at all addresses of a name, with one port.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    task::{Context, Poll},
};

use indexmap::IndexSet;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

use super::{INHERITED, Tcp, shown};
use crate::{
    overlay::Address,
    transport::{
        Io, Listener,
        names::{MAX_ADDRESSES, no_address},
    },
};

/// Connections that may wait to be accepted, if the system allows that many (`somaxconn`). The
/// usual 128 overflow if a few hundred peers connect at once, and a dropped SYN is sent again only
/// after a second.
const BACKLOG: i32 = 1_024;

/// The maximum number of ports that are tried to find one that is free at every address.
const PORT_TRIES: usize = 16;

/// Listens at all of these addresses, for example those of one name: at most 16, each once. Port 0
/// selects any free port, the same for all addresses with port 0. The listeners are non-blocking.
///
/// The first listener is the one to announce: at an address that other machines can reach, if there
/// is one, and preferably at IPv4, which every program can dial. The others follow in this order.
///
/// An address that this machine does not have is skipped if there is another one: a name may have
/// an IPv6 address although the system has no IPv6.
///
/// # Errors
/// [`AddrInUse`](io::ErrorKind::AddrInUse) if one of them is in use,
/// [`NotFound`](io::ErrorKind::NotFound) without an address, and the error of the last address if
/// none works. On an error nothing listens.
///
/// # Examples
///
/// ```
/// use std::net::ToSocketAddrs;
///
/// use actix_peer::transport::tcp::bind_all;
///
/// let addresses: Vec<_> = "localhost:0".to_socket_addrs()?.collect();
/// let listeners = bind_all(&addresses)?;
/// let port = listeners[0].local_addr()?.port();
/// assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().port() == port));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<StdListener>> {
    with_one_port(&in_order(addresses), |address| {
        let listener = bind(address)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    })
}

/// As [`bind_all`]. `bind` listens at one address, and returns its port.
fn with_one_port<T>(
    addresses: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> io::Result<(T, u16)>,
) -> io::Result<Vec<T>> {
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let is_any = addresses.len() > 1 && addresses.iter().all(|address| address.port() == 0);
    let mut tries = if is_any { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match at_each(addresses, &mut bind) {
            // A port that is free at one address may be in use at another.
            Err(error) if in_use(&error) && tries > 0 => {}
            bound => return bound,
        }
    }
}

fn at_each<T>(
    addresses: &[SocketAddr],
    bind: &mut impl FnMut(SocketAddr) -> io::Result<(T, u16)>,
) -> io::Result<Vec<T>> {
    let (mut bound, mut failure, mut port) = (Vec::new(), None, 0);
    for mut address in addresses.iter().copied() {
        if address.port() == 0 {
            address.set_port(port);
        }
        match bind(address) {
            Ok((listener, taken)) => {
                port = taken;
                bound.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                tracing::debug!(%address, %error, "cannot listen on one of the addresses");
                failure = Some(error);
            }
        }
    }
    if bound.is_empty() { Err(failure.unwrap_or_else(no_address)) } else { Ok(bound) }
}

/// Like [`TcpListener::bind`], with a longer backlog.
fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // On other systems this would let two programs listen at one address.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sorts addresses that other machines reach before loopback, and IPv4 before IPv6.
fn in_order(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut seen = IndexSet::new();
    let mut addresses = addresses.to_vec();
    addresses.retain(|address| seen.insert(*address));
    addresses.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6()));
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// The sockets of one [`Listener`], one for each address.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) sockets: Vec<TcpListener>,
    local: Address,
    all: Vec<Address>,
    tcp: Tcp,
}

impl Accepting {
    pub(super) fn new(sockets: Vec<TcpListener>, tcp: Tcp) -> io::Result<Self> {
        let mut all = Vec::new();
        for socket in &sockets {
            if INHERITED {
                tcp.set_options(&SockRef::from(socket))?;
            }
            all.push(shown(socket.local_addr()?));
        }
        let local = all.first().cloned().ok_or_else(no_address)?;
        Ok(Self { sockets, local, all, tcp })
    }

    /// Listens at all of these addresses.
    pub(super) fn at(addresses: &[SocketAddr], tcp: Tcp) -> io::Result<Self> {
        let sockets = bind_all(addresses)?.into_iter().map(TcpListener::from_std);
        Self::new(sockets.collect::<io::Result<_>>()?, tcp)
    }
}

impl Listener for Accepting {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        let mut waiting = 0;
        while waiting < self.sockets.len()
            && let Some(socket) = self.sockets.first()
        {
            let accepted = match socket.poll_accept(cx) {
                // A socket that refuses an option is dead already: accept the next one.
                Poll::Ready(Ok((stream, remote))) => match self.tcp.take(stream, remote) {
                    Ok(io) => Ok(io),
                    Err(error) => {
                        tracing::debug!(%remote, %error, "accepted connection is already closed");
                        continue;
                    }
                },
                Poll::Ready(Err(error)) if of_one_connection(&error) => {
                    tracing::debug!(%error, "connection was closed before it was accepted");
                    continue;
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => {
                    waiting += 1;
                    self.sockets.rotate_left(1);
                    continue;
                }
            };
            // The other addresses are polled next, so that one busy address does not starve them.
            self.sockets.rotate_left(1);
            return Poll::Ready(accepted);
        }
        Poll::Pending
    }

    fn local_address(&self) -> Address {
        self.local.clone()
    }

    fn local_addresses(&self) -> Vec<Address> {
        self.all.clone()
    }
}

/// Whether `accept` failed with the error of one connection that died in the queue (as Linux does,
/// see accept(2)), which says nothing about the next one.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_error_of_one_connection_does_not_stop_the_listener() {
        assert!(of_one_connection(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!of_one_connection(&io::ErrorKind::PermissionDenied.into()));
        assert!(!of_one_connection(&io::Error::from_raw_os_error(24)), "no file descriptors left");
    }

    #[test]
    fn the_address_that_others_reach_is_first_then_the_one_that_every_program_can_dial() {
        let found = addresses(&["[::1]:9", "127.0.0.1:9", "[2001:db8::1]:9", "127.0.0.1:9"]);
        assert_eq!(in_order(&found), addresses(&["[2001:db8::1]:9", "127.0.0.1:9", "[::1]:9"]));
    }

    #[test]
    fn a_port_that_is_taken_at_another_address_of_the_name_is_not_kept() {
        let (mut free, mut asked) = (40_001..40_100, Vec::new());
        let bound = with_one_port(&addresses(&["127.0.0.1:0", "[::1]:0"]), |address| {
            asked.push(address.to_string());
            match address.port() {
                0 => {
                    let port = free.next().unwrap();
                    Ok((port, port))
                }
                40_001 | 40_002 => Err(io::ErrorKind::AddrInUse.into()),
                port => Ok((port, port)),
            }
        });
        assert_eq!(bound.unwrap(), [40_003, 40_003]);
        assert_eq!(asked.len(), 6, "{asked:?}");
        let mut tries = 0;
        let taken = with_one_port(&addresses(&["127.0.0.1:0", "[::1]:0"]), |address| {
            tries += 1;
            if address.port() == 0 { Ok(((), 1)) } else { Err(io::ErrorKind::AddrInUse.into()) }
        });
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(tries, 2 * PORT_TRIES);
    }

    #[test]
    fn an_address_that_this_machine_lacks_is_left_out_and_one_in_use_is_not() {
        let all = addresses(&["127.0.0.1:9", "[::1]:9"]);
        let lacks =
            |kind: io::ErrorKind| {
                with_one_port(&all, |address| {
                    if address.is_ipv4() { Ok((address, 9)) } else { Err(kind.into()) }
                })
            };
        assert_eq!(lacks(io::ErrorKind::AddrNotAvailable).unwrap(), all[..1]);
        assert_eq!(
            lacks(io::ErrorKind::AddrInUse).unwrap_err().kind(),
            io::ErrorKind::AddrInUse,
            "half of a name would be another program's"
        );
        let none =
            with_one_port(&all, |_| Err::<((), u16), _>(io::ErrorKind::AddrNotAvailable.into()));
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        assert_eq!(bind_all(&[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
