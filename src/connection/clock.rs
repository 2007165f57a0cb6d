//! The one clock of a node.

use tokio::time::Instant;

/// The time, as the layers below take it: that of tokio, which tests may pause.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
