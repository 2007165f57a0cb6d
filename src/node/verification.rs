//! What a node has to verify: peers that have joined, and peers at whose addresses another node was
//! found.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use crate::{
    overlay::{Address, PeerId},
    sync::Mutex,
};

/// The maximum number of peers that wait. Further ones are dropped: the next message adds them
/// again.
const MAX_WAITING: usize = 64;

/// What has to be verified next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToVerify {
    /// The table has peers that have joined and are not verified.
    Joined,
    /// The peer with this id was expected at this address and not found there.
    Elsewhere(PeerId, Address),
}

/// The peers that a node has to verify.
#[derive(Debug, Default)]
pub(crate) struct VerificationQueue {
    unverified: AtomicBool,
    elsewhere: Mutex<VecDeque<(PeerId, Address)>>,
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

    /// Notes that the table has peers that are not verified.
    pub(crate) fn note_unverified(&self) {
        self.unverified.store(true, Ordering::Release);
        self.more.notify_one();
    }

    /// Waits for the next peers to verify. Must have only one caller.
    pub(crate) async fn next(&self) -> ToVerify {
        loop {
            let next = self.elsewhere.lock().pop_front();
            if let Some((id, at)) = next {
                return ToVerify::Elsewhere(id, at);
            }
            if self.unverified.swap(false, Ordering::AcqRel) {
                return ToVerify::Joined;
            }
            self.more.notified().await;
        }
    }
}
