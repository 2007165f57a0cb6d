//! Partitions of one direction or both.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_partition_stalls_connections_until_it_is_healed() {
    for latency in [ms(0), ms(10)] {
        let network = MemoryNetwork::new(1);
        network.latency(latency..latency);
        let (mut here, mut there) = network.pair("a", "b").await;
        here.writer.write_all(b"before ").await.unwrap();
        sleep(latency).await;
        network.partition(&[host("a")], &[host("b"), host("c")]);
        assert_eq!(read(&mut there, 7).await, b"before ", "it had arrived");
        here.writer.write_all(b"during ").await.unwrap();
        there.writer.write_all(b"as well").await.unwrap();
        assert_silent(&mut there).await;
        assert_silent(&mut here).await;
        here.writer.write_all(b"end").await.unwrap();
        drop(here.writer);
        let (got, ()) = tokio::join!(read_all(&mut there), async {
            sleep(ms(1000)).await;
            network.heal();
        });
        assert_eq!(got, (b"during end".to_vec(), None));
        let mut back = [0; 7];
        here.reader.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"as well");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_hides_the_end_of_the_other_side() {
    let network = MemoryNetwork::new(1);
    let (here, mut there) = network.pair("a", "b").await;
    network.partition(&[host("a")], &[host("b")]);
    drop(here);
    assert_eq!(write_error(&mut there).await, None);
    assert_silent(&mut there).await;
    network.heal();
    assert_eq!(write_error(&mut there).await, Some(ErrorKind::BrokenPipe));
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn a_partition_hides_a_crash() {
    let network = MemoryNetwork::new(1);
    let (_here, mut there) = network.pair("a", "b").await;
    network.partition(&[host("b")], &[host("a")]);
    network.crash(&host("a"));
    assert_silent(&mut there).await;
    assert!(timeout(LONG, there.writer.write_all(b"!")).await.is_err());
    network.heal();
    assert_eq!(write_error(&mut there).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(read_all(&mut there).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn dials_across_a_partition_are_never_answered_and_others_are() {
    let network = MemoryNetwork::new(1);
    let _listeners = join_all(["a:9000", "b:9000", "c:9000"].map(|at| network.listen_at(at))).await;
    network.partition(&[host("a")], &[host("b"), host("c")]);
    assert_black_hole(&network, "a", "b:9000").await;
    assert_black_hole(&network, "c", "a:9000").await;
    assert!(network.dial_from("b", "c:9000").await.is_ok());
    network.heal();
    assert!(network.dial_from("a", "b:9000").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn partitions_add_up() {
    let network = MemoryNetwork::new(1);
    let _b = network.listen_at("b:9000").await;
    network.partition(&[host("a")], &[host("b")]);
    network.partition(&[host("c")], &[host("b")]);
    assert_black_hole(&network, "a", "b:9000").await;
    assert_black_hole(&network, "c", "b:9000").await;
}

#[tokio::test(start_paused = true)]
async fn a_one_way_partition_loses_one_direction_and_prevents_connections() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    network.partition_one_way(&[host("a")], &[host("b")]);
    here.writer.write_all(b"lost").await.unwrap();
    there.writer.write_all(b"heard").await.unwrap();
    assert_eq!(read(&mut here, 5).await, b"heard");
    assert_silent(&mut there).await;
    let _listeners = (network.listen_at("a:7").await, network.listen_at("b:7").await);
    assert_black_hole(&network, "a", "b:7").await;
    assert_black_hole(&network, "b", "a:7").await;
    network.heal();
    assert_eq!(read(&mut there, 4).await, b"lost");
    network.dial_from("a", "b:7").await.unwrap();
}
