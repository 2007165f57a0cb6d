//! Peers whose links break often: each break bars the peer for longer.

use std::time::{Duration, Instant};

use crate::{
    bounded::BoundedMap,
    overlay::views::PeerKey,
    time::{Later, doubled},
};

/// The number of peers whose breaks are remembered.
const REMEMBERED: usize = 256;
/// How long a break is remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);
const FIRST_BAR: Duration = Duration::from_secs(1);
const LONGEST_BAR: Duration = Duration::from_secs(60);

/// Peers that are not to become neighbours for some time.
#[derive(Debug)]
pub(super) struct Flaps<P>(BoundedMap<P, (u32, Instant), Instant>);

impl<P: PeerKey> Flaps<P> {
    pub(super) fn new() -> Self {
        Self(BoundedMap::new(REMEMBERED))
    }

    /// Notes a break. The first one in five minutes does not bar the peer.
    pub(super) fn broke(&mut self, peer: &P, now: Instant) {
        self.forget(now);
        let breaks = self.0.get(peer).map_or(0, |(breaks, _)| breaks.saturating_add(1));
        let bar = match breaks.checked_sub(1) {
            None => Duration::ZERO,
            Some(more) => doubled(FIRST_BAR, more, LONGEST_BAR),
        };
        self.0.insert(peer.clone(), (breaks, now.later(bar)), now);
    }

    /// Bars a peer for the longest time.
    pub(super) fn bar(&mut self, peer: &P, now: Instant) {
        self.0.insert(peer.clone(), (8, now.later(LONGEST_BAR)), now);
    }

    pub(super) fn is_barred(&self, peer: &P, now: Instant) -> bool {
        self.0.get(peer).is_some_and(|(_, until)| *until > now)
    }

    fn forget(&mut self, now: Instant) {
        if let Some(before) = now.checked_sub(FORGOTTEN_AFTER) {
            self.0.remove_up_to(before);
        }
    }
}
