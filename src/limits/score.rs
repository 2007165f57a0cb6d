//! How much peers misbehave, and how long they are banned.
//!
//! Sans-I/O: it decides, and the node acts on it. Points are halved in each half-life, so that rare
//! errors of honest peers do not add up. A ban expires, and the next one is twice as long.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

use indexmap::IndexMap;
use serde::Serialize;

use crate::{
    limits::source::Source,
    overlay::{Address, PeerId},
    time::Later,
};

/// Offenders that are remembered.
const MAX_KNOWN: usize = 1_024;

/// The subject of points and bans: all peers at a source, or the peer that proves an id, at any
/// address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Offender {
    /// All peers at this source.
    Source(Source),
    /// The peer that proves this id.
    Id(PeerId),
}

impl fmt::Display for Offender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => source.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl From<Source> for Offender {
    fn from(source: Source) -> Self {
        Self::Source(source)
    }
}

impl From<&Address> for Offender {
    fn from(address: &Address) -> Self {
        Self::Source(Source::of(address))
    }
}

impl From<IpAddr> for Offender {
    fn from(ip: IpAddr) -> Self {
        Self::Source(Source::of_ip(ip))
    }
}

impl From<PeerId> for Offender {
    fn from(id: PeerId) -> Self {
        Self::Id(id)
    }
}

macro_rules! offences {
    ($( $(#[doc = $doc:literal])* $name:ident = $points:literal, )*) => {
        /// A kind of misbehavior of a remote, with the points that its source receives, and its id
        /// if that is proven. [`Config::ban_at`](crate::Config::ban_at) points at once are a ban.
        ///
        /// | misbehavior | points | description |
        /// |---|---|---|
        $( #[doc = concat!("| `", stringify!($name), "` | ", stringify!($points), " |", $( $doc ),*, " |")] )*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Misbehavior {
            $( $(#[doc = $doc])* $name, )*
        }

        impl Misbehavior {
            /// Every kind of misbehavior.
            pub const ALL: [Self; [$( stringify!($name), )*].len()] = [$( Self::$name, )*];

            /// The points for it.
            #[must_use]
            pub const fn points(self) -> u32 {
                match self {
                    $( Self::$name => $points, )*
                }
            }
        }
    };
}

offences! {
    /// A connection that ended inside a header or the data of a frame. This happens to honest
    /// peers.
    Truncated = 1,
    /// A request for a code without a handler. A node with a newer version may send one.
    UnknownCode = 1,
    /// Data that is not a message of the handler's type.
    Malformed = 1,
    /// A classic request beyond the rate of its source.
    TooFast = 1,
    /// A header, a handshake or the data of a frame that did not arrive in time.
    Late = 2,
    /// A handshake that failed.
    NoHandshake = 2,
    /// A length over the limit.
    TooLong = 5,
    /// A claim of the id of another node.
    NotItsId = 10,
    /// A violation of the rules of a link.
    BrokeLink = 20,
    /// No misbehavior: the application banned it.
    ByHand = 0,
}

/// The options of [`PeerScores`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreConfig {
    /// The points at which a ban begins.
    pub(crate) at: u32,
    /// The time after which points are halved.
    pub(crate) half_life: Duration,
    /// The duration of the first ban.
    pub(crate) first: Duration,
    /// The longest ban, and how long a ban is remembered after its end.
    pub(crate) longest: Duration,
}

/// A ban that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ban {
    /// The banned source or id.
    pub whom: Offender,
    /// The last misbehavior.
    pub why: Misbehavior,
    /// The remaining time.
    pub left: Duration,
}

#[derive(Debug)]
struct OffenderRecord {
    points: f64,
    /// The time at which `points` was computed.
    counted: Instant,
    /// The end of the ban that is in force.
    ban: Option<(Instant, Misbehavior)>,
    /// The last ban: its duration and its end.
    last: Option<(Duration, Instant)>,
}

/// The points and bans of a node.
#[derive(Debug)]
pub(crate) struct PeerScores {
    config: ScoreConfig,
    known: IndexMap<Offender, OffenderRecord>,
}

impl PeerScores {
    pub(crate) fn new(config: ScoreConfig) -> Self {
        Self { config, known: IndexMap::new() }
    }

    fn faded(&self, record: &OffenderRecord, now: Instant) -> f64 {
        let half_lives = now.saturating_duration_since(record.counted).as_secs_f64()
            / self.config.half_life.as_secs_f64().max(f64::MIN_POSITIVE);
        record.points * (-half_lives).exp2()
    }

    /// Adds the points of `what`. Returns the duration of the ban if one begins.
    pub(crate) fn offend(
        &mut self,
        whom: &Offender,
        what: Misbehavior,
        now: Instant,
    ) -> Option<Duration> {
        let before = match self.known.get(whom) {
            // During a ban no points are added.
            Some(OffenderRecord { ban: Some(_), .. }) => return None,
            Some(record) => self.faded(record, now),
            None => 0.0,
        };
        if !self.make_room(whom, now) {
            return None;
        }
        let ScoreConfig { at, first, longest, .. } = self.config;
        let record = self.known.entry(whom.clone()).or_insert_with(|| OffenderRecord::new(now));
        (record.points, record.counted) = (before + f64::from(what.points()), now);
        if record.points < f64::from(at) {
            return None;
        }
        let time = match record.last {
            Some((last, end)) if now <= end.later(longest) => last.saturating_mul(2).min(longest),
            _ => first.min(longest),
        };
        record.ban(what, time, now);
        record.last = Some((time, now.later(time)));
        Some(time)
    }

    /// Bans an offender for `time`, and replaces an earlier ban. False if there is no room.
    pub(crate) fn ban(&mut self, whom: &Offender, time: Duration, now: Instant) -> bool {
        if !self.make_room(whom, now) {
            return false;
        }
        let record = self.known.entry(whom.clone()).or_insert_with(|| OffenderRecord::new(now));
        record.ban(Misbehavior::ByHand, time, now);
        true
    }

    /// Ends a ban and forgets all points. Returns the reason of the ban.
    pub(crate) fn unban(&mut self, whom: &Offender) -> Option<Misbehavior> {
        self.known.swap_remove(whom)?.ban.map(|(_, why)| why)
    }

    /// Ends the bans that have expired.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<(Offender, Misbehavior)> {
        let over = |(whom, record): (&Offender, &mut OffenderRecord)| {
            let (_, why) = record.ban.take_if(|(until, _)| *until <= now)?;
            Some((whom.clone(), why))
        };
        let mut ended: Vec<_> = self.known.iter_mut().filter_map(over).collect();
        ended.sort_unstable();
        ended
    }

    /// When the next ban ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.known.values().filter_map(|record| Some(record.ban?.0)).min()
    }

    pub(crate) fn is_banned(&self, whom: &Offender, now: Instant) -> bool {
        let ban = self.known.get(whom).and_then(|record| record.ban);
        ban.is_some_and(|(until, _)| until > now)
    }

    /// The bans in force, sorted.
    pub(crate) fn bans(&self, now: Instant) -> Vec<Ban> {
        let ban = |(whom, record): (&Offender, &OffenderRecord)| {
            let (until, why) = record.ban?;
            let left = until.checked_duration_since(now).filter(|left| !left.is_zero())?;
            Some(Ban { whom: whom.clone(), why, left })
        };
        let mut bans: Vec<_> = self.known.iter().filter_map(ban).collect();
        bans.sort_unstable_by(|one, other| one.whom.cmp(&other.whom));
        bans
    }

    /// Makes room for `whom` by forgetting the offender with the fewest points that is not banned.
    /// False if all remembered offenders are banned.
    fn make_room(&mut self, whom: &Offender, now: Instant) -> bool {
        if self.known.len() < MAX_KNOWN || self.known.contains_key(whom) {
            return true;
        }
        let free = |record: &OffenderRecord| record.ban.is_none();
        let fewest = self.known.iter().filter(|(_, record)| free(record)).min_by(|one, other| {
            let key = |record: &OffenderRecord| {
                (record.last.map(|(_, end)| end), self.faded(record, now))
            };
            let ((end, points), (others_end, others)) = (key(one.1), key(other.1));
            end.cmp(&others_end).then(points.total_cmp(&others)).then(one.0.cmp(other.0))
        });
        let fewest = fewest.map(|(fewest, _)| fewest.clone());
        fewest.is_some_and(|fewest| self.known.swap_remove(&fewest).is_some())
    }
}

impl OffenderRecord {
    const fn new(now: Instant) -> Self {
        Self { points: 0.0, counted: now, ban: None, last: None }
    }

    fn ban(&mut self, why: Misbehavior, time: Duration, now: Instant) {
        self.points = 0.0;
        self.ban = Some((now.later(time), why));
    }
}

#[cfg(test)]
mod tests;
