//! How the `PeerActor` hears that one of its children has ended.

use crate::{node::Child, session::Endpoint};
use actix::{
    WeakRecipient,
    prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Message, WrapFuture},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A child has ended, whatever the cause.
#[derive(Clone, Debug)]
pub(crate) struct ChildEnded {
    pub(crate) child: Child,
}

impl Message for ChildEnded {
    type Result = ();
}

/// Stops an actor of the node when the node is cut, however many addresses of it there still are.
pub(crate) fn stop_at_abort<A: Actor<Context = Context<A>>>(
    actor: &A,
    node: &Endpoint,
    ctx: &mut Context<A>,
) {
    let cut = node.abort.clone().cancelled_owned();
    ctx.spawn(cut.into_actor(actor).map(|(), _, ctx| ctx.stop()));
}

/// Held by a child; tells the parent when it is dropped, after a panic as well.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) parent: WeakRecipient<ChildEnded>,
    pub(crate) child: Child,
    /// The node has not stopped before the child has ended.
    pub(crate) _part: TaskTrackerToken,
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
