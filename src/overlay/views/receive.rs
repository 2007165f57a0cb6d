//! The handling of messages and of links that break.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    overlay::views::{
        DownReason, MAX_SAMPLE, MAX_SHUFFLE, MAX_WALK, PeerKey, Priority, Views, ViewsMessage,
        config::ViewsConfig, machine::Purpose,
    },
    time::{Later, gcra},
};

/// How long a returned neighbour counts.
const RETURNED_FOR: Duration = Duration::from_secs(30);

/// The time of one walk: a neighbour may send 64 of them a second.
const WALK_EVERY: Duration = Duration::from_nanos(1_000_000_000 / 64);

/// The walks that a neighbour may send at once, as a time: 256 of them.
const WALK_BURST: Duration = Duration::from_secs(4);

/// Whether another lost neighbour may return by eviction of a neighbour: a quarter of the active
/// view in half a minute.
pub(super) fn may_return(
    returned: &mut VecDeque<Instant>,
    config: &ViewsConfig,
    now: Instant,
) -> bool {
    while returned.front().is_some_and(|at| at.later(RETURNED_FOR) <= now) {
        returned.pop_front();
    }
    returned.len() < (config.active_limit / 4).max(1)
}

impl<P: PeerKey> Views<P> {
    /// Handles a message of a peer.
    pub fn receive(&mut self, from: &P, message: ViewsMessage<P>, now: Instant) {
        if *from == self.me || self.left {
            return;
        }
        match message {
            ViewsMessage::Join => self.on_join(from, now),
            ViewsMessage::ForwardJoin { joiner, walk } => {
                self.on_forward_join(from, joiner, walk.min(MAX_WALK), now);
            }
            ViewsMessage::Neighbor { priority } => self.on_neighbor(from, priority, now),
            ViewsMessage::Accept { peers } => {
                self.learn_from(from, peers, MAX_SAMPLE);
                self.on_accept(from, now);
            }
            ViewsMessage::Refuse { peers } => {
                if let Some(asked) = self.asked.swap_remove(from) {
                    self.learn_from(from, peers, MAX_SAMPLE);
                    if asked.purpose == Purpose::Return {
                        // It is alive, and it has enough neighbours.
                        self.lost.swap_remove(from);
                        self.learn(vec![from.clone()], None, Vec::new());
                    }
                    self.passive.refused(from, now);
                    self.fill(now);
                }
            }
            ViewsMessage::Disconnect { peers } => {
                if self.active.contains_key(from) {
                    self.learn_from(from, peers, MAX_SAMPLE);
                    self.full.broke(from, now);
                    self.down(from, DownReason::Disconnected, now);
                    self.learn(vec![from.clone()], None, Vec::new());
                    self.passive.refused(from, now);
                    self.fill(now);
                }
            }
            ViewsMessage::Leave => {
                self.passive.remove(from);
                self.asked.swap_remove(from);
                self.lost.swap_remove(from);
                self.down(from, DownReason::Left, now);
                self.fill(now);
            }
            ViewsMessage::Shuffle { origin, token, walk, peers } => {
                if self.takes_walk(from, now) {
                    self.on_shuffle(from, (origin, token, walk.min(MAX_WALK), peers), now);
                }
            }
            ViewsMessage::ShuffleReply { token, peers } => {
                if self.shuffled.as_ref().is_some_and(|(sent, _)| *sent == token) {
                    let given = self.shuffled.take().map(|(_, given)| given).unwrap_or_default();
                    let peers = peers.into_iter().take(MAX_SHUFFLE).collect();
                    self.learn(peers, Some(from.clone()), given);
                    self.fill(now);
                }
            }
        }
    }

    /// Notes that the link to a peer broke, or that a dial failed.
    pub fn unreachable(&mut self, peer: &P, now: Instant) {
        let asked = self.asked.swap_remove(peer).is_some();
        self.passive.remove(peer);
        let tries = self.lost.get(peer).map(|lost| (lost.since, lost.tries));
        if let (Some((since, tries)), true) = (tries, asked) {
            let pause = self.retry_pause(since, now, tries);
            if let Some(lost) = self.lost.get_mut(peer) {
                lost.tries = tries.saturating_add(1);
                lost.due = now.later(pause);
            }
        }
        if asked && self.contacts.get(peer).is_some_and(|contact| contact.due <= now) {
            self.back_off_contact(peer, now);
        }
        if self.active.contains_key(peer) {
            self.flaps.broke(peer, now);
            self.down(peer, DownReason::Lost, now);
            self.note_lost(peer.clone(), now);
        }
        self.fill(now);
    }

    fn learn_from(&mut self, from: &P, peers: Vec<P>, most: usize) {
        self.learn(peers.into_iter().take(most).collect(), Some(from.clone()), Vec::new());
    }

    /// Whether a walk of a peer is handled: a neighbour within its rate. A peer that thinks it is a
    /// neighbour is told that it is not.
    fn takes_walk(&mut self, from: &P, now: Instant) -> bool {
        match self.active.get_mut(from) {
            Some(neighbor) => {
                let next = gcra::take(neighbor.walks, now, WALK_EVERY, WALK_BURST);
                neighbor.walks = next.unwrap_or(neighbor.walks);
                next.is_some()
            }
            None => {
                if !self.asked.contains_key(from) {
                    self.send(from.clone(), ViewsMessage::Disconnect { peers: Vec::new() });
                }
                false
            }
        }
    }

    fn accept(&mut self, peer: &P, now: Instant) {
        self.take_in(peer.clone(), now);
        let peers = self.sample(peer);
        self.send(peer.clone(), ViewsMessage::Accept { peers });
    }

    fn on_join(&mut self, from: &P, now: Instant) {
        if self.flaps.is_dropped(from, now) {
            self.refuse(from);
            return;
        }
        let again = self.active.contains_key(from);
        let others: Vec<_> = self.active.keys().filter(|peer| *peer != from).cloned().collect();
        self.accept(from, now);
        if again {
            return;
        }
        for peer in
            others.into_iter().filter(|peer| self.active.contains_key(peer)).collect::<Vec<_>>()
        {
            let walk = self.config.active_walk;
            self.send(peer, ViewsMessage::ForwardJoin { joiner: from.clone(), walk });
        }
    }

    fn on_forward_join(&mut self, from: &P, joiner: P, walk: u8, now: Instant) {
        if !self.takes_walk(from, now) || joiner == self.me {
            return;
        }
        let next = self.next_hop(from, &joiner);
        match (next, walk.checked_sub(1)) {
            (Some(next), Some(rest)) => {
                if walk == self.config.passive_walk {
                    self.learn(vec![joiner.clone()], Some(from.clone()), Vec::new());
                }
                self.send(next, ViewsMessage::ForwardJoin { joiner, walk: rest });
            }
            (None, _) | (_, None) => {
                let known = self.active.contains_key(&joiner) || self.asked.contains_key(&joiner);
                let open = self.asked.len() < self.config.active_limit.saturating_mul(2);
                if !known && open && !self.flaps.is_barred(&joiner, now) {
                    self.ask(joiner, Purpose::Walk, now);
                }
            }
        }
    }

    fn on_neighbor(&mut self, from: &P, priority: Priority, now: Instant) {
        let fits = self.has_room() && self.group_has_room((self.group)(from));
        let takes = fits || priority == Priority::High;
        // A peer whose link breaks often may come back where it takes the place of no other.
        let welcome = self.active.is_empty() || (fits && priority == Priority::High);
        let barred =
            self.flaps.is_dropped(from, now) || (self.flaps.is_barred(from, now) && !welcome);
        if self.active.contains_key(from) || (takes && !barred) {
            self.accept(from, now);
        } else {
            let peers = self.sample(from);
            self.send(from.clone(), ViewsMessage::Refuse { peers });
            self.learn(vec![from.clone()], None, Vec::new());
        }
    }

    fn on_accept(&mut self, from: &P, now: Instant) {
        if self.active.contains_key(from) {
            self.asked.swap_remove(from);
            return;
        }
        let purpose = self.asked.swap_remove(from).map(|asked| asked.purpose);
        let room = self.has_room() && self.group_has_room((self.group)(from));
        let takes = match purpose {
            None if room => {
                // It may answer a request before this node was dropped, and not know of the relation.
                let open = self.asked.len() < self.config.active_limit.saturating_mul(2);
                if open && !self.flaps.is_dropped(from, now) {
                    self.ask(from.clone(), Purpose::Walk, now);
                }
                return;
            }
            _ if room => true,
            Some(Purpose::Join | Purpose::Walk | Purpose::Fill(true)) => true,
            Some(Purpose::Return) if may_return(&mut self.returned, &self.config, now) => {
                self.returned.push_back(now);
                true
            }
            _ => false,
        };
        if takes {
            self.take_in(from.clone(), now);
        } else {
            self.lost.swap_remove(from);
            self.send(from.clone(), ViewsMessage::Disconnect { peers: Vec::new() });
            self.learn(vec![from.clone()], None, Vec::new());
        }
        self.fill(now);
    }
}
