//! What is traced, and what is never traced.

use actix_peer::{Config, Peer, frame::Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::Level;

use crate::common::{handlers, log::Log};

const SECRET: &str = "swordfish";

async fn echo() -> Peer {
    let config = Config::default().links(false).max_frame_len(1 << 10);
    Peer::builder().config(config).handle("ECHO", handlers::echo()).unwrap().start().await.unwrap()
}

#[test]
fn a_log_has_the_events_that_another_thread_was_the_first_to_reach() {
    fn event() {
        tracing::info!("reached");
    }
    let (log, _listening) = Log::capture(Level::INFO);
    std::thread::spawn(event).join().unwrap();
    event();
    assert_eq!(log.count("reached"), 1);
}

#[actix::test]
async fn every_connection_has_one_span_on_each_side_and_no_data_is_traced() {
    let (log, _listening) = Log::capture(Level::TRACE);
    let (node, peer) = (echo().await, echo().await);
    for _ in 0..3 {
        let replies = peer.request(node.info(), Frame::text("ECHO", SECRET)).await.unwrap();
        assert_eq!(replies.collect().await.unwrap().len(), 1);
    }
    peer.stop().await;
    node.stop().await;
    let text = log.text();
    assert_eq!(log.count("direction=\"in\"}: actix_peer::node: new"), 3, "{text}");
    assert_eq!(log.count("direction=\"out\"}: actix_peer::node: new"), 3, "{text}");
    assert!(log.count("code=ECHO len=9") > 0, "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[actix::test]
async fn remote_input_is_escaped_and_logged_at_debug_level_at_most() {
    let (log, _listening) = Log::capture(Level::TRACE);
    let node = echo().await;
    for bytes in [
        &b"\x1b[2J\0\0\0\0"[..],
        b"A\nB\r\0\0\0\0",
        b"ECHO\xff\xff\xff\xff",
        b"ECH",
        b"ECHO\0\0\0\x05h",
    ] {
        let mut stream = TcpStream::connect(node.info().address().to_string()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    node.stop().await;
    let text = log.text();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert_eq!(log.count("code=0x1b5b324a error="), 1, "{text}");
    assert_eq!(log.count("code=0x410a420d error="), 1, "{text}");
    assert_eq!(log.count("truncated header: 3 of 8 bytes"), 1, "{text}");
    assert_eq!(log.count("truncated data of ECHO: 1 of 5 bytes"), 1, "{text}");
    assert_eq!(log.count(" WARN ") + log.count(" ERROR ") + log.count(" INFO "), 0, "{text}");
}

#[actix::test]
async fn a_reachable_node_without_tls_warns_once_at_its_start() {
    let (log, _guard) = Log::capture(Level::TRACE);
    let warned = || log.count("listening beyond loopback without TLS");
    for loopback in ["127.0.0.1:0", "[::1]:0", "localhost:0"] {
        Peer::builder().listen(loopback).start().await.unwrap().stop().await;
    }
    assert_eq!(warned(), 0);
    let node = Peer::builder().listen("0.0.0.0:0").host("127.0.0.1").start().await.unwrap();
    assert_eq!(warned(), 1);
    node.stop().await;
    assert_eq!(log.count(" WARN "), 1, "{}", log.text());
}

#[cfg(feature = "tls")]
#[actix::test]
async fn a_node_with_tls_does_not_warn() {
    let (log, _guard) = Log::capture(Level::TRACE);
    let identity = actix_peer::transport::tls::NodeIdentity::generate().unwrap();
    let builder = Peer::builder().identity(identity).listen("0.0.0.0:0").host("127.0.0.1");
    builder.start().await.unwrap().stop().await;
    assert_eq!(log.count(" WARN "), 0, "{}", log.text());
}
