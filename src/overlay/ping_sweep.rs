//! The ping sweep: asks every known peer whether it is alive and forgets the ones that are not
//! ([protocol](crate::protocol#ping)).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        AskFailure, PeerInfo, Stabilizer, StabilizerAction, StabilizerEvent, Verdict, View,
        ask_again::{AskAgain, Heard},
        is_busy, is_gap,
        options::{ANY, COUNT, COUNT_OR_NONE, ConfigError, Options, Setting, TIME, settings},
    },
    time::Later,
};

/// What came of a question.
type Answer = Result<Vec<Frame>, AskFailure>;

/// In how many sweeps one asks an original program for its name.
const NAME_EVERY: u32 = 4;

/// Asks every known peer whether it is alive, and forgets it after some misses in a row.
///
/// Nodes of this crate answer `PING` with `PONG` and their id, and that answer is required of a
/// peer that has given it before. The original programs answer `PING` with nothing: such a peer is
/// alive as long as it can be connected to, and every fourth sweep asks it for its `NAME`, which
/// has to be the known id: without that as often as the misses, it is forgotten, too. A peer that is
/// not verified yet is not asked: that is done elsewhere. The questions of one sweep run side by side, so that
/// 1,000 dead peers cost half a minute and not an hour. When this node itself has stood still for more
/// than ten seconds (the machine slept, say), all misses are forgotten.
///
/// A peer that is alive may not list this node: it has begun anew, say, or has given it up. So the node
/// introduces itself again with `JOIN` to the peers that the sweep has seen, every 15 to 21 s, unless
/// they have said meanwhile that they list it; where there is an open link, the sweep asks over it, and
/// the answer says so.
///
/// A peer that was given up may only have been out of reach, so for ten minutes it is asked again
/// ([`PeerList::given_up`](crate::overlay::PeerList::given_up)): after 10 s for the first time, 5 s
/// later, then every 10 s, as exactly as the sweeps come. When it answers with its own id (an original:
/// says it when asked for its `NAME`), it is let into the table again like others, as verified, and the
/// others are asked at once. So the two sides of a partition know each other again within 20 s of its
/// end, with the defaults, for up to 64 peers that were given up, 32 when dead ones are among them, and
/// as long as a sweep with its questions takes no more than 2 s. A peer that said `QUIT`, was removed by
/// the program, is banned or not admitted, or at whose address another node has answered, is not asked.
/// A peer that comes and goes all the time is taken out and put back by the sweep once in 10 s at most.
#[derive(Clone, Debug)]
pub struct PingSweep {
    every: Duration,
    within: Duration,
    at_once: usize,
    misses: u32,
    sweeps: u32,
    /// When the sweep did something last.
    last: Option<Instant>,
    known: HashMap<PeerInfo, Known>,
    again: AskAgain,
}

/// What the sweep remembers of a peer. At most one for each peer in the table.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    misses: u32,
    /// Questions for its name in a row that were not answered with it.
    nameless: u32,
    answers_pong: bool,
    asked_name: bool,
}

impl Default for PingSweep {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            within: Duration::from_secs(2),
            at_once: 64,
            misses: 3,
            sweeps: 0,
            last: None,
            known: HashMap::new(),
            again: AskAgain::default(),
        }
    }
}

impl PingSweep {
    /// A sweep every 5 s with 2 s for each peer, 64 at once; three misses in a row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pause between two sweeps. Default 5 s; 1 ms to 365 days.
    #[must_use]
    pub const fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// The time that one peer has to answer, connecting included. Default 2 s; 1 ms to
    /// 365 days.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The most peers that are asked at once. Default 64; 1 to 1,048,576.
    #[must_use]
    pub const fn at_once(mut self, peers: usize) -> Self {
        self.at_once = peers;
        self
    }

    /// After how many misses in a row a peer is forgotten. Default 3; with 1 a sweep is as strict
    /// as the original programs. At least 1.
    #[must_use]
    pub const fn misses(mut self, misses: u32) -> Self {
        self.misses = misses;
        self
    }

    /// The most peers that were given up and are asked again in one sweep, as long as none of them
    /// answers. Default 16; 0: who was given up is not asked. Each that is still away may hold one of
    /// the node's dials (`Config::max_dials`) for as long as [`within`](Self::within). At most 64 are
    /// remembered, and this may be at most 1,048,576.
    #[must_use]
    pub const fn ask_again(mut self, peers: usize) -> Self {
        self.again.in_a_sweep(peers);
        self
    }

    /// The longest rest between two questions to a peer that was given up; it begins with 5 s, unless
    /// this is less, and doubles. Default 10 s. A question is asked by the next sweep after it. 1 ms to 365 days.
    #[must_use]
    pub const fn longest_rest(mut self, rest: Duration) -> Self {
        self.again.longest_rest(rest);
        self
    }

    fn tick(&mut self, view: &View<'_>) -> Vec<StabilizerAction> {
        if self.last.is_some_and(|last| is_gap(last.later(self.every), view.now)) {
            self.begin_anew();
        }
        let by_name = self.sweeps % NAME_EVERY == NAME_EVERY - 1;
        self.sweeps = self.sweeps.wrapping_add(1);
        let mut before = std::mem::take(&mut self.known);
        let ask = |entry: &crate::overlay::PeerEntry| {
            let peer = entry.info().clone();
            let mut known = before.remove(&peer).unwrap_or_default();
            known.asked_name = by_name && !known.answers_pong;
            let code = if known.asked_name { TypeCode::NAME } else { TypeCode::PING };
            self.known.insert(peer.clone(), known);
            StabilizerAction::Ask { peer, frame: Frame::empty(code), within: self.within }
        };
        let verified = view.peers.iter().filter(|entry| entry.verified().is_some());
        let mut asks: Vec<_> = verified.map(ask).collect();
        // Behind those who are in the table: they must not wait for the dead.
        let again = self.again.tick(view.peers.given_up(view.now), view.now);
        asks.extend(again.into_iter().map(|(peer, frame)| self.ask(peer, frame)));
        asks
    }

    const fn ask(&self, peer: PeerInfo, frame: Frame) -> StabilizerAction {
        StabilizerAction::Ask { peer, frame, within: self.within }
    }

    /// What a peer makes of being asked again, when it was.
    fn heard_again(
        &mut self,
        peer: &PeerInfo,
        answer: &Answer,
        now: Instant,
    ) -> Option<Vec<StabilizerAction>> {
        let Heard::Back { answers_pong, next } = self.again.heard(peer, answer, now)? else {
            return Some(Vec::new());
        };
        self.known.insert(peer.clone(), Known { answers_pong, ..Known::default() });
        let next = next.map(|(peer, frame)| self.ask(peer, frame));
        Some(std::iter::once(StabilizerAction::Rejoin(peer.clone())).chain(next).collect())
    }

    /// This node stood still: what it missed of others was its own doing.
    fn begin_anew(&mut self) {
        for known in self.known.values_mut() {
            (known.misses, known.nameless) = (0, 0);
        }
    }

    /// It could be connected to, and has said its id where it was asked for it.
    fn alive(&mut self, peer: &PeerInfo) -> Vec<StabilizerAction> {
        if let Some(known) = self.known.get_mut(peer) {
            known.misses = 0;
            if known.asked_name || known.answers_pong {
                known.nameless = 0;
            }
        }
        vec![StabilizerAction::Seen(peer.id().clone())]
    }

    fn missed(&mut self, peer: &PeerInfo, verdict: Verdict) -> Vec<StabilizerAction> {
        let Some(known) = self.known.get_mut(peer) else {
            return Vec::new();
        };
        known.misses += 1;
        known.nameless += u32::from(known.asked_name);
        if known.misses.max(known.nameless) < self.misses {
            return Vec::new();
        }
        self.again.gave_up(peer.clone(), known.answers_pong, verdict == Verdict::Another);
        self.known.remove(peer);
        vec![StabilizerAction::Forget(peer.id().clone())]
    }

    fn answered(&mut self, peer: &PeerInfo, answer: &Answer) -> Vec<StabilizerAction> {
        let verdict = |code| Verdict::said(answer, code, peer.id());
        let first = answer.as_ref().ok().and_then(|replies| replies.first());
        let Some(known) = self.known.get_mut(peer) else {
            return Vec::new();
        };
        // Neither a miss nor a sign of the known id.
        if is_busy(answer) {
            return Vec::new();
        }
        let pong = verdict(TypeCode::PONG) == Verdict::Verified;
        known.answers_pong |= pong;
        let alive = match *known {
            Known { asked_name: true, .. } => verdict(TypeCode::REPL) == Verdict::Verified,
            Known { answers_pong: true, .. } => pong,
            // A PONG with another id is another node on the same address.
            _ => first.is_none_or(|reply| reply.code() != TypeCode::PONG),
        };
        let said = if known.asked_name { TypeCode::REPL } else { TypeCode::PONG };
        if alive { self.alive(peer) } else { self.missed(peer, verdict(said)) }
    }

    fn failed(&mut self, peer: &PeerInfo, failure: AskFailure) -> Vec<StabilizerAction> {
        let lenient =
            self.known.get(peer).is_some_and(|known| !known.answers_pong && !known.asked_name);
        // An original that breaks off, or does not come to an end, could be connected to.
        if lenient && failure != AskFailure::Unreachable {
            self.alive(peer)
        } else {
            self.missed(peer, Verdict::Silent)
        }
    }
}

impl Options for PingSweep {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { every, within, at_once, misses, again, sweeps: _, last: _, known: _ } = self;
        let (ask_again, longest_rest) = again.options();
        settings! {
            "PingSweep::every", "", every, TIME;
            "PingSweep::within", "", within, TIME;
            "PingSweep::at_once", "peers", at_once, COUNT;
            "PingSweep::misses", "misses", misses, ANY;
            "PingSweep::ask_again", "peers", ask_again, COUNT_OR_NONE;
            "PingSweep::longest_rest", "", longest_rest, TIME;
        }
    }
}

impl Stabilizer for PingSweep {
    fn validate(&self) -> Result<(), ConfigError> {
        self.validate_all()
    }

    fn name(&self) -> &str {
        "ping-sweep"
    }

    fn every(&self) -> Duration {
        self.every
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    fn step(&mut self, event: StabilizerEvent, view: &View<'_>) -> Vec<StabilizerAction> {
        let actions = match event {
            StabilizerEvent::Tick => self.tick(view),
            StabilizerEvent::Answered { peer, replies } => {
                let answer = Ok(replies);
                self.heard_again(&peer, &answer, view.now)
                    .unwrap_or_else(|| self.answered(&peer, &answer))
            }
            StabilizerEvent::Failed { failure: AskFailure::StoodStill, .. } => {
                self.begin_anew();
                Vec::new()
            }
            StabilizerEvent::Failed { peer, failure } => self
                .heard_again(&peer, &Err(failure), view.now)
                .unwrap_or_else(|| self.failed(&peer, failure)),
        };
        self.last = Some(view.now);
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Learned, PeerList};

    const PEER: &str = "p 10.0.0.1 9000";

    /// One sweep over one peer that behaves as `answer` says: what was asked, and what the sweep
    /// wants done.
    fn sweep(
        sweep: &mut PingSweep,
        answer: &Result<Vec<Frame>, AskFailure>,
    ) -> (TypeCode, Vec<StabilizerAction>) {
        let now = tokio::time::Instant::now().into_std();
        let me: PeerInfo = "me 10.0.0.9 9000".parse().unwrap();
        let mut peers = PeerList::new(me.id().clone(), 0);
        peers.add(PEER.parse().unwrap(), Learned::Manual, now);
        let view = View { me: &me, peers: &peers, now };
        let asks = sweep.step(StabilizerEvent::Tick, &view);
        let [StabilizerAction::Ask { peer, frame, within }] = asks.as_slice() else {
            panic!("{asks:?}")
        };
        assert_eq!(*within, Duration::from_secs(2));
        let event = match answer.clone() {
            Ok(replies) => StabilizerEvent::Answered { peer: peer.clone(), replies },
            Err(failure) => StabilizerEvent::Failed { peer: peer.clone(), failure },
        };
        (frame.code(), sweep.step(event, &view))
    }

    fn seen() -> Vec<StabilizerAction> {
        vec![StabilizerAction::Seen("p".parse().unwrap())]
    }

    fn forget() -> Vec<StabilizerAction> {
        vec![StabilizerAction::Forget("p".parse().unwrap())]
    }

    fn pong(id: &str) -> Result<Vec<Frame>, AskFailure> {
        Ok(vec![Frame::text("PONG", id)])
    }

    #[test]
    fn a_peer_that_answers_is_seen() {
        let mut ping = PingSweep::new();
        for _ in 0..9 {
            assert_eq!(sweep(&mut ping, &pong("p")), (TypeCode::PING, seen()));
        }
    }

    #[test]
    fn a_peer_that_says_that_it_is_busy_is_not_given_up_for_it() {
        let mut ping = PingSweep::new();
        assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
        for _ in 0..9 {
            assert_eq!(sweep(&mut ping, &Ok(vec![Frame::text("ERRO", "Busy")])).1, []);
        }
        assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
    }

    #[test]
    fn a_dead_peer_is_forgotten_after_three_misses_in_a_row() {
        for failure in [AskFailure::Unreachable, AskFailure::Late] {
            let mut ping = PingSweep::new();
            assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
            assert_eq!(sweep(&mut ping, &Err(failure)).1, []);
            assert_eq!(sweep(&mut ping, &Err(failure)).1, []);
            assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
            assert_eq!(sweep(&mut ping, &Err(failure)).1, []);
            assert_eq!(sweep(&mut ping, &Err(failure)).1, []);
            assert_eq!(sweep(&mut ping, &Err(failure)).1, forget());
        }
    }

    #[test]
    fn misses_of_a_time_when_this_node_stood_still_do_not_count() {
        let dead = Err(AskFailure::Unreachable);
        let mut ping = PingSweep::new().misses(2);
        for _ in 0..3 {
            assert_eq!(sweep(&mut ping, &dead).1, []);
            assert_eq!(sweep(&mut ping, &Err(AskFailure::StoodStill)).1, []);
            assert_eq!(sweep(&mut ping, &dead).1, []);
            // As if the last run had been long ago.
            ping.last = ping.last.map(|last| last - Duration::from_secs(16));
        }
        assert_eq!(sweep(&mut ping, &dead).1, []);
        assert_eq!(sweep(&mut ping, &dead).1, forget());
    }

    #[test]
    fn with_one_miss_a_sweep_is_as_strict_as_the_originals() {
        assert_eq!(
            sweep(&mut PingSweep::new().misses(1), &Err(AskFailure::Unreachable)).1,
            forget()
        );
    }

    #[test]
    fn a_peer_that_has_answered_with_pong_has_to_go_on_doing_so() {
        for answer in
            [Ok(vec![]), pong("q"), Err(AskFailure::Broken), Ok(vec![Frame::text("REPL", "p")])]
        {
            let mut ping = PingSweep::new().misses(1);
            assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
            assert_eq!(sweep(&mut ping, &answer).1, forget(), "{answer:?}");
        }
    }

    #[test]
    fn an_original_is_alive_while_it_can_be_connected_to_and_names_itself_in_every_fourth_sweep() {
        let mut ping = PingSweep::new().misses(1);
        for answer in [Ok(vec![]), Err(AskFailure::Broken), Err(AskFailure::Late)] {
            assert_eq!(sweep(&mut ping, &answer), (TypeCode::PING, seen()));
        }
        assert_eq!(sweep(&mut ping, &Ok(vec![Frame::text("REPL", "p")])), (TypeCode::NAME, seen()));
        assert_eq!(sweep(&mut ping, &Err(AskFailure::Unreachable)).1, forget());
    }

    #[test]
    fn an_original_with_another_name_or_none_is_a_miss() {
        for answer in [Ok(vec![Frame::text("REPL", "q")]), Ok(vec![]), Err(AskFailure::Broken)] {
            let mut ping = PingSweep::new().misses(1);
            for _ in 0..3 {
                sweep(&mut ping, &Ok(vec![]));
            }
            assert_eq!(sweep(&mut ping, &answer), (TypeCode::NAME, forget()));
        }
    }

    #[test]
    fn an_original_that_only_can_be_connected_to_is_forgotten_after_three_names_that_it_did_not_say()
     {
        let (mut ping, mut sweeps) = (PingSweep::new(), 1);
        while sweep(&mut ping, &Err(AskFailure::Late)).1 != forget() {
            sweeps += 1;
            assert!(sweeps < 100, "it is never forgotten");
        }
        assert_eq!(sweeps, 12);
    }

    #[test]
    fn who_is_not_verified_is_not_asked() {
        let now = tokio::time::Instant::now().into_std();
        let me: PeerInfo = "me 10.0.0.9 9000".parse().unwrap();
        let mut peers = PeerList::new(me.id().clone(), 0);
        peers.add(PEER.parse().unwrap(), Learned::Joined, now);
        let mut ping = PingSweep::new();
        assert_eq!(ping.step(StabilizerEvent::Tick, &View { me: &me, peers: &peers, now }), []);
        peers.verify(&"p".parse().unwrap(), now);
        let asks = ping.step(StabilizerEvent::Tick, &View { me: &me, peers: &peers, now });
        assert_eq!(asks.len(), 1);
    }

    #[test]
    fn another_node_on_the_same_address_is_a_miss() {
        assert_eq!(sweep(&mut PingSweep::new().misses(1), &pong("q")).1, forget());
    }

    #[test]
    fn the_memory_of_the_sweep_is_bounded_by_the_table() {
        let now = tokio::time::Instant::now().into_std();
        let me: PeerInfo = "me 10.0.0.9 9000".parse().unwrap();
        let mut ping = PingSweep::new();
        for round in 0..5 {
            let mut peers = PeerList::new(me.id().clone(), 0);
            for n in 0..100 {
                peers.add(
                    format!("r{round}n{n} 10.0.0.1 9000").parse().unwrap(),
                    Learned::Manual,
                    now,
                );
            }
            ping.step(StabilizerEvent::Tick, &View { me: &me, peers: &peers, now });
            assert_eq!(ping.known.len(), 100);
        }
    }

    #[test]
    fn who_was_given_up_and_answers_as_before_is_put_back_and_pongs_are_required_of_it_as_before() {
        let begun = tokio::time::Instant::now().into_std();
        let me: PeerInfo = "me 10.0.0.9 9000".parse().unwrap();
        let peer: PeerInfo = PEER.parse().unwrap();
        let mut ping = PingSweep::new().misses(1);
        assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
        assert_eq!(sweep(&mut ping, &Err(AskFailure::Unreachable)).1, forget());
        let mut peers = PeerList::new(me.id().clone(), 0);
        peers.add(peer.clone(), Learned::Manual, begun);
        peers.give_up(peer.id(), begun);
        let mut asked = |seconds, answer: Answer| {
            let view = View { me: &me, peers: &peers, now: begun + Duration::from_secs(seconds) };
            let asks = ping.step(StabilizerEvent::Tick, &view);
            let [StabilizerAction::Ask { peer, frame, .. }] = asks.as_slice() else { return None };
            assert_eq!(frame.code(), TypeCode::PING);
            let event = match answer {
                Ok(replies) => StabilizerEvent::Answered { peer: peer.clone(), replies },
                Err(failure) => StabilizerEvent::Failed { peer: peer.clone(), failure },
            };
            Some(ping.step(event, &view))
        };
        assert_eq!(asked(5, pong("p")), None);
        assert_eq!(asked(10, Err(AskFailure::Late)), Some(vec![]));
        assert_eq!(asked(15, Ok(vec![])), Some(vec![]));
        assert_eq!(asked(20, pong("p")), None);
        assert_eq!(asked(25, pong("p")), Some(vec![StabilizerAction::Rejoin(peer)]));
        assert_eq!(sweep(&mut ping, &Ok(vec![])).1, forget());
    }

    #[test]
    fn who_was_given_up_because_another_answered_there_is_not_asked_again() {
        let begun = tokio::time::Instant::now().into_std();
        let me: PeerInfo = "me 10.0.0.9 9000".parse().unwrap();
        for (answer, questions) in [(pong("q"), 0), (Ok(vec![]), 1)] {
            let mut ping = PingSweep::new().misses(1);
            sweep(&mut ping, &pong("p"));
            assert_eq!(sweep(&mut ping, &answer).1, forget());
            let mut peers = PeerList::new(me.id().clone(), 0);
            peers.add(PEER.parse().unwrap(), Learned::Manual, begun);
            peers.give_up(&"p".parse().unwrap(), begun);
            let view = View { me: &me, peers: &peers, now: begun + Duration::from_secs(10) };
            assert_eq!(ping.step(StabilizerEvent::Tick, &view).len(), questions);
        }
    }
}
