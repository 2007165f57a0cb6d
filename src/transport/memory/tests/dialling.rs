//! Listening and dialling.

use super::*;

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    here.writer.write_all(b"there").await.unwrap();
    assert_eq!(read(&mut there, 5).await, b"there");
    there.writer.write_all(b"back").await.unwrap();
    assert_eq!(read(&mut here, 4).await, b"back");
}

#[test]
fn without_latency_no_timer_and_no_runtime_is_needed() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").now_or_never().unwrap();
    here.writer.write_all(b"there").now_or_never().unwrap().unwrap();
    assert_eq!(there.reader.read_u8().now_or_never().unwrap().unwrap(), b't');
}

#[tokio::test(start_paused = true)]
async fn each_side_learns_the_address_of_the_other() {
    let (here, there) = MemoryNetwork::new(1).pair("a", "10.0.0.7").await;
    assert_eq!(here.remote, address("10.0.0.7:9000"));
    assert_eq!(there.remote, address("a:32768"));
}

#[tokio::test(start_paused = true)]
async fn port_0_is_the_lowest_free_port_from_49152() {
    let network = MemoryNetwork::new(1);
    let first = network.listen_at("a:0").await;
    let _fixed = network.listen_at("a:49153").await;
    let second = network.listen_at("a:0").await;
    assert_eq!(first.local_address(), address("a:49152"));
    assert_eq!(second.local_address(), address("a:49154"));
    assert_eq!(network.listen_at("b:0").await.local_address(), address("b:49152"));
    drop(first);
    assert_eq!(network.listen_at("a:0").await.local_address(), address("a:49152"));
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_in_use() {
    let network = MemoryNetwork::new(1);
    let _listener = network.listen_at("a:9000").await;
    let again = network.transport(host("a")).listen(&address("A:9000")).await;
    assert_eq!(again.err().unwrap().kind(), ErrorKind::AddrInUse);
}

#[tokio::test(start_paused = true)]
async fn only_the_own_host_can_be_listened_at() {
    let network = MemoryNetwork::new(1);
    let other = network.transport(host("a")).listen(&address("b:9000")).await;
    assert_eq!(other.err().unwrap().kind(), ErrorKind::AddrNotAvailable);
    let mut open = Vec::new();
    for at in ["0.0.0.0:0", "[::]:0", "localhost:0", "127.0.0.1:0", "[::1]:0", "a:0"] {
        let listener = network.transport(host("a")).listen(&address(at)).await.unwrap();
        assert_eq!(*listener.local_address().host(), host("a"), "{at}");
        open.push(listener);
    }
}

#[tokio::test(start_paused = true)]
async fn localhost_is_the_diallers_own_host() {
    let network = MemoryNetwork::new(1);
    let _listener = network.listen_at("a:9000").await;
    assert!(network.dial_from("a", "localhost:9000").await.is_ok());
    assert!(network.dial_from("b", "localhost:9000").await.is_err());
}

#[test]
fn the_own_host_is_the_transports_host() {
    let transport = MemoryNetwork::new(1).transport(host("a"));
    assert_eq!(transport.own_host(&address("0.0.0.0:9000")), host("a"));
}

#[tokio::test(start_paused = true)]
async fn a_dial_to_an_unused_address_is_refused() {
    let network = MemoryNetwork::new(1);
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(network.listen_at("b:9000").await);
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn port_0_cannot_be_dialled() {
    let error = MemoryNetwork::new(1).dial_from("a", "b:0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_dial_waits_while_the_listeners_queue_is_full() {
    let network = MemoryNetwork::new(1);
    let mut listener = network.listen_at("b:9000").await;
    let mut open = Vec::new();
    while let Some(io) = network.dial_from("a", "b:9000").now_or_never() {
        open.push(io.unwrap());
        assert!(open.len() < 1000, "the queue has no bound");
    }
    let (late, _) = tokio::join!(network.dial_from("a", "b:9000"), accept(&mut listener));
    assert!(late.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_waits_is_refused_when_the_listener_goes() {
    let network = MemoryNetwork::new(1);
    let listener = network.listen_at("b:9000").await;
    let mut open = Vec::new();
    while let Some(io) = network.dial_from("a", "b:9000").now_or_never() {
        open.push(io.unwrap());
    }
    let (refused, ()) =
        tokio::join!(network.dial_from("a", "b:9000"), async move { drop(listener) });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_dial_given_up_halfway_is_a_connection_that_ends_at_once() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let mut listener = network.listen_at("b:9000").await;
    assert!(timeout(ms(15), network.dial_from("a", "b:9000")).await.is_err());
    let mut there = accept(&mut listener).await.unwrap();
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn dials_and_connections_are_counted() {
    let network = MemoryNetwork::new(1);
    network.dial_from("a", "b:9000").await.unwrap_err();
    let (here, there) = network.pair("a", "b").await;
    assert_eq!((network.dials(), network.connections()), (2, 1));
    let link = network.links().remove(0);
    assert_eq!((link.number(), link.from(), link.to()), (0, &there.remote, &here.remote));
    drop(here);
    assert_eq!(network.connections(), 1, "the other side still holds it");
    drop(there);
    assert_eq!((network.dials(), network.connections()), (2, 0));
}
