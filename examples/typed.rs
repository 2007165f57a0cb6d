//! Typed messages: actix messages that an actor on another node answers.
//!
//! ```text
//! $ cargo run --example typed
//! ada has 7 points
//! ada has 12 points
//! bob has no points
//! an invalid message is refused: the exchange was ended: malformed message
//! ```

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::collections::HashMap;

use actix::prelude::*;
use actix_peer::{
    HandlerActor, Peer, Received,
    frame::{Frame, TypeCode, Wire},
};
use serde::{Deserialize, Serialize};

/// Adds points to the score of a player. The result is the new score.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u32")]
struct Scored {
    player: String,
    points: u32,
}

impl Wire for Scored {
    const CODE: TypeCode = TypeCode::new(b"SCOR");
}

/// Asks for the score of a player.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Option<u32>")]
struct Points(String);

impl Wire for Points {
    const CODE: TypeCode = TypeCode::new(b"PNTS");
}

#[derive(Default)]
struct Board {
    points: HashMap<String, u32>,
}

impl Actor for Board {
    type Context = Context<Self>;
}

impl Supervised for Board {}

impl Handler<Received<Scored>> for Board {
    type Result = u32;

    fn handle(&mut self, msg: Received<Scored>, _: &mut Self::Context) -> u32 {
        let points = self.points.entry(msg.message.player).or_default();
        *points += msg.message.points;
        *points
    }
}

impl Handler<Received<Points>> for Board {
    type Result = Option<u32>;

    fn handle(&mut self, msg: Received<Points>, _: &mut Self::Context) -> Option<u32> {
        self.points.get(&msg.message.0).copied()
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let board = Board::default().start_supervised();
    let node = Peer::builder().on::<Scored>(board.clone())?.on::<Points>(board)?.start().await?;
    let player = Peer::builder().start().await?;

    for points in [7, 5] {
        let score = player.send(node.info(), Scored { player: "ada".into(), points }).await?;
        println!("ada has {score} points");
    }
    if player.send(node.info(), Points("bob".into())).await?.is_none() {
        println!("bob has no points");
    }

    // Data that cannot be decoded never reaches the actor.
    let invalid = Frame::text("SCOR", "not postcard");
    if let Err(error) = player.request(node.info(), invalid).await?.collect().await {
        println!("an invalid message is refused: {error}");
    }

    player.stop().await;
    node.stop().await;
    Ok(())
}
