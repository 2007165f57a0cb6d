//! Peer exchange: neighbours tell each other about peers that they have seen alive.

mod message;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::overlay::{
    Learned, PeerInfo, PeerList, Stabilizer, StabilizerAction, StabilizerEvent, View,
    address_book::group_of,
    dice::Dice,
    options::{COUNT_OR_NONE, ConfigError, Options, Setting, TIME, settings},
};

use self::message::question;
pub use self::message::{MAX_TOLD, PeersSeen};
pub(crate) use self::message::{PEX, is_question};

/// Hints that are remembered, so that they are not followed again soon.
const REMEMBERED: usize = 256;

/// Who was not seen for so long is told to nobody, and heard of in vain.
pub(crate) const LATELY: Duration = Duration::from_secs(600);

/// Asks one known peer at a time, of a network (/24, /48) chosen at random, whom it has seen alive lately,
/// and follows a few of its hints, first those into networks of which the table has least, as long as the table has room. Peers that introduced themselves are asked only as long as
/// there are no others: whoever joins often is not heard for it.
///
/// What is heard is a hint: its address has to be one that the teller may name
/// ([`Scope`](crate::overlay::Scope)), it is dialled at the pace of unverified ones, and it enters the
/// table only when it answers `NAME` with its id, within the [`Shares`](crate::overlay::Shares) of the
/// table: one peer tells at most 12 % of it. So a liar costs at most so many dials each time it is asked
/// as there are [`hints`](Self::hints).
///
/// Added by [`Builder::peer_exchange`](crate::Builder::peer_exchange), which answers such questions, too.
/// The original programs do not answer them; that does them no harm.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::overlay::{PeerExchange, Stabilizer};
///
/// let exchange = PeerExchange::new().every(Duration::from_secs(60)).hints(4).seed(7);
/// assert_eq!(exchange.name(), "peer-exchange");
/// ```
#[derive(Clone, Debug)]
pub struct PeerExchange {
    every: Duration,
    within: Duration,
    hints: usize,
    dice: Option<Dice>,
    followed: VecDeque<PeerInfo>,
}

impl Default for PeerExchange {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            within: Duration::from_secs(2),
            hints: 4,
            dice: None,
            followed: VecDeque::new(),
        }
    }
}

impl PeerExchange {
    /// One question every 30 s with 2 s for its answer, of which four hints are followed.
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

    /// The time that a peer has to answer, connecting included. Default 2 s; 1 ms to
    /// 365 days.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The most hints of one answer that are followed, each with one dial. Default 4; an answer has 16
    /// at most, and this may be 0 to 1,048,576. More fills the table faster, and lets a liar cause more dials.
    #[must_use]
    pub const fn hints(mut self, hints: usize) -> Self {
        self.hints = hints;
        self
    }

    /// The same seed chooses the same. Without one [`Builder::peer_exchange`](crate::Builder::peer_exchange)
    /// draws one that nobody foresees.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.dice = Some(Dice::new(seed));
        self
    }

    /// With this seed unless it has one, and one for what is told.
    pub(crate) fn seeded(mut self, seed: u64) -> (Self, u64) {
        let told = self.dice.get_or_insert(Dice::new(seed)).next();
        (self, told)
    }

    fn dice(&mut self) -> &mut Dice {
        self.dice.get_or_insert(Dice::new(0))
    }

    fn tick(&mut self, peers: &PeerList) -> Vec<StabilizerAction> {
        if peers.is_full() {
            return Vec::new();
        }
        let verified = || peers.iter().filter(|entry| entry.verified().is_some());
        let gone_to = || verified().filter(|entry| *entry.learned() != Learned::Joined);
        let mut known: Vec<_> = gone_to().collect();
        if known.is_empty() {
            known = verified().collect();
        }
        // A network first, then one of its peers.
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

    fn told(&mut self, by: &PeerInfo, told: PeersSeen, view: &View<'_>) -> Vec<StabilizerAction> {
        let is_new = |peer: &PeerInfo| {
            peer.id() != view.me.id()
                && peer.address() != view.me.address()
                && !view.peers.contains(peer.id())
                && !self.followed.contains(peer)
        };
        let fresh = told.into_iter().filter(|(_, ago)| *ago < LATELY);
        let mut hints: Vec<_> =
            fresh.map(|(peer, _)| peer).filter(|peer| is_new(peer)).take(MAX_TOLD).collect();
        let mut networks = BTreeMap::<_, usize>::new();
        for entry in view.peers.iter() {
            *networks.entry(group_of(entry.seen_at())).or_default() += 1;
        }
        // At random, those first of whose network the table has least.
        let mut drawn: Vec<_> = std::iter::from_fn(|| self.dice().take(&mut hints)).collect();
        drawn.sort_by_key(|peer| networks.get(&group_of(peer.host())).copied());
        let mut actions = Vec::new();
        for peer in drawn.into_iter().take(self.hints) {
            if self.followed.len() >= REMEMBERED {
                self.followed.pop_front();
            }
            self.followed.push_back(peer.clone());
            actions.push(StabilizerAction::Consider { peer, by: by.clone() });
        }
        actions
    }
}

impl Options for PeerExchange {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self { every, within, hints, dice: _, followed: _ } = self;
        settings! {
            "PeerExchange::every", "", every, TIME;
            "PeerExchange::within", "", within, TIME;
            "PeerExchange::hints", "hints", hints, COUNT_OR_NONE;
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
                .map_or_else(Vec::new, |told| self.told(&peer, told, view)),
            StabilizerEvent::Failed { .. } => Vec::new(),
        }
    }
}

/// What a node tells: at most [`MAX_TOLD`] peers at random that it has verified and seen alive lately,
/// each with how long ago.
pub(crate) fn seen_lately(peers: &PeerList, now: std::time::Instant, seed: u64) -> PeersSeen {
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
    std::iter::from_fn(|| dice.take(&mut seen)).take(MAX_TOLD).collect()
}

#[cfg(test)]
mod tests;
