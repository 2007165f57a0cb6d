//! Dialling an address, or a name with several of them.

use super::*;

/// Dials these as if they were the addresses of one name.
async fn dial_all(addresses: Vec<SocketAddr>) -> io::Result<Io> {
    let tcp = Tcp::default();
    race(addresses, |address| tcp.connect(address)).await.map(|(_, io)| io)
}

/// An address without a listener. The socket is bound, so that no other process takes the address.
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
async fn a_port_without_a_listener_refuses() {
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
async fn the_last_error_is_returned_when_every_address_fails() {
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
