use std::{future::poll_fn, io::ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use tokio::time::timeout;

use super::*;
use crate::transport::names::race;

mod addresses;
mod dialling;
mod listening;
#[cfg(target_os = "linux")]
mod options;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

async fn listen(at: &str) -> Box<dyn Listener> {
    Tcp::default().listen(&address(at)).await.unwrap()
}

async fn accept(listener: &mut Box<dyn Listener>) -> Io {
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap()
}

async fn dial(to: &Address) -> io::Result<Io> {
    Tcp::default().dial(to).await
}

/// Both ends of a connection over a listener at `at`.
async fn pair(at: &str) -> (Io, Io) {
    let mut listener = listen(at).await;
    let here = dial(&listener.local_address()).await.unwrap();
    (here, accept(&mut listener).await)
}

async fn assert_echoes((mut here, mut there): (Io, Io)) {
    here.writer.write_all(b"there and back").await.unwrap();
    here.writer.shutdown().await.unwrap();
    let mut data = Vec::new();
    there.reader.read_to_end(&mut data).await.unwrap();
    there.writer.write_all(&data).await.unwrap();
    drop(there);
    let mut back = Vec::new();
    here.reader.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"there and back");
}
