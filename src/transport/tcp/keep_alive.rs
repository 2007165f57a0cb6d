//! The kernel's own questions whether the other end of a connection is still there.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::time::part;

/// Idle for so long, and the kernel asks.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// Questions without an answer, after which a connection is dead.
const QUESTIONS: u32 = 4;

/// What the kernels take: whole seconds, and one question a second at most.
const SHORTEST: Duration = Duration::from_secs(QUESTIONS as u64);
const LONGEST: Duration = Duration::from_secs(32_767);

/// Turns the questions on for a socket. One that does not know an option serves without: this is the
/// second line, behind the times that the node keeps itself.
pub(super) fn set(socket: &SockRef<'_>, idle: Duration) {
    let idle = idle.clamp(SHORTEST, LONGEST);
    let keep_alive = TcpKeepalive::new().with_time(idle);
    #[cfg(any(target_vendor = "apple", target_os = "linux", target_os = "android", windows))]
    let keep_alive = keep_alive.with_interval(part(idle, QUESTIONS)).with_retries(QUESTIONS);
    let set = socket.set_tcp_keepalive(&keep_alive);
    // The kernel asks nothing while bytes are on the way, and sends those again for a quarter of an
    // hour: not longer than it would have asked.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(idle.saturating_mul(2))));
    if let Err(error) = set {
        tracing::debug!(%error, "no keep-alive by the kernel");
    }
}
