//! How the `PeerActor` learns that one of its children has ended.

use crate::{node::Child, session::Endpoint};
use actix::{
    WeakRecipient,
    prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Message, WrapFuture},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A child has ended, for whatever cause.
#[derive(Clone, Debug)]
pub(crate) struct ChildEnded {
    pub(crate) child: Child,
    pub(crate) number: usize,
}

impl Message for ChildEnded {
    type Result = ();
}

/// Stops an actor of the node when the node is aborted, even if addresses of the actor still exist.
pub(crate) fn stop_at_abort<A: Actor<Context = Context<A>>>(
    actor: &A,
    node: &Endpoint,
    ctx: &mut Context<A>,
) {
    let cut = node.abort.clone().cancelled_owned();
    ctx.spawn(cut.into_actor(actor).map(|(), _, ctx| ctx.stop()));
}

/// Held by a child. Notifies the parent when it is dropped, also after a panic.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) parent: WeakRecipient<ChildEnded>,
    pub(crate) child: Child,
    /// The position of a piece of maintenance; 0 for other children.
    pub(crate) number: usize,
    /// Keeps the node from completing its stop before the child has ended.
    pub(crate) _part: TaskTrackerToken,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.upgrade() {
            // A cloned sender has its own slot in the mailbox. An error means that the parent has
            // ended as well.
            let ended = ChildEnded { child: self.child.clone(), number: self.number };
            parent.try_send(ended).ok();
        }
    }
}
