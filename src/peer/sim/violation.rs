//! A broken invariant.

use std::{fmt, time::Duration};

use super::SimError;

/// An invariant that did not hold in a simulated life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    invariant: String,
    detail: String,
    at: Duration,
}

impl Violation {
    /// A violation of an invariant, which is a sentence, with what happened instead.
    pub fn new(invariant: impl Into<String>, detail: impl Into<String>, at: Duration) -> Self {
        Self { invariant: invariant.into(), detail: detail.into(), at }
    }

    /// The invariant.
    #[must_use]
    pub fn invariant(&self) -> &str {
        &self.invariant
    }

    /// What happened instead.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The virtual time at which it was seen.
    #[must_use]
    pub const fn at(&self) -> Duration {
        self.at
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, detail, at } = self;
        write!(f, "{invariant}, but at {at:?}: {detail}")
    }
}

impl std::error::Error for Violation {}

impl From<SimError> for Violation {
    fn from(error: SimError) -> Self {
        let invariant = match &error {
            SimError::NotInTime { .. } => "liveness: a condition becomes true within its limit",
            SimError::StillRunning { .. } => "liveness: the life ends",
            _ => "a step of the simulation succeeds",
        };
        Self::new(invariant, error.to_string(), Duration::ZERO)
    }
}
