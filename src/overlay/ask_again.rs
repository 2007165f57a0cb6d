//! When a ping sweep asks peers again that were given up: a partition may heal, a machine may wake
//! up.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use indexmap::IndexMap;

use crate::{
    frame::{Frame, TypeCode},
    overlay::{AskFailure, GivenUp, PeerInfo, Verdict},
    time::Later,
};

/// The maximum number of given-up peers that are asked again in one sweep while none answers. It is
/// half of the concurrent dials of a node; the other half is left for live peers.
const IN_A_SWEEP: usize = 16;

/// The minimum time that a given-up peer stays out of the table, even if it returns sooner. A peer
/// that goes up and down every second therefore enters and leaves the table at most once in this
/// time.
const AWAY: Duration = Duration::from_secs(10);

/// The pause after the first question. It doubles with each one that is not answered.
const FIRST_REST: Duration = Duration::from_secs(5);

/// The longest pause. With sweeps that begin at most 7 s apart, two questions are at most 14 s
/// apart.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// The peers to ask again, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct AskAgain {
    /// At most one for each peer that is remembered as given up.
    plans: IndexMap<PeerInfo, Plan>,
    /// The peers that could still be asked in this sweep, ordered by the time when they are due.
    waiting: VecDeque<PeerInfo>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    /// Whether it answered `PING` with `PONG` while it was in the table.
    answers_pong: bool,
    /// Whether another node has answered at its address.
    moved: bool,
    /// When it was last asked again, and the pause after that.
    asked: Option<(Instant, Duration)>,
}

impl Plan {
    fn due(&self, known: &GivenUp) -> Instant {
        self.asked.map_or_else(|| known.at().later(AWAY), |(at, rest)| at.later(rest))
    }
}

impl AskAgain {
    /// Records that a peer is given up. If another node has answered at its address, it is not
    /// asked again.
    pub(super) fn gave_up(&mut self, peer: PeerInfo, answers_pong: bool, moved: bool) {
        self.plans.insert(peer, Plan { answers_pong, moved, asked: None });
    }

    /// The questions at the beginning of a sweep.
    pub(super) fn tick<'a>(
        &mut self,
        given_up: impl Iterator<Item = &'a GivenUp>,
        now: Instant,
    ) -> Vec<(PeerInfo, Frame)> {
        let mut before = std::mem::take(&mut self.plans);
        let mut all = Vec::new();
        for known in given_up {
            let plan = before.swap_remove(known.info()).unwrap_or_default();
            self.plans.insert(known.info().clone(), plan);
            let is_away = now.saturating_duration_since(known.at()) < AWAY;
            if !plan.moved && !is_away {
                all.push((plan.due(known), known.info().clone()));
            }
        }
        all.sort_by_key(|(due, _)| *due);
        let due = all.iter().take_while(|(due, _)| *due <= now).count().min(IN_A_SWEEP);
        self.waiting = all.into_iter().map(|(_, peer)| peer).collect();
        (0..due).filter_map(|_| self.next(now)).collect()
    }

    /// The next question of this sweep.
    fn next(&mut self, now: Instant) -> Option<(PeerInfo, Frame)> {
        let peer = self.waiting.pop_front()?;
        let plan = self.plans.get_mut(&peer)?;
        let rest = plan.asked.map_or(FIRST_REST, |(_, rest)| rest.saturating_mul(2));
        plan.asked = Some((now, rest.min(LONGEST_REST)));
        let code = if plan.answers_pong { TypeCode::PING } else { TypeCode::NAME };
        Some((peer, Frame::empty(code)))
    }

    /// Handles the answer to a question; `None` if the peer was not asked here.
    pub(super) fn answered(
        &mut self,
        peer: &PeerInfo,
        answer: &Result<Vec<Frame>, AskFailure>,
        now: Instant,
    ) -> Option<AskedAgain> {
        let plan = self.plans.get_mut(peer).filter(|plan| plan.asked.is_some())?;
        let code = if plan.answers_pong { TypeCode::PONG } else { TypeCode::REPL };
        let verdict = Verdict::said(answer, code, peer.id());
        plan.moved |= verdict == Verdict::Another;
        if verdict != Verdict::Verified {
            return Some(AskedAgain::Unreachable);
        }
        let answers_pong = plan.answers_pong;
        self.plans.swap_remove(peer);
        // The network works again, so the other peers are asked without waiting for their time.
        Some(AskedAgain::Back { answers_pong, next: self.next(now) })
    }
}

/// The result of asking a peer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedAgain {
    /// It is still unreachable.
    Unreachable,
    /// It is back; `next` is the next question, because other peers may be back as well.
    Back { answers_pong: bool, next: Option<(PeerInfo, Frame)> },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Learned, PeerList};

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(n: usize) -> PeerInfo {
        format!("p{n} 10.0.0.1 9000").parse().unwrap()
    }

    /// A table of which this number of peers has just been given up.
    fn torn(peers: usize) -> (PeerList, Instant) {
        let now = tokio::time::Instant::now().into_std();
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        for n in 0..peers {
            list.add(peer(n), Learned::Manual, now);
            list.give_up(peer(n).id(), now);
        }
        (list, now)
    }

    fn said(code: &'static str, text: &'static str) -> Result<Vec<Frame>, AskFailure> {
        Ok(vec![Frame::text(code, text)])
    }

    /// The seconds in which a peer that never answers is asked, with this pause between sweeps.
    fn asked(again: &mut AskAgain, every: Duration) -> Vec<u64> {
        let (list, begun) = torn(1);
        let sweeps = (0..).map(|n| n * every).take_while(|time| *time < 700 * SECOND);
        sweeps
            .filter(|time| {
                let asks = again.tick(list.given_up(begun + *time), begun + *time);
                let dead = Err(AskFailure::Unreachable);
                for (peer, _) in &asks {
                    assert_eq!(
                        again.answered(peer, &dead, begun + *time),
                        Some(AskedAgain::Unreachable)
                    );
                }
                !asks.is_empty()
            })
            .map(|time| time.as_secs())
            .collect()
    }

    #[test]
    fn the_pauses_grow_to_less_than_fifteen_seconds_and_end_after_ten_minutes() {
        for every in [1, 3, 5, 7] {
            let times = asked(&mut AskAgain::default(), SECOND * every);
            assert!((10..=17).contains(times.first().unwrap()), "{times:?}");
            assert!((580..600).contains(times.last().unwrap()), "{times:?}");
            let rests: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(rests.iter().all(|rest| (5..15).contains(rest)), "{rests:?}");
            assert!(rests.first() < rests.last() && times.len() <= 61);
        }
        let expected: Vec<_> = std::iter::once(10).chain((15..600).step_by(10)).collect();
        assert_eq!(asked(&mut AskAgain::default(), SECOND), expected);
    }

    #[test]
    fn a_hundred_dead_peers_cost_sixteen_questions_in_a_sweep_and_take_turns() {
        let (list, mut now) = torn(100);
        let mut again = AskAgain::default();
        let mut times = IndexMap::new();
        for _ in 0..40 {
            now += 5 * SECOND;
            let asks = again.tick(list.given_up(now), now);
            assert!(asks.len() <= 16 && again.plans.len() <= 64);
            for (peer, _) in asks {
                *times.entry(peer).or_insert(0) += 1;
            }
        }
        assert_eq!(times.len(), 64);
        assert!(times.values().all(|times| (9..=10).contains(times)), "{times:?}");
    }

    #[test]
    fn the_return_of_one_peer_leads_to_questions_to_the_others_at_once() {
        let (list, now) = torn(64);
        let mut again = AskAgain::default();
        let now = now + 10 * SECOND;
        let mut asks = VecDeque::from(again.tick(list.given_up(now), now));
        assert_eq!(asks.len(), 16);
        let mut back = 0;
        while let Some((peer, frame)) = asks.pop_front() {
            assert_eq!(frame, Frame::empty(TypeCode::NAME));
            let answer = Ok(vec![Frame::text("REPL", peer.id().to_string())]);
            let Some(AskedAgain::Back { next, .. }) = again.answered(&peer, &answer, now) else {
                panic!()
            };
            asks.extend(next);
            back += 1;
        }
        assert_eq!(back, 64);
    }

    #[test]
    fn a_peer_of_this_crate_is_back_when_it_answers_ping_and_an_original_when_it_answers_name() {
        let back = |answers_pong| Some(AskedAgain::Back { answers_pong, next: None });
        for (pongs, answer, expected) in [
            (true, said("PONG", "p0"), back(true)),
            (true, said("REPL", "p0"), Some(AskedAgain::Unreachable)),
            (true, Ok(vec![]), Some(AskedAgain::Unreachable)),
            (false, said("REPL", "p0"), back(false)),
            (false, Ok(vec![]), Some(AskedAgain::Unreachable)),
            (false, Err(AskFailure::Late), Some(AskedAgain::Unreachable)),
        ] {
            let (list, now) = torn(1);
            let mut again = AskAgain::default();
            again.gave_up(peer(0), pongs, false);
            let now = now + 10 * SECOND;
            let asks = again.tick(list.given_up(now), now);
            let code = if pongs { TypeCode::PING } else { TypeCode::NAME };
            assert_eq!(asks, [(peer(0), Frame::empty(code))]);
            assert_eq!(again.answered(&peer(0), &answer, now), expected, "{pongs} {answer:?}");
            assert_eq!(again.answered(&peer(1), &answer, now), None);
        }
    }

    #[test]
    fn a_peer_whose_address_another_node_has_is_not_asked_again() {
        let (list, begun) = torn(3);
        let mut again = AskAgain::default();
        again.gave_up(peer(0), true, true);
        again.gave_up(peer(1), true, false);
        let now = begun + 10 * SECOND;
        assert_eq!(again.tick(list.given_up(now), now).len(), 2);
        again.answered(&peer(1), &said("PONG", "eve"), now);
        again.answered(&peer(2), &said("REPL", "eve"), now);
        for seconds in 20..600 {
            let now = begun + SECOND * seconds;
            assert_eq!(again.tick(list.given_up(now), now), []);
        }
    }
}
