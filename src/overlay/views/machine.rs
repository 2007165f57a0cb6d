//! The state of the views of one node.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use indexmap::IndexMap;

use crate::{
    overlay::{
        dice::Dice,
        views::{
            DownReason, MAX_SAMPLE, PeerKey, ViewsConfig, ViewsEvent, ViewsMessage, ViewsOutput,
            flaps::Flaps, passive::Passive,
        },
    },
    time::{Later, part},
};

/// The maximum number of lost neighbours that are asked again.
const LOST: usize = 16;
/// The maximum number of contacts.
const CONTACTS: usize = 64;
#[derive(Debug)]
pub(super) struct Neighbor {
    /// The position in the order in which the neighbours came.
    pub(super) came: u64,
    pub(super) group: Option<u64>,
    /// Whether the broadcast found it useful.
    pub(super) useful: bool,
    /// The theoretical arrival time of its next walk.
    pub(super) walks: Instant,
}

/// Why a peer is asked to become a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To enter the network by a contact.
    Join,
    /// A place is free, and the node has few neighbours (`true`) or only fewer than it wants.
    Fill(bool),
    /// The walk of a joining peer ended here.
    Walk,
    /// It was a neighbour before its link broke.
    Return,
}

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) purpose: Purpose,
    pub(super) until: Instant,
}

/// A peer that is asked again with back-off.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) since: Instant,
    pub(super) tries: u32,
    pub(super) due: Instant,
}

/// The views of one node.
///
/// The driver passes in each message ([`receive`](Self::receive)), each broken link or failed dial
/// ([`unreachable`](Self::unreachable)) and the time ([`tick`](Self::tick), not later than
/// [`next_tick`](Self::next_tick)), and after each call takes all outputs with
/// [`poll`](Self::poll).
///
/// ```
/// use std::time::Instant;
///
/// use actix_peer::overlay::views::{Views, ViewsConfig, ViewsEvent, ViewsOutput};
///
/// let now = Instant::now();
/// let mut ada = Views::new("ada", ViewsConfig::default(), 1, now);
/// let mut bob = Views::new("bob", ViewsConfig::default(), 2, now);
/// bob.add_contact("ada", now);
/// // Passes the messages of one node to the other.
/// fn pass(from: &mut Views<&'static str>, to: &mut Views<&'static str>, now: Instant) {
///     while let Some(output) = from.poll() {
///         if let ViewsOutput::Send { message, .. } = output {
///             to.receive(from.me(), message, now);
///         }
///     }
/// }
/// bob.tick(now);
/// pass(&mut bob, &mut ada, now);
/// pass(&mut ada, &mut bob, now);
/// assert!(bob.active().eq(["ada"].iter()) && ada.active().eq(["bob"].iter()));
/// assert_eq!(bob.poll(), Some(ViewsOutput::Event(ViewsEvent::NeighborUp("ada"))));
/// ```
#[derive(Debug)]
pub struct Views<P> {
    pub(super) me: P,
    pub(super) config: ViewsConfig,
    pub(super) dice: Dice,
    pub(super) group: fn(&P) -> Option<u64>,
    pub(super) active: IndexMap<P, Neighbor>,
    pub(super) passive: Passive<P>,
    pub(super) asked: IndexMap<P, Asked>,
    pub(super) lost: IndexMap<P, Retry>,
    pub(super) contacts: IndexMap<P, Retry>,
    pub(super) flaps: Flaps<P>,
    /// Neighbours that have ended the relation. They are not asked again at once: a node with little
    /// room takes in one after the other.
    pub(super) full: Flaps<P>,
    /// When lost neighbours came back by eviction of others.
    pub(super) returned: VecDeque<Instant>,
    pub(super) came: u64,
    pub(super) shuffles: u32,
    pub(super) shuffle_due: Option<Instant>,
    /// The token and the peers of the last shuffle. `None` if it was answered.
    pub(super) shuffled: Option<(u64, Vec<P>)>,
    /// Since when the node is without a neighbour. `None` if it has one, or if it said so.
    pub(super) without: Option<Instant>,
    pub(super) joined: bool,
    pub(super) left: bool,
    pub(super) outputs: VecDeque<ViewsOutput<P>>,
}

impl<P: PeerKey> Views<P> {
    /// The views of a node that knows no other.
    ///
    /// `seed` is the source of all random choices.
    #[must_use]
    pub fn new(me: P, config: ViewsConfig, seed: u64, now: Instant) -> Self {
        Self {
            me,
            config,
            dice: Dice::new(seed),
            group: |_| None,
            active: IndexMap::new(),
            passive: Passive::new(&config),
            asked: IndexMap::new(),
            lost: IndexMap::new(),
            contacts: IndexMap::new(),
            flaps: Flaps::new(),
            full: Flaps::new(),
            returned: VecDeque::new(),
            came: 0,
            shuffles: 0,
            shuffle_due: None,
            shuffled: None,
            without: Some(now),
            joined: false,
            left: false,
            outputs: VecDeque::new(),
        }
    }

    /// Sets how the group of a peer is found, for example its network. A group takes a share of
    /// each view ([`ViewsConfig::group_share`]). A peer of no group is exempt.
    #[must_use]
    pub fn with_groups(mut self, group: fn(&P) -> Option<u64>) -> Self {
        self.group = group;
        self
    }

    /// The id of this node.
    pub const fn me(&self) -> &P {
        &self.me
    }

    /// The neighbours.
    pub fn active(&self) -> impl Iterator<Item = &P> {
        self.active.keys()
    }

    /// The passive peers.
    pub fn passive(&self) -> impl Iterator<Item = &P> {
        self.passive.peers()
    }

    /// Whether a peer is a neighbour.
    #[must_use]
    pub fn is_neighbor(&self, peer: &P) -> bool {
        self.active.contains_key(peer)
    }

    /// The lost neighbours that are asked again.
    pub fn lost(&self) -> impl Iterator<Item = &P> {
        self.lost.keys()
    }

    /// Adds a peer by which the node enters the network, now and whenever it is alone. At most 64
    /// contacts are kept.
    pub fn add_contact(&mut self, contact: P, now: Instant) {
        if contact != self.me && self.contacts.len() < CONTACTS {
            self.contacts.entry(contact).or_insert(Retry { since: now, tries: 0, due: now });
        }
    }

    /// Enters the network of a contact: asks it to become a neighbour, also if the node has
    /// neighbours. It is a [contact](Self::add_contact) from then on.
    pub fn join(&mut self, contact: P, now: Instant) {
        self.add_contact(contact.clone(), now);
        let knows = self.active.contains_key(&contact) || self.asked.contains_key(&contact);
        if contact != self.me && !knows && !self.left {
            self.ask(contact, Purpose::Join, now);
        }
    }

    /// Asks a peer to become a neighbour and to introduce this node, as in [`join`](Self::join), but
    /// does not note it as a contact.
    pub fn introduce(&mut self, to: P, now: Instant) {
        let knows = self.active.contains_key(&to) || self.asked.contains_key(&to);
        if to != self.me && !knows && !self.left && !self.flaps.is_barred(&to, now) {
            self.ask(to, Purpose::Join, now);
        }
    }

    /// Answers a peer that asks to become a neighbour and may not.
    pub fn refuse(&mut self, stranger: &P) {
        self.send(stranger.clone(), ViewsMessage::Refuse { peers: Vec::new() });
    }

    /// Whether the node looks for more neighbours.
    #[must_use]
    pub fn wants_neighbors(&self) -> bool {
        !self.left && self.active.len() < self.config.active_target
    }

    /// Adds a passive peer that the driver knows from elsewhere, for example from a saved table.
    pub fn add_passive(&mut self, peer: P) {
        self.add_passive_from(peer, None);
    }

    /// Adds a passive peer of which another one has told: those of one source take a share of the
    /// passive view ([`ViewsConfig::source_share`]).
    pub fn add_passive_from(&mut self, peer: P, source: Option<P>) {
        self.learn(vec![peer], source, Vec::new());
    }

    /// The next thing to do. `None` if there is none.
    pub fn poll(&mut self) -> Option<ViewsOutput<P>> {
        self.outputs.pop_front()
    }

    /// Notes whether the broadcast finds a neighbour useful. Useful neighbours are evicted last.
    pub fn set_useful(&mut self, peer: &P, useful: bool) {
        if let Some(neighbor) = self.active.get_mut(peer) {
            neighbor.useful = useful;
        }
    }

    /// Forgets [contacts](Self::add_contact), so that they are not asked when the node is alone.
    pub fn forget_contacts(&mut self, mut which: impl FnMut(&P) -> bool) {
        self.contacts.retain(|contact, _| !which(contact));
    }

    /// Drops a neighbour, for example because it misbehaves. It cannot become a neighbour again for
    /// this time, and is not asked either if it is a contact.
    pub fn drop_peer(&mut self, peer: &P, time: Duration, now: Instant) {
        self.flaps.bar(peer, time, now);
        if let Some(contact) = self.contacts.get_mut(peer) {
            contact.due = contact.due.max(now.later(time));
        }
        self.passive.remove(peer);
        self.lost.swap_remove(peer);
        if self.active.contains_key(peer) {
            self.send(peer.clone(), ViewsMessage::Disconnect { peers: Vec::new() });
            self.down(peer, DownReason::Dropped, now);
            self.fill(now);
        }
    }

    /// Leaves the network: tells each neighbour. The views do nothing afterwards.
    pub fn leave(&mut self, now: Instant) {
        self.left = true;
        for peer in self.active.keys().cloned().collect::<Vec<_>>() {
            self.send(peer.clone(), ViewsMessage::Leave);
            self.down(&peer, DownReason::Leaving, now);
        }
        self.asked.clear();
        self.lost.clear();
        self.contacts.clear();
    }

    /// Whether the node [has left](Self::leave).
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn send(&mut self, to: P, message: ViewsMessage<P>) {
        self.outputs.push_back(ViewsOutput::Send { to, message });
    }

    pub(super) fn event(&mut self, event: ViewsEvent<P>) {
        self.outputs.push_back(ViewsOutput::Event(event));
    }

    pub(super) fn has_room(&self) -> bool {
        self.active.len() < self.config.active_limit
    }

    /// Whether the share of the group of `peer` has room among the neighbours.
    pub(super) fn group_has_room(&self, group: Option<u64>) -> bool {
        group.is_none()
            || self.active.values().filter(|of| of.group == group).count()
                < self.config.group_active()
    }

    /// Makes a peer a neighbour. Evicts another one if there is no room.
    pub(super) fn take_in(&mut self, peer: P, now: Instant) {
        self.asked.swap_remove(&peer);
        self.passive.remove(&peer);
        self.lost.swap_remove(&peer);
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.tries = 0;
        }
        if self.active.contains_key(&peer) {
            return;
        }
        let group = (self.group)(&peer);
        if !self.group_has_room(group) {
            self.evict(|of| of.group == group, now);
        } else if !self.has_room() {
            self.evict(|_| true, now);
        }
        self.came = self.came.saturating_add(1);
        let neighbor = Neighbor { came: self.came, group, useful: false, walks: now };
        self.active.insert(peer.clone(), neighbor);
        self.without = None;
        self.event(ViewsEvent::NeighborUp(peer));
        if !self.joined {
            self.joined = true;
            self.event(ViewsEvent::Joined);
        }
        if self.shuffle_due.is_none() {
            self.plan_shuffle(now);
        }
    }

    /// Evicts a random neighbour of those that are not protected.
    fn evict(&mut self, which: impl Fn(&Neighbor) -> bool, now: Instant) {
        let mut ranked: Vec<_> = self
            .active
            .iter()
            .filter(|(_, neighbor)| which(neighbor))
            .map(|(peer, neighbor)| (!neighbor.useful, neighbor.came, peer.clone()))
            .collect();
        ranked.sort_unstable();
        let protected = self.config.protected().min(ranked.len().saturating_sub(1));
        let mut able = ranked.split_off(protected);
        let Some((.., victim)) = self.dice.take(&mut able) else { return };
        let peers = self.sample(&victim);
        self.send(victim.clone(), ViewsMessage::Disconnect { peers });
        self.down(&victim, DownReason::Evicted, now);
        self.learn(vec![victim.clone()], None, Vec::new());
        self.passive.refused(&victim, now);
    }

    /// Removes a neighbour.
    pub(super) fn down(&mut self, peer: &P, reason: DownReason, now: Instant) {
        if self.active.shift_remove(peer).is_some() {
            self.event(ViewsEvent::NeighborDown(peer.clone(), reason));
            if self.active.is_empty() {
                self.without = Some(now);
                for (peer, contact) in &mut self.contacts {
                    if !self.flaps.is_dropped(peer, now) {
                        contact.due = contact.due.min(now.later(self.config.retry_longest));
                    }
                }
            }
        }
    }

    /// A random neighbour other than `from` and `begun_by`, to which a walk goes on.
    pub(super) fn next_hop(&mut self, from: &P, begun_by: &P) -> Option<P> {
        let others = self.active.keys().filter(|peer| *peer != from && *peer != begun_by);
        let mut others: Vec<_> = others.cloned().collect();
        self.dice.take(&mut others)
    }

    /// Random peers of both views for `receiver`.
    pub(super) fn sample(&mut self, receiver: &P) -> Vec<P> {
        let mut all: Vec<_> =
            self.active.keys().filter(|peer| *peer != receiver).cloned().collect();
        let mut peers = self.dice.sample(&mut all, MAX_SAMPLE / 2);
        let rest = MAX_SAMPLE.saturating_sub(peers.len());
        peers.extend(self.passive.sample(rest, &mut self.dice));
        peers.retain(|peer| peer != receiver);
        peers
    }

    /// Adds peers to the passive view.
    pub(super) fn learn(&mut self, peers: Vec<P>, source: Option<P>, mut given: Vec<P>) {
        for peer in peers {
            if peer != self.me && !self.active.contains_key(&peer) {
                let group = (self.group)(&peer);
                self.passive.add(peer, source.clone(), group, &mut given, &mut self.dice);
            }
        }
    }

    /// Notes a lost neighbour, which is asked again.
    pub(super) fn note_lost(&mut self, peer: P, now: Instant) {
        if self.lost.len() >= LOST {
            self.lost.shift_remove_index(0);
        }
        let due = now.later(self.jittered(self.config.retry_first));
        self.lost.insert(peer, Retry { since: now, tries: 0, due });
    }

    /// A time of 80 % to 120 % of `time`.
    pub(super) fn jittered(&mut self, time: Duration) -> Duration {
        let percent = u32::try_from(self.dice.below(41)).unwrap_or(0).saturating_add(80);
        part(time.saturating_mul(percent), 100)
    }
}
