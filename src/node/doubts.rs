//! Peers at whose addresses another node was found.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::overlay::{Address, PeerId};

/// Doubts that wait for verification. Further ones are dropped: the next message repeats them.
const MAX_DOUBTS: usize = 64;

/// Peers that were expected at an address and not found there, until they are verified again.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    waiting: Mutex<VecDeque<(PeerId, Address)>>,
    more: Notify,
}

impl Doubts {
    /// Notes that another node than `expected` is at `at`.
    pub(crate) fn note(&self, expected: &PeerId, at: &Address) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.iter().any(|(id, address)| id == expected && address == at);
        if !known && waiting.len() < MAX_DOUBTS {
            waiting.push_back((expected.clone(), at.clone()));
            self.more.notify_one();
        }
    }

    /// Waits for the next doubt. Must have only one caller.
    pub(crate) async fn next(&self) -> (PeerId, Address) {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(next) = next {
                return next;
            }
            self.more.notified().await;
        }
    }
}
