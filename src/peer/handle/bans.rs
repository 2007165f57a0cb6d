//! Bans set by the application.

use std::time::Duration;

use crate::{
    limits::{Ban, Offender},
    peer::Peer,
};

impl Peer {
    /// Bans a source address or a proven id for this time. Its links are aborted. Its new
    /// connections are closed at accept or after the handshake, without an answer. The ban replaces
    /// an existing one. Loopback can be banned as well. Returns false if 1,024 bans are in force
    /// already.
    ///
    /// This node sends nothing to a banned id either: neither a message for that id, nor one whose
    /// dialled node proves that id ([`RequestError::Banned`]). A message of
    /// [`send_reliable`](Self::send_reliable) waits for the end of the ban, within its own time
    /// limit. Messages to a banned source address are still sent, because other nodes may share the
    /// address. The ban has no effect on other nodes. With TLS, use `Admission` to decide
    /// permanently which nodes are admitted.
    ///
    /// [`RequestError::Banned`]: crate::RequestError::Banned
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use actix_peer::{Peer, PeerId};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let peer = Peer::builder().start().await?;
    /// let address: std::net::IpAddr = "192.0.2.7".parse()?;
    /// peer.ban(address, Duration::from_secs(60));
    /// assert_eq!(peer.bans()[0].whom, address.into());
    /// assert!(peer.unban(address));
    /// # peer.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn ban(&self, whom: impl Into<Offender>, time: Duration) -> bool {
        self.node().ban(whom.into(), time)
    }

    /// Ends a ban and forgets the misbehavior that led to it. Returns whether there was a ban.
    pub fn unban(&self, whom: impl Into<Offender>) -> bool {
        self.node().unban(whom.into())
    }

    /// The bans in force, sources first: at most 1,024.
    #[must_use]
    pub fn bans(&self) -> Vec<Ban> {
        self.node().bans.all()
    }
}
