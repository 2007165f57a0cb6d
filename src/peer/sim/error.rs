//! Why a test on a [`SimNetwork`](super::SimNetwork) does not go on, and the state that it is in.

use std::{fmt, io, time::Duration};

use crate::{
    overlay::InvalidHost,
    peer::{RegisterError, StartError},
};

/// Why a test does not go on. The network and its other nodes do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The name is no host.
    #[error("{name:?} is no name for a node: {source}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: InvalidHost,
    },
    /// A node of this name runs already.
    #[error("{0} runs already")]
    Running(String),
    /// No node of this name runs.
    #[error("{0} does not run")]
    NotRunning(String),
    /// A step of the recipe is refused.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The node does not start.
    #[error("{name} does not start: {source}")]
    Start {
        /// The node.
        name: String,
        /// Why.
        source: StartError,
    },
    /// Something did not come true within its limit of virtual time.
    #[error("not within {limit:?}: {what}\n{state}")]
    NotInTime {
        /// What was waited for, as the test calls it.
        what: String,
        /// For how long.
        limit: Duration,
        /// What there was instead.
        state: Box<SimState>,
    },
    /// The test did not come to its end within [`SimNetwork::limit`](super::SimNetwork::limit).
    #[error("the test still runs after {limit:?} of virtual time")]
    StillRunning {
        /// The limit.
        limit: Duration,
    },
    /// A runtime runs already where the network is to set one up.
    #[error("there is a runtime here already: a SimNetwork runs on one of its own")]
    InsideRuntime,
    /// The operating system gives no runtime.
    #[error("no runtime: {0}")]
    Runtime(io::Error),
}

/// A network at one moment; its text has a line for each node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimState {
    /// Virtual time since the test began.
    pub at: Duration,
    /// Every node that ever ran, by name.
    pub nodes: Vec<NodeState>,
    /// Open connections.
    pub connections: usize,
    /// Dials so far.
    pub dials: u64,
}

/// A node of a [`SimState`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Known peers.
    pub peers: usize,
    /// Open links.
    pub links: usize,
}

impl fmt::Display for SimState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, nodes, connections, dials } = self;
        write!(f, "at {at:?}: {connections} connections open, {dials} dials so far")?;
        for NodeState { name, running, peers, links } in nodes {
            if *running {
                write!(f, "\n{name}: {peers} peers, {links} links")?;
            } else {
                write!(f, "\n{name}: does not run")?;
            }
        }
        Ok(())
    }
}
