//! A node on a network in memory, and raw connections to it.

use std::time::Duration;

use actix_peer::{
    Config, Peer,
    transport::{Io, Transport, memory::MemoryNetwork},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::common::{
    SECOND,
    nodes::{self, on_host},
};

pub(crate) async fn node(wires: &MemoryNetwork, config: Config) -> Peer {
    tokio::time::pause();
    on_host(wires, "node").well_known().config(config).start().await.unwrap()
}

/// A connection from `host` on which nothing has been sent.
pub(crate) async fn connect(wires: &MemoryNetwork, host: &str) -> Io {
    nodes::host(wires, host).dial(&"node:9000".parse().unwrap()).await.unwrap()
}

/// Everything that arrives until the end.
pub(crate) async fn heard(io: &mut Io) -> String {
    let mut heard = Vec::new();
    let read = timeout(100 * SECOND, io.reader.read_to_end(&mut heard))
        .await
        .expect("the connection ends in time");
    read.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

pub(crate) async fn name(mut io: Io) -> String {
    io.writer.write_all(b"NAME\0\0\0\0").await.unwrap();
    heard(&mut io).await
}

pub(crate) const NAME: &str = "REPL\0\0\0\x04node";
pub(crate) const BUSY: &str = "ERRO\0\0\0\x04Busy";

/// Lets all ready tasks run.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
