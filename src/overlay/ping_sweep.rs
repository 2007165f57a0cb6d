//! The ping sweep: asks every known peer whether it is alive, and removes the peers that are not
//! ([protocol](crate::protocol#ping)).

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        AskFailure, PeerInfo, Stabilizer, StabilizerAction, StabilizerEvent, Verdict, View,
        ask_again::{AskAgain, AskedAgain},
        is_busy, is_gap,
        options::{ANY, COUNT, ConfigError, Options, Setting, TIME, settings},
    },
    time::Later,
};

/// The result of a question.
type Answer = Result<Vec<Frame>, AskFailure>;

/// An original program is asked for its name in one of this number of sweeps.
const NAME_EVERY: u32 = 4;

/// Asks every known peer whether it is alive, and removes it after some misses in a row.
///
/// Nodes of this crate answer `PING` with `PONG` and their id; a peer that has given this answer
/// once has to keep giving it. The original programs answer `PING` with nothing. Such a peer is
/// alive as long as it can be connected to. Every fourth sweep asks it for its `NAME`, which has to
/// be the known id; without that answer, for as many times as the misses, it is removed as well. A
/// peer that is not verified yet is not asked, because the verification asks it. The questions of
/// one sweep are concurrent, so that 1,000 dead peers cost half a minute and not an hour. When this
/// node itself was blocked for more than ten seconds (for example, the machine slept), all misses
/// are forgotten.
///
/// A live peer may not list this node: it was restarted, for example, or has given this node up.
/// The node therefore introduces itself again with `JOIN` to the peers that the sweep has seen,
/// every 15 to 21 s, unless they have said meanwhile that they list it. If a link is open, the
/// sweep asks over it, and the answer says whether the peer lists this node.
///
/// A peer that was given up may only have been unreachable, so it is asked again for ten minutes
/// ([`PeerList::given_up`](crate::overlay::PeerList::given_up)): first after 10 s, then 5 s later,
/// then every 10 s, as exactly as the sweeps run. When it answers with its own id (an original
/// program: in its answer to `NAME`), it is admitted to the table again like other peers, as
/// verified, and the other given-up peers are asked at once. With the defaults, the two sides of a
/// partition therefore know each other again within 20 s of its end, for up to 64 peers that were
/// given up, or 32 if dead ones are among them, as long as a sweep with its questions takes no more
/// than 2 s. A peer is not asked again if it sent `QUIT`, was removed by the application, is banned
/// or not admitted, or if another node has answered at its address. The sweep removes and restores
/// a peer that repeatedly comes and goes at most once in 10 s.
#[derive(Clone, Debug)]
pub struct PingSweep {
    every: Duration,
    within: Duration,
    at_once: usize,
    misses: u32,
    sweeps: u32,
    /// When the sweep was last active.
    last: Option<Instant>,
    known: IndexMap<PeerInfo, SweepState>,
    again: AskAgain,
}

/// The state of a peer in the sweep. At most one for each peer in the table.
#[derive(Clone, Copy, Debug, Default)]
struct SweepState {
    misses: u32,
    /// The number of questions in a row that were not answered with its name.
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
            known: IndexMap::new(),
            again: AskAgain::default(),
        }
    }
}

impl PingSweep {
    /// A sweep every 5 s with 2 s for each peer, 64 peers at once; three misses in a row.
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

    /// The time for the answer of one peer, connecting included. Default 2 s; 1 ms to 365 days.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The maximum number of peers that are asked at once. Default 64; 1 to 1,048,576.
    #[must_use]
    pub const fn at_once(mut self, peers: usize) -> Self {
        self.at_once = peers;
        self
    }

    /// The number of misses in a row after which a peer is removed. Default 3; with 1 a sweep is as
    /// strict as the original programs. At least 1.
    #[must_use]
    pub const fn misses(mut self, misses: u32) -> Self {
        self.misses = misses;
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
            let mut known = before.swap_remove(&peer).unwrap_or_default();
            known.asked_name = by_name && !known.answers_pong;
            let code = if known.asked_name { TypeCode::NAME } else { TypeCode::PING };
            self.known.insert(peer.clone(), known);
            StabilizerAction::Ask { peer, frame: Frame::empty(code), within: self.within }
        };
        let verified = view.peers.iter().filter(|entry| entry.verified().is_some());
        let mut asks: Vec<_> = verified.map(ask).collect();
        // After the peers in the table, which must not wait for dead ones.
        let again = self.again.tick(view.peers.given_up(view.now), view.now);
        asks.extend(again.into_iter().map(|(peer, frame)| self.ask(peer, frame)));
        asks
    }

    const fn ask(&self, peer: PeerInfo, frame: Frame) -> StabilizerAction {
        StabilizerAction::Ask { peer, frame, within: self.within }
    }

    /// Handles the answer of a given-up peer; `None` if it was not asked again.
    fn answered_again(
        &mut self,
        peer: &PeerInfo,
        answer: &Answer,
        now: Instant,
    ) -> Option<Vec<StabilizerAction>> {
        let AskedAgain::Back { answers_pong, next } = self.again.answered(peer, answer, now)?
        else {
            return Some(Vec::new());
        };
        self.known.insert(peer.clone(), SweepState { answers_pong, ..SweepState::default() });
        let next = next.map(|(peer, frame)| self.ask(peer, frame));
        Some(std::iter::once(StabilizerAction::Rejoin(peer.clone())).chain(next).collect())
    }

    /// This node was blocked: the misses of other peers were caused by it and are forgotten.
    fn begin_anew(&mut self) {
        for known in self.known.values_mut() {
            (known.misses, known.nameless) = (0, 0);
        }
    }

    /// The peer could be connected to, and answered with its id if it was asked for it.
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
        self.known.swap_remove(peer);
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
            SweepState { asked_name: true, .. } => verdict(TypeCode::REPL) == Verdict::Verified,
            SweepState { answers_pong: true, .. } => pong,
            // A PONG with another id comes from another node at the same address.
            _ => first.is_none_or(|reply| reply.code() != TypeCode::PONG),
        };
        let said = if known.asked_name { TypeCode::REPL } else { TypeCode::PONG };
        if alive { self.alive(peer) } else { self.missed(peer, verdict(said)) }
    }

    fn failed(&mut self, peer: &PeerInfo, failure: AskFailure) -> Vec<StabilizerAction> {
        let lenient =
            self.known.get(peer).is_some_and(|known| !known.answers_pong && !known.asked_name);
        // An original program whose connection breaks, or whose answer does not end, was reachable.
        if lenient && failure != AskFailure::Unreachable {
            self.alive(peer)
        } else {
            self.missed(peer, Verdict::Silent)
        }
    }
}

impl Options for PingSweep {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { every, within, at_once, misses, again: _, sweeps: _, last: _, known: _ } = self;
        settings! {
            "PingSweep::every", "", every, TIME;
            "PingSweep::within", "", within, TIME;
            "PingSweep::at_once", "peers", at_once, COUNT;
            "PingSweep::misses", "misses", misses, ANY;
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
                self.answered_again(&peer, &answer, view.now)
                    .unwrap_or_else(|| self.answered(&peer, &answer))
            }
            StabilizerEvent::Failed { failure: AskFailure::StoodStill, .. } => {
                self.begin_anew();
                Vec::new()
            }
            StabilizerEvent::Failed { peer, failure } => self
                .answered_again(&peer, &Err(failure), view.now)
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

    /// One sweep over one peer that behaves as `answer` says. Returns the question and the actions.
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
    fn a_busy_peer_is_not_given_up() {
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
    fn misses_while_this_node_was_blocked_do_not_count() {
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
    fn a_peer_that_has_answered_with_pong_has_to_keep_doing_so() {
        for answer in
            [Ok(vec![]), pong("q"), Err(AskFailure::Broken), Ok(vec![Frame::text("REPL", "p")])]
        {
            let mut ping = PingSweep::new().misses(1);
            assert_eq!(sweep(&mut ping, &pong("p")).1, seen());
            assert_eq!(sweep(&mut ping, &answer).1, forget(), "{answer:?}");
        }
    }

    #[test]
    fn an_original_is_alive_while_it_can_be_connected_to_and_is_asked_its_name_in_every_fourth_sweep()
     {
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
    fn an_original_that_can_only_be_connected_to_is_forgotten_after_three_unanswered_names() {
        let (mut ping, mut sweeps) = (PingSweep::new(), 1);
        while sweep(&mut ping, &Err(AskFailure::Late)).1 != forget() {
            sweeps += 1;
            assert!(sweeps < 100, "it is never forgotten");
        }
        assert_eq!(sweeps, 12);
    }

    #[test]
    fn an_unverified_peer_is_not_asked() {
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
    fn another_node_at_the_same_address_is_a_miss() {
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
    fn a_given_up_peer_that_answers_as_before_is_restored_and_its_pongs_stay_required() {
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
    fn a_peer_given_up_because_another_node_answered_is_not_asked_again() {
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
