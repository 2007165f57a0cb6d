//! The builder's part about the address book.

use crate::peer::{
    Builder,
    address_book::{AddressBookConfig, BookService},
};

impl Builder {
    /// Remembers peers that were good in a file, and goes back to them at the start, so that a node
    /// that restarts finds its network without being told a contact. Default: nothing is remembered.
    ///
    /// `book` is the path of the file, or an [`AddressBookConfig`]. A file that is missing, damaged or
    /// cannot be read or written never keeps the node from starting: it is told as
    /// [`PeerEvent::AddressBookFailed`](crate::PeerEvent::AddressBookFailed). Each node needs a file of
    /// its own. Said twice, the last one counts.
    ///
    /// The node serves the [well-known codes](Self::well_known) then: its peers ask it for its `NAME`.
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
        self.service(BookService::new(book.into()))
    }
}
