//! Shuffles, which exchange samples of the views.

use std::time::{Duration, Instant};

use crate::{
    overlay::views::{MAX_SHUFFLE, PeerKey, Views, ViewsMessage},
    time::{Later, doubled},
};

/// The pause before the first shuffle. It doubles until it is the configured one.
const FIRST_SHUFFLE: Duration = Duration::from_secs(1);

impl<P: PeerKey> Views<P> {
    pub(super) fn plan_shuffle(&mut self, now: Instant) {
        let pause = doubled(FIRST_SHUFFLE, self.shuffles, self.config.shuffle_every);
        self.shuffles = self.shuffles.saturating_add(1);
        self.shuffle_due = Some(now.later(self.jittered(pause)));
    }

    /// Begins a shuffle with a random neighbour.
    pub(super) fn shuffle(&mut self, now: Instant) {
        self.plan_shuffle(now);
        let mut active: Vec<_> = self.active.keys().cloned().collect();
        let Some(to) = self.dice.take(&mut active) else {
            self.shuffle_due = None;
            return;
        };
        let mut peers = self.dice.sample(&mut active, self.config.shuffle_active);
        let passive = self.passive.sample(self.config.shuffle_passive, &mut self.dice);
        peers.extend(passive.iter().cloned());
        peers.truncate(MAX_SHUFFLE);
        let token = self.dice.next();
        self.shuffled = Some((token, passive));
        let (origin, walk) = (self.me.clone(), self.config.shuffle_walk);
        self.send(to, ViewsMessage::Shuffle { origin, token, walk, peers });
    }

    pub(super) fn on_shuffle(
        &mut self,
        from: &P,
        (origin, token, walk, mut peers): (P, u64, u8, Vec<P>),
        now: Instant,
    ) {
        if origin == self.me {
            return;
        }
        peers.truncate(MAX_SHUFFLE);
        match (self.next_hop(from, &origin), walk.checked_sub(1)) {
            (Some(next), Some(walk)) => {
                self.send(next, ViewsMessage::Shuffle { origin, token, walk, peers });
            }
            (None, _) | (_, None) => {
                let sample = self.passive.sample(peers.len(), &mut self.dice);
                let reply = ViewsMessage::ShuffleReply { token, peers: sample.clone() };
                self.send(origin.clone(), reply);
                peers.push(origin);
                self.learn(peers, Some(from.clone()), sample);
                self.fill(now);
            }
        }
    }
}
