//! From a code to whoever serves it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use actix::prelude::{MailboxError, Message, Recipient};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::{
    connection::{Incoming, Refusal, Reply},
    frame::TypeCode,
};

/// Whoever answers the requests of one code.
pub(crate) trait Serve: Send + Sync + fmt::Debug {
    /// Hands `incoming` over and waits for the reply.
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>>;
}

/// Hands `message` to an actor and waits for its result.
///
/// A mailbox that was open before and closes under the message belongs to an actor that panicked,
/// or stopped, with the message in its hands.
pub(crate) async fn ask<M>(recipient: Recipient<M>, message: M) -> Result<M::Result, Refusal>
where
    M: Message<Result: Send> + Send + 'static,
{
    if !recipient.connected() {
        return Err(Refusal::HandlerGone);
    }
    recipient.send(message).await.map_err(|error| match error {
        MailboxError::Timeout => Refusal::HandlerLate,
        MailboxError::Closed => Refusal::HandlerFailed,
    })
}

impl Serve for Recipient<Incoming> {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        Box::pin(ask(self.clone(), incoming))
    }
}

/// How the data of a request reaches its handler, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intake {
    /// Whole, up to so many bytes.
    Whole(u32),
    /// As a [`Body`](crate::Body), as long as a frame can be.
    Streamed,
}

/// One entry of the table.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) serve: Arc<dyn Serve>,
    pub(crate) intake: Intake,
    /// Places for requests in hand.
    pub(crate) places: Arc<Semaphore>,
    /// Whether replies may have codes of the framework.
    pub(crate) internal: bool,
}

/// The table from code to route, shared by all connections of a node and changed while it runs.
#[derive(Debug, Default)]
pub(crate) struct Routes(RwLock<HashMap<TypeCode, Route>>);

impl Routes {
    /// Puts `route` in; returns the one that it replaces.
    pub(crate) fn insert(&self, code: TypeCode, route: Route) -> Option<Route> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(code, route)
    }

    pub(crate) fn remove(&self, code: TypeCode) -> Option<Route> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&code)
    }

    /// The route for exactly this code, else the one for its upper-case form (WIRE.md part 1).
    pub(crate) fn find(&self, code: TypeCode) -> Option<Route> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(&code).or_else(|| routes.get(&code.to_ascii_uppercase())).cloned()
    }

    /// The codes of the application, sorted.
    pub(crate) fn codes(&self) -> Vec<TypeCode> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut codes: Vec<_> = routes.keys().copied().filter(|code| !code.is_reserved()).collect();
        codes.sort_unstable();
        codes
    }

    /// Lets go of every handler.
    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
