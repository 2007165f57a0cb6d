//! Peers at whose addresses other nodes were found.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::overlay::{Address, PeerId};

/// Doubts that wait to be looked into. Further ones are dropped: the next message repeats them.
const MAX_DOUBTS: usize = 64;

/// Peers that were asked for at an address and were not there, until they are verified anew.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    waiting: Mutex<VecDeque<(PeerId, Address)>>,
    more: Notify,
}

impl Doubts {
    /// Another node than `expected` is at `at`.
    pub(crate) fn note(&self, expected: &PeerId, at: &Address) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.iter().any(|(id, address)| id == expected && address == at);
        if !known && waiting.len() < MAX_DOUBTS {
            waiting.push_back((expected.clone(), at.clone()));
            self.more.notify_one();
        }
    }

    /// The next one. For one caller.
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
