//! The life of a link. Drawn in `diagrams/link.mmd`; a test holds the drawing true.

/// Where a link is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkPhase {
    /// The other side's hello has not come.
    Greeting,
    /// Exchanges begin and end.
    Open,
    /// One side has said that it starts no new exchange; open ones are finished.
    Leaving,
    /// Over.
    Closed,
}

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkPhaseEvent {
    /// The other side's hello.
    Hello,
    /// `@BYE`, from either side.
    Bye,
    /// Both sides have said `@BYE`, and nothing is open.
    Finished,
    /// A rule was broken, the other side fell silent, or the connection broke.
    Broken,
}

impl LinkPhase {
    /// Every phase, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Greeting, Self::Open, Self::Leaving, Self::Closed];

    /// The phase after `event`; none when `event` cannot happen in this phase.
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
