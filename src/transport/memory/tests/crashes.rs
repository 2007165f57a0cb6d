//! Hosts that crash.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_crash_breaks_the_hosts_connections_on_both_sides_and_no_others() {
    let network = MemoryNetwork::new(1);
    let (mut out, mut taken) = network.pair("a", "b").await;
    let (mut other, _there) = network.pair("a", "c").await;
    network.crash(&host("b"));
    let reset = (Vec::new(), Some(ErrorKind::ConnectionReset));
    assert_eq!(read_all(&mut out).await, reset);
    assert_eq!(read_all(&mut taken).await, reset);
    assert_eq!(write_error(&mut other).await, None);
    assert_eq!(network.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_hosts_listener_fails_once_and_is_silent_then() {
    let network = MemoryNetwork::new(1);
    let mut listener = network.listen_at("b:9000").await;
    let (failed, ()) = tokio::join!(timeout(LONG, accept(&mut listener)), async {
        network.crash(&host("b"));
    });
    assert_eq!(failed.unwrap().unwrap_err().kind(), ErrorKind::NetworkDown);
    assert!(timeout(LONG, accept(&mut listener)).await.is_err());
    let again = network.transport(host("b")).listen(&address("b:9000")).await;
    assert_eq!(again.err().unwrap().kind(), ErrorKind::NetworkDown);
}

#[tokio::test(start_paused = true)]
async fn dials_to_and_from_a_crashed_host_are_never_answered() {
    let network = MemoryNetwork::new(1);
    let _b = network.listen_at("b:9000").await;
    let _c = network.listen_at("c:9000").await;
    network.crash(&host("b"));
    assert_black_hole(&network, "a", "b:9000").await;
    assert_black_hole(&network, "b", "c:9000").await;
    assert!(network.dial_from("a", "c:9000").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_crashed_host_may_refuse_dials_instead() {
    let network = MemoryNetwork::new(1);
    let _b = network.listen_at("b:9000").await;
    network.crash(&host("b")).refuse();
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_dial_is_under_way_counts() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let _b = network.listen_at("b:9000").await;
    let dial = network.dial_from("a", "b:9000");
    let crash = async {
        sleep(ms(5)).await;
        network.crash(&host("b"));
    };
    let (dialled, ()) = tokio::join!(timeout(LONG, dial), crash);
    assert!(dialled.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revived_host_starts_anew() {
    let network = MemoryNetwork::new(1);
    let (mut old, _there) = network.pair("a", "b").await;
    let gone = network.listen_at("b:9000").await;
    network.crash(&host("b"));
    network.revive(&host("b"));
    let refused = network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let _new = network.listen_at("b:9000").await;
    drop(gone);
    assert!(network.dial_from("a", "b:9000").await.is_ok(), "the old listener took the new away");
    assert_eq!(write_error(&mut old).await, Some(ErrorKind::ConnectionReset));
}
