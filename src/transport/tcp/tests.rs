use std::{future::poll_fn, io::ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use tokio::time::timeout;

use super::*;
use crate::transport::names::race;

/// Dials these as if they were the addresses of one name.
async fn dial_all(addresses: Vec<SocketAddr>) -> io::Result<Io> {
    let tcp = Tcp::default();
    race(addresses, |address| tcp.connect(address)).await.map(|(_, io)| io)
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

async fn listen(at: &str) -> Box<dyn Listener> {
    Tcp::default().listen(&address(at)).await.unwrap()
}

async fn accept(listener: &mut Box<dyn Listener>) -> Io {
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap()
}

async fn dial(to: &Address) -> io::Result<Io> {
    Tcp::default().dial(to).await
}

/// Both ends of a connection over a listener at `at`.
async fn pair(at: &str) -> (Io, Io) {
    let mut listener = listen(at).await;
    let here = dial(&listener.local_address()).await.unwrap();
    (here, accept(&mut listener).await)
}

async fn assert_echoes((mut here, mut there): (Io, Io)) {
    here.writer.write_all(b"there and back").await.unwrap();
    here.writer.shutdown().await.unwrap();
    let mut data = Vec::new();
    there.reader.read_to_end(&mut data).await.unwrap();
    there.writer.write_all(&data).await.unwrap();
    drop(there);
    let mut back = Vec::new();
    here.reader.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"there and back");
}

/// An address at which nobody listens: bound, so that nobody else gets it, but not listening.
fn dead_port() -> (TcpSocket, Address) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = Address::from(socket.local_addr().unwrap());
    (socket, address)
}

#[tokio::test]
async fn bytes_go_both_ways_over_ipv4_loopback() {
    assert_echoes(pair("127.0.0.1:0").await).await;
}

#[tokio::test]
async fn bytes_go_both_ways_over_ipv6_loopback() {
    if let Err(error) = TcpListener::bind("[::1]:0").await {
        println!("skipped: this machine has no IPv6 loopback ({error})");
        return;
    }
    let (here, there) = pair("[::1]:0").await;
    assert!(here.remote.to_string().starts_with("[::1]:"), "{here:?}");
    assert_echoes((here, there)).await;
}

#[tokio::test]
async fn bytes_go_both_ways_over_a_host_name() {
    let listener = listen("localhost:0").await;
    let port = listener.local_address().port();
    drop(listener);
    let at = format!("localhost:{port}");
    let mut listener = listen(&at).await;
    let here = dial(&address(&at)).await.unwrap();
    let there = accept(&mut listener).await;
    assert_echoes((here, there)).await;
}

#[tokio::test]
async fn a_name_is_listened_at_in_both_families_with_one_port() {
    let mut listener = listen("localhost:0").await;
    let (local, all) = (listener.local_address(), listener.local_addresses());
    // Programs that know IPv4 alone are told an address that they can dial.
    assert_eq!(local.host(), address("127.0.0.1:1").host());
    assert_eq!((all.first(), local.port() != 0), (Some(&local), true));
    let found: Vec<_> = lookup_host("localhost:0").await.unwrap().collect();
    for ip in found.iter().map(SocketAddr::ip) {
        let at = SocketAddr::new(ip, local.port()).into();
        if TcpListener::bind((ip, 0)).await.is_err() {
            println!("{ip} skipped: this machine does not have it");
            continue;
        }
        assert!(all.contains(&at), "{at}: {all:?}");
        let here = dial(&at).await.unwrap();
        assert_echoes((here, accept(&mut listener).await)).await;
    }
}

#[tokio::test]
async fn a_name_one_of_whose_addresses_is_taken_is_in_use() {
    let taken = listen("127.0.0.1:0").await;
    let at = Address::new("localhost".parse().unwrap(), taken.local_address().port());
    assert_eq!(Tcp::default().listen(&at).await.err().unwrap().kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn both_families_have_one_port_and_each_address_has_its_turn() {
    if let Err(error) = TcpListener::bind("[::1]:0").await {
        println!("skipped: this machine has no IPv6 loopback ({error})");
        return;
    }
    let addresses = ["[::1]:0", "127.0.0.1:0"].map(|at| at.parse().unwrap());
    let accepting = Accepting::at(&addresses, Tcp::default()).unwrap();
    let (port, all) = (accepting.local_address().port(), accepting.local_addresses());
    let expected = ["127.0.0.1", "[::1]"].map(|host| address(&format!("{host}:{port}")));
    assert_eq!(all, expected);
    let mut listener: Box<dyn Listener> = Box::new(accepting);
    let mut dialled = Vec::new();
    for (number, to) in (0..).zip([&all[0], &all[0], &all[1]]) {
        let mut here = dial(to).await.unwrap();
        here.writer.write_u8(number).await.unwrap();
        dialled.push(here);
    }
    let mut taken = Vec::new();
    for _ in 0..2 {
        taken.push(accept(&mut listener).await.reader.read_u8().await.unwrap());
    }
    assert!(taken.contains(&2), "{taken:?}");
}

#[tokio::test]
async fn port_0_becomes_the_port_that_was_taken() {
    let listener = listen("127.0.0.1:0").await;
    assert_ne!(listener.local_address().port(), 0);
    assert_eq!(listener.local_address().host(), address("127.0.0.1:1").host());
}

#[tokio::test]
async fn both_sides_know_the_other_sides_address() {
    let mut listener = listen("127.0.0.1:0").await;
    let here = dial(&listener.local_address()).await.unwrap();
    let there = accept(&mut listener).await;
    assert_eq!(here.remote, listener.local_address());
    assert_eq!(there.remote.host(), address("127.0.0.1:1").host());
    assert_ne!(there.remote.port(), listener.local_address().port());
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let first = listen("127.0.0.1:0").await;
    let second = Tcp::default().listen(&first.local_address()).await;
    assert_eq!(second.err().unwrap().kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_dropped_listener_frees_its_port() {
    let first = listen("127.0.0.1:0").await;
    let at = first.local_address();
    drop(first);
    Tcp::default().listen(&at).await.unwrap();
}

#[tokio::test]
async fn the_address_of_another_machine_cannot_be_listened_at() {
    let listening = Tcp::default().listen(&address("192.0.2.1:0")).await;
    assert_eq!(listening.err().unwrap().kind(), ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let (_socket, dead) = dead_port();
    assert_eq!(dial(&dead).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn port_0_cannot_be_dialled() {
    assert_eq!(dial(&address("127.0.0.1:0")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let (_socket, dead) = dead_port();
    let mut listener = listen("127.0.0.1:0").await;
    let live = listener.local_address();
    let addresses = [&dead, &live].map(|at| at.to_string().parse().unwrap());
    let here = dial_all(addresses.into()).await.unwrap();
    assert_eq!(here.remote, live);
    assert_echoes((here, accept(&mut listener).await)).await;
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    // A full backlog is silent: further connections are neither taken nor refused.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let silent = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        match timeout(Duration::from_millis(100), TcpStream::connect(silent)).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_late) => break,
        }
    }
    if waiting.len() == 8 {
        println!("skipped: this system takes more connections than its backlog");
        return;
    }
    let live = listen("127.0.0.1:0").await;
    let next = live.local_address().to_string().parse().unwrap();
    let here = dial_all(vec![silent, silent, silent, next]).await.unwrap();
    assert_eq!(here.remote, live.local_address());
}

#[tokio::test]
async fn the_last_failure_is_told_when_every_address_fails() {
    let (_socket, dead) = dead_port();
    let dead: SocketAddr = dead.to_string().parse().unwrap();
    let failure = dial_all(vec![dead, dead]).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(dial_all(Vec::new()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_fault_of_its_own() {
    let unknown = dial(&address("no-such-name.invalid:9000")).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert!(crate::transport::NameFault::of(&unknown).is_some(), "{unknown}");
}

#[tokio::test]
async fn a_socket_connected_to_itself_counts_as_refused() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let own = socket.local_addr().unwrap();
    let stream = match socket.connect(own).await {
        Ok(stream) => stream,
        Err(error) => {
            println!("skipped: this system does not connect a socket to itself ({error})");
            return;
        }
    };
    assert_eq!(Tcp::default().dialled(stream).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// A connection that `tcp` dialled and accepted: second descriptors of both ends, and both.
#[cfg(target_os = "linux")]
async fn ends(tcp: Tcp) -> ([socket2::Socket; 2], [Io; 2]) {
    use std::os::fd::{AsFd, OwnedFd};

    let same = |stream: &TcpStream| -> OwnedFd { stream.as_fd().try_clone_to_owned().unwrap() };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = socket.local_addr().unwrap();
    let listener = Accepting::new(vec![socket], tcp.clone()).unwrap();
    let here = TcpStream::connect(to).await.unwrap();
    let (there, remote) = listener.sockets[0].accept().await.unwrap();
    let sockets = [same(&here), same(&there)].map(socket2::Socket::from);
    (sockets, [tcp.dialled(here).unwrap(), tcp.take(there, remote).unwrap()])
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nodelay_is_set_on_both_sides() {
    let (sockets, _open) = ends(Tcp::default()).await;
    assert_eq!(sockets.map(|socket| socket.tcp_nodelay().unwrap()), [true; 2]);
}

/// What the kernel keeps of both ends of a connection that `tcp` dialled and accepted: whether it asks,
/// after how long, how often, how many times, and how long it waits for bytes to be acknowledged.
#[cfg(target_os = "linux")]
async fn kept(tcp: Tcp) -> [Option<(Duration, Duration, u32, Duration)>; 2] {
    let (sockets, _open) = ends(tcp).await;
    sockets.map(|socket| {
        socket.keepalive().unwrap().then(|| {
            (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
                socket.tcp_user_timeout().unwrap().unwrap_or_default(),
            )
        })
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_asks_on_idle_connections_and_gives_up_after_two_minutes() {
    let second = Duration::from_secs(1);
    let usual = Some((60 * second, 15 * second, 4, 120 * second));
    assert_eq!(kept(Tcp::default()).await, [usual; 2]);
    let shorter = Some((20 * second, 5 * second, 4, 40 * second));
    assert_eq!(kept(Tcp::default().keep_alive(20 * second)).await, [shorter; 2]);
    assert_eq!(kept(Tcp::default().keep_alive(None)).await, [None; 2]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_keep_alive_that_no_kernel_takes_is_the_nearest_that_it_takes() {
    let second = Duration::from_secs(1);
    let [least, _] = kept(Tcp::default().keep_alive(Duration::ZERO)).await;
    assert_eq!(least, Some((4 * second, second, 4, 8 * second)));
    let [most, _] = kept(Tcp::default().keep_alive(Duration::MAX)).await;
    assert_eq!(most, Some((32_767 * second, 8_191 * second, 4, 65_534 * second)));
}

#[tokio::test]
async fn a_mapped_remote_is_shown_as_ipv4() {
    assert_eq!(shown("[::ffff:192.0.2.7]:5".parse().unwrap()), address("192.0.2.7:5"));
    let mut listener = match Tcp::default().listen(&address("[::]:0")).await {
        Ok(listener) => listener,
        Err(error) => {
            println!("skipped: this machine has no IPv6 ({error})");
            return;
        }
    };
    let port = listener.local_address().port();
    let _here = match dial(&address(&format!("127.0.0.1:{port}"))).await {
        Ok(here) => here,
        Err(error) => {
            println!("skipped: an IPv6 socket does not serve IPv4 here ({error})");
            return;
        }
    };
    assert_eq!(accept(&mut listener).await.remote.host().to_string(), "127.0.0.1");
}

#[tokio::test]
async fn a_listener_outlives_a_connection_that_died_in_its_queue() {
    let mut listener = listen("127.0.0.1:0").await;
    drop(dial(&listener.local_address()).await.unwrap());
    let mut here = dial(&listener.local_address()).await.unwrap();
    here.writer.write_all(b"!").await.unwrap();
    // Systems differ in whether the dead one is handed out: either way the live one comes.
    while accept(&mut listener).await.reader.read_u8().await.is_err() {}
}

#[test]
fn the_own_host_is_the_ip_or_name_listened_at() {
    let tcp = Tcp::default();
    for at in ["192.0.2.7:9000", "[2001:db8::7]:9000", "host.name:9000"] {
        assert_eq!(tcp.own_host(&address(at)), *address(at).host());
    }
}

#[test]
fn the_own_host_of_every_interface_is_one_that_others_can_dial() {
    for at in ["0.0.0.0:9000", "[::]:9000"] {
        let Host::Ip(ip) = Tcp::default().own_host(&address(at)) else { panic!("not an IP") };
        assert!(!ip.is_unspecified() && !ip.is_multicast(), "{at}: {ip}");
    }
}

#[tokio::test]
async fn hundreds_that_come_at_once_wait_for_being_accepted_and_none_tries_twice() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    let most: usize = most.trim().parse().unwrap_or(usize::MAX);
    let listener = listen("127.0.0.1:0").await;
    let to = listener.local_address();
    let mut waiting = Vec::new();
    for _ in 0..most.min(400) {
        // A SYN that was dropped is sent again after a second.
        let dialled = timeout(Duration::from_millis(900), dial(&to)).await;
        waiting.push(dialled.expect("a place in the queue").unwrap());
    }
}

#[tokio::test]
async fn a_name_has_addresses_and_an_address_has_itself() {
    let resolve = async |host: &str| Tcp::default().resolve(&host.parse().unwrap()).await;
    let loopback = |host: &Host| matches!(host, Host::Ip(ip) if ip.is_loopback());
    let found = resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(loopback), "{found:?}");
    assert_eq!(resolve("192.0.2.1").await.unwrap(), ["192.0.2.1".parse::<Host>().unwrap()]);
}

#[test]
fn the_addresses_of_this_machine_are_known_without_a_packet() {
    let is_here = |host: &str| Tcp::default().is_here(&host.parse().unwrap());
    assert!(is_here("127.0.0.1"));
    for host in
        ["192.0.2.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "localhost"]
    {
        assert!(!is_here(host), "{host}");
    }
    if let Some(own) = route_v4() {
        assert!(Tcp::default().is_here(&Host::Ip(own)));
    }
}
