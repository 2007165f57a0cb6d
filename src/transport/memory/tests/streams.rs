//! The two streams of a connection.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_its_writer() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    let data = vec![7; CAPACITY + 1];
    assert!(timeout(LONG, here.writer.write_all(&data)).await.is_err());
    assert_eq!(read(&mut there, CAPACITY).await.len(), CAPACITY);
    let (written, got) = tokio::join!(here.writer.write_all(&data), read(&mut there, CAPACITY + 1));
    written.unwrap();
    assert_eq!(got, data);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_writer_ends_the_stream_after_the_written_data() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    here.writer.write_all(b"last words").await.unwrap();
    drop(here.writer);
    assert_eq!(read_all(&mut there).await, (b"last words".to_vec(), None));
    there.writer.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    here.reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nothing_can_be_written() {
    let (mut here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    here.writer.shutdown().await.unwrap();
    here.writer.shutdown().await.unwrap();
    assert_eq!(write_error(&mut here).await, Some(ErrorKind::BrokenPipe));
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn dropping_both_halves_closes_the_connection() {
    let (here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    drop(here);
    assert_eq!(read_all(&mut there).await, (Vec::new(), None));
    assert_eq!(write_error(&mut there).await, Some(ErrorKind::BrokenPipe));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_reader_alone_is_not_noticed() {
    let (here, mut there) = MemoryNetwork::new(1).pair("a", "b").await;
    drop(here.reader);
    assert_eq!(write_error(&mut there).await, None);
    assert!(timeout(LONG, there.writer.write_all(&vec![0; CAPACITY])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_writer_fails_when_the_other_side_ends() {
    let (mut here, there) = MemoryNetwork::new(1).pair("a", "b").await;
    let data = vec![7; CAPACITY + 1];
    let (written, ()) = tokio::join!(here.writer.write_all(&data), async move { drop(there) });
    assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
}
