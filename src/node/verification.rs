//! What a node has to verify: peers that have joined, and peers at whose addresses another node was
//! found.

use std::collections::VecDeque;

use crate::{
    overlay::{Address, PeerId},
    sync::{Mutex, Notify},
};

/// The maximum number of peers that wait. Further ones are dropped: the next message adds them
/// again.
const MAX_WAITING: usize = 64;

/// The peers that a node has to verify.
#[derive(Debug, Default)]
pub(crate) struct VerificationQueue {
    /// Notified when the table has peers that have joined and are not verified.
    joined: Notify,
    /// Peers that were expected at these addresses and not found there.
    elsewhere: Mutex<VecDeque<(PeerId, Address)>>,
    /// Notified when one of these was added.
    more: Notify,
}

impl VerificationQueue {
    /// Adds `expected`, because another node was found at `at`.
    pub(crate) fn push(&self, expected: &PeerId, at: &Address) {
        let mut waiting = self.elsewhere.lock();
        let known = waiting.iter().any(|(id, address)| id == expected && address == at);
        if !known && waiting.len() < MAX_WAITING {
            waiting.push_back((expected.clone(), at.clone()));
            self.more.notify_one();
        }
    }

    /// Waits for the next peer that was not found at its address. Must have only one caller.
    pub(crate) async fn next_elsewhere(&self) -> (PeerId, Address) {
        loop {
            let next = self.elsewhere.lock().pop_front();
            match next {
                Some(next) => return next,
                None => self.more.notified().await,
            }
        }
    }

    /// Notes that the table has peers that are not verified.
    pub(crate) fn note_unverified(&self) {
        self.joined.notify_one();
    }

    /// Waits until the table has further peers that are not verified. Must have only one caller.
    pub(crate) async fn unverified(&self) {
        self.joined.notified().await;
    }
}
