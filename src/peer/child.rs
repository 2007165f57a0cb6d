//! How the `PeerActor` hears that one of its children has ended.

use actix::{WeakRecipient, prelude::Message};

use crate::connection::Child;

/// A child has ended, whatever the cause.
#[derive(Clone, Debug)]
pub(crate) struct ChildEnded {
    pub(crate) child: Child,
}

impl Message for ChildEnded {
    type Result = ();
}

/// Held by a child; tells the parent when it is dropped, after a panic as well.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) parent: WeakRecipient<ChildEnded>,
    pub(crate) child: Child,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.upgrade() {
            // A sender of its own has a place of its own in the mailbox; closed says that the
            // parent is gone as well.
            parent.try_send(ChildEnded { child: self.child.clone() }).ok();
        }
    }
}
