//! Joining a network: the walk that fills the table from a first contact (WIRE.md part 2,
//! "Joining").

mod config;
mod report;

use std::{collections::HashSet, time::Instant};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{Added, Address, AskFailure, Learned, Listing, PeerId, PeerInfo, PeerList},
};

pub use self::{
    config::JoinConfig,
    report::{JoinEnd, JoinReport},
};

/// What the walk is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinEvent {
    /// The walk begins.
    Start,
    /// The question was answered.
    Replies(Vec<Frame>),
    /// The question was not answered.
    Failed(AskFailure),
    /// What came of adding a peer to the own table.
    Added(Added),
}

/// What the walk wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinStep {
    /// Send this and collect the replies.
    Ask {
        /// Where to.
        to: Address,
        /// To whom, once somebody has said who is there: where ids are proven, to nobody else.
        whom: Option<PeerId>,
        /// What.
        frame: Frame,
        /// Where it was listed, when nobody has answered there yet: it has to be an address that this
        /// one may name ([`Scope`](crate::overlay::Scope)), and is dialled at the pace of unverified
        /// addresses.
        named_by: Option<Address>,
    },
    /// Add this peer to the own table.
    Add {
        /// Whom.
        info: PeerInfo,
        /// How it was learned.
        learned: Learned,
    },
    /// Nothing more.
    Done(JoinReport),
}

/// A place to go to.
#[derive(Clone, Debug)]
struct Visit {
    to: Address,
    /// Who is there, by the word of the list or its own.
    whom: Option<PeerId>,
    listed_by: Option<PeerInfo>,
    hops: u32,
}

/// What the walk is waiting for.
#[derive(Clone, Debug)]
enum Waiting {
    Nothing,
    Name(Visit),
    Join(Visit, PeerId),
    /// It lists this id already, in these words: where, its list says.
    Confirm(Visit, PeerId, String),
    /// With its list, where that has come.
    Adding(Visit, PeerId, Option<Vec<Frame>>),
    List(Visit, PeerId),
}

/// A walk through a network, one question at a time, depth-first: the contact's `NAME`, `JOIN`,
/// then its `LIST`, and so on into each entry.
///
/// It never asks the node itself, and no address or id twice. A node that refuses because its table
/// is full is not added, but its list is followed all the same, so that a newcomer whose contact is
/// full still gets in (the original programs give up there). `already inserted` counts as accepted
/// unless the list says that the id is inserted with another address: a node that comes back after a
/// crash is still in its peers' tables. A node that is in the own table is introduced to all the same, as it
/// may have begun anew; so is a contact whose table is to be filled no further.
#[derive(Clone, Debug)]
pub struct JoinWalk {
    me: PeerInfo,
    config: JoinConfig,
    deadline: Option<Instant>,
    waiting: Waiting,
    to_visit: Vec<Visit>,
    seen_addresses: HashSet<Address>,
    seen_ids: HashSet<PeerId>,
    report: JoinReport,
}

/// What a refusal is cut to for the report.
const REFUSAL_LEN: usize = 256; // characters

impl JoinWalk {
    /// A walk of the node `me` that begins at `contact`.
    #[must_use]
    pub fn new(me: PeerInfo, contact: Address, config: JoinConfig, started: Instant) -> Self {
        let (added, refused, failed, elsewhere) = Default::default();
        Self {
            seen_addresses: HashSet::from([me.address().clone()]),
            seen_ids: HashSet::from([me.id().clone()]),
            to_visit: vec![Visit { to: contact, whom: None, listed_by: None, hops: config.hops }],
            deadline: started.checked_add(config.within),
            waiting: Waiting::Nothing,
            report: JoinReport {
                added,
                refused,
                failed,
                elsewhere,
                asked: 0,
                end: JoinEnd::Complete,
            },
            me,
            config,
        }
    }

    /// Takes what happened and says what to do next. `peers` is the own table as it is now.
    pub fn step(&mut self, event: JoinEvent, peers: &PeerList, now: Instant) -> JoinStep {
        self.step_as(event, peers, now, &|_| false)
    }

    /// [`step`](Self::step) of a node that has other addresses beside the one that it tells.
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
            (Waiting::Confirm(visit, id, words), JoinEvent::Replies(replies)) => {
                match Listing::in_list(&replies, &self.me, is_own) {
                    Listing::Elsewhere(at) => {
                        let by = PeerInfo::new(id.clone(), visit.to.clone());
                        self.report.elsewhere.extend(by.ok().map(|by| (by, at)));
                        self.report.refused.push((visit.to.clone(), words));
                        self.listed(&visit, &id, &replies, peers, now)
                    }
                    // What the peer lists may be more than it tells.
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
                | Waiting::Confirm(visit, ..)
                | Waiting::List(visit, _),
                JoinEvent::Failed(failure),
            ) => self.failed(visit, failure, peers, now),
            _ => self.next(peers, now),
        }
    }

    /// Goes to the next place, or ends.
    fn next(&mut self, peers: &PeerList, now: Instant) -> JoinStep {
        loop {
            let is_first = self.report.asked == 0;
            if let Some(end) = self.satisfied(peers).filter(|_| !is_first) {
                return self.done(end);
            }
            let Some(visit) = self.to_visit.pop() else {
                return self.done(JoinEnd::Complete);
            };
            if self.seen_addresses.insert(visit.to.clone()) {
                return self.ask(Waiting::Name, visit, Frame::empty(TypeCode::NAME), now);
            }
            if visit.listed_by.is_none() {
                return self.done(JoinEnd::ContactIsSelf);
            }
        }
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
        if self.deadline.is_some_and(|deadline| now >= deadline) {
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
        self.report.end = end;
        JoinStep::Done(self.report.clone())
    }

    fn failed(
        &mut self,
        visit: Visit,
        failure: AskFailure,
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let contact = visit.listed_by.is_none();
        self.report.failed.push((visit.to, failure));
        if contact && self.report.added.is_empty() {
            self.done(JoinEnd::ContactFailed)
        } else {
            self.next(peers, now)
        }
    }

    fn named(
        &mut self,
        mut visit: Visit,
        replies: &[Frame],
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let id = replies.first().filter(|reply| reply.code() == TypeCode::REPL);
        let id = id.and_then(|reply| reply.as_str().ok()?.trim().parse::<PeerId>().ok());
        visit.whom.clone_from(&id);
        match id {
            None => self.failed(visit, AskFailure::Broken, peers, now),
            Some(id) if id == *self.me.id() && visit.listed_by.is_none() => {
                self.done(JoinEnd::ContactIsSelf)
            }
            Some(id) if !self.seen_ids.insert(id.clone()) => self.next(peers, now),
            // The contact was asked for its name only to find out whether it is known.
            Some(id) if self.satisfied(peers).is_some() && !peers.contains(&id) => {
                self.next(peers, now)
            }
            // One that is known may have begun anew, and then does not know this node.
            Some(id) => {
                let introduction = Frame::text(TypeCode::JOIN, self.me.to_string());
                self.ask(|visit| Waiting::Join(visit, id), visit, introduction, now)
            }
        }
    }

    fn joined(
        &mut self,
        visit: Visit,
        id: PeerId,
        replies: &[Frame],
        peers: &PeerList,
        now: Instant,
    ) -> JoinStep {
        let Some(reply) = replies.first() else {
            return self.failed(visit, AskFailure::Broken, peers, now);
        };
        let text = String::from_utf8_lossy(reply.data());
        if reply.code() != TypeCode::REPL {
            let words = text.chars().take(REFUSAL_LEN).collect();
            if text.starts_with("Join: peer already inserted") {
                let then = |visit| Waiting::Confirm(visit, id, words);
                return self.ask(then, visit, Frame::empty(TypeCode::LIST), now);
            }
            self.report.refused.push((visit.to.clone(), words));
            return self.ask_list(visit, id, peers, now);
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
            return self.failed(visit, AskFailure::Broken, peers, now);
        };
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
        // The first reply is the number of entries, which the end of the replies says as well.
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
        };
        let visits: Vec<_> = new.take(self.config.fan_out).map(visit_of).collect();
        // The first entry is visited first, and everything behind it before the second.
        self.to_visit.extend(visits.into_iter().rev());
        self.next(peers, now)
    }
}

#[cfg(test)]
mod tests;
