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
/// Short, so that the parts of a network become one soon after the last fault.
const LONGEST_BAR: Duration = Duration::from_secs(10);
/// In place of the number of breaks of a peer that was dropped.
const DROPPED: u32 = u32::MAX;

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
        if self.is_dropped(peer, now) {
            return;
        }
        let breaks = self.0.get(peer).map_or(0, |(breaks, _)| breaks.saturating_add(1));
        let bar = match breaks.checked_sub(1) {
            None => Duration::ZERO,
            Some(more) => doubled(FIRST_BAR, more, LONGEST_BAR),
        };
        self.0.insert(peer.clone(), (breaks, now.later(bar)), now);
    }

    /// Bars a peer that was dropped.
    pub(super) fn bar(&mut self, peer: &P, time: Duration, now: Instant) {
        self.0.insert(peer.clone(), (DROPPED, now.later(time)), now);
    }

    pub(super) fn is_barred(&self, peer: &P, now: Instant) -> bool {
        self.0.get(peer).is_some_and(|(_, until)| *until > now)
    }

    /// Whether a peer is barred because it was dropped.
    pub(super) fn is_dropped(&self, peer: &P, now: Instant) -> bool {
        let dropped = |(breaks, until): &(u32, Instant)| *breaks == DROPPED && *until > now;
        self.0.get(peer).is_some_and(dropped)
    }

    fn forget(&mut self, now: Instant) {
        if let Some(before) = now.checked_sub(FORGOTTEN_AFTER) {
            self.0.remove_up_to(before);
        }
    }
}
