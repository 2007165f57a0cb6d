//! What a node has to verify: peers that have joined, and peers at whose addresses another node was
//! found.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::overlay::{Address, PeerId};

/// Doubts that wait for verification. Further ones are dropped: the next message repeats them.
const MAX_DOUBTS: usize = 64;

/// What has to be verified next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The table has peers that have joined and are not verified.
    Unverified,
    /// The peer with this id was expected at this address and not found there.
    Elsewhere(PeerId, Address),
}

/// The doubts of a node, until they are verified.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    unverified: AtomicBool,
    elsewhere: Mutex<VecDeque<(PeerId, Address)>>,
    more: Notify,
}

impl Doubts {
    /// Notes that another node than `expected` is at `at`.
    pub(crate) fn note(&self, expected: &PeerId, at: &Address) {
        let mut waiting = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.iter().any(|(id, address)| id == expected && address == at);
        if !known && waiting.len() < MAX_DOUBTS {
            waiting.push_back((expected.clone(), at.clone()));
            self.more.notify_one();
        }
    }

    /// Notes that the table has peers that are not verified.
    pub(crate) fn note_unverified(&self) {
        self.unverified.store(true, Ordering::Release);
        self.more.notify_one();
    }

    /// Waits for the next doubt. Must have only one caller.
    pub(crate) async fn next(&self) -> Doubt {
        loop {
            let next = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some((id, at)) = next {
                return Doubt::Elsewhere(id, at);
            }
            if self.unverified.swap(false, Ordering::AcqRel) {
                return Doubt::Unverified;
            }
            self.more.notified().await;
        }
    }
}
