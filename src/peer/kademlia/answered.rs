//! Nodes that answered recently: asking one again is not a dial to an unverified address.

use std::time::{Duration, Instant};

use crate::{limits::ExpiringMap, overlay::PeerInfo, time::Later};

/// How long an answer counts.
const LATELY: Duration = Duration::from_secs(60);

/// The number of nodes that are remembered, more than one look-up asks. Estimated, not measured.
/// They take some 100 KiB.
const MOST: usize = 1_024;

/// The nodes that recently answered with their id, each with its address.
#[derive(Debug)]
pub(super) struct Answered(ExpiringMap<PeerInfo, ()>);

impl Default for Answered {
    fn default() -> Self {
        Self(ExpiringMap::new(MOST))
    }
}

impl Answered {
    pub(super) fn note(&mut self, peer: &PeerInfo, now: Instant) {
        if self.0.has_room(peer, now) {
            self.0.insert(peer.clone(), (), now.later(LATELY), now);
        }
    }

    pub(super) fn forget(&mut self, peer: &PeerInfo) {
        self.0.remove(peer);
    }

    pub(super) fn has(&self, peer: &PeerInfo, now: Instant) -> bool {
        self.0.get(peer, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_a_minute_and_the_memory_is_bounded() {
        let (mut answered, begun) = (Answered::default(), tokio::time::Instant::now().into_std());
        let peer = |n: u32| format!("n{n} 10.0.0.1 9000").parse::<PeerInfo>().unwrap();
        for n in 0..5_000 {
            answered.note(&peer(n), begun);
        }
        assert!(answered.0.len() == MOST && answered.has(&peer(0), begun + LATELY / 2));
        assert!(!answered.has(&"n0 10.0.0.2 9000".parse().unwrap(), begun), "elsewhere");
        assert!(!answered.has(&peer(0), begun + LATELY));
        answered.note(&peer(5_000), begun + LATELY);
        assert!(answered.0.len() == 1 && answered.has(&peer(5_000), begun + LATELY));
        answered.forget(&peer(5_000));
        assert!(!answered.has(&peer(5_000), begun + LATELY));
    }
}
