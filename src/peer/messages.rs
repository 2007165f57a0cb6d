//! Messages for the [`PeerActor`]: an alternative to the methods of the [`Peer`] handle.
//!
//! ```
//! use actix_peer::{Peer, frame::Frame, messages::{Ask, GetStatus}};
//!
//! # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let other = Peer::builder().id("other").well_known().start().await?;
//! # let peer = Peer::builder().start().await?;
//! let node = peer.addr();
//! let to = other.info().address().clone();
//! let replies = node.send(Ask { to, message: Frame::empty("NAME") }).await??;
//! assert_eq!(replies, [Frame::text("REPL", "other")]);
//! let status = node.send(GetStatus {}).await??;
//! assert_eq!(status.counts.exchanges_out, 1);
//! # Ok(()) }
//! ```

use actix::prelude::{Handler, Message, ResponseFuture};

use crate::{
    connection::OpenConnection,
    frame::Frame,
    message::RequestError,
    overlay::{Address, JoinReport, PeerList},
    peer::{JoinError, NodeDown, Peer, PeerActor, Status, StopReport},
};

macro_rules! messages {
    ($( $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* } -> Result<$result:ty, $error:ty>, |$peer:ident| $work:expr; )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type),*
        }

        impl Message for $name {
            type Result = Result<$result, $error>;
        }

        impl Handler<$name> for PeerActor {
            type Result = ResponseFuture<Result<$result, $error>>;

            fn handle(&mut self, $name { $($field),* }: $name, _: &mut Self::Context) -> Self::Result {
                let peer: Option<Peer> = self.peer.upgrade();
                Box::pin(async move {
                    let $peer = peer.ok_or(NodeDown)?;
                    $work
                })
            }
        }
    )*};
}

messages! {
    /// Returns the state of the node. Answered with [`Status`].
    GetStatus {} -> Result<Status, NodeDown>, |peer| Ok(peer.status().await);
    /// The open connections, as [`Peer::connections`]. Answered with them.
    GetConnections {} -> Result<Vec<OpenConnection>, NodeDown>, |peer| Ok(peer.connections());
    /// A copy of the table of known peers. Answered with [`PeerList`].
    GetPeers {} -> Result<PeerList, NodeDown>, |peer| peer.peers().list().await;
    /// Sends a request and collects the replies, as [`Peer::request`]. Answered with the frames.
    Ask {
        /// The target.
        to: Address,
        /// The request.
        message: Frame
    } -> Result<Vec<Frame>, RequestError>, |peer| peer.request(to, message).await?.collect().await;
    /// Sends a message and does not wait for replies, as [`Peer::notify`].
    Tell {
        /// The target.
        to: Address,
        /// The message.
        message: Frame
    } -> Result<(), RequestError>, |peer| peer.notify(to, message).await;
    /// Joins the network of a contact, as [`Peer::join_with`] with the defaults. Answered with the
    /// report of the join.
    Join {
        /// The contact.
        contact: Address
    } -> Result<JoinReport, JoinError>, |peer| peer.join_with(contact, crate::overlay::JoinConfig::default()).await;
    /// Leaves the network, as [`Peer::leave`]. Answered with how many peers answered.
    Leave {} -> Result<usize, NodeDown>, |peer| peer.leave().await;
    /// Ends the node gracefully, as [`Peer::stop`]. Answered with the report.
    Stop {} -> Result<StopReport, NodeDown>, |peer| Ok(peer.stop().await);
}
