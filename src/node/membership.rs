//! The membership of a node, shared by its links and its handle.

use tokio::sync::Notify;

use crate::{overlay::swim::Membership, sync::Mutex};

/// The state machine, and a notification for the task that drives it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) machine: Mutex<Membership>,
    pub(crate) wake: Notify,
}
