//! When a ping sweep asks those again that were given up: a partition heals, a machine wakes up.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{AskFailure, GivenUp, PeerInfo, Verdict},
    time::Later,
};

/// The most that were given up and are asked again in one sweep, as long as none answers. Half of
/// the dials that a node has under way by default: the other half is for those who are there.
const IN_A_SWEEP: usize = 16;

/// For so long a peer that was given up stays away, however soon it is back: a peer that comes and
/// goes each second comes and goes in the table once in this time at most.
const AWAY: Duration = Duration::from_secs(10);

/// The rest after the first question. It doubles with each one that is not answered.
const FIRST_REST: Duration = Duration::from_secs(5);

/// The longest rest. With sweeps that begin at most 7 s apart, two questions are at most 14 s apart.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Whom to ask again, and when.
#[derive(Clone, Debug)]
pub(super) struct AskAgain {
    in_a_sweep: usize,
    longest_rest: Duration,
    /// At most one for each peer that is remembered as given up.
    plans: HashMap<PeerInfo, Plan>,
    /// Who else could be asked in this sweep, the one that is due first in front.
    waiting: VecDeque<PeerInfo>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    /// It has answered `PING` with `PONG` when it was known.
    answers_pong: bool,
    /// Another node has answered there.
    moved: bool,
    /// When it was asked again last, and for how long it is left alone since.
    asked: Option<(Instant, Duration)>,
}

impl Plan {
    fn due(&self, known: &GivenUp) -> Instant {
        self.asked.map_or_else(|| known.at().later(AWAY), |(at, rest)| at.later(rest))
    }
}

impl Default for AskAgain {
    fn default() -> Self {
        Self {
            in_a_sweep: IN_A_SWEEP,
            longest_rest: LONGEST_REST,
            plans: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl AskAgain {
    /// What can be set: how many are asked in a sweep, and the longest rest.
    pub(super) const fn options(&mut self) -> (&mut usize, &mut Duration) {
        (&mut self.in_a_sweep, &mut self.longest_rest)
    }

    pub(super) const fn in_a_sweep(&mut self, peers: usize) {
        self.in_a_sweep = peers;
    }

    pub(super) const fn longest_rest(&mut self, rest: Duration) {
        self.longest_rest = rest;
    }

    /// A peer is given up. Where another node has answered instead it is not asked again.
    pub(super) fn gave_up(&mut self, peer: PeerInfo, answers_pong: bool, moved: bool) {
        self.plans.insert(peer, Plan { answers_pong, moved, asked: None });
    }

    /// The questions with which a sweep begins.
    pub(super) fn tick<'a>(
        &mut self,
        given_up: impl Iterator<Item = &'a GivenUp>,
        now: Instant,
    ) -> Vec<(PeerInfo, Frame)> {
        let mut before = std::mem::take(&mut self.plans);
        let mut all = Vec::new();
        for known in given_up {
            let plan = before.remove(known.info()).unwrap_or_default();
            self.plans.insert(known.info().clone(), plan);
            let is_away = now.saturating_duration_since(known.at()) < AWAY;
            if !plan.moved && !is_away && self.in_a_sweep > 0 {
                all.push((plan.due(known), known.info().clone()));
            }
        }
        all.sort_by_key(|(due, _)| *due);
        let due = all.iter().take_while(|(due, _)| *due <= now).count().min(self.in_a_sweep);
        self.waiting = all.into_iter().map(|(_, peer)| peer).collect();
        (0..due).filter_map(|_| self.next(now)).collect()
    }

    /// The next question of this sweep.
    fn next(&mut self, now: Instant) -> Option<(PeerInfo, Frame)> {
        let peer = self.waiting.pop_front()?;
        let plan = self.plans.get_mut(&peer)?;
        let rest = plan.asked.map_or(FIRST_REST, |(_, rest)| rest.saturating_mul(2));
        plan.asked = Some((now, rest.min(self.longest_rest)));
        let code = if plan.answers_pong { TypeCode::PING } else { TypeCode::NAME };
        Some((peer, Frame::empty(code)))
    }

    /// What came of a question; none when the peer was not asked here.
    pub(super) fn heard(
        &mut self,
        peer: &PeerInfo,
        answer: &Result<Vec<Frame>, AskFailure>,
        now: Instant,
    ) -> Option<Heard> {
        let plan = self.plans.get_mut(peer).filter(|plan| plan.asked.is_some())?;
        let code = if plan.answers_pong { TypeCode::PONG } else { TypeCode::REPL };
        let verdict = Verdict::said(answer, code, peer.id());
        plan.moved |= verdict == Verdict::Another;
        if verdict != Verdict::Verified {
            return Some(Heard::Nothing);
        }
        let answers_pong = plan.answers_pong;
        self.plans.remove(peer);
        // The way is open again: the others need not wait for their time.
        Some(Heard::Back { answers_pong, next: self.next(now) })
    }
}

/// What came of asking a peer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It stays away.
    Nothing,
    /// It is back, and so may be the next one.
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

    /// A table of which so many peers were given up, just now.
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

    /// In which seconds a peer is asked that never answers, when a sweep begins so often.
    fn asked(again: &mut AskAgain, every: Duration) -> Vec<u64> {
        let (list, begun) = torn(1);
        let sweeps = (0..).map(|n| n * every).take_while(|time| *time < 700 * SECOND);
        sweeps
            .filter(|time| {
                let asks = again.tick(list.given_up(begun + *time), begun + *time);
                let dead = Err(AskFailure::Unreachable);
                for (peer, _) in &asks {
                    assert_eq!(again.heard(peer, &dead, begun + *time), Some(Heard::Nothing));
                }
                !asks.is_empty()
            })
            .map(|time| time.as_secs())
            .collect()
    }

    #[test]
    fn the_rests_grow_to_less_than_fifteen_seconds_and_end_after_ten_minutes() {
        for every in [1, 3, 5, 7] {
            let times = asked(&mut AskAgain::default(), SECOND * every);
            assert!((10..=17).contains(times.first().unwrap()), "{times:?}");
            assert!((580..600).contains(times.last().unwrap()), "{times:?}");
            let rests: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(rests.iter().all(|rest| (5..15).contains(rest)), "{rests:?}");
            assert!(rests.first() < rests.last() && times.len() <= 61);
        }
        let mut patient = AskAgain::default();
        patient.longest_rest(80 * SECOND);
        assert_eq!(asked(&mut patient, SECOND), [10, 15, 25, 45, 85, 165, 245, 325, 405, 485, 565]);
        let mut never = AskAgain::default();
        never.in_a_sweep(0);
        assert!(asked(&mut never, SECOND).is_empty());
    }

    #[test]
    fn a_hundred_dead_peers_cost_sixteen_questions_in_a_sweep_and_each_has_its_turn() {
        let (list, mut now) = torn(100);
        let mut again = AskAgain::default();
        let mut times = HashMap::new();
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
    fn when_one_is_back_the_others_are_asked_at_once() {
        let (list, now) = torn(64);
        let mut again = AskAgain::default();
        let now = now + 10 * SECOND;
        let mut asks = VecDeque::from(again.tick(list.given_up(now), now));
        assert_eq!(asks.len(), 16);
        let mut back = 0;
        while let Some((peer, frame)) = asks.pop_front() {
            assert_eq!(frame, Frame::empty(TypeCode::NAME));
            let answer = Ok(vec![Frame::text("REPL", peer.id().to_string())]);
            let Some(Heard::Back { next, .. }) = again.heard(&peer, &answer, now) else { panic!() };
            asks.extend(next);
            back += 1;
        }
        assert_eq!(back, 64);
    }

    #[test]
    fn one_of_ours_is_back_when_it_answers_ping_and_an_original_when_it_says_its_name() {
        let back = |answers_pong| Some(Heard::Back { answers_pong, next: None });
        for (pongs, answer, expected) in [
            (true, said("PONG", "p0"), back(true)),
            (true, said("REPL", "p0"), Some(Heard::Nothing)),
            (true, Ok(vec![]), Some(Heard::Nothing)),
            (false, said("REPL", "p0"), back(false)),
            (false, Ok(vec![]), Some(Heard::Nothing)),
            (false, Err(AskFailure::Late), Some(Heard::Nothing)),
        ] {
            let (list, now) = torn(1);
            let mut again = AskAgain::default();
            again.gave_up(peer(0), pongs, false);
            let now = now + 10 * SECOND;
            let asks = again.tick(list.given_up(now), now);
            let code = if pongs { TypeCode::PING } else { TypeCode::NAME };
            assert_eq!(asks, [(peer(0), Frame::empty(code))]);
            assert_eq!(again.heard(&peer(0), &answer, now), expected, "{pongs} {answer:?}");
            assert_eq!(again.heard(&peer(1), &answer, now), None);
        }
    }

    #[test]
    fn where_another_has_answered_nobody_is_asked_again() {
        let (list, begun) = torn(3);
        let mut again = AskAgain::default();
        again.gave_up(peer(0), true, true);
        again.gave_up(peer(1), true, false);
        let now = begun + 10 * SECOND;
        assert_eq!(again.tick(list.given_up(now), now).len(), 2);
        again.heard(&peer(1), &said("PONG", "eve"), now);
        again.heard(&peer(2), &said("REPL", "eve"), now);
        for seconds in 20..600 {
            let now = begun + SECOND * seconds;
            assert_eq!(again.tick(list.given_up(now), now), []);
        }
    }
}
