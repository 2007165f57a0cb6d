//! The actors that serve requests.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    rc::Rc,
    task::{Context as TaskContext, Poll},
};

use actix::{
    dev::ContextFut,
    prelude::{
        Actor, ActorContext, ActorState, Addr, AsyncContext, Context, Handler, ResponseFuture,
        SpawnHandle, Supervised,
    },
};
use futures::FutureExt;

use crate::{
    message::{Incoming, Reply},
    node::{
        Refusal,
        log::{LogKind, warn_some},
    },
};

/// An actor that serves messages from other nodes. It handles [`Incoming`],
/// [`Received`](crate::Received) (typed messages) or [`IncomingBatch`](crate::IncomingBatch).
///
/// ```
/// use actix::prelude::*;
/// use actix_peer::{HandlerActor, Incoming, Reply};
///
/// struct Echo;
/// impl Actor for Echo {
///     type Context = Context<Self>;
/// }
/// impl Handler<Incoming> for Echo {
///     type Result = Reply;
///     fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Reply {
///         Reply::one(msg.frame)
///     }
/// }
/// impl Supervised for Echo {}
///
/// # #[actix::main] async fn main() {
/// let addr = Echo.start(); // a panic ends this actor
/// let sturdy = Echo.start_supervised(); // a panic ends the request, not the actor
/// # drop((addr, sturdy));
/// # }
/// ```
///
/// A panic in a handler never harms the node, and its caller receives an error
/// ([`Reason::HANDLER_FAILED`](crate::link::Reason::HANDLER_FAILED)). Whether the actor survives
/// depends on how it was started:
///
/// - With `start()` of actix, the actor is gone. If its `stopping` or `stopped` panics as well, the
///   process ends.
/// - With [`start_supervised`](Self::start_supervised), the actor survives, and these panics are
///   caught as well.
/// - An actor that [`from_fn`] made of a closure always survives.
pub trait HandlerActor: Actor {
    /// Starts the actor so that it survives its panics, with its queue, whatever messages it
    /// handles.
    ///
    /// A panic is caught before actix sees it.
    ///
    /// - A panic in a message handler affects only that message. Its caller receives an error, the
    ///   state of the actor stays as the panic left it, and the queue and the actor's own futures
    ///   continue.
    /// - A panic in one of the actor's own futures (a `ResponseActFuture`, a timer) drops all of
    ///   them, because the one that panicked cannot be identified. Actix restarts the actor, with
    ///   [`Supervised::restarting`] and [`Actor::started`], and the queue continues.
    /// - More than [`PANICS_IN_A_ROW`] panics in one poll, or a panic in `restarting` or while the
    ///   actor stops, end the actor.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use actix_peer::{HandlerActor, Peer, Received, frame::{TypeCode, Wire}};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Message, Serialize, Deserialize)]
    /// #[rtype(result = "u64")]
    /// struct Divide(u64, u64);
    ///
    /// impl Wire for Divide {
    ///     const CODE: TypeCode = TypeCode::new(b"DIVI");
    /// }
    ///
    /// struct Calculator;
    /// impl Actor for Calculator {
    ///     type Context = Context<Self>;
    /// }
    /// impl Supervised for Calculator {}
    /// impl Handler<Received<Divide>> for Calculator {
    ///     type Result = u64;
    ///     fn handle(&mut self, msg: Received<Divide>, _: &mut Self::Context) -> u64 {
    ///         msg.message.0 / msg.message.1
    ///     }
    /// }
    ///
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = Peer::builder().on::<Divide>(Calculator.start_supervised())?.start().await?;
    /// let asker = Peer::builder().start().await?;
    /// assert!(asker.send(node.info(), Divide(1, 0)).await.is_err());
    /// assert_eq!(asker.send(node.info(), Divide(6, 3)).await?, 2);
    /// # asker.stop().await;
    /// # node.stop().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// If called outside an actix arbiter, like `start()`.
    fn start_supervised(self) -> Addr<Self>
    where
        Self: Actor<Context = Context<Self>> + Supervised,
    {
        let context = Context::new();
        let address = context.address();
        let actor =
            Guarded { inner: Some(context.into_future(self)), in_a_row: 0, stopping: false };
        actix_rt::spawn(actor);
        address
    }
}

impl<A: Actor> HandlerActor for A {}

/// How often a supervised actor may panic in one poll. One poll drains a mailbox, whose default
/// bound is 16, so an actor with more panics does not panic because of its messages.
pub const PANICS_IN_A_ROW: usize = 64;

/// A future that runs an actor and survives its panics.
struct Guarded<A: Actor<Context = Context<A>>> {
    inner: Option<ContextFut<A, Context<A>>>,
    in_a_row: usize,
    /// Whether the actor was stopping at its last panic.
    stopping: bool,
}

impl<A: Actor<Context = Context<A>>> Unpin for Guarded<A> {}

impl<A: Actor<Context = Context<A>> + Supervised> Future for Guarded<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let Some(inner) = self.inner.as_mut() else {
                return Poll::Ready(());
            };
            match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *inner).poll(cx))) {
                Ok(Poll::Pending) => {
                    self.in_a_row = 0;
                    return Poll::Pending;
                }
                Ok(Poll::Ready(())) => return Poll::Ready(()),
                Err(_) => {
                    // The context has the handle of the actor's own future that it was polling, and
                    // the default handle while it handled a message.
                    let own_future = inner.ctx().handle() != SpawnHandle::default();
                    let restart = AssertUnwindSafe(|| !own_future || inner.restart());
                    let restarted = std::panic::catch_unwind(restart).unwrap_or(false);
                    // No code runs after `stopped`. The second panic of an actor that stops is in
                    // its `stopping`.
                    let state = inner.ctx().state();
                    let ended = state == ActorState::Stopped
                        || (state == ActorState::Stopping && self.stopping);
                    self.stopping = state == ActorState::Stopping;
                    self.in_a_row += 1;
                    if ended || !restarted || self.in_a_row > PANICS_IN_A_ROW {
                        warn_some!(
                            LogKind::Handler,
                            actor = std::any::type_name::<A>(),
                            "handler actor not restarted after too many panics"
                        );
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Guarded<A> {
    /// Dropping a context runs `stopping` and `stopped`, which may panic as well.
    fn drop(&mut self) {
        let inner = self.inner.take();
        std::panic::catch_unwind(AssertUnwindSafe(|| drop(inner))).ok();
    }
}

/// Makes a handler actor of an async closure. Requests run concurrently; a panic affects only its
/// request.
///
/// ```
/// use actix::prelude::*;
/// use actix_peer::{Incoming, Reply, frame::Frame, handler};
///
/// # #[actix::main] async fn main() {
/// let upper = handler::from_fn(async |msg: Incoming| {
///     let text = msg.frame.as_str().unwrap_or_default().to_uppercase();
///     Reply::one(Frame::text("REPL", text))
/// });
/// let addr = upper.start();
/// # drop(addr);
/// # }
/// ```
pub fn from_fn<F>(f: F) -> FnHandler<F>
where
    F: AsyncFn(Incoming) -> Reply + 'static,
{
    FnHandler(Rc::new(f))
}

/// The actor that [`from_fn`] makes.
pub struct FnHandler<F>(Rc<F>);

impl<F> fmt::Debug for FnHandler<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnHandler").finish_non_exhaustive()
    }
}

impl<F: 'static> Actor for FnHandler<F> {
    type Context = Context<Self>;
}

impl<F> Handler<Incoming> for FnHandler<F>
where
    F: AsyncFn(Incoming) -> Reply + 'static,
{
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, msg: Incoming, _: &mut Self::Context) -> Self::Result {
        let f = Rc::clone(&self.0);
        // The call itself happens inside the future, so one guard catches both.
        let answer = AssertUnwindSafe(async move { f(msg).await }).catch_unwind();
        Box::pin(async move { answer.await.unwrap_or(Reply::refused(Refusal::HandlerFailed)) })
    }
}
