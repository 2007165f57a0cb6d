//! The table from codes to handlers.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, MutexGuard},
};

use actix::prelude::{MailboxError, Message, Recipient};
use futures::future::BoxFuture;
use indexmap::IndexMap;
use tokio::sync::Semaphore;

use crate::{
    frame::TypeCode,
    message::{Incoming, IncomingBatch, Reply},
    node::{HandlerTimer, Refusal},
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The handler of one code.
pub(crate) trait Serve: Send + Sync + fmt::Debug {
    /// Delivers `incoming` synchronously, so that requests reach a handler in the order of the
    /// calls. The future waits for the reply.
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>>;

    /// Delivers a one-way message synchronously. The credit of its sender bounds the messages in
    /// the handler's mailbox.
    fn notify(&self, incoming: Incoming) -> Notified;

    /// Identifies the actor, independent of the message type.
    fn handler(&self) -> u64;

    /// Whether one-way messages are gathered for [`notify_batch`](Self::notify_batch).
    fn takes_batches(&self) -> bool {
        false
    }

    /// Delivers a batch of one-way messages.
    fn notify_batch(&self, _: IncomingBatch) -> Result<(), Refusal> {
        Err(Refusal::HandlerFailed)
    }
}

/// Takes one-way messages of the framework at once, so that none is queued.
#[cfg(any(feature = "gossip", feature = "swim"))]
pub(crate) trait Take: Send + Sync + fmt::Debug {
    /// Handles a message.
    fn take(&self, incoming: &Incoming) -> Result<(), Refusal>;
}

/// Serves a code with a [`Take`], which is not an actor. There is no reply.
#[cfg(any(feature = "gossip", feature = "swim"))]
#[derive(Debug)]
pub(crate) struct AtOnce<T>(pub(crate) T);

#[cfg(any(feature = "gossip", feature = "swim"))]
impl<T: Take> Serve for AtOnce<T> {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let taken = self.0.take(&incoming);
        Box::pin(async move { taken.map(|()| Reply::none()) })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        self.0.take(&incoming).into()
    }

    fn handler(&self) -> u64 {
        0
    }
}

/// The outcome of the delivery of a one-way message.
pub(crate) enum Notified {
    Delivered,
    Refused(Refusal),
    /// It is served like a request; the answer is discarded.
    Serving(BoxFuture<'static, Result<Reply, Refusal>>),
}

/// Delivers `message` to an actor synchronously. The future waits for its result.
///
/// If the mailbox was open before and closes then, the actor panicked or stopped while it had the
/// message.
pub(crate) fn call<M>(
    recipient: &Recipient<M>,
    message: M,
) -> impl Future<Output = Result<M::Result, Refusal>> + use<M>
where
    M: Message<Result: Send> + Send + 'static,
{
    // Each clone of a sender has a reserved slot in the mailbox, so the message is in it at once.
    let answer = recipient.connected().then(|| recipient.clone().send(message));
    async move {
        answer.ok_or(Refusal::HandlerGone)?.await.map_err(|error| match error {
            MailboxError::Timeout => Refusal::HandlerLate,
            MailboxError::Closed => Refusal::HandlerFailed,
        })
    }
}

/// Enqueues `message` in the mailbox of an actor.
#[expect(clippy::disallowed_methods, reason = "bounded by credit")]
pub(crate) fn enqueue<M>(recipient: &Recipient<M>, message: M) -> Result<(), Refusal>
where
    M: Message<Result: Send> + Send + 'static,
{
    if !recipient.connected() {
        return Err(Refusal::HandlerGone);
    }
    recipient.do_send(message);
    Ok(())
}

/// A number that is the same for every recipient of one actor.
pub(crate) fn actor_id(recipient: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    recipient.hash(&mut hasher);
    hasher.finish()
}

impl From<Result<(), Refusal>> for Notified {
    fn from(result: Result<(), Refusal>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::Delivered)
    }
}

impl Serve for Recipient<Incoming> {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        Box::pin(call(self, incoming))
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        enqueue(self, incoming).into()
    }

    fn handler(&self) -> u64 {
        actor_id(self)
    }
}

/// A handler that receives one-way messages in batches.
#[derive(Debug)]
pub(crate) struct Batched(pub(crate) Recipient<IncomingBatch>);

impl Serve for Batched {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let handled = call(&self.0, IncomingBatch::of_one(incoming));
        Box::pin(async move { handled.await.map(|()| Reply::none()) })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        enqueue(&self.0, IncomingBatch::of_one(incoming)).into()
    }

    fn handler(&self) -> u64 {
        actor_id(&self.0)
    }

    fn takes_batches(&self) -> bool {
        true
    }

    fn notify_batch(&self, batch: IncomingBatch) -> Result<(), Refusal> {
        enqueue(&self.0, batch)
    }
}

/// How the data of a request reaches its handler, and its maximum length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intake {
    /// Buffered whole.
    Whole(u32),
    /// As a [`Body`](crate::Body).
    Streamed(u32),
}

impl Intake {
    /// The maximum length of the data in bytes.
    pub(crate) const fn limit(self) -> u32 {
        match self {
            Self::Whole(limit) | Self::Streamed(limit) => limit,
        }
    }

    /// The same with another limit.
    const fn with_limit(self, limit: u32) -> Self {
        match self {
            Self::Whole(_) => Self::Whole(limit),
            Self::Streamed(_) => Self::Streamed(limit),
        }
    }

    /// The same, with a limit of at most `most` if the data is buffered whole.
    fn whole_at_most(self, most: u32) -> Self {
        match self {
            Self::Whole(limit) => Self::Whole(limit.min(most)),
            streamed @ Self::Streamed(_) => streamed,
        }
    }
}

/// One entry of the table.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) serve: Arc<dyn Serve>,
    /// Identifies the actor.
    pub(crate) handler: u64,
    pub(crate) intake: Intake,
    /// Permits for requests in progress.
    pub(crate) permits: Arc<Semaphore>,
    /// Whether replies may have codes of the framework.
    pub(crate) internal: bool,
    pub(crate) timer: HandlerTimer,
}

impl Route {
    /// Delivers a request synchronously, as [`Serve::serve`] does, and measures the time until the
    /// answer.
    pub(crate) fn call(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        self.timer.take(self.serve.serve(incoming), Reply::is_refusal)
    }
}

/// The table from code to route, shared by all connections of a node and changed while it runs.
#[derive(Debug)]
pub(crate) struct Routes {
    table: RwLock<IndexMap<TypeCode, Route>>,
    /// Lengths that the application has set for codes, whatever their handler.
    lengths: Mutex<IndexMap<TypeCode, u32>>,
    /// The routes of the well-known codes, until they are switched on.
    off: Mutex<Vec<(TypeCode, Route)>>,
    /// The maximum length of data that is buffered whole.
    most: u32,
    /// Counts the changes, so that a link can cache its look-ups.
    version: AtomicU64,
}

impl Routes {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            table: RwLock::default(),
            lengths: Mutex::default(),
            off: Mutex::default(),
            most,
            version: AtomicU64::new(0),
        }
    }

    fn lengths(&self) -> MutexGuard<'_, IndexMap<TypeCode, u32>> {
        self.lengths.lock()
    }

    /// Sets the maximum length of the data of a code, for its current and future handlers.
    pub(crate) fn set_max_len(&self, code: TypeCode, bytes: u32) {
        self.lengths().insert(code, bytes);
        self.change(|table| {
            if let Some(route) = table.get_mut(&code) {
                route.intake = route.intake.with_limit(bytes).whole_at_most(self.most);
            }
        });
    }

    fn change<R>(&self, change: impl FnOnce(&mut IndexMap<TypeCode, Route>) -> R) -> R {
        let result = change(&mut self.table.write());
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Inserts `route` and returns the one that it replaces.
    pub(crate) fn insert(&self, code: TypeCode, mut route: Route) -> Option<Route> {
        let set = self.lengths().get(&code).copied();
        let intake = set.map_or(route.intake, |bytes| route.intake.with_limit(bytes));
        route.intake = intake.whole_at_most(self.most);
        self.change(|table| table.insert(code, route))
    }

    /// Keeps routes until [`switch_on`](Self::switch_on) inserts them.
    pub(crate) fn keep_off(&self, routes: Vec<(TypeCode, Route)>) {
        *self.off.lock() = routes;
    }

    /// Inserts the routes that are kept off and whose codes have no handler. It does so once: a
    /// route that the application removes afterwards stays removed.
    pub(crate) fn switch_on(&self) {
        let routes = std::mem::take(&mut *self.off.lock());
        for (code, route) in routes {
            if self.find(code).is_none() {
                self.insert(code, route);
            }
        }
    }

    pub(crate) fn remove(&self, code: TypeCode) -> Option<Route> {
        self.change(|table| table.swap_remove(&code))
    }

    /// The maximum length of data that any route buffers whole.
    pub(crate) fn longest(&self) -> u32 {
        let routes = self.table.read();
        let whole = |route: &Route| match route.intake {
            Intake::Whole(limit) => limit,
            Intake::Streamed(_) => 0,
        };
        routes.values().map(whole).max().unwrap_or(0)
    }

    /// The maximum lengths of the codes that differ from `default`, and of the codes that are not
    /// in upper case, which a look-up would otherwise fold to another code.
    pub(crate) fn unusual_lengths(&self, default: u32) -> Vec<(TypeCode, u32)> {
        let routes = self.table.read();
        let lengths = routes.iter().map(|(code, route)| match route.intake {
            Intake::Whole(limit) => (*code, limit.min(default)),
            Intake::Streamed(limit) => (*code, limit),
        });
        let listed = |(code, length): &(TypeCode, u32)| {
            *length != default || *code != code.to_ascii_uppercase()
        };
        let mut lengths: Vec<_> = lengths.filter(listed).collect();
        lengths.sort_unstable();
        lengths
    }

    /// The route for exactly this code, otherwise the one for its upper-case form
    /// ([protocol](crate::protocol#codes)).
    pub(crate) fn find(&self, code: TypeCode) -> Option<Route> {
        let routes = self.table.read();
        routes.get(&code).or_else(|| routes.get(&code.to_ascii_uppercase())).cloned()
    }

    /// The codes of the application, sorted.
    pub(crate) fn codes(&self) -> Vec<TypeCode> {
        let routes = self.table.read();
        let mut codes: Vec<_> = routes.keys().copied().filter(|code| !code.is_reserved()).collect();
        codes.sort_unstable();
        codes
    }

    /// Drops all handlers.
    pub(crate) fn clear(&self) {
        self.keep_off(Vec::new());
        self.change(IndexMap::clear);
    }
}
