//! Providers that did not answer. They are left out for a while, even if nodes that keep their
//! announcements return them again.

use std::time::{Duration, Instant};

use crate::{limits::ExpiringMap, overlay::PeerInfo, time::Later};

/// How long a provider is left out. After that it is asked again.
const LEFT_OUT: Duration = Duration::from_secs(60);

/// Nodes report times in whole seconds, so two reports of the same announcement may differ by this
/// much.
const SAME_WORD: Duration = Duration::from_secs(2);

/// The number of providers that are remembered. Estimated, not measured: enough for some look-ups
/// of names whose providers are all dead. They take some 100 KiB.
const MOST: usize = 1_024;

/// The providers that recently did not answer a question, each with the time when the latest
/// announcement that was known expires.
#[derive(Debug)]
pub(super) struct Silent(ExpiringMap<PeerInfo, Instant>);

impl Default for Silent {
    fn default() -> Self {
        Self(ExpiringMap::new(MOST))
    }
}

impl Silent {
    /// Records that a provider, whose latest announcement is valid until `until`, did not answer.
    pub(super) fn note(&mut self, peer: &PeerInfo, until: Instant, now: Instant) {
        if self.0.has_room(peer, now) {
            self.0.insert(peer.clone(), until, now.later(LEFT_OUT), now);
        }
    }

    /// The provider answered or announced itself: it is no longer left out.
    pub(super) fn forget(&mut self, peer: &PeerInfo) {
        self.0.remove(peer);
    }

    /// Whether it is left out: it was silent recently, and no newer announcement is known.
    pub(super) fn has(&self, peer: &PeerInfo, until: Instant, now: Instant) -> bool {
        let known = self.0.get(peer, now);
        known.is_some_and(|known| until.saturating_duration_since(*known) <= SAME_WORD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_provider_is_left_out_until_it_announces_itself_or_a_minute_is_over() {
        let (mut silent, begun) = (Silent::default(), crate::time::now());
        let until = begun + LEFT_OUT * 2;
        let peer = |n: u32| format!("n{n} 10.0.0.1 9000").parse::<PeerInfo>().unwrap();
        for n in 0..5_000 {
            silent.note(&peer(n), until, begun);
        }
        assert!(silent.0.len() == MOST && silent.has(&peer(0), until, begun + LEFT_OUT / 2));
        assert!(!silent.has(&"n0 10.0.0.2 9000".parse().unwrap(), until, begun), "elsewhere");
        assert!(!silent.has(&peer(0), until, begun + LEFT_OUT));
        // A later announcement of it, received by another node.
        assert!(!silent.has(&peer(0), until + LEFT_OUT, begun));
        silent.forget(&peer(0));
        assert!(!silent.has(&peer(0), until, begun));
        // The first one takes the free place; for the second one the old ones are removed.
        silent.note(&peer(5_000), until, begun + LEFT_OUT);
        silent.note(&peer(5_001), until, begun + LEFT_OUT);
        assert_eq!(silent.0.len(), 2);
    }
}
