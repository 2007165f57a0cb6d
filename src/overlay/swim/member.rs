//! The state of the members, and the events about them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::identity::Identity;
use crate::{
    overlay::{PeerId, PeerInfo},
    time::Later,
};

/// The minimum pause between two `Down` events of a member, and between two `Rejoined` events.
pub(super) const PAIR_EVERY: Duration = Duration::from_secs(10);

/// The state of a member, as this node believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// It answers.
    Up,
    /// It did not answer this node, and has time left to do so.
    Suspected,
    /// It did not answer in that time, or it left. This is a suspicion, not a proof.
    Down,
}

/// Another member, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    info: PeerInfo,
    state: MemberState,
    metadata: Arc<[u8]>,
    since: Instant,
}

impl Member {
    /// Its id and address.
    #[must_use]
    pub const fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> MemberState {
        self.state
    }

    /// What it says about itself, at most [`MAX_METADATA`](super::MAX_METADATA) bytes. The bytes
    /// come from a remote node and may be anything.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// When it last went up or down.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }
}

/// An event of a member. For one member, up and down alternate, with at most one such pair in 10 s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberEvent {
    /// A new node is a member.
    Up(PeerInfo),
    /// A member is believed to be down, or has left.
    Down(PeerInfo),
    /// A member was down and is back.
    Rejoined(PeerInfo),
    /// The metadata or the address of a member has changed.
    Changed(PeerInfo),
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: Identity,
    pub(super) up: bool,
    since: Instant,
    /// When its last own message was received.
    pub(super) heard: Instant,
    /// Since when it has not answered this node's own probe.
    pub(super) failed: Option<Instant>,
    /// Which member reported it as down, since when, and with which incarnation.
    pub(super) reported: Option<(PeerId, Instant, u16)>,
    reported_up: Option<bool>,
    reported_down_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) all: BTreeMap<PeerId, Record>,
    pub(super) events: VecDeque<MemberEvent>,
    delayed: BTreeSet<(Instant, PeerId)>,
}

impl Records {
    pub(super) fn is_up(&self, key: &PeerId) -> bool {
        self.all.get(key).is_some_and(|record| record.up)
    }

    pub(super) fn turned(&mut self, id: &Identity, up: bool, now: Instant) {
        let record = self.all.entry(id.key.clone()).or_insert_with(|| Record {
            id: id.clone(),
            up: !up,
            since: now,
            heard: now,
            failed: None,
            reported: None,
            reported_up: None,
            reported_down_at: None,
        });
        record.id = id.clone();
        if record.up != up {
            record.up = up;
            record.since = now;
        }
        if up {
            record.heard = now;
        }
        (record.failed, record.reported) = (None, None);
        self.emit_change(&id.key.clone(), now);
    }

    pub(super) fn renamed(&mut self, to: &Identity, now: Instant) {
        let Some(record) = self.all.get_mut(&to.key) else { return };
        let changed = record.id.metadata != to.metadata || record.id.address != to.address;
        record.id = to.clone();
        (record.failed, record.reported) = (None, None);
        if record.up {
            record.heard = now;
        }
        if record.up && record.reported_up == Some(true) && changed {
            self.events.extend(to.info().map(MemberEvent::Changed));
        }
    }

    pub(super) fn heard(&mut self, key: &PeerId, now: Instant) {
        if let Some(record) = self.all.get_mut(key) {
            record.heard = now;
            (record.failed, record.reported) = (None, None);
        }
    }

    fn emit_change(&mut self, key: &PeerId, now: Instant) {
        let Some(record) = self.all.get_mut(key) else { return };
        let Some(info) = record.id.info() else { return };
        match (record.up, record.reported_up) {
            (true, None) => self.events.push_back(MemberEvent::Up(info)),
            (true, Some(false)) => self.events.push_back(MemberEvent::Rejoined(info)),
            (false, Some(true)) => {
                let until =
                    record.reported_down_at.map_or(now, |reported| reported.later(PAIR_EVERY));
                if until > now {
                    self.delayed.insert((until, key.clone()));
                    return;
                }
                record.reported_down_at = Some(now);
                self.events.push_back(MemberEvent::Down(info));
            }
            (true, Some(true)) | (false, _) => return,
        }
        record.reported_up = Some(record.up);
    }

    /// Emits the events that had to wait.
    pub(super) fn tick(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.delayed.pop_first() {
                self.emit_change(&key, now);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// The member that is down for longest.
    pub(super) fn longest_down(&self) -> Option<Identity> {
        let down = self.all.values().filter(|record| !record.up);
        down.min_by_key(|record| record.since).map(|record| record.id.clone())
    }

    pub(super) fn forget(&mut self, id: &Identity) {
        if self.all.get(&id.key).is_some_and(|record| !record.up && record.id == *id) {
            self.all.remove(&id.key);
            self.delayed.retain(|(_, key)| *key != id.key);
        }
    }

    pub(super) fn snapshot(&self) -> Vec<Member> {
        let member = |record: &Record| {
            let state = match (record.up, record.failed) {
                (true, None) => MemberState::Up,
                (true, Some(_)) => MemberState::Suspected,
                (false, _) => MemberState::Down,
            };
            let metadata = Arc::clone(&record.id.metadata);
            Some(Member { info: record.id.info()?, state, metadata, since: record.since })
        };
        self.all.values().filter_map(member).collect()
    }
}
