//! Periodic maintenance as a pure machine, with its events and actions.

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
    /// The current time.
    pub now: Instant,
}

/// An event for a stabilizer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StabilizerEvent {
    /// A run begins.
    Tick,
    /// A peer that was asked has answered and closed. `replies` may be empty.
    Answered {
        /// The peer.
        peer: PeerInfo,
        /// Its replies.
        replies: Vec<Frame>,
    },
    /// A peer that was asked has not answered.
    Failed {
        /// The peer.
        peer: PeerInfo,
        /// Why.
        failure: AskFailure,
    },
}

/// Why a question to a peer was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AskFailure {
    /// No connection could be opened in time.
    Unreachable,
    /// The connection was opened, but the answer did not end in time.
    Late,
    /// The connection broke, or the answer was not a frame.
    Broken,
    /// The peer was not asked: its address is one where other nodes may not send this node, or it
    /// was dialled too often without an answer.
    NotAllowed,
    /// This node itself was blocked for more than ten seconds meanwhile: its process was stopped,
    /// or the machine slept. That says nothing about the peer.
    StoodStill,
}

/// An action that a stabilizer requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StabilizerAction {
    /// Send a frame to a peer and collect its replies, within a time. The result is reported as
    /// `Answered` or `Failed`.
    Ask {
        /// The peer.
        peer: PeerInfo,
        /// The question.
        frame: Frame,
        /// The maximum time of the whole exchange.
        within: Duration,
    },
    /// Record that the peer was seen alive.
    Seen(PeerId),
    /// Remove the peer from the table. If it was verified, it is one of the
    /// [given-up](PeerList::given_up) peers from then on.
    Forget(PeerId),
    /// Put a peer back into the table as verified, which was [given up](PeerList::given_up) and has
    /// now answered with its id. It is admitted like other peers, within the
    /// [`Shares`](crate::overlay::Shares) of the table. Nothing happens if it has left or was
    /// removed meanwhile, is banned, or is not admitted.
    Rejoin(PeerInfo),
    /// Visit a peer that another peer has named, if that one may name its address. The peer is
    /// dialled at the pace of unverified ones, has to answer `NAME` with its id, and is admitted
    /// within the [`Shares`](crate::overlay::Shares) of the table as listed by the other peer. The
    /// stabilizer does not receive the result.
    Consider {
        /// The peer to visit.
        peer: PeerInfo,
        /// The peer that has named it.
        by: PeerInfo,
    },
}

/// Periodic maintenance. The node runs each stabilizer at its own interval. A run ends when
/// everything that it asked for was answered.
///
/// A stabilizer is pure: it receives the time and the table as arguments and returns actions, so it
/// is tested with plain values. For maintenance that is easier to write with a
/// [`Peer`](crate::Peer), use [`Builder::every`](crate::Builder::every).
pub trait Stabilizer: Send + 'static {
    /// A short name, for events and logs. The restarts of two stabilizers with the same name are
    /// counted together.
    fn name(&self) -> &str;

    /// The pause between the end of one run and the beginning of the next.
    fn every(&self) -> Duration;

    /// The maximum number of concurrent questions. Default 64.
    fn at_once(&self) -> usize {
        64
    }

    /// Checks that its options are within their bounds. The node calls it at its start and refuses
    /// to start on an error. Unless overridden, it returns `Ok`.
    ///
    /// # Errors
    /// The first option that is out of its bounds.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Handles an event and returns actions. It should not block. A panic ends this stabilizer, and
    /// a fresh one is started after a pause.
    fn step(&mut self, event: StabilizerEvent, view: &View<'_>) -> Vec<StabilizerAction>;
}
