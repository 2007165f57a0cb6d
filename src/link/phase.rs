//! The phases of a link. `diagrams/link.mmd` shows them, and a test compares the two.

/// The phase of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkPhase {
    /// The hello of the other side has not arrived.
    Greeting,
    /// Exchanges begin and end.
    Open,
    /// One side has announced that it starts no new exchange; open ones are finished.
    Leaving,
    /// The link has ended.
    Closed,
}

/// An event that changes the phase of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkPhaseEvent {
    /// The hello of the other side arrived.
    Hello,
    /// `@BYE`, from either side.
    Bye,
    /// Both sides have sent `@BYE`, nothing is open, and the connection has ended.
    Finished,
    /// A rule was broken, the other side is silent, or the connection broke.
    Broken,
}

impl LinkPhase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Greeting, Self::Open, Self::Leaving, Self::Closed];

    /// The phase after `event`. `None` if `event` cannot happen in this phase.
    #[must_use]
    pub const fn next(self, event: LinkPhaseEvent) -> Option<Self> {
        use LinkPhaseEvent as E;
        Some(match (self, event) {
            (Self::Greeting, E::Hello) => Self::Open,
            (Self::Open, E::Bye) => Self::Leaving,
            (Self::Leaving, E::Finished)
            | (Self::Greeting | Self::Open | Self::Leaving, E::Broken) => Self::Closed,
            _ => return None,
        })
    }
}

impl LinkPhaseEvent {
    /// Every event.
    pub const ALL: [Self; 4] = [Self::Hello, Self::Bye, Self::Finished, Self::Broken];
}
