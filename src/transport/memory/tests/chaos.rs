//! Faults that are drawn from the seed.

use std::collections::BTreeSet;

use super::*;

/// Opens a connection, or returns how the dial failed.
async fn try_pair(network: &MemoryNetwork) -> std::io::Result<(Io, Io)> {
    let mut listener = network.listen_at("b:9000").await;
    let here = network.dial_from("a", "b:9000").await?;
    Ok((here, accept(&mut listener).await.unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_read_returns_one_byte_or_a_random_part() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    network.chaos(Chaos::none().short_reads(1.0));
    let mut lens = BTreeSet::new();
    for _ in 0..50 {
        here.writer.write_all(&[7; 100]).await.unwrap();
        let mut left = 100;
        while left > 0 {
            let read = there.reader.read(&mut [0; 1_000]).await.unwrap();
            lens.insert(read);
            left -= read;
        }
    }
    assert!(lens.contains(&1) && lens.len() > 50, "{lens:?}");
    assert!(network.chaos_counts().short_reads > 100);
}

#[tokio::test(start_paused = true)]
async fn a_write_takes_one_byte_or_a_random_part() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    network.chaos(Chaos::none().short_writes(1.0));
    let mut lens = BTreeSet::new();
    for _ in 0..100 {
        let written = here.writer.write(&[7; 100]).await.unwrap();
        assert_eq!(read(&mut there, written).await, vec![7; written]);
        lens.insert(written);
    }
    assert!(lens.contains(&1) && lens.len() > 20, "{lens:?}");
    assert_eq!(network.chaos_counts().short_writes, 100);
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_once_although_there_is_room() {
    let network = MemoryNetwork::new(1);
    let (mut here, _there) = network.pair("a", "b").await;
    network.chaos(Chaos::none().pending_writes(1.0));
    for _ in 0..3 {
        assert!(here.writer.write(b"x").now_or_never().is_none());
        assert_eq!(here.writer.write(b"x").now_or_never().unwrap().unwrap(), 1);
    }
    // It wakes its task.
    timeout(LONG, here.writer.write_all(b"xyz")).await.unwrap().unwrap();
    assert_eq!(network.chaos_counts().pending_writes, 4);
}

#[tokio::test(start_paused = true)]
async fn connections_break_at_every_byte_in_either_direction_with_either_ending() {
    const WITHIN: u64 = 5;
    let network = MemoryNetwork::new(1);
    network.chaos(Chaos::none().breaks(1.0, WITHIN));
    let mut seen = BTreeSet::new();
    for _ in 0..500 {
        let (mut here, mut there) = try_pair(&network).await.unwrap();
        let mut errors = Vec::new();
        for _ in 0..=WITHIN {
            errors.extend(write_error(&mut here).await);
            errors.extend(write_error(&mut there).await);
        }
        let got = [read_all(&mut here).await.0.len(), read_all(&mut there).await.0.len()];
        seen.insert((got, errors[0] == ErrorKind::ConnectionReset));
    }
    for len in 0..=usize::try_from(WITHIN).unwrap() {
        for got in [[len, len], [len.saturating_sub(1), len]] {
            for reset in [false, true] {
                assert!(seen.contains(&(got, reset)), "{got:?} {reset} {seen:?}");
            }
        }
    }
    assert_eq!(network.chaos_counts().breaks, 500);
    assert_eq!(network.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_exists_breaks_during_a_write() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    here.writer.write_all(b"some").await.unwrap();
    network.chaos(Chaos::none().breaks(1.0, 0));
    assert_eq!(network.connections(), 1);
    for _ in 0..2 {
        here.writer.write_all(b"x").await.ok();
        there.writer.write_all(b"x").await.ok();
    }
    assert_eq!((network.connections(), network.chaos_counts().breaks), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn no_fault_happens_after_chaos_has_ended() {
    let network = MemoryNetwork::new(1);
    network.chaos(Chaos::heavy().breaks(1.0, 1_000).refused_dials(0.0).broken_dials(0.0));
    let (mut here, mut there) = network.pair("a", "b").await;
    network.chaos(Chaos::none());
    let before = network.chaos_counts();
    for io in [&mut here, &mut there] {
        io.writer.write_all(&[7; 10_000]).await.unwrap();
    }
    assert_eq!(read(&mut there, 10_000).await, read(&mut here, 10_000).await);
    network.dial_from("a", "b:9000").await.unwrap_err();
    assert_eq!(network.chaos_counts(), before);
}

#[tokio::test(start_paused = true)]
async fn a_dial_takes_up_to_the_given_time_longer_and_its_data_does_not() {
    let network = MemoryNetwork::new(1);
    network.chaos(Chaos::none().slow_dials(1.0, ms(1_000)));
    let mut listener = network.listen_at("b:9000").await;
    let mut times = BTreeSet::new();
    for _ in 0..50 {
        let begun = Instant::now();
        let mut here = network.dial_from("a", "b:9000").await.unwrap();
        times.insert(begun.elapsed().as_millis());
        let mut there = accept(&mut listener).await.unwrap();
        let begun = Instant::now();
        here.writer.write_all(b"x").await.unwrap();
        read(&mut there, 1).await;
        assert_eq!(begun.elapsed(), ms(0));
    }
    assert!(times.len() > 30 && times.iter().all(|time| *time <= 1_000), "{times:?}");
    assert!(*times.last().unwrap() > 900 && *times.first().unwrap() < 100, "{times:?}");
    assert_eq!(network.chaos_counts().slow_dials, 50);
}

#[tokio::test(start_paused = true)]
async fn a_dial_is_refused_although_there_is_a_listener() {
    let network = MemoryNetwork::new(1);
    network.chaos(Chaos::none().refused_dials(0.5));
    let mut outcomes = BTreeSet::new();
    for _ in 0..20 {
        outcomes.insert(try_pair(&network).await.err().map(|error| error.kind()));
    }
    assert_eq!(outcomes, BTreeSet::from([None, Some(ErrorKind::ConnectionRefused)]));
    // A dial that would be refused in any case is no fault of chaos.
    let refused = network.chaos_counts().refused_dials;
    assert!(0 < refused && refused < 20);
    network.chaos(Chaos::none().refused_dials(1.0));
    network.dial_from("a", "b:1").await.unwrap_err();
    assert_eq!(network.chaos_counts().refused_dials, refused);
}

#[tokio::test(start_paused = true)]
async fn a_dial_is_accepted_and_broken_at_once() {
    let network = MemoryNetwork::new(1);
    network.chaos(Chaos::none().broken_dials(1.0));
    let mut endings = BTreeSet::new();
    for _ in 0..20 {
        let (mut here, mut there) = try_pair(&network).await.unwrap();
        let (got, end) = read_all(&mut there).await;
        assert_eq!((got.len(), read_all(&mut here).await), (0, (got, end)));
        assert!(write_error(&mut here).await.is_some());
        endings.insert(end);
    }
    assert_eq!(endings, BTreeSet::from([None, Some(ErrorKind::ConnectionReset)]));
    assert_eq!((network.chaos_counts().broken_dials, network.chaos_counts().breaks), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn late_data_arrives_in_order_and_before_the_end() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    network.chaos(Chaos::none().late_writes(0.5, ms(1_000)));
    let begun = Instant::now();
    let bytes: Vec<u8> = (0..100).collect();
    for byte in &bytes {
        here.writer.write_all(&[*byte]).await.unwrap();
    }
    here.writer.shutdown().await.unwrap();
    let first = read(&mut there, 1).await;
    let mut times = BTreeSet::from([begun.elapsed()]);
    let mut got = first;
    while let Ok(byte) = there.reader.read_u8().await {
        got.push(byte);
        times.insert(begun.elapsed());
    }
    assert_eq!(got, bytes);
    assert!(times.len() > 2 && *times.last().unwrap() <= ms(1_000), "{times:?}");
    assert!((20..80).contains(&network.chaos_counts().late_writes));
}

#[tokio::test(start_paused = true)]
async fn late_data_that_a_break_loses_is_no_end_of_the_stream() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    network.chaos(Chaos::none().late_writes(1.0, ms(1_000_000)));
    here.writer.write_all(b"late").await.unwrap();
    here.writer.shutdown().await.unwrap();
    network.break_link(0);
    assert_eq!(read_all(&mut there).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}

/// The times of dials and of data, which are the latencies.
async fn latencies(chaos: Chaos) -> Vec<Duration> {
    let network = MemoryNetwork::new(7);
    network.latency(ms(1)..ms(1_000));
    network.chaos(chaos);
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let (mut here, mut there) = network.pair("a", "b").await;
        times.push(begun.elapsed());
        here.writer.write_all(b"hello").await.unwrap();
        read(&mut there, 5).await;
        times.push(begun.elapsed());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn chaos_changes_no_drawn_latency() {
    let chaos = Chaos::none().short_reads(0.5).short_writes(0.5).pending_writes(0.5);
    let chaos = chaos.breaks(1.0, 1 << 60).slow_dials(1.0, ms(0)).late_writes(0.5, ms(0));
    assert_eq!(latencies(chaos).await, latencies(Chaos::none()).await);
}

#[test]
fn faults_are_counted_by_kind() {
    let counts = ChaosCounts { short_reads: 3, broken_dials: 1, ..ChaosCounts::default() };
    assert_eq!(counts.to_string(), "3 short reads, 1 broken dials");
    assert_eq!(counts.by_kind().iter().map(|(_, count)| count).sum::<u64>(), 4);
    assert_eq!(ChaosCounts::default().to_string(), "no faults");
    assert_eq!(Chaos::default(), Chaos::none());
}
