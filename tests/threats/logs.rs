//! The amount of log output that a flood can cause.

use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message, MessageResult};
use actix_peer::{
    Outgoing, Over, Received,
    frame::{Frame, TypeCode, Wire},
    transport::memory::MemoryNetwork,
};
use serde::{Deserialize, Serialize, Serializer};
use tracing::Level;

use crate::common::{log::Log, nodes::on_host};

#[actix::test]
async fn a_flood_of_one_kind_of_warning_becomes_ten_lines_a_second_and_a_summary() {
    let (log, _guard) = Log::capture(Level::WARN);
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let node =
        on_host(&wires, "node").on::<Unsayable>(Mute.start()).unwrap().start().await.unwrap();
    let flood = async |times: usize| {
        for _ in 0..times {
            let request = Frame::new("UNSY", Vec::new());
            let message = Outgoing::from(request).over(Over::Classic);
            let replies = node.request(node.info(), message).await.unwrap();
            replies.collect().await.unwrap_err();
        }
    };
    flood(50).await;
    assert_eq!(log.count("cannot encode an answer"), 10);
    tokio::time::sleep(Duration::from_secs(1)).await;
    flood(50).await;
    assert_eq!(log.count("cannot encode an answer"), 20);
    assert_eq!(log.count("warnings dropped kind=Answer left_out=40"), 1);
    node.stop().await;
}

/// A message whose reply cannot be encoded.
#[derive(Serialize, Deserialize, Message)]
#[rtype(result = "Unspeakable")]
struct Unsayable;

#[derive(Deserialize)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("unspeakable"))
    }
}

impl Wire for Unsayable {
    const CODE: TypeCode = TypeCode::new(b"UNSY");
}

struct Mute;

impl Actor for Mute {
    type Context = Context<Self>;
}

impl Handler<Received<Unsayable>> for Mute {
    type Result = MessageResult<Received<Unsayable>>;

    fn handle(&mut self, _: Received<Unsayable>, _: &mut Self::Context) -> Self::Result {
        MessageResult(Unspeakable)
    }
}
