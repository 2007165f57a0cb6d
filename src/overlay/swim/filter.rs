//! Which messages of members are believed.

use std::time::Instant;

use foca::{Member, Message, State};
use indexmap::IndexMap;

use super::{
    Membership,
    check::TRIES,
    identity::Identity,
    wire::{Datagram, Said, SwimRefused, decode},
};
use crate::overlay::PeerId;

/// The maximum by which a message about another member may raise its incarnation: each step answers
/// one suspicion.
const MAX_JUMP: u16 = 1_000;

/// The state of a member in the engine.
#[derive(Debug)]
struct EngineMember {
    id: Identity,
    incarnation: u16,
    state: State,
}

type Index = IndexMap<PeerId, EngineMember>;

impl Membership {
    /// Handles a message from `from`, the sender as its connection identifies it: proven with TLS,
    /// otherwise only claimed.
    ///
    /// What a member says about itself counts, unless a member with its id is up at another
    /// address. What it says about others has limited effect:
    ///
    /// - A report that an unknown node is a member, or that a member was restarted: the named node
    ///   is asked, and its answer counts.
    /// - A report that a member is down: it counts if the member did not answer this node's own
    ///   probe or questions either, or if a second member reports the same and the member was not
    ///   heard since the first report.
    /// - A report that its incarnation is higher: it counts up to 1,000 at a time.
    /// - A report that this node is down: it counts at most once in a probe period. The node
    ///   refutes it.
    ///
    /// # Errors
    /// [`SwimRefused`] if the whole message was ignored. Single updates in it that are not believed
    /// are only [counted](super::SwimCounts::refused).
    pub fn receive(&mut self, from: &PeerId, data: &[u8], now: Instant) -> Result<(), SwimRefused> {
        self.tick(now);
        let taken = decode(data).and_then(|said| self.take(from, said, now));
        self.counts.refused += u64::from(taken.is_err());
        taken
    }

    fn take(&mut self, from: &PeerId, said: Said<'_>, now: Instant) -> Result<(), SwimRefused> {
        if *from == self.engine.identity().key {
            return Err(SwimRefused::NotTheSender);
        }
        match said {
            Said::Gossip(data) => self.gossip(from, Datagram::decode(data)?, now),
            Said::Ask { asker, .. } if asker.key != *from => Err(SwimRefused::NotTheSender),
            Said::Ask { nonce, asker, about } => {
                self.heard(from, now);
                let me = self.engine.identity().clone();
                // Members remember an earlier run of this node, or another node with its id: the
                // number has to be higher.
                if about.key == me.key && about.bump > me.bump {
                    self.become_(Identity { bump: about.bump + 1, ..me }, now);
                }
                let who = self.engine.identity().clone();
                self.say(asker.info(), &Said::Here { nonce, who });
                Ok(())
            }
            Said::Here { who, .. } if who.key != *from => Err(SwimRefused::NotTheSender),
            Said::Here { nonce, who } => {
                self.heard(from, now);
                let Some(_) = self.checks.answered(from, nonce) else { return Ok(()) };
                if self.is_taken(&who, now) {
                    return Err(SwimRefused::Taken);
                }
                let is_new = self.records.all.get(from).is_none_or(|known| known.id != who);
                if is_new {
                    if !self.records.all.contains_key(from) && !self.make_room(now) {
                        return Err(SwimRefused::Full);
                    }
                    self.take_member(Member::alive(who), now);
                }
                Ok(())
            }
        }
    }

    /// Whether a member with this id is up at another address. That member is asked whether it is
    /// alive. If it does not answer, the new address replaces it. Two live nodes with one id
    /// therefore do not alternate.
    fn is_taken(&mut self, id: &Identity, now: Instant) -> bool {
        let known = self.records.all.get(&id.key);
        let taken = known
            .filter(|known| known.up && known.failed.is_none() && known.id.address != id.address);
        let Some(known) = taken.map(|known| known.id.clone()) else { return false };
        self.check(known, TRIES, now);
        true
    }

    fn index(&self) -> Index {
        let known = |member: &Member<Identity>| {
            let (incarnation, state) = (member.incarnation(), member.state());
            (member.id().key.clone(), EngineMember { id: member.id().clone(), incarnation, state })
        };
        self.engine.iter_membership_state().map(known).collect()
    }

    fn gossip(
        &mut self,
        from: &PeerId,
        mut datagram: Datagram,
        now: Instant,
    ) -> Result<(), SwimRefused> {
        let src = &datagram.header.src;
        if src.key != *from {
            return Err(SwimRefused::NotTheSender);
        }
        if self.is_taken(src, now) {
            return Err(SwimRefused::Taken);
        }
        match self.records.all.get(from).map(|known| known.id.clone()) {
            None if !self.make_room(now) => return Err(SwimRefused::Full),
            // It was restarted with too low a number, so this node sends it the known one.
            Some(known) if known.bump > src.bump => {
                self.check(Identity { address: src.address.clone(), ..known }, 1, now);
                self.heard(from, now);
                return Ok(());
            }
            _ => {}
        }
        let index = self.index();
        let is_member = |id: &Identity| index.get(&id.key).is_some_and(|known| known.id == *id);
        let me = self.engine.identity();
        match &datagram.header.message {
            Message::PingReq { target, .. } | Message::IndirectAck { target, .. }
                if target != me && !is_member(target) =>
            {
                return Err(SwimRefused::Stranger);
            }
            Message::TurnUndead if datagram.header.dst == *me && now < self.renew_at => {
                return Err(SwimRefused::TooOften);
            }
            _ => {}
        }
        self.heard(from, now);
        let updates = std::mem::take(&mut datagram.updates);
        let believed = |update: &Member<Identity>| self.believes(update, from, &index, now);
        datagram.updates = updates.into_iter().filter(believed).collect();
        let data = datagram.encode().ok_or(SwimRefused::Malformed)?;
        self.take_in(&data, now);
        Ok(())
    }

    /// Whether the update is passed to the engine. An update that is not may cause a question.
    fn believes(
        &mut self,
        update: &Member<Identity>,
        from: &PeerId,
        index: &Index,
        now: Instant,
    ) -> bool {
        let id = update.id();
        if id.key == self.engine.identity().key {
            return self.believes_of_itself(update, now);
        }
        let Some(known) = index.get(&id.key) else {
            if update.state() != State::Down && id.key != *from {
                self.check(id.clone(), TRIES, now);
            }
            return false;
        };
        if known.id != *id {
            let newer = id.bump > known.id.bump && update.state() != State::Down;
            if newer && id.key != *from && !self.is_taken(id, now) {
                self.check(id.clone(), TRIES, now);
            }
            return false;
        }
        if known.state == State::Down {
            return false;
        }
        if id.key == *from {
            return true;
        }
        if update.incarnation() > known.incarnation.saturating_add(MAX_JUMP) {
            self.counts.refused += 1;
            return false;
        }
        match update.state() {
            State::Alive => true,
            State::Suspect => {
                let period = self.config.probe_period;
                let recently = |heard| now.saturating_duration_since(heard) < period;
                let record = self.records.all.get(&id.key);
                if record.is_some_and(|record| record.failed.is_none() && !recently(record.heard)) {
                    self.check(id.clone(), TRIES, now);
                }
                true
            }
            State::Down => self.believes_down(update, from, now),
        }
    }

    fn believes_down(&mut self, update: &Member<Identity>, from: &PeerId, now: Instant) -> bool {
        let Some(record) = self.records.all.get_mut(&update.id().key) else { return false };
        if record.failed.is_some() {
            return true;
        }
        match &record.reported {
            // The member was not heard since the first report, which would have ended the report.
            Some((first, ..)) if first != from => return true,
            Some(_) => {}
            None => record.reported = Some((from.clone(), now, update.incarnation())),
        }
        self.check(update.id().clone(), TRIES, now);
        false
    }

    fn believes_of_itself(&mut self, update: &Member<Identity>, now: Instant) -> bool {
        if update.id() != self.engine.identity() {
            // About an earlier run of this node, or about none.
            return false;
        }
        match update.state() {
            State::Alive => false,
            State::Suspect => {
                let highest = self.own_incarnation.saturating_add(MAX_JUMP);
                let believed = update.incarnation() <= highest;
                self.counts.refused += u64::from(!believed);
                if believed {
                    let next = update.incarnation().saturating_add(1);
                    self.own_incarnation = self.own_incarnation.max(next);
                }
                believed
            }
            State::Down => now >= self.renew_at,
        }
    }
}
