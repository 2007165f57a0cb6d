//! The errors of a [`SimNetwork`](super::SimNetwork), and its state.

use std::{fmt, io, time::Duration};

use crate::{
    overlay::InvalidHost,
    peer::{RegisterError, StartError},
};

/// Why a step of a test failed. The network and its other nodes keep running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The name is not a valid host.
    #[error("{name:?} is not a valid name of a node: {source}")]
    InvalidName {
        /// The name.
        name: String,
        /// Why it is invalid.
        source: InvalidHost,
    },
    /// A node of this name is already running.
    #[error("{0} is already running")]
    Running(String),
    /// No node of this name is running.
    #[error("{0} is not running")]
    NotRunning(String),
    /// A step of the recipe is refused.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The node did not start.
    #[error("{name} did not start: {source}")]
    Start {
        /// The node.
        name: String,
        /// Why.
        source: StartError,
    },
    /// A condition did not become true within its limit of virtual time.
    #[error("timed out after {limit:?} of virtual time: {what}\n{state}")]
    NotInTime {
        /// The condition, as the test names it.
        what: String,
        /// The limit.
        limit: Duration,
        /// The state of the network instead.
        state: Box<SimState>,
    },
    /// The test did not end within [`SimNetwork::limit`](super::SimNetwork::limit).
    #[error("the test is still running after {limit:?} of virtual time")]
    StillRunning {
        /// The limit.
        limit: Duration,
    },
    /// A runtime is already running where the network has to set up its own.
    #[error("a runtime is already running: a SimNetwork sets up its own")]
    InsideRuntime,
    /// The operating system refuses a runtime.
    #[error("cannot set up a runtime: {0}")]
    Runtime(io::Error),
}

/// The state of a network at one moment. Its text has a line for each node.
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

/// The state of a node in a [`SimState`].
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
