//! Periodic maintenance as a pure machine: what it is told, what it may ask for.

use std::time::{Duration, Instant};

use crate::{
    frame::Frame,
    overlay::{PeerId, PeerInfo, PeerList, options::ConfigError},
};

/// What a stabilizer sees of its node.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The node itself.
    pub me: &'a PeerInfo,
    /// The known peers at the beginning of the run.
    pub peers: &'a PeerList,
    /// The time.
    pub now: Instant,
}

/// What a stabilizer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StabilizerEvent {
    /// A run begins.
    Tick,
    /// A peer that was asked has answered, and closed. The replies may be none.
    Answered {
        /// Who.
        peer: PeerInfo,
        /// What.
        replies: Vec<Frame>,
    },
    /// A peer that was asked has not answered.
    Failed {
        /// Who.
        peer: PeerInfo,
        /// Why.
        failure: AskFailure,
    },
}

/// Why a question to a peer has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AskFailure {
    /// It could not be connected to in time.
    Unreachable,
    /// It was connected to, and did not come to an end in time.
    Late,
    /// It broke off, or answered what is no frame.
    Broken,
    /// It was not asked: nobody may send this node to such an address, or it was dialled too often
    /// without an answer.
    NotAllowed,
    /// This node itself stood still meanwhile, for more than ten seconds: its process was stopped, or
    /// the machine slept. That says nothing about the peer.
    StoodStill,
}

/// What a stabilizer may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StabilizerAction {
    /// Send a frame to a peer and collect its replies, within a time. Told as `Answered` or
    /// `Failed`.
    Ask {
        /// Whom.
        peer: PeerInfo,
        /// What.
        frame: Frame,
        /// The whole exchange at most so long.
        within: Duration,
    },
    /// Note that the peer was seen alive.
    Seen(PeerId),
    /// Remove the peer from the table. When it was verified it is among those that were
    /// [given up](PeerList::given_up) from then on.
    Forget(PeerId),
    /// Put a peer back into the table, verified, that was [given up](PeerList::given_up) and has
    /// answered with its id now. It is let in like others, within the [`Shares`](crate::overlay::Shares)
    /// of the table. Nothing happens when it left or was removed meanwhile, is banned, or is not
    /// admitted.
    Rejoin(PeerInfo),
    /// Go to a peer that another has told of, unless that one may not name it: it is dialled at the pace
    /// of unverified ones, has to answer `NAME` with its id, and is let in within the
    /// [`Shares`](crate::overlay::Shares) of the table as listed by the other. The stabilizer is told
    /// nothing of it.
    Consider {
        /// Whom.
        peer: PeerInfo,
        /// Who has told of it.
        by: PeerInfo,
    },
}

/// Periodic maintenance. The node runs each stabilizer at its own interval; a run ends when
/// everything it asked for was answered.
///
/// Pure: it gets the time and the table as arguments and returns what it wants done, so it is
/// tested with plain values. For maintenance that is easier to write with a [`Peer`](crate::Peer)
/// at hand there is [`Builder::every`](crate::Builder::every).
pub trait Stabilizer: Send + 'static {
    /// A short name, for events and logs. Of two with the same name, one death is counted for both.
    fn name(&self) -> &str;

    /// The pause between the end of one run and the beginning of the next.
    fn every(&self) -> Duration;

    /// The most questions under way at once. Default 64.
    fn at_once(&self) -> usize {
        64
    }

    /// Says whether its options are within their bounds: asked when the node starts, which is refused
    /// on an error. Unless overridden, they are.
    ///
    /// # Errors
    /// The first option that is not.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Takes an event and says what to do. It should not block; a panic ends this stabilizer, and a
    /// fresh one is started after a pause.
    fn step(&mut self, event: StabilizerEvent, view: &View<'_>) -> Vec<StabilizerAction>;
}
