//! Peer exchange: peers tell each other about peers that they have seen alive.

mod message;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    bounded::BoundedMap,
    overlay::{
        PeerInfo, PeerList, Stabilizer, StabilizerAction, StabilizerEvent, View,
        address_book::group_of,
        dice::Dice,
        options::{ConfigError, Options, Setting, TIME, settings},
    },
};

use self::message::question;
pub use self::message::{MAX_HINTS, PeersSeen};
pub(crate) use self::message::{PEX, is_question};

/// The number of hints that are remembered, so that they are not followed again soon.
const REMEMBERED: usize = 256;

/// The number of hints of one answer that are followed, each with one dial: enough to fill a table
/// within minutes, and few enough that a lying peer causes few dials. An answer has at most 16.
const FOLLOWED: usize = 4;

/// A peer that was not seen for this time is not told to others, and a hint of this age is ignored.
pub(crate) const LATELY: Duration = Duration::from_secs(600);

/// Asks one known peer at a time which peers it has seen alive recently, and follows a few of its
/// hints while the table has room. The peer is from a random network (/24, /48). Hints into
/// networks of which the table has the fewest peers are followed first. Peers that introduced
/// themselves are asked only while there are no others, so that frequent joins give no influence.
///
/// An answer is only a hint. Its address has to be one that the answering peer may name
/// ([`Scope`](crate::overlay::Scope)). It is dialled at the pace of unverified addresses. It enters
/// the table only when it answers `NAME` with its id, within the [`Shares`](crate::overlay::Shares)
/// of the table: one peer contributes at most 12 % of it. A lying peer therefore causes at most
/// four dials each time it is asked.
///
/// [`Builder::peer_exchange`](crate::Builder::peer_exchange) adds it, and also answers such
/// questions. The original programs do not answer them, which has no effect on these programs.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::overlay::{PeerExchange, Stabilizer};
///
/// let exchange = PeerExchange::new().every(Duration::from_secs(60)).seed(7);
/// assert_eq!(exchange.name(), "peer-exchange");
/// ```
#[derive(Clone, Debug)]
pub struct PeerExchange {
    every: Duration,
    within: Duration,
    dice: Option<Dice>,
    /// The hints that were followed, ranked by the time.
    followed: BoundedMap<PeerInfo, (), Instant>,
}

impl Default for PeerExchange {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            within: Duration::from_secs(2),
            dice: None,
            followed: BoundedMap::new(REMEMBERED),
        }
    }
}

impl PeerExchange {
    /// One question every 30 s with 2 s for its answer, and four hints followed of each.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pause between two questions. Default 30 s; 1 ms to 365 days.
    #[must_use]
    pub const fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// The time for the answer, connecting included. Default 2 s; 1 ms to 365 days.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The seed of the random choices. The same seed gives the same choices. Without one,
    /// [`Builder::peer_exchange`](crate::Builder::peer_exchange) draws an unpredictable one.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.dice = Some(Dice::new(seed));
        self
    }

    /// Sets this seed unless there is one. Also returns a seed for the answers to other nodes.
    pub(crate) fn seeded(mut self, seed: u64) -> (Self, u64) {
        let answers = self.dice.get_or_insert(Dice::new(seed)).next();
        (self, answers)
    }

    fn dice(&mut self) -> &mut Dice {
        self.dice.get_or_insert(Dice::new(0))
    }

    fn tick(&mut self, peers: &PeerList) -> Vec<StabilizerAction> {
        if peers.is_full() {
            return Vec::new();
        }
        let verified = || peers.iter().filter(|entry| entry.verified().is_some());
        let gone_to = || verified().filter(|entry| !entry.learned().came_by_itself());
        let mut known: Vec<_> = gone_to().collect();
        if known.is_empty() {
            known = verified().collect();
        }
        // A random network first, then one of its peers.
        let mut networks = BTreeMap::<_, Vec<_>>::new();
        for entry in known {
            networks.entry(group_of(entry.seen_at())).or_default().push(entry);
        }
        let mut networks: Vec<_> = networks.into_values().collect();
        let mut network = self.dice().take(&mut networks).unwrap_or_default();
        let peer = self.dice().take(&mut network).map(|entry| entry.info().clone());
        let within = self.within;
        peer.map(|peer| StabilizerAction::Ask { peer, frame: question(), within })
            .into_iter()
            .collect()
    }

    fn follow_hints(
        &mut self,
        by: &PeerInfo,
        seen: PeersSeen,
        view: &View<'_>,
    ) -> Vec<StabilizerAction> {
        let is_new = |peer: &PeerInfo| {
            peer.id() != view.me.id()
                && peer.address() != view.me.address()
                && !view.peers.contains(peer.id())
                && !self.followed.contains_key(peer)
        };
        let fresh = seen.into_iter().filter(|(_, ago)| *ago < LATELY);
        let mut hints: Vec<_> =
            fresh.map(|(peer, _)| peer).filter(|peer| is_new(peer)).take(MAX_HINTS).collect();
        let mut networks = BTreeMap::<_, usize>::new();
        for entry in view.peers.iter() {
            *networks.entry(group_of(entry.seen_at())).or_default() += 1;
        }
        // Random, with hints into networks of which the table has the fewest peers first.
        let mut drawn: Vec<_> = std::iter::from_fn(|| self.dice().take(&mut hints)).collect();
        drawn.sort_by_key(|peer| networks.get(&group_of(peer.host())).copied());
        let mut actions = Vec::new();
        for peer in drawn.into_iter().take(FOLLOWED) {
            self.followed.insert(peer.clone(), (), view.now);
            actions.push(StabilizerAction::Consider { peer, by: by.clone() });
        }
        actions
    }
}

impl Options for PeerExchange {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { every, within, dice: _, followed: _ } = self;
        settings! {
            "PeerExchange::every", "", every, TIME;
            "PeerExchange::within", "", within, TIME;
        }
    }
}

impl Stabilizer for PeerExchange {
    fn validate(&self) -> Result<(), ConfigError> {
        self.validate_all()
    }

    fn name(&self) -> &str {
        "peer-exchange"
    }

    fn every(&self) -> Duration {
        self.every
    }

    fn step(&mut self, event: StabilizerEvent, view: &View<'_>) -> Vec<StabilizerAction> {
        match event {
            StabilizerEvent::Tick => self.tick(view.peers),
            StabilizerEvent::Answered { peer, replies } => replies
                .first()
                .and_then(PeersSeen::decode)
                .map_or_else(Vec::new, |hints| self.follow_hints(&peer, hints, view)),
            StabilizerEvent::Failed { .. } => Vec::new(),
        }
    }
}

/// The answer of a node: at most [`MAX_HINTS`] random peers that it has verified and seen alive
/// recently, each with the time since then.
pub(crate) fn seen_lately(peers: &PeerList, now: Instant, seed: u64) -> PeersSeen {
    let mut dice = Dice::new(seed);
    let mut seen: Vec<_> = peers
        .iter()
        .filter_map(|entry| {
            let at = entry.verified()?;
            let at = entry.last_seen().map_or(at, |seen| seen.max(at));
            let ago = now.saturating_duration_since(at);
            (ago < LATELY).then(|| (entry.info().clone(), ago))
        })
        .collect();
    dice.sample(&mut seen, MAX_HINTS).into_iter().collect()
}

#[cfg(test)]
mod tests;
