//! The nodes under test, with the default limits.

use std::time::Duration;

use actix::prelude::*;
use actix_peer::{Incoming, Peer, PingSweep, Reply, handler};
use tokio::io::{AsyncReadExt, repeat};

use crate::{honest::Lane, ledger::Ledger};

/// The length of an answer that is longer than any buffer, so that it stalls if it is not read.
const LONG: u64 = 8 << 20; // bytes

/// The time of the slow handler for a message.
const SLOW: Duration = Duration::from_millis(20);

/// The nodes, and the ledgers of the messages that they have handled.
pub(crate) struct Nodes {
    pub(crate) ada: Peer,
    pub(crate) bob: Peer,
    pub(crate) carol: Peer,
    pub(crate) lanes: Vec<(Lane, Ledger)>,
}

impl Nodes {
    pub(crate) async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let lanes: Vec<_> = Lane::ALL.map(|lane| (lane, Ledger::default())).into();
        let ada = Self::node("ada", &lanes).await?;
        let bob = Self::node("bob", &lanes).await?;
        let carol = Self::node("carol", &lanes).await?;
        Ok(Self { ada, bob, carol, lanes })
    }

    async fn node(id: &str, lanes: &[(Lane, Ledger)]) -> Result<Peer, Box<dyn std::error::Error>> {
        let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
        let long =
            handler::from_fn(async |_: Incoming| Reply::body("REPL", LONG, repeat(7).take(LONG)));
        let slow = handler::from_fn(async |_: Incoming| {
            tokio::time::sleep(SLOW).await;
            Reply::none()
        });
        let mut builder = Peer::builder()
            .listen("127.0.0.1:0")
            .id(id)
            .well_known()
            .stabilizer(PingSweep::new())
            .handle("ECHO", echo.start())?
            .handle("LONG", long.start())?
            .handle("SLOW", slow.start())?;
        for (lane, ledger) in lanes {
            builder = builder.handle(lane.code(), ledger.clone().start())?;
        }
        Ok(builder.start().await?)
    }

    pub(crate) fn all(&self) -> [&Peer; 3] {
        [&self.ada, &self.bob, &self.carol]
    }
}
