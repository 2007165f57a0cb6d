//! The options of sockets.

use super::*;

/// A connection that `tcp` dialled and accepted: second descriptors of both ends, and both.
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

#[tokio::test]
async fn nodelay_is_set_on_both_sides() {
    let (sockets, _open) = ends(Tcp::default()).await;
    assert_eq!(sockets.map(|socket| socket.tcp_nodelay().unwrap()), [true; 2]);
}

/// The options of both ends of a connection that `tcp` dialled and accepted. `None` without
/// keepalive; otherwise the time before the first probe, the time between probes, their number, and
/// how long sent bytes may stay unacknowledged.
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

#[tokio::test]
async fn the_kernel_probes_idle_connections_and_gives_up_after_two_minutes() {
    let second = Duration::from_secs(1);
    let usual = Some((60 * second, 15 * second, 4, 120 * second));
    assert_eq!(kept(Tcp::default()).await, [usual; 2]);
    let shorter = Some((20 * second, 5 * second, 4, 40 * second));
    assert_eq!(kept(Tcp::default().keep_alive(20 * second)).await, [shorter; 2]);
    assert_eq!(kept(Tcp::default().keep_alive(None)).await, [None; 2]);
}

#[tokio::test]
async fn a_keep_alive_that_no_kernel_takes_is_the_nearest_that_it_takes() {
    let second = Duration::from_secs(1);
    let [least, _] = kept(Tcp::default().keep_alive(Duration::ZERO)).await;
    assert_eq!(least, Some((4 * second, second, 4, 8 * second)));
    let [most, _] = kept(Tcp::default().keep_alive(Duration::MAX)).await;
    assert_eq!(most, Some((32_767 * second, 8_191 * second, 4, 65_534 * second)));
}
