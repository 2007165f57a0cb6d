//! Rates, bytes in memory, bans, and what a flood may write to the log.

use actix_peer::{Config, transport::memory::MemoryNetwork};
use tokio::io::AsyncWriteExt;

use crate::common::{BUSY, NAME, connect, counts, heard, node, settle};

#[actix::test]
async fn f16_who_finds_no_place_makes_no_half_open_connection_go() {
    let wires = MemoryNetwork::new(1);
    let config = Config::default().max_connections(4).max_half_open(4);
    let node = node(&wires, config).await;
    let mut quiet = Vec::new();
    for n in 0..4 {
        quiet.push(connect(&wires, &format!("quiet{n}")).await);
    }
    settle().await;
    for _ in 0..3 {
        assert_eq!(heard(&mut connect(&wires, "late").await).await, BUSY);
    }
    let counted = counts(&node).await;
    assert_eq!((counted.connections_displaced, counted.connections_refused), (0, 3));
    for mut io in quiet {
        io.writer.write_all(b"NAME\0\0\0\0").await.unwrap();
        assert_eq!(heard(&mut io).await, NAME);
    }
}
