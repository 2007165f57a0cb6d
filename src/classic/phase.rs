//! The state machine of an accepted connection. `diagrams/connection.mmd` shows it, and a test
//! compares the two.

/// The phase of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The header is not complete. Such a connection has no actor yet and is closed at once when
    /// the node stops.
    Waiting,
    /// The header is complete; the data is arriving.
    Receiving,
    /// A handler has the request.
    Handling,
    /// The reply, or the refusal, is being written.
    Replying,
    /// Everything is written. Data from the other side is discarded until it closes too.
    Closing,
    /// The connection is closed.
    Closed,
}

/// An event of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PhaseEvent {
    /// The eight bytes of the header are complete.
    Header,
    /// The request is ready for its handler: its data is complete, or is streamed to it.
    Ready,
    /// The handler answered.
    Answered,
    /// This node refuses the request.
    Refused,
    /// Everything is written.
    Written,
    /// The other side has closed, or its time to do so is up.
    Drained,
    /// Truncated, late, reset, or aborted by this node.
    Broken,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Receiving,
        Self::Handling,
        Self::Replying,
        Self::Closing,
        Self::Closed,
    ];

    /// The phase after `event`. `None` if `event` cannot happen in this phase.
    #[must_use]
    pub const fn next(self, event: PhaseEvent) -> Option<Self> {
        use PhaseEvent as E;
        Some(match (self, event) {
            (Self::Waiting, E::Header) => Self::Receiving,
            (Self::Receiving, E::Ready) => Self::Handling,
            (Self::Handling, E::Answered) | (Self::Receiving | Self::Handling, E::Refused) => {
                Self::Replying
            }
            (Self::Replying, E::Written) => Self::Closing,
            (Self::Closing, E::Drained) => Self::Closed,
            (
                Self::Waiting | Self::Receiving | Self::Handling | Self::Replying | Self::Closing,
                E::Broken,
            ) => Self::Closed,
            _ => return None,
        })
    }
}

impl PhaseEvent {
    /// Every event.
    pub const ALL: [Self; 7] = [
        Self::Header,
        Self::Ready,
        Self::Answered,
        Self::Refused,
        Self::Written,
        Self::Drained,
        Self::Broken,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_but_the_last_can_break_and_the_last_is_final() {
        for phase in Phase::ALL {
            let broken = phase.next(PhaseEvent::Broken);
            assert_eq!(broken, (phase != Phase::Closed).then_some(Phase::Closed));
        }
        assert!(PhaseEvent::ALL.iter().all(|event| Phase::Closed.next(*event).is_none()));
    }

    #[test]
    fn no_phase_is_visited_twice() {
        for phase in Phase::ALL {
            for event in PhaseEvent::ALL {
                assert!(phase.next(event).is_none_or(|next| next > phase), "{phase:?} {event:?}");
            }
        }
    }

    #[test]
    fn a_served_request_passes_every_phase() {
        use PhaseEvent as E;
        let life = [E::Header, E::Ready, E::Answered, E::Written, E::Drained];
        let end = life.into_iter().try_fold(Phase::Waiting, Phase::next);
        assert_eq!(end, Some(Phase::Closed));
    }
}
