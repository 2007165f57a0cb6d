//! Classic exchanges between two nodes: ask, notify, stream, refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use actix::prelude::*;
use actix_peer::{Incoming, Peer, Reply, frame::Frame, handler};

async fn node(id: &str) -> Peer {
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    Peer::builder().id(id).well_known().handle("ECHO", echo.start()).unwrap().start().await.unwrap()
}

#[actix::test]
async fn a_request_is_answered_by_the_handler_of_its_code() {
    let (a, b) = (node("a").await, node("b").await);
    let replies =
        a.request(b.info(), Frame::text("ECHO", "hi")).await.unwrap().collect().await.unwrap();
    assert_eq!(replies, [Frame::text("ECHO", "hi")]);
    let report = a.join(&b.info().address().to_string()).await.unwrap();
    assert_eq!(report.added(), [b.info().clone()]);
    let stopped = a.stop().await;
    assert!(stopped.is_clean(), "{stopped:?}");
    assert_eq!(stopped.told, 1);
    println!("{}", serde_json::to_string_pretty(&b.status().await).unwrap());
}
