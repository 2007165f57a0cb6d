//! The membership of a node, where its links and its handle find it.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::overlay::swim::Membership;

/// The machine, and who is to look at it when something came.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) machine: Mutex<Membership>,
    pub(crate) wake: Notify,
}
