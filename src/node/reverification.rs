//! Peers at whose addresses another node was found.

use std::collections::VecDeque;

use tokio::sync::Notify;

use crate::{
    overlay::{Address, PeerId},
    sync::Mutex,
};

/// The maximum number of peers that wait. Further ones are dropped: the next message adds them again.
const MAX_WAITING: usize = 64;

/// Peers that were expected at an address and not found there, until they are verified again.
#[derive(Debug, Default)]
pub(crate) struct ReverificationQueue {
    waiting: Mutex<VecDeque<(PeerId, Address)>>,
    more: Notify,
}

impl ReverificationQueue {
    /// Adds `expected`, because another node was found at `at`.
    pub(crate) fn push(&self, expected: &PeerId, at: &Address) {
        let mut waiting = self.waiting.lock();
        let known = waiting.iter().any(|(id, address)| id == expected && address == at);
        if !known && waiting.len() < MAX_WAITING {
            waiting.push_back((expected.clone(), at.clone()));
            self.more.notify_one();
        }
    }

    /// Waits for the next peer to verify. Must have only one caller.
    pub(crate) async fn next(&self) -> (PeerId, Address) {
        loop {
            let next = self.waiting.lock().pop_front();
            if let Some(next) = next {
                return next;
            }
            self.more.notified().await;
        }
    }
}
