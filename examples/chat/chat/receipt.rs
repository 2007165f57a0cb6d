//! Whether others have what was said: a topic takes a line at once, and passes it on when this node
//! has found a neighbour there.

use std::{collections::VecDeque, time::Duration};

use actix::prelude::*;
use actix_peer::{PeerId, Received, topics::Topic};

use super::Chat;
use crate::{
    text::RoomName,
    wire::{HasHeard, Said},
};

/// The number of lines of a room of which is remembered that they came.
const REMEMBERED: usize = 256;

/// The time between two questions.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The lines of a room that have come, and the last one of this node.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    heard: VecDeque<(PeerId, u64)>,
    said: Option<u64>,
}

impl Receipts {
    pub(super) fn hear(&mut self, author: &PeerId, sequence: u64) {
        if self.heard.len() >= REMEMBERED {
            self.heard.pop_front();
        }
        self.heard.push_back((author.clone(), sequence));
    }

    pub(super) const fn say(&mut self, sequence: u64) {
        self.said = Some(sequence);
    }

    fn has(&self, author: &PeerId, sequence: u64) -> bool {
        self.heard.iter().any(|(other, number)| other == author && *number == sequence)
    }
}

impl Handler<Received<HasHeard>> for Chat {
    type Result = MessageResult<Received<HasHeard>>;

    fn handle(&mut self, received: Received<HasHeard>, _: &mut Self::Context) -> Self::Result {
        let HasHeard { room, sequence } = &received.message;
        let room = room.parse::<RoomName>().ok().and_then(|room| self.room(&room));
        let author = received.sender.proven();
        let has = |author| room.is_some_and(|room| room.receipts.has(author, *sequence));
        MessageResult(author.is_some_and(has))
    }
}

/// Completes when another node has what this one has said last in each room.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct UntilHeard;

impl Handler<UntilHeard> for Chat {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: UntilHeard, _: &mut Self::Context) -> Self::Result {
        let said = |room: &super::Room| {
            Some((room.name().clone(), room.lines().clone(), room.receipts.said?))
        };
        let rooms: Vec<_> = self.rooms.iter().filter_map(said).collect();
        let peer = self.peer.clone();
        Box::pin(async move {
            for (room, lines, sequence) in rooms {
                until_heard(&peer, &room, &lines, sequence).await;
            }
        })
    }
}

async fn until_heard(peer: &actix_peer::Peer, room: &RoomName, lines: &Topic<Said>, sequence: u64) {
    // The error is that the node stops.
    while lines.joined().await.is_ok() {
        for neighbor in lines.neighbors() {
            let question = HasHeard { room: room.to_string(), sequence };
            if peer.send(&neighbor, question).await.is_ok_and(|has| has) {
                return;
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
