//! Joining a network: the walk that fills the table from a first contact
//! ([protocol](crate::protocol#joining-a-network)).

mod config;
mod failure;
mod report;
mod step;

use std::time::{Duration, Instant};

use indexmap::IndexSet;

use crate::{
    fault_points::{FaultPoint, fault_point},
    frame::{Frame, TypeCode},
    overlay::{Added, Address, Learned, Listing, PeerId, PeerInfo, PeerList},
    time::{Later, doubled, part},
};

pub use self::{
    config::JoinConfig,
    failure::{JoinAnswer, JoinFailure},
    report::{JoinEnd, JoinReport},
    step::{JoinEvent, JoinStep},
};

/// The first pause before busy nodes are asked again. It doubles each time, and jitter of up to the
/// same length is added, which differs from node to node.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause, without the jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// An address to visit.
#[derive(Clone, Debug)]
struct Visit {
    to: Address,
    /// The id at the address, as the list or the node itself says.
    whom: Option<PeerId>,
    listed_by: Option<PeerInfo>,
    hops: u32,
    /// Whether it was asked before and answered that it is busy or full.
    again: bool,
    /// Whether it has answered `NAME`.
    named: bool,
}

/// The result that the walk waits for.
#[derive(Clone, Debug)]
enum Waiting {
    Nothing,
    Name(Visit),
    Join(Visit, PeerId),
    /// The list of a peer that already lists this id, to learn with which address.
    Confirm(Visit, PeerId),
    /// The result of adding a peer, with its list if that was received.
    Adding(Visit, PeerId, Option<Vec<Frame>>),
    List(Visit, PeerId),
    Pause,
}

/// A walk through a network, one question at a time, depth-first: the contact's `NAME`, `JOIN`,
/// then its `LIST`, and so on into each entry.
///
/// It never asks the node itself, and asks no address or id twice. The exception is busy nodes:
/// while no node has admitted this one, they are asked again after a pause.
///
/// A node that refuses because its table is full is not added, but its list is still followed. A
/// newcomer whose contact is full can therefore join; the original programs give up in that case.
/// `already inserted` counts as accepted unless the list says that the id is inserted with another
/// address, because a node that returns after a crash is still in its peers' tables. The node also
/// introduces itself to a peer that is in its own table, because that peer may have been restarted,
/// and to a contact when its own table is to be filled no further.
///
/// If a list is longer than the part that is followed, each node follows another part. Many
/// newcomers with one contact therefore do not all visit the same few nodes.
#[derive(Clone, Debug)]
pub struct JoinWalk {
    me: PeerInfo,
    config: JoinConfig,
    deadline: Instant,
    waiting: Waiting,
    to_visit: Vec<Visit>,
    /// The busy nodes: at most one for each question, of which there are `max_asks`.
    again: Vec<Visit>,
    pauses: u32,
    turn: u64,
    seen_addresses: IndexSet<Address>,
    seen_ids: IndexSet<PeerId>,
    report: JoinReport,
}

impl JoinWalk {
    /// A walk of the node `me` that begins at `contact`.
    #[must_use]
    pub fn new(me: PeerInfo, contact: Address, config: JoinConfig, started: Instant) -> Self {
        let hops = config.hops;
        let contact =
            Visit { to: contact, whom: None, listed_by: None, hops, again: false, named: false };
        Self {
            seen_addresses: IndexSet::from([me.address().clone()]),
            seen_ids: IndexSet::from([me.id().clone()]),
            to_visit: vec![contact],
            again: Vec::new(),
            pauses: 0,
            turn: 0,
            deadline: started.later(config.within),
            waiting: Waiting::Nothing,
            report: JoinReport::new(),
            me,
            config,
        }
    }

    /// Makes the walk follow `earlier` walks with the same contact: of long lists it follows other
    /// parts.
    #[must_use]
    pub const fn turn(mut self, earlier: u32) -> Self {
        self.turn = earlier as u64;
        self
    }

    /// A pseudo-random number that depends only on the node and `n` (FNV-1a).
    fn draw(&self, n: u64) -> u64 {
        let bytes = self.me.id().as_str().bytes().chain(n.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Handles an event and returns the next step. `peers` is the current table of the node.
    pub fn step(&mut self, event: JoinEvent, peers: &PeerList, now: Instant) -> JoinStep {
        self.step_as(event, peers, now, &|_| false)
    }

    /// As [`step`](Self::step), for a node that has other addresses beside the announced one.
    pub(crate) fn step_as(
        &mut self,
        event: JoinEvent,
        peers: &PeerList,
        now: Instant,
        is_own: &dyn Fn(&Address) -> bool,
    ) -> JoinStep {
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        match (waiting, event) {
            (Waiting::Name(visit), JoinEvent::Replies(replies)) => {
                self.named(visit, &replies, peers, now)
            }
            (Waiting::Join(visit, id), JoinEvent::Replies(replies)) => {
                self.joined(visit, id, &replies, peers, now)
            }
            (Waiting::Confirm(visit, id), JoinEvent::Replies(replies)) => {
                match Listing::in_list(&replies, &self.me, is_own) {
                    Listing::Elsewhere(at) => {
                        let by = PeerInfo::new(id.clone(), visit.to.clone());
                        self.report.elsewhere.extend(by.ok().map(|by| (by, at.clone())));
                        let failure = JoinFailure::Elsewhere { at };
                        self.report.note_refused(visit.to.clone(), failure);
                        self.listed(&visit, &id, &replies, peers, now)
                    }
                    // The peer may list more than it sends.
                    Listing::Listed | Listing::Unknown => {
                        self.let_in(visit, id, Some(replies), peers, now)
                    }
                }
            }
            (Waiting::Adding(visit, id, list), JoinEvent::Added(added)) => {
                self.added(visit, id, (added, list), peers, now)
            }
            (Waiting::List(visit, id), JoinEvent::Replies(replies)) => {
                self.listed(&visit, &id, &replies, peers, now)
            }
            (
                Waiting::Name(visit)
                | Waiting::Join(visit, _)
                | Waiting::Confirm(visit, _)
                | Waiting::List(visit, _),
                JoinEvent::Failed(failure),
            ) => self.failed(visit, failure, peers, now),
            (Waiting::Pause, _) => {
                // The contact was asked first, and is asked first again.
                self.to_visit = std::mem::take(&mut self.again);
                self.to_visit.reverse();
                self.next(peers, now)
            }
            _ => self.next(peers, now),
        }
    }

    /// Visits the next address, or ends the walk.
    fn next(&mut self, peers: &PeerList, now: Instant) -> JoinStep {
        loop {
            let is_first = self.report.asked == 0;
            if let Some(end) = self.satisfied(peers).filter(|_| !is_first) {
                return self.done(end);
            }
            let Some(visit) = self.to_visit.pop() else {
                return self.pause(now);
            };
            if let Some(id) = visit.whom.clone().filter(|_| visit.named) {
                return self.introduce(visit, id, now);
            }
            if self.seen_addresses.insert(visit.to.clone()) || visit.again {
                return self.ask(Waiting::Name, visit, Frame::empty(TypeCode::NAME), now);
            }
            if visit.listed_by.is_none() {
                return self.done(JoinEnd::ContactIsSelf);
            }
        }
    }

    /// Pauses before busy nodes are asked again, while no node has admitted this one. Otherwise
    /// ends the walk.
    fn pause(&mut self, now: Instant) -> JoinStep {
        if self.again.is_empty() || !self.report.listed_by.is_empty() {
            return self.done(JoinEnd::Complete);
        }
        let pause = doubled(FIRST_PAUSE, self.pauses, LONGEST_PAUSE);
        let mut more = self.draw(u64::from(self.pauses).wrapping_add(self.turn << 32)) % 1_000;
        if fault_point(FaultPoint::JoinPauseLongest) {
            more = 1_000;
        }
        let pause = pause
            .saturating_add(part(pause.saturating_mul(u32::try_from(more).unwrap_or(0)), 1_000));
        self.pauses += 1;
        if self.report.asked >= self.config.max_asks {
            return self.done(JoinEnd::AskLimit);
        }
        let end = now.checked_add(pause);
        if end.is_none_or(|end| end >= self.deadline) {
            return self.done(JoinEnd::TimeUp);
        }
        self.waiting = Waiting::Pause;
        JoinStep::Wait(pause)
    }

    fn satisfied(&self, peers: &PeerList) -> Option<JoinEnd> {
        if peers.is_full() {
            return Some(JoinEnd::TableFull);
        }
        self.config
            .target
            .is_some_and(|target| peers.len() >= target)
            .then_some(JoinEnd::TargetReached)
    }

    fn ask(
        &mut self,
        then: impl FnOnce(Visit) -> Waiting,
        visit: Visit,
        frame: Frame,
        now: Instant,
    ) -> JoinStep {
        if now >= self.deadline {
            return self.done(JoinEnd::TimeUp);
        }
        if self.report.asked >= self.config.max_asks {
            return self.done(JoinEnd::AskLimit);
        }
        self.report.asked += 1;
        let (to, whom) = (visit.to.clone(), visit.whom.clone());
        let named_by = visit.listed_by.as_ref().filter(|_| frame.code() == TypeCode::NAME);
        let named_by = named_by.map(|by| by.address().clone());
        self.waiting = then(visit);
        JoinStep::Ask { to, whom, frame, named_by }
    }

    fn done(&mut self, end: JoinEnd) -> JoinStep {
        self.to_visit.clear();
        self.again.clear();
        self.report.end = end;
        JoinStep::Done(self.report.clone())
    }

    fn failed(
        &mut self,
        visit: Visit,
        failure: JoinFailure,
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let (contact, soon) = (visit.listed_by.is_none(), failure.passes_soon());
        self.report.note_failed(visit.to.clone(), failure);
        if soon {
            self.again.push(Visit { again: true, ..visit });
        } else if contact && self.report.listed_by.is_empty() {
            return self.done(JoinEnd::ContactFailed);
        }
        self.next(peers, now)
    }

    fn named(
        &mut self,
        mut visit: Visit,
        replies: &[Frame],
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let id = match name(replies) {
            Ok(id) => id,
            Err(failure) => return self.failed(visit, failure, peers, now),
        };
        if let Some(expected) = visit.whom.take().filter(|expected| *expected != id) {
            let failure = JoinFailure::AnotherId { expected, found: id };
            return self.failed(visit, failure, peers, now);
        }
        visit.whom = Some(id.clone());
        visit.named = true;
        if id == *self.me.id() && visit.listed_by.is_none() {
            return self.done(JoinEnd::ContactIsSelf);
        }
        if !self.seen_ids.insert(id.clone()) {
            return self.next(peers, now);
        }
        // The contact was asked for its name only to find out whether it is known.
        if self.satisfied(peers).is_some() && !peers.contains(&id) {
            return self.next(peers, now);
        }
        // A known peer may have been restarted, and then does not list this node.
        self.introduce(visit, id, now)
    }

    fn introduce(&mut self, visit: Visit, id: PeerId, now: Instant) -> JoinStep {
        let introduction = Frame::text(TypeCode::JOIN, self.me.to_string());
        self.ask(|visit| Waiting::Join(visit, id), visit, introduction, now)
    }

    fn joined(
        &mut self,
        visit: Visit,
        id: PeerId,
        replies: &[Frame],
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let code = TypeCode::JOIN;
        let Some(reply) = replies.first() else {
            return self.failed(visit, JoinFailure::NoReply, peers, now);
        };
        let text = String::from_utf8_lossy(reply.data());
        match reply.code() {
            TypeCode::REPL => {}
            TypeCode::ERRO if text.starts_with("Join: peer already inserted") => {
                let then = |visit| Waiting::Confirm(visit, id);
                return self.ask(then, visit, Frame::empty(TypeCode::LIST), now);
            }
            TypeCode::ERRO => {
                let failure = JoinFailure::of_words(code, &text);
                if failure.passes_soon() {
                    self.again.push(Visit { again: true, ..visit.clone() });
                }
                self.report.note_refused(visit.to.clone(), failure);
                return self.ask_list(visit, id, peers, now);
            }
            _ => return self.failed(visit, JoinFailure::NotThisProtocol, peers, now),
        }
        self.let_in(visit, id, None, peers, now)
    }

    /// A node has this one in its table.
    fn let_in(
        &mut self,
        visit: Visit,
        id: PeerId,
        list: Option<Vec<Frame>>,
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let by = visit.listed_by.as_ref().map(|by| by.id().clone());
        let learned = by.map_or(Learned::Contact, |by| Learned::Listed { by });
        let Ok(info) = PeerInfo::new(id.clone(), visit.to.clone()) else {
            return self.failed(visit, JoinFailure::Malformed { code: TypeCode::JOIN }, peers, now);
        };
        self.report.note_listed(info.clone());
        self.waiting = Waiting::Adding(visit, id, list);
        JoinStep::Add { info, learned }
    }

    fn added(
        &mut self,
        visit: Visit,
        id: PeerId,
        (added, list): (Added, Option<Vec<Frame>>),
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        if added == Added::Added
            && let Ok(info) = PeerInfo::new(id.clone(), visit.to.clone())
        {
            self.report.added.push(info);
        }
        match list {
            Some(replies) => self.listed(&visit, &id, &replies, peers, now),
            None => self.ask_list(visit, id, peers, now),
        }
    }

    fn ask_list(&mut self, visit: Visit, id: PeerId, peers: &PeerList, now: Instant) -> JoinStep {
        if visit.hops <= 1 || self.satisfied(peers).is_some() {
            return self.next(peers, now);
        }
        self.ask(|visit| Waiting::List(visit, id), visit, Frame::empty(TypeCode::LIST), now)
    }

    fn listed(
        &mut self,
        visit: &Visit,
        id: &PeerId,
        replies: &[Frame],
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        if visit.hops <= 1 || self.satisfied(peers).is_some() {
            return self.next(peers, now);
        }
        // The first reply is the number of entries, which the end of the replies implies as well.
        let entries = replies.iter().skip(1).filter(|reply| reply.code() == TypeCode::REPL);
        let entries = entries.filter_map(|reply| reply.as_str().ok()?.parse::<PeerInfo>().ok());
        let new = entries.filter(|peer| {
            !self.seen_ids.contains(peer.id()) && !self.seen_addresses.contains(peer.address())
        });
        let by = PeerInfo::new(id.clone(), visit.to.clone()).ok();
        let visit_of = |peer: PeerInfo| Visit {
            to: peer.address().clone(),
            whom: Some(peer.id().clone()),
            listed_by: by.clone(),
            hops: visit.hops - 1,
            again: false,
            named: false,
        };
        let mut new: Vec<_> = new.collect();
        if new.len() > self.config.fan_out
            && let Ok(len) = u64::try_from(new.len())
        {
            let begin = self.draw(self.turn) % len;
            new.rotate_left(usize::try_from(begin).unwrap_or(0));
        }
        let visits: Vec<_> = new.into_iter().take(self.config.fan_out).map(visit_of).collect();
        // A stack: the first entry, and everything reached from it, is visited before the second.
        self.to_visit.extend(visits.into_iter().rev());
        self.next(peers, now)
    }
}

/// The id in an answer to `NAME`, or the failure.
fn name(replies: &[Frame]) -> Result<PeerId, JoinFailure> {
    let code = TypeCode::NAME;
    let reply = replies.first().ok_or(JoinFailure::NoReply)?;
    match reply.code() {
        TypeCode::REPL => {
            let id = reply.as_str().ok().and_then(|text| text.trim().parse().ok());
            id.ok_or(JoinFailure::Malformed { code })
        }
        TypeCode::ERRO => Err(JoinFailure::of_words(code, &String::from_utf8_lossy(reply.data()))),
        _ => Err(JoinFailure::NotThisProtocol),
    }
}

#[cfg(test)]
mod tests;
