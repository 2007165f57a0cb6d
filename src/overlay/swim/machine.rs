//! The membership of one node: the engine, its timers, and the filter of incoming messages.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast, OwnedNotification, PostcardCodec, Timer};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Member, MemberEvent, MetadataTooLong, SwimConfig,
    check::{Checks, TRIES},
    identity::{Identity, MAX_BUMP, MAX_METADATA},
    member::MemberRecords,
    timers::{Due, Timers},
    wire::Said,
};
use crate::{
    overlay::{PeerId, PeerInfo},
    time::Later,
};

pub(super) type Engine = Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>;

/// A tick that is later than this shows that this node was blocked.
const LATE: Duration = Duration::from_millis(200);

/// A node that receives nothing extends the suspicion of other members up to this number of times.
const MAX_DOUBT: u32 = 8;

/// The number of nodes that are announced to at once.
const ANNOUNCED: usize = 3;

/// A node that is a member announces itself to contacts that are no members less often, by this
/// factor.
const SELDOM: u32 = 30;

/// The counters of a membership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwimCounts {
    /// The number of messages and updates that were not believed.
    pub refused: u64,
    /// The number of own questions whether a node is alive.
    pub asked: u64,
}

/// The membership of one node, as a pure machine. Its driver passes received messages to it, calls
/// [`tick`](Self::tick) at [`next_deadline`](Self::next_deadline), and sends the messages of
/// [`next_send`](Self::next_send).
///
/// Take all items of [`next_send`](Self::next_send) and [`next_event`](Self::next_event) after each
/// call.
pub struct Membership {
    pub(super) engine: Engine,
    effects: AccumulatingRuntime<Identity>,
    pub(super) config: SwimConfig,
    timers: Timers,
    pub(super) checks: Checks,
    pub(super) records: MemberRecords,
    contacts: BTreeMap<PeerId, PeerInfo>,
    sends: VecDeque<(PeerInfo, Bytes)>,
    rng: StdRng,
    active: bool,
    left: bool,
    announce_at: Instant,
    /// The earliest time at which this node may be taken for down again.
    pub(super) renew_at: Instant,
    /// When any member was last heard.
    heard_any: Instant,
    doubt: u32,
    /// Whether the probe of this period has failed.
    probe_failed: bool,
    /// The highest incarnation of this node that it has received.
    pub(super) own_incarnation: u16,
    pub(super) counts: SwimCounts,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("me", self.engine.identity())
            .field("records", &self.records.all)
            .finish_non_exhaustive()
    }
}

impl Membership {
    /// Makes a node without members. `incarnation` has to be greater than in every earlier run of
    /// the node: use the time of its start, for example. `seed` determines its random choices.
    #[must_use]
    pub fn new(
        me: PeerInfo,
        incarnation: u64,
        config: SwimConfig,
        seed: u64,
        now: Instant,
    ) -> Self {
        let id = Identity::new(&me, incarnation.min(MAX_BUMP));
        let rng = StdRng::seed_from_u64(seed);
        Self {
            engine: Foca::new(id, config.engine(), rng, PostcardCodec),
            effects: AccumulatingRuntime::new(),
            config,
            timers: Timers::default(),
            checks: Checks::default(),
            records: MemberRecords::default(),
            contacts: BTreeMap::new(),
            sends: VecDeque::new(),
            rng: StdRng::seed_from_u64(!seed),
            active: false,
            left: false,
            announce_at: now,
            renew_at: now,
            heard_any: now,
            doubt: 0,
            probe_failed: false,
            own_incarnation: 0,
            counts: SwimCounts::default(),
        }
    }

    /// Sets the nodes that it may announce itself to: the peer table. Replaces earlier ones.
    pub fn set_contacts(&mut self, contacts: impl IntoIterator<Item = PeerInfo>) {
        let me = &self.engine.identity().key;
        let contacts = contacts.into_iter().filter(|info| info.id() != me);
        self.contacts = contacts.map(|info| (info.id().clone(), info)).collect();
    }

    /// Changes the metadata of this node. Returns before the members have it; they receive it
    /// within seconds.
    ///
    /// # Errors
    /// [`MetadataTooLong`].
    pub fn set_metadata(&mut self, metadata: &[u8], now: Instant) -> Result<(), MetadataTooLong> {
        if metadata.len() > MAX_METADATA {
            return Err(MetadataTooLong { len: metadata.len() });
        }
        let me = self.engine.identity();
        if *me.metadata != *metadata {
            let (bump, metadata) = (me.bump.saturating_add(1), Arc::from(metadata));
            self.become_(Identity { bump, metadata, ..me.clone() }, now);
        }
        Ok(())
    }

    /// Starts a new run with another identity.
    pub(super) fn become_(&mut self, id: Identity, now: Instant) {
        if self.left {
            return;
        }
        let changed = self.engine.change_identity(id, &mut self.effects);
        // Otherwise it would count as connected only with the next message of a member.
        let again = self.engine.apply_many(std::iter::empty(), false, &mut self.effects);
        self.note(changed.and(again));
        self.own_incarnation = 0;
        self.carry_out(now);
    }

    /// Tells the members that this node leaves. It probes and sends nothing more after that.
    pub fn leave(&mut self, now: Instant) {
        if self.left {
            return;
        }
        self.left = true;
        let left = self.engine.leave_cluster(&mut self.effects);
        // Tells more members than the engine does by itself.
        let more = self.engine.gossip(&mut self.effects);
        self.note(left.and(more));
        self.carry_out(now);
    }

    /// The members that this node has met, including members that are down, without this node.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.records.snapshot()
    }

    /// Its counters.
    #[must_use]
    pub const fn counts(&self) -> SwimCounts {
        self.counts
    }

    /// The next message to send, with its receiver. The protocol tolerates loss.
    pub fn next_send(&mut self) -> Option<(PeerInfo, Bytes)> {
        self.sends.pop_front()
    }

    /// The next event.
    pub fn next_event(&mut self) -> Option<MemberEvent> {
        self.records.events.pop_front()
    }

    /// When [`tick`](Self::tick) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let all = [self.timers.next(), self.checks.next(), self.records.next()];
        all.into_iter().flatten().chain([self.announce_at]).min()
    }

    /// Does what is due. If the call is late, this node was blocked, and the time in between does
    /// not count: no member is suspected or taken for down because of it.
    pub fn tick(&mut self, now: Instant) {
        let late = self.next_deadline().map(|due| now.saturating_duration_since(due));
        if let Some(late) = late.filter(|late| *late > LATE) {
            self.timers.postpone(late);
            self.checks.postpone(late);
        }
        while let Some(due) = self.timers.pop(now) {
            self.fire(due, now);
        }
        let (ask, silent) = self.checks.due(now, self.config.probe_time);
        for check in ask {
            self.ask(check.who, check.nonce);
        }
        for check in silent {
            self.does_not_answer(&check.who, now);
        }
        if self.announce_at <= now && !self.left {
            self.announce(now);
        }
        self.records.tick(now);
    }

    fn fire(&mut self, Due { timer, set, .. }: Due, now: Instant) {
        match &timer {
            Timer::ChangeSuspectToDown { member_id, .. } => {
                let record = self.records.all.get(&member_id.key);
                if record.is_some_and(|record| record.heard > set) {
                    return;
                }
            }
            Timer::ProbeRandomMember(_) => self.probe_failed = false,
            Timer::SendIndirectProbe { .. }
            | Timer::PeriodicAnnounce(_)
            | Timer::PeriodicAnnounceDown(_)
            | Timer::PeriodicGossip(_)
            | Timer::RemoveDown(_) => {}
        }
        let probed = matches!(timer, Timer::ProbeRandomMember(_));
        let gone = if let Timer::RemoveDown(id) = &timer { Some(id.clone()) } else { None };
        let done = self.engine.handle_timer(timer, &mut self.effects);
        self.note(done);
        self.carry_out(now);
        if let Some(id) = gone {
            self.records.forget(&id);
        }
        if probed && !self.probe_failed {
            self.doubt = self.doubt.saturating_sub(1);
        }
    }

    /// Handles an unanswered question of this node, as a failed probe.
    fn does_not_answer(&mut self, who: &Identity, now: Instant) {
        let Some(record) = self.records.all.get_mut(&who.key) else { return };
        if !record.up || record.id != *who {
            return;
        }
        record.failed.get_or_insert(now);
        if let Some((_, _, incarnation)) = record.reported.take() {
            let down = foca::Member::new(who.clone(), incarnation, foca::State::Down);
            let done = self.engine.apply_many(std::iter::once(down), true, &mut self.effects);
            self.note(done);
            self.carry_out(now);
        }
    }

    /// Asks whether `who` is alive, now and a few more times.
    pub(super) fn check(&mut self, who: Identity, tries: u32, now: Instant) {
        let nonce = self.rng.random();
        self.checks.begin(who, nonce, tries, now);
    }

    pub(super) fn ask(&mut self, about: Identity, nonce: u32) {
        let (asker, to) = (self.engine.identity().clone(), about.info());
        self.counts.asked += 1;
        self.say(to, &Said::Ask { nonce, asker, about });
    }

    pub(super) fn say(&mut self, to: Option<PeerInfo>, said: &Said<'_>) {
        self.sends.extend(to.zip(said.encode()));
    }

    fn announce(&mut self, now: Instant) {
        let (known, records) = (&self.contacts, &self.records);
        let contacts = known.values().filter(|info| !records.is_up(info.id()));
        let down = records.all.values().filter(|record| !record.up && !self.active);
        let down = down.filter_map(|record| record.id.info());
        let most = if self.active { 1 } else { ANNOUNCED };
        let mut candidates: Vec<_> = contacts.cloned().chain(down).collect();
        for _ in 0..most.min(candidates.len()) {
            let chosen = self.rng.random_range(0..candidates.len());
            let info = candidates.swap_remove(chosen);
            let done = self.engine.announce(Identity::new(&info, 0), &mut self.effects);
            self.note(done);
        }
        let again = if self.active { SELDOM } else { 1 };
        self.announce_at = now.later(self.config.announce_every.saturating_mul(again));
        self.carry_out(now);
    }

    /// Counts an input that the engine refused. It changed nothing.
    pub(super) fn note(&mut self, done: Result<(), foca::Error>) {
        if let Err(error) = done {
            tracing::trace!(%error, "membership");
            self.counts.refused += 1;
        }
    }

    pub(super) fn heard(&mut self, from: &PeerId, now: Instant) {
        self.records.heard(from, now);
        self.heard_any = now;
    }

    pub(super) fn take_in(&mut self, data: &[u8], now: Instant) {
        let done = self.engine.handle_data(data, &mut self.effects);
        self.note(done);
        self.carry_out(now);
    }

    pub(super) fn take_member(&mut self, member: foca::Member<Identity>, now: Instant) {
        let done = self.engine.apply_many(std::iter::once(member), true, &mut self.effects);
        self.note(done);
        self.carry_out(now);
    }

    /// Makes room for another member if possible. Returns whether there is room.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        if self.records.all.len() < self.config.max_members {
            return true;
        }
        let Some(oldest) = self.records.longest_down() else { return false };
        let done = self.engine.handle_timer(Timer::RemoveDown(oldest.clone()), &mut self.effects);
        self.note(done);
        self.carry_out(now);
        self.records.forget(&oldest);
        self.records.all.len() < self.config.max_members
    }

    /// Carries out the actions that the engine requests.
    pub(super) fn carry_out(&mut self, now: Instant) {
        while let Some((after, timer)) = self.effects.to_schedule() {
            let after = match &timer {
                Timer::ChangeSuspectToDown { member_id, .. } => self.suspect(member_id, after, now),
                _ => after,
            };
            self.timers.set(timer, after, now);
        }
        while let Some(notification) = self.effects.to_notify() {
            self.notified(notification, now);
        }
        while let Some((to, data)) = self.effects.to_send() {
            self.say(to.info(), &Said::Gossip(&data));
        }
    }

    /// Handles a failed probe of `who`. Returns how long it is suspected: longer while this node
    /// receives nothing.
    fn suspect(&mut self, who: &Identity, time: Duration, now: Instant) -> Duration {
        self.probe_failed = true;
        let time = time.saturating_mul(1 + self.doubt);
        if now.saturating_duration_since(self.heard_any) >= self.config.probe_period {
            self.doubt = (self.doubt + 1).min(MAX_DOUBT);
        }
        if let Some(record) = self.records.all.get_mut(&who.key) {
            record.failed.get_or_insert(now);
        }
        let tries = time.as_millis() / self.config.probe_time.as_millis().max(1);
        self.check(who.clone(), u32::try_from(tries).unwrap_or(TRIES).max(TRIES), now);
        time
    }

    fn notified(&mut self, notification: OwnedNotification<Identity>, now: Instant) {
        match notification {
            OwnedNotification::MemberUp(id) => self.records.turned(&id, true, now),
            OwnedNotification::MemberDown(id) => self.records.turned(&id, false, now),
            OwnedNotification::Rename(_, to) => self.records.renamed(&to, now),
            OwnedNotification::Active => self.active = true,
            OwnedNotification::Idle => {
                self.active = false;
                self.announce_at = self.announce_at.min(now.later(self.config.announce_every));
            }
            OwnedNotification::Rejoin(_) => {
                self.renew_at = now.later(self.config.probe_period);
                self.own_incarnation = 0;
                let again = self.engine.apply_many(std::iter::empty(), false, &mut self.effects);
                self.note(again);
            }
            OwnedNotification::Defunct => self.active = false,
        }
    }
}
