//! The option of the builder for the address book.

use crate::peer::{
    Builder,
    discovery::address_book::{AddressBookConfig, KeepBook},
};

impl Builder {
    /// Saves peers that answered in a file, and contacts them at the start, so that a node that
    /// restarts finds its network without a contact. Default: nothing is saved.
    ///
    /// `book` is the path of the file, or an [`AddressBookConfig`]. A file that is missing,
    /// damaged, or cannot be read or written never prevents the node from starting. The node
    /// reports it as [`PeerEvent::AddressBookFailed`](crate::PeerEvent::AddressBookFailed). Each
    /// node needs a file of its own. The last call counts.
    ///
    /// The option also serves the [well-known codes](Self::well_known), because peers ask the node
    /// for its `NAME`.
    ///
    /// ```
    /// # use actix_peer::Peer;
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("peers");
    /// let peer = Peer::builder().address_book(&path).start().await?;
    /// peer.stop().await;
    /// assert!(path.exists());
    /// # Ok(()) }
    /// ```
    pub fn address_book(mut self, book: impl Into<AddressBookConfig>) -> Self {
        self.needs_well_known = true;
        self.part(KeepBook::new(book.into()))
    }
}
