//! Whether the peers that this node lists also list it, and when it introduces itself again.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::{
    frame::{Frame, TypeCode},
    overlay::{Address, PeerInfo, PeerList},
};

/// The minimum pause between two introductions to a peer, and after the peer said that it lists
/// this node. With the sweeps of [`PingSweep`](crate::PingSweep) two introductions are 15 to 21 s
/// apart.
const REST: Duration = Duration::from_secs(12);

/// The same for a peer that does not understand an introduction.
const LONG_REST: Duration = Duration::from_secs(600);

/// The answer that the peer lists this id does not include the address. The peer's list includes
/// it, and is requested again after this time.
const CONFIRMED_FOR: Duration = Duration::from_secs(120);

/// What the table of a peer says about this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// This node is in it, with its address.
    Listed,
    /// This node is not in it.
    Unknown,
    /// The id of this node is in it with another address.
    Elsewhere(Address),
}

impl Listing {
    /// What this table says about a node. `is_there` says whether an entry has the address of the
    /// node.
    pub(crate) fn of(
        list: &PeerList,
        asker: &PeerInfo,
        is_there: impl FnOnce(&crate::overlay::PeerEntry) -> bool,
    ) -> Self {
        match list.get(asker.id()) {
            None => Self::Unknown,
            Some(entry) if entry.info() == asker || is_there(entry) => Self::Listed,
            Some(entry) => Self::Elsewhere(entry.info().address().clone()),
        }
    }

    /// What a list that a peer has sent says about the node `me`.
    pub(crate) fn in_list(
        replies: &[Frame],
        me: &PeerInfo,
        is_own: impl Fn(&Address) -> bool,
    ) -> Self {
        let entries = replies.iter().skip(1).filter(|reply| reply.code() == TypeCode::REPL);
        let entries = entries.filter_map(|reply| reply.as_str().ok()?.parse::<PeerInfo>().ok());
        let mut listing = Self::Unknown;
        for entry in entries.filter(|entry| entry.id() == me.id()) {
            if entry.address() == me.address() || is_own(entry.address()) {
                return Self::Listed;
            }
            listing = Self::Elsewhere(entry.address().clone());
        }
        listing
    }

    /// Encodes it as the second frame of the answer to a `PING` over a link.
    pub(crate) fn to_frame(&self) -> Frame {
        let text = match self {
            Self::Listed => "listed".to_owned(),
            Self::Unknown => "unknown".to_owned(),
            Self::Elsewhere(at) => format!("elsewhere {at}"),
        };
        Frame::text(TypeCode::PONG, text)
    }

    /// Decodes it from the answer to a `PING`; `None` if the answer does not include it.
    pub(crate) fn in_pong(replies: &[Frame]) -> Option<Self> {
        let reply = replies.get(1).filter(|reply| reply.code() == TypeCode::PONG)?;
        match reply.as_str().ok()? {
            "listed" => Some(Self::Listed),
            "unknown" => Some(Self::Unknown),
            text => text.strip_prefix("elsewhere ")?.parse().ok().map(Self::Elsewhere),
        }
    }
}

/// The answer of a peer to an introduction (`JOIN`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Introduced {
    /// It did not list this node, and does now.
    Added,
    /// It lists this id, with any address.
    Known,
    /// It does not list this node, for the reason in its words.
    Refused(String),
    /// The answer cannot be understood.
    NotSaid,
}

/// The number of characters of a refusal that are kept.
const WORDS: usize = 256;

impl Introduced {
    pub(crate) fn of(replies: &[Frame]) -> Self {
        let Some(reply) = replies.first() else { return Self::NotSaid };
        let text = String::from_utf8_lossy(reply.data());
        match reply.code() {
            TypeCode::REPL => Self::Added,
            _ if text.starts_with("Join: peer already inserted") => Self::Known,
            TypeCode::ERRO => Self::Refused(text.chars().take(WORDS).collect()),
            _ => Self::NotSaid,
        }
    }
}

/// A report to the application about a peer that this node lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListingReport {
    /// The peer did not list this node. It has words if the peer still does not.
    Unknown(Option<String>),
    /// The peer lists another node with this id.
    Elsewhere(Address),
}

#[derive(Clone, Debug, Default)]
struct IntroductionState {
    /// When the peer last said that it lists this node.
    listed: Option<Instant>,
    /// When the peer's list last said so.
    confirmed: Option<Instant>,
    /// When the last introduction began, and the pause after it.
    introduced: Option<(Instant, Duration)>,
    under_way: bool,
    /// The last report to the application.
    reported: Option<ListingReport>,
}

/// The state of each listed peer. At most one entry for each peer in the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Introductions(IndexMap<PeerInfo, IntroductionState>);

impl Introductions {
    fn known(&mut self, peer: &PeerInfo) -> &mut IntroductionState {
        self.0.entry(peer.clone()).or_default()
    }

    /// Forgets the peers that are no longer in the table.
    pub(crate) fn prune(&mut self, list: &PeerList) {
        if self.0.len() > list.len() {
            self.0.retain(|peer, _| list.get(peer.id()).is_some_and(|entry| entry.info() == peer));
        }
    }

    /// Whether to introduce the node to this peer, which has just shown that it is alive. If so,
    /// the introduction is under way until [`ended`](Self::ended).
    pub(crate) fn begin(&mut self, peer: &PeerInfo, now: Instant) -> bool {
        let known = self.known(peer);
        let rests = |at: Instant, rest| now.saturating_duration_since(at) < rest;
        if known.under_way
            || known.listed.is_some_and(|at| rests(at, REST))
            || known.introduced.is_some_and(|(at, rest)| rests(at, rest))
        {
            return false;
        }
        known.under_way = true;
        known.introduced = Some((now, REST));
        true
    }

    /// Records the end of the introduction that was under way. The pause is longer for a peer that
    /// did not understand it.
    pub(crate) fn ended(&mut self, peer: &PeerInfo, understood: bool) {
        if let Some(known) = self.0.get_mut(peer) {
            known.under_way = false;
            if let Some((_, rest)) = &mut known.introduced
                && !understood
            {
                *rest = LONG_REST;
            }
        }
    }

    /// Whether to request the list of a peer that lists this id, to learn with which address.
    pub(crate) fn confirms(&mut self, peer: &PeerInfo, now: Instant) -> bool {
        let known = self.known(peer);
        let lately = |at| now.saturating_duration_since(at) < CONFIRMED_FOR;
        if known.reported.is_none() && known.confirmed.is_some_and(lately) {
            known.listed = Some(now);
            return false;
        }
        true
    }

    /// Records a peer's answer whether it lists this node. Returns a new report for the
    /// application.
    pub(crate) fn record_listing(
        &mut self,
        peer: &PeerInfo,
        listing: &Listing,
        now: Instant,
    ) -> Option<ListingReport> {
        let known = self.known(peer);
        match listing {
            Listing::Listed => {
                (known.listed, known.confirmed, known.reported) = (Some(now), Some(now), None);
                None
            }
            Listing::Unknown => {
                // The node introduces itself at once, and the answer gives the details.
                (known.listed, known.confirmed) = (None, None);
                if let Some((_, rest)) = &mut known.introduced {
                    *rest = (*rest).min(REST);
                }
                None
            }
            Listing::Elsewhere(at) => {
                // Another introduction makes the peer check which of the two nodes is alive.
                (known.listed, known.confirmed) = (None, None);
                known.report(ListingReport::Elsewhere(at.clone()))
            }
        }
    }

    /// Records a peer's answer to an introduction. Returns a new report for the application.
    pub(crate) fn answered(
        &mut self,
        peer: &PeerInfo,
        answer: &Introduced,
        now: Instant,
    ) -> Option<ListingReport> {
        let known = self.known(peer);
        match answer {
            Introduced::Added => {
                let reported = known.report(ListingReport::Unknown(None));
                (known.listed, known.confirmed, known.reported) = (Some(now), Some(now), None);
                reported
            }
            Introduced::Refused(words) => {
                (known.listed, known.confirmed) = (None, None);
                known.report(ListingReport::Unknown(Some(words.clone())))
            }
            Introduced::Known | Introduced::NotSaid => None,
        }
    }
}

impl IntroductionState {
    fn report(&mut self, reported: ListingReport) -> Option<ListingReport> {
        (self.reported.as_ref() != Some(&reported)).then(|| {
            self.reported = Some(reported.clone());
            reported
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::Learned;

    const SECOND: Duration = Duration::from_secs(1);

    fn begin() -> (Introductions, PeerInfo, Instant) {
        let now = tokio::time::Instant::now().into_std();
        (Introductions::default(), "bob 10.0.0.2 9000".parse().unwrap(), now)
    }

    #[test]
    fn a_peer_gets_an_introduction_every_twelve_seconds_at_most_unless_it_lists_the_node() {
        let (mut all, bob, begun) = begin();
        let mut times = Vec::new();
        for second in 0..60 {
            let now = begun + SECOND * second;
            if all.begin(&bob, now) {
                times.push(second);
                assert!(!all.begin(&bob, now + 100 * SECOND), "it is under way");
                all.ended(&bob, true);
            }
        }
        assert_eq!(times, [0, 12, 24, 36, 48]);
        for second in 60..120 {
            let now = begun + SECOND * second;
            if second % 5 == 0 {
                all.record_listing(&bob, &Listing::Listed, now);
            }
            assert!(!all.begin(&bob, now));
        }
    }

    #[test]
    fn a_peer_that_does_not_understand_an_introduction_gets_none_for_ten_minutes() {
        let (mut all, bob, now) = begin();
        assert!(all.begin(&bob, now));
        all.ended(&bob, false);
        assert!(!all.begin(&bob, now + 599 * SECOND) && all.begin(&bob, now + 600 * SECOND));
    }

    #[test]
    fn the_application_gets_one_report_until_the_peer_lists_the_node_again() {
        let (mut all, bob, now) = begin();
        let full = Introduced::Refused("Join: too many peers".to_owned());
        let reported = ListingReport::Unknown(Some("Join: too many peers".to_owned()));
        assert_eq!(all.answered(&bob, &full, now), Some(reported.clone()));
        assert_eq!(all.answered(&bob, &full, now), None);
        assert_eq!(all.record_listing(&bob, &Listing::Listed, now), None);
        assert_eq!(all.answered(&bob, &full, now), Some(reported));
        let at: Address = "10.0.0.9:9000".parse().unwrap();
        let elsewhere = Listing::Elsewhere(at.clone());
        assert_eq!(all.record_listing(&bob, &elsewhere, now), Some(ListingReport::Elsewhere(at)));
        assert_eq!(all.record_listing(&bob, &elsewhere, now), None);
        assert_eq!(all.answered(&bob, &Introduced::Added, now), Some(ListingReport::Unknown(None)));
        assert_eq!(all.answered(&bob, &Introduced::Added, now), Some(ListingReport::Unknown(None)));
    }

    #[test]
    fn an_answer_without_an_address_is_confirmed_every_two_minutes() {
        let (mut all, bob, now) = begin();
        assert!(all.confirms(&bob, now));
        all.record_listing(&bob, &Listing::Listed, now);
        assert!(!all.confirms(&bob, now + 119 * SECOND));
        assert!(all.confirms(&bob, now + 120 * SECOND));
    }

    #[test]
    fn a_listing_survives_the_frame() {
        let now = tokio::time::Instant::now().into_std();
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        list.add("al 10.0.0.1 9000".parse().unwrap(), Learned::Manual, now);
        for (asker, expected) in [
            ("al 10.0.0.1 9000", Listing::Listed),
            ("al 10.0.0.2 9000", Listing::Elsewhere("10.0.0.1:9000".parse().unwrap())),
            ("bo 10.0.0.1 9000", Listing::Unknown),
        ] {
            let listing = Listing::of(&list, &asker.parse().unwrap(), |_| false);
            assert_eq!(listing, expected, "{asker}");
            let pong = [Frame::text("PONG", "me"), listing.to_frame()];
            assert_eq!(Listing::in_pong(&pong), Some(expected));
        }
        assert_eq!(Listing::in_pong(&[Frame::text("PONG", "me")]), None);
    }

    #[test]
    fn the_state_of_a_peer_is_removed_with_the_peer() {
        let (mut all, bob, now) = begin();
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        list.add(bob.clone(), Learned::Manual, now);
        for n in 0..100 {
            all.begin(&format!("p{n} 10.0.0.1 9000").parse().unwrap(), now);
        }
        all.begin(&bob, now);
        all.prune(&list);
        assert_eq!(all.0.len(), 1);
    }
}
