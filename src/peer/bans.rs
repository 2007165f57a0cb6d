//! Bans, for the application.

use std::time::Duration;

use crate::{
    limits::{Ban, Offender},
    peer::Peer,
};

impl Peer {
    /// Bans a source address or a proven id for so long: its links are cut, and its connections
    /// closed, at accept or after the handshake, without a word. Replaces a ban that there is; loopback
    /// can be banned like others. False when 1,024 are banned already.
    ///
    /// To a banned id this node sends nothing either: neither when a message is for that id, nor when
    /// it is proven at the address that is dialled ([`RequestError::Banned`]); a message of
    /// [`send_reliable`](Self::send_reliable) waits for the end of the ban as long as it may. A
    /// message to a banned source address goes there, as others may share the address. Other nodes
    /// are not concerned. With TLS `Admission` decides for good who is let in.
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

    /// Ends a ban and forgets what led to it. Says whether there was one.
    pub fn unban(&self, whom: impl Into<Offender>) -> bool {
        self.node().unban(whom.into())
    }

    /// The bans in force, sources first: at most 1,024.
    #[must_use]
    pub fn bans(&self) -> Vec<Ban> {
        self.node().bans.all()
    }
}
