//! The ping sweep: asks every known peer whether it is alive and forgets the ones that are not
//! (WIRE.md part 1, "ping sweep").

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        AskFailure, PeerId, PeerInfo, Stabilizer, StabilizerAction, StabilizerEvent, View, is_gap,
    },
};

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
        }
    }
}

impl PingSweep {
    /// A sweep every 5 s with 2 s for each peer, 64 at once; three misses in a row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pause between two sweeps. Default 5 s.
    #[must_use]
    pub const fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// The time that one peer has to answer, connecting included. Default 2 s.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The most peers that are asked at once. Default 64.
    #[must_use]
    pub const fn at_once(mut self, peers: usize) -> Self {
        self.at_once = peers;
        self
    }

    /// After how many misses in a row a peer is forgotten. Default 3; with 1 a sweep is as strict
    /// as the original programs.
    #[must_use]
    pub const fn misses(mut self, misses: u32) -> Self {
        self.misses = misses;
        self
    }

    fn tick(&mut self, view: &View<'_>) -> Vec<StabilizerAction> {
        if self.last.is_some_and(|last| is_gap(last + self.every, view.now)) {
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
        view.peers.iter().filter(|entry| entry.verified().is_some()).map(ask).collect()
    }

    /// This node stood still: what it missed of others was its own doing.
    fn begin_anew(&mut self) {
        self.known.values_mut().for_each(|known| known.misses = 0);
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

    fn missed(&mut self, peer: &PeerInfo) -> Vec<StabilizerAction> {
        let Some(known) = self.known.get_mut(peer) else {
            return Vec::new();
        };
        known.misses += 1;
        known.nameless += u32::from(known.asked_name);
        if known.misses.max(known.nameless) < self.misses {
            return Vec::new();
        }
        self.known.remove(peer);
        vec![StabilizerAction::Forget(peer.id().clone())]
    }

    fn answered(&mut self, peer: &PeerInfo, replies: &[Frame]) -> Vec<StabilizerAction> {
        let says = |code, id: &PeerId| {
            replies.first().is_some_and(|reply| reply.code() == code && is_id(reply, id))
        };
        let Some(known) = self.known.get_mut(peer) else {
            return Vec::new();
        };
        let pong = says(TypeCode::PONG, peer.id());
        known.answers_pong |= pong;
        let alive = match *known {
            Known { asked_name: true, .. } => says(TypeCode::REPL, peer.id()),
            Known { answers_pong: true, .. } => pong,
            // A PONG with another id is another node on the same address.
            _ => replies.first().is_none_or(|reply| reply.code() != TypeCode::PONG),
        };
        if alive { self.alive(peer) } else { self.missed(peer) }
    }

    fn failed(&mut self, peer: &PeerInfo, failure: AskFailure) -> Vec<StabilizerAction> {
        if failure == AskFailure::StoodStill {
            self.begin_anew();
            return Vec::new();
        }
        let lenient =
            self.known.get(peer).is_some_and(|known| !known.answers_pong && !known.asked_name);
        // An original that breaks off, or does not come to an end, could be connected to.
        if lenient && failure != AskFailure::Unreachable {
            self.alive(peer)
        } else {
            self.missed(peer)
        }
    }
}

fn is_id(reply: &Frame, id: &PeerId) -> bool {
    reply.as_str().is_ok_and(|text| text.trim() == id.as_str())
}

impl Stabilizer for PingSweep {
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
            StabilizerEvent::Answered { peer, replies } => self.answered(&peer, &replies),
            StabilizerEvent::Failed { peer, failure } => self.failed(&peer, failure),
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
}
