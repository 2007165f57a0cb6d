//! Ids that are reported at another address than the one in the table.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::overlay::{Address, PeerId};

/// The maximum number of ids that are remembered, and so of checks at the same time.
const MOST: usize = 64;

/// How long an id is remembered as claimed at two addresses, or as moved.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// The minimum pause between two checks of the same id. A check costs one question to the listed
/// address.
const REST: Duration = Duration::from_secs(5);

/// The minimum pause between two reports of the same two addresses to the application.
const REPORT_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Move {
    under_way: bool,
    /// When another address was last claimed.
    claimed: Instant,
    /// When the application last got a report, and of which address.
    reported: Option<(Address, Instant)>,
    /// When the id moved; `None` if it has not. A proven id moves without a question the first
    /// time.
    moved: Option<Instant>,
}

/// Ids that were claimed at another address than the listed one in the last ten minutes, at most
/// 64 of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves(IndexMap<PeerId, Move>);

impl Moves {
    fn note(&mut self, id: &PeerId, now: Instant) -> Option<&mut Move> {
        let is_over = |known: &Move| {
            !known.under_way && now.saturating_duration_since(known.claimed) >= REMEMBERED_FOR
        };
        self.0.retain(|_, known| !is_over(known));
        if self.0.len() >= MOST && !self.0.contains_key(id) {
            // Evicts the id whose last claim is the oldest.
            let idle = self.0.iter().filter(|(_, known)| !known.under_way);
            let oldest = idle.min_by_key(|(_, known)| known.claimed).map(|(id, _)| id.clone())?;
            self.0.swap_remove(&oldest);
        }
        let new = Move { under_way: false, claimed: now, reported: None, moved: None };
        Some(self.0.entry(id.clone()).or_insert(new))
    }

    /// Whether to check now where this id is. If so, the check is under way until
    /// [`ended`](Self::ended).
    pub(crate) fn begin(&mut self, id: &PeerId, now: Instant) -> bool {
        let is_known = self.0.contains_key(id);
        let Some(known) = self.note(id, now) else { return false };
        let rests = is_known && now.saturating_duration_since(known.claimed) < REST;
        if known.under_way || rests {
            return false;
        }
        (known.under_way, known.claimed) = (true, now);
        true
    }

    pub(crate) fn ended(&mut self, id: &PeerId) {
        if let Some(known) = self.0.get_mut(id) {
            known.under_way = false;
        }
    }

    /// Whether another address was claimed for this id recently.
    pub(crate) fn is_contested(&self, id: &PeerId, now: Instant) -> bool {
        let lately = |at| now.saturating_duration_since(at) < REMEMBERED_FOR;
        self.0.get(id).is_some_and(|known| lately(known.claimed))
    }

    /// Records that the id has another address in the table from now on. Returns false, and records
    /// nothing, if it has moved before in the last ten minutes.
    pub(crate) fn record_move(&mut self, id: &PeerId, now: Instant) -> bool {
        let Some(known) = self.note(id, now) else { return false };
        if known.moved.is_some_and(|at| now.saturating_duration_since(at) < REMEMBERED_FOR) {
            return false;
        }
        (known.moved, known.claimed) = (Some(now), now);
        true
    }

    /// Two nodes have this id, one of them at `other`. Returns whether to tell the application.
    pub(crate) fn should_report(&mut self, id: &PeerId, other: &Address, now: Instant) -> bool {
        let Some(known) = self.note(id, now) else { return false };
        let reported = |(at, when): &(Address, Instant)| {
            at == other && now.saturating_duration_since(*when) < REPORT_EVERY
        };
        if known.reported.as_ref().is_some_and(reported) {
            return false;
        }
        known.reported = Some((other.clone(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(n: usize) -> PeerId {
        format!("p{n}").parse().unwrap()
    }

    #[test]
    fn an_id_is_checked_once_at_a_time_and_every_five_seconds_at_most() {
        let now = tokio::time::Instant::now().into_std();
        let mut moves = Moves::default();
        assert!(moves.begin(&id(1), now) && !moves.begin(&id(1), now + 9 * SECOND));
        moves.ended(&id(1));
        assert!(moves.begin(&id(1), now + 10 * SECOND));
        moves.ended(&id(1));
        assert!(!moves.begin(&id(1), now + 14 * SECOND));
        assert!(moves.is_contested(&id(1), now + 600 * SECOND));
        assert!(!moves.is_contested(&id(1), now + 611 * SECOND));
    }

    #[test]
    fn sixty_four_ids_are_checked_at_once_and_idle_ones_make_room() {
        let now = tokio::time::Instant::now().into_std();
        let mut moves = Moves::default();
        assert_eq!((0..100).filter(|n| moves.begin(&id(*n), now)).count(), MOST);
        moves.ended(&id(7));
        assert!(moves.begin(&id(200), now));
        assert!(!moves.is_contested(&id(7), now));
    }

    #[test]
    fn an_id_moves_without_a_check_every_ten_minutes_at_most_and_is_reported_every_minute_at_most()
    {
        let now = tokio::time::Instant::now().into_std();
        let mut moves = Moves::default();
        assert!(moves.record_move(&id(1), now) && !moves.record_move(&id(1), now + 599 * SECOND));
        let at: Address = "10.0.0.1:1".parse().unwrap();
        assert!(
            moves.should_report(&id(1), &at, now)
                && !moves.should_report(&id(1), &at, now + 59 * SECOND)
        );
        assert!(moves.should_report(&id(1), &at, now + 60 * SECOND));
        assert!(moves.record_move(&id(1), now + 600 * SECOND));
    }
}
