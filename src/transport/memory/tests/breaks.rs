//! Connections that break.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_broken_at_every_byte_in_either_direction() {
    let data = b"0123456789";
    for ending in [Ending::Reset, Ending::Eof] {
        for latency in [ms(0), ms(10)] {
            for bytes in 0..=data.len() {
                for direction in [StreamDirection::ToListener, StreamDirection::ToDialler] {
                    let network = MemoryNetwork::new(1);
                    network.latency(latency..latency);
                    network.ending(ending);
                    network.break_after(direction, bytes as u64);
                    let (here, there) = network.pair("a", "b").await;
                    let (mut writer, mut reader) = match direction {
                        StreamDirection::ToListener => (here, there),
                        StreamDirection::ToDialler => (there, here),
                    };
                    let (read_end, write_end) = match ending {
                        Ending::Reset => {
                            (Some(ErrorKind::ConnectionReset), ErrorKind::ConnectionReset)
                        }
                        Ending::Eof => (None, ErrorKind::BrokenPipe),
                    };
                    let case = format!("{ending:?} {latency:?} {bytes} {direction:?}");
                    let written = writer.writer.write_all(data).await.err().map(|e| e.kind());
                    let all = bytes == data.len();
                    assert_eq!(written, (!all).then_some(write_end), "{case}");
                    assert_eq!(write_error(&mut writer).await, Some(write_end), "{case}");
                    let got = read_all(&mut reader).await;
                    assert_eq!(got, (data[..bytes].to_vec(), read_end), "{case}");
                    assert_eq!(write_error(&mut reader).await, Some(write_end), "{case}");
                    assert_eq!(read_all(&mut writer).await, (Vec::new(), read_end), "{case}");
                    assert_eq!(network.connections(), 0, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_next_connection_breaks_after_the_given_bytes() {
    let network = MemoryNetwork::new(1);
    network.break_after(StreamDirection::ToListener, 3);
    network.dial_from("a", "b:9000").await.unwrap_err();
    let (mut first, _there) = network.pair("a", "b").await;
    assert!(first.writer.write_all(b"1234").await.is_err());
    let (mut second, _there) = network.pair("a", "b").await;
    second.writer.write_all(b"1234").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_break_wakes_waiting_readers_and_writers() {
    let network = MemoryNetwork::new(1);
    let (mut here, mut there) = network.pair("a", "b").await;
    let data = vec![7; CAPACITY + 1];
    let cut = async { network.break_link(0) };
    let (written, read, cut) = tokio::join!(
        timeout(LONG, here.writer.write_all(&data)),
        timeout(LONG, here.reader.read_u8()),
        cut
    );
    assert!(cut);
    assert_eq!(written.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(read.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(read_all(&mut there).await, (vec![7; CAPACITY], reset), "what had arrived");
    assert!(!network.break_link(0), "it was cut before");
    assert!(!network.break_link(1), "there never was one");
}

#[tokio::test(start_paused = true)]
async fn a_break_loses_the_data_in_transit() {
    let network = MemoryNetwork::new(1);
    network.latency(ms(10)..ms(10));
    let (mut here, mut there) = network.pair("a", "b").await;
    here.writer.write_all(b"arrived").await.unwrap();
    sleep(ms(10)).await;
    here.writer.write_all(b"lost").await.unwrap();
    network.break_link(0);
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(read_all(&mut there).await, (b"arrived".to_vec(), reset));
    assert_eq!(here.writer.shutdown().await.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[tokio::test(start_paused = true)]
async fn all_connections_between_two_hosts_can_be_broken() {
    let network = MemoryNetwork::new(1);
    let (mut ab, _ab) = network.pair("a", "b").await;
    let (mut ba, _ba) = network.pair("b", "a").await;
    let (mut ac, _ac) = network.pair("a", "c").await;
    assert_eq!(network.break_links_between(&host("b"), &host("a")), 2);
    assert_eq!(write_error(&mut ab).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(write_error(&mut ba).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(write_error(&mut ac).await, None);
    assert_eq!(network.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_break_is_no_end_of_the_stream_while_data_is_in_transit() {
    let network = MemoryNetwork::new(1);
    network.bandwidth(NonZeroU64::new(1_000));
    let (mut here, mut there) = network.pair("a", "b").await;
    here.writer.write_all(&[7; 2 * 1_460]).await.unwrap();
    here.writer.shutdown().await.unwrap();
    sleep(ms(2_000)).await;
    network.break_link(0);
    assert_eq!(read_all(&mut there).await, (vec![7; 1_460], Some(ErrorKind::ConnectionReset)));
}
