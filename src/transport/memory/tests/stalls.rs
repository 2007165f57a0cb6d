//! Hosts and connections that stall.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stalled_host_is_silent_for_a_time_and_then_everything_is_there() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    let (mut other, mut third) = network.pair("a", "c").await;
    let begun = Instant::now();
    network.stall(&host("b"), ms(300));
    here.writer.write_all(b"to").await.unwrap();
    there.writer.write_all(b"fro").await.unwrap();
    other.writer.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut third, 2).await, b"on");
    assert_eq!(begun.elapsed(), ms(0), "others go on");
    network.stall(&host("b"), ms(100));
    assert_eq!(read(&mut there, 2).await, b"to");
    assert_eq!(read(&mut here, 3).await, b"fro");
    assert_eq!(begun.elapsed(), ms(300));
    here.writer.write_all(b"again").await.unwrap();
    assert_eq!(read(&mut there, 5).await, b"again");
    assert_eq!(begun.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn dials_from_and_to_a_stalled_host_wait() {
    let network = MemoryNetwork::new(1);
    let _listeners = (network.listen_at("a:9000").await, network.listen_at("b:9000").await);
    let begun = Instant::now();
    for (from, to) in [("a", "b:9000"), ("b", "a:9000")] {
        network.stall(&host("b"), ms(200));
        network.dial_from(from, to).await.unwrap();
    }
    assert_eq!(begun.elapsed(), ms(400));
    network.stall(&host("b"), ms(200));
    assert_eq!(
        network.dial_from("a", "b:7").await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(begun.elapsed(), ms(600));
}

#[tokio::test(start_paused = true)]
async fn one_connection_can_be_stalled() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    let (mut other, mut third) = network.pair("a", "c").await;
    assert!(network.stall_link(0, ms(100)));
    assert!(!network.stall_link(9, ms(100)));
    let begun = Instant::now();
    here.writer.write_all(b"late").await.unwrap();
    other.writer.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut third, 2).await, b"on");
    assert_eq!(begun.elapsed(), ms(0));
    assert_eq!(read(&mut there, 4).await, b"late");
    assert_eq!(begun.elapsed(), ms(100));
}
