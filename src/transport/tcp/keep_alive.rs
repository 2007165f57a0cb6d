//! Keepalives of the kernel.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::time::part;

/// The default idle time before the kernel sends keepalives.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// Unanswered keepalives after which a connection is dead.
const QUESTIONS: u32 = 4;

/// The bounds of the kernels: whole seconds, and at most one keepalive per second.
const SHORTEST: Duration = Duration::from_secs(QUESTIONS as u64);
const LONGEST: Duration = Duration::from_secs(32_767);

/// Enables keepalives for a socket. A socket without such an option is used without it: this is a
/// second line of defence, behind the time-outs of the node.
pub(super) fn set(socket: &SockRef<'_>, idle: Duration) {
    let idle = idle.clamp(SHORTEST, LONGEST);
    let keep_alive = TcpKeepalive::new().with_time(idle);
    #[cfg(any(target_vendor = "apple", target_os = "linux", target_os = "android", windows))]
    let keep_alive = keep_alive.with_interval(part(idle, QUESTIONS)).with_retries(QUESTIONS);
    let set = socket.set_tcp_keepalive(&keep_alive);
    // The kernel sends no keepalives while data is unacknowledged, and would send that again for a
    // quarter of an hour. This limits it to the same time.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(idle.saturating_mul(2))));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot enable keep-alive by the kernel");
    }
}
