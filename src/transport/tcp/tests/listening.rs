//! Listening at one address or at all addresses of a name.

use super::*;

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
async fn a_listener_outlives_a_connection_that_died_in_its_queue() {
    let mut listener = listen("127.0.0.1:0").await;
    drop(dial(&listener.local_address()).await.unwrap());
    let mut here = dial(&listener.local_address()).await.unwrap();
    here.writer.write_all(b"!").await.unwrap();
    // Systems differ in whether the dead one is handed out: either way the live one comes.
    while accept(&mut listener).await.reader.read_u8().await.is_err() {}
}

#[tokio::test]
async fn hundreds_of_simultaneous_connections_wait_to_be_accepted_without_a_retry() {
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
