//! Latency and bandwidth.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dial_takes_a_round_trip_and_bytes_take_half_of_it() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let start = Instant::now();
    let (mut here, mut there) = network.pair("a", "b").await;
    assert_eq!(start.elapsed(), ms(20));
    here.writer.write_all(b"there").await.unwrap();
    assert_eq!(start.elapsed(), ms(20));
    read(&mut there, 5).await;
    assert_eq!(start.elapsed(), ms(30));
    there.writer.write_all(b"back").await.unwrap();
    drop(there);
    assert_eq!(read_all(&mut here).await.0, b"back");
    assert_eq!(start.elapsed(), ms(40));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_a_round_trip() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let start = Instant::now();
    network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(start.elapsed(), ms(20));
}

#[tokio::test(start_paused = true)]
async fn latency_is_drawn_of_the_range_and_stays_for_the_connection() {
    let network = MemoryNetwork::new(7);
    network.latency(ms(10)..ms(100));
    let mut seen = Vec::new();
    for round in 0..5 {
        let (mut here, mut there) = network.pair("a", "b").await;
        let mut times = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            here.writer.write_all(b"!").await.unwrap();
            read(&mut there, 1).await;
            times.push(start.elapsed());
        }
        assert!(times.iter().all(|time| *time == times[0]), "round {round}: {times:?}");
        assert!((ms(10)..=ms(100)).contains(&times[0]), "round {round}: {times:?}");
        seen.push(times[0]);
    }
    seen.dedup();
    assert!(seen.len() > 1, "all the same: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_and_pieces_arrive_when_they_are_due() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let (mut here, mut there) = network.pair("a", "b").await;
    let start = Instant::now();
    let writing = async {
        for piece in [b"one ", b"two ", b"end "] {
            here.writer.write_all(piece).await.unwrap();
            sleep(ms(3)).await;
        }
        here.writer.shutdown().await.unwrap();
    };
    let reading = async {
        let mut seen = Vec::new();
        loop {
            let mut piece = vec![0; 100];
            let len = there.reader.read(&mut piece).await.unwrap();
            piece.truncate(len);
            seen.push((start.elapsed(), String::from_utf8(piece).unwrap()));
            if len == 0 {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(writing, reading);
    let expected = [(10, "one "), (13, "two "), (16, "end "), (19, "")];
    assert_eq!(seen, expected.map(|(at, piece)| (ms(at), piece.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_capacity_is_on_its_way() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let (mut here, mut there) = network.pair("a", "b").await;
    let start = Instant::now();
    let data = vec![7; 3 * CAPACITY];
    let (written, got) = tokio::join!(here.writer.write_all(&data), read(&mut there, data.len()));
    written.unwrap();
    assert_eq!(got, data);
    assert_eq!(start.elapsed(), ms(30));
}

#[tokio::test(start_paused = true)]
async fn a_pair_of_hosts_may_have_a_latency_of_its_own() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(5));
    network.latency_between(&host("b"), &host("A"), ms(50));
    for (from, to, expected) in [("a", "b", 100), ("b", "a", 100), ("a", "c", 10)] {
        let at = format!("{to}:9000");
        let _listener = network.listen_at(&at).await;
        let begun = Instant::now();
        network.dial_from(from, &at).await.unwrap();
        assert_eq!(begun.elapsed(), ms(expected), "{from} {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_connections_of_a_host_share_its_bandwidth() {
    let network = MemoryNetwork::new(1);
    network.bandwidth_of(&host("a"), NonZeroU64::new(10_000));
    let (mut one, mut theirs) = network.pair("a", "b").await;
    let (mut two, mut thirds) = network.pair("a", "c").await;
    let begun = Instant::now();
    one.writer.write_all(&[1; 10_000]).await.unwrap();
    two.writer.write_all(&[2; 10_000]).await.unwrap();
    assert_eq!(read(&mut theirs, 1_460).await.len(), 1_460);
    assert_eq!(begun.elapsed(), ms(146), "a packet comes when it has left");
    read(&mut theirs, 8_540).await;
    assert_eq!(begun.elapsed(), ms(1_000));
    read(&mut thirds, 10_000).await;
    assert_eq!(begun.elapsed(), ms(2_000), "behind what was sent before it");
    // The other direction is the other host's.
    theirs.writer.write_all(&[3; 10_000]).await.unwrap();
    read(&mut one, 10_000).await;
    assert_eq!(begun.elapsed(), ms(2_000));
    network.bandwidth_of(&host("a"), None);
    one.writer.write_all(&[4; 10_000]).await.unwrap();
    read(&mut theirs, 10_000).await;
    assert_eq!(begun.elapsed(), ms(2_000));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_waits_for_the_bandwidth_as_well() {
    let network = MemoryNetwork::new(1);
    network.bandwidth(NonZeroU64::new(1_000));
    let (mut here, mut there) = network.pair("a", "b").await;
    let begun = Instant::now();
    here.writer.write_all(&[1; 3_000]).await.unwrap();
    drop(here);
    let (got, error) = read_all(&mut there).await;
    assert_eq!((got.len(), error, begun.elapsed()), (3_000, None, ms(3_000)));
}
