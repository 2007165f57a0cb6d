//! From options to a running node.

use std::{collections::BTreeSet, fmt, rc::Rc, sync::Arc, time::Duration};

use actix::prelude::{Actor, AsyncContext, Context, Recipient};
use futures::future::LocalBoxFuture;
use tokio::sync::{Semaphore, watch};

use crate::{
    connection::{
        Batched, Config, EventBus, Incoming, IncomingBatch, Intake, Node, Outbox, PeerEvent,
        PeerMessage, Received, Route, Serve, Threads, links, typed::Typed, watch_bans,
    },
    frame::TypeCode,
    overlay::{
        Address, Direct, Host, JoinPolicy, PeerId, PeerInfo, PeerList, QuitPolicy, Router,
        Stabilizer,
    },
    peer::{
        Peer, Peers, RegisterError, StartError,
        actor::{Parts, PeerActor},
        descriptors,
        forward::Forward,
        list::Table,
        stabilizer::{Job, Recipe},
        watchdog,
        well_known::{self, WellKnown},
    },
    transport::{Transport, tcp::Tcp},
};

/// The options of a node; [`start`](Self::start) makes the node.
///
/// Where it listens is the one thing to say; everything else has a default.
///
/// ```
/// use actix_peer::{Peer, Reply, handler};
/// use actix::prelude::*;
///
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = handler::from_fn(async |msg: actix_peer::Incoming| Reply::one(msg.frame));
/// let peer = Peer::builder()
///     .listen("127.0.0.1:0")
///     .max_peers(16)
///     .well_known()
///     .handle("ECHO", echo.start())?
///     .start()
///     .await?;
/// peer.stop().await;
/// # Ok(()) }
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    listen: String,
    id: Option<String>,
    host: Option<String>,
    config: Config,
    transport: Arc<dyn Transport>,
    router: Box<dyn Router>,
    handlers: Vec<(TypeCode, Entry)>,
    lengths: Vec<(TypeCode, u32)>,
    well_known: bool,
    recipes: Vec<Recipe>,
    events: Vec<Recipient<PeerEvent>>,
    workers: usize,
    outbox: Option<Arc<dyn Outbox>>,
}

/// The most workers of a node.
pub const MAX_WORKERS: usize = 256;

/// A handler before the node has its limits.
#[derive(Clone, Debug)]
struct Entry {
    serve: Arc<dyn Serve>,
    streamed: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("listen", &self.listen)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            id: None,
            host: None,
            config: Config::default(),
            transport: Arc::new(Tcp::default()),
            router: Box::new(Direct),
            handlers: Vec::new(),
            lengths: Vec::new(),
            well_known: false,
            recipes: Vec::new(),
            events: Vec::new(),
            workers: 0,
            outbox: None,
        }
    }
}

/// Refuses what the application may not register.
pub(crate) fn application_code(
    code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
) -> Result<TypeCode, RegisterError> {
    let code = code.try_into().map_err(Into::into)?;
    if code.is_reserved() { Err(RegisterError::Reserved(code)) } else { Ok(code) }
}

/// A route with a share of its own of the requests in hand.
pub(crate) fn application_route(
    node: &Node,
    code: TypeCode,
    serve: Arc<dyn Serve>,
    streamed: bool,
) -> Route {
    let config = &node.config;
    let intake =
        if streamed { Intake::Streamed(u32::MAX) } else { Intake::Whole(config.max_frame_len) };
    Route {
        handler: serve.handler(),
        serve,
        intake,
        places: Arc::new(Semaphore::new(config.max_requests_per_code)),
        internal: false,
        times: node.measures.times(code),
    }
}

impl Builder {
    /// Where to listen: `host:port`, IPv6 in brackets. Port 0 picks a free one. Default
    /// `127.0.0.1:0`.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// The node's id: 1 to 64 letters, digits and `. _ : - [ ]`. Default `host:port`, as in the
    /// original framework; with TLS it is the key and can be no other.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The host that others are told. Default: the address listened on, or, when that is `0.0.0.0`
    /// or `[::]`, the address of the interface that has the default route, found without sending a
    /// packet; loopback where there is none.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The most peers in the table; 0 = no limit. Default 128. Short for [`Config::max_peers`].
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.config = self.config.max_peers(peers);
        self
    }

    /// Whom a `JOIN` adds to the table. Default [`JoinPolicy::Verified`]. Short for
    /// [`Config::join_policy`].
    pub fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.config = self.config.join_policy(policy);
        self
    }

    /// Whom a `QUIT` takes out of the table. Default [`QuitPolicy::Own`]. Short for
    /// [`Config::quit_policy`].
    pub fn quit_policy(mut self, policy: QuitPolicy) -> Self {
        self.config = self.config.quit_policy(policy);
        self
    }

    /// Limits and times. Replaces what [`max_peers`](Self::max_peers), [`join_policy`](Self::join_policy)
    /// and [`quit_policy`](Self::quit_policy) said before.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Registers the handler for a code: the address of any actor with `Handler<Incoming>`, on any
    /// arbiter.
    ///
    /// # Errors
    /// The code is not four bytes, or belongs to the framework. (Two handlers for one code are
    /// refused by [`start`](Self::start).)
    pub fn handle(
        self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<Incoming>>,
    ) -> Result<Self, RegisterError> {
        self.entry(code, Arc::new(handler.into()), false)
    }

    /// Bounds the data of a request for a code, in bytes, in place of
    /// [`Config::max_frame_len`] (what is taken whole), [`Config::max_control_len`] (the well-known
    /// codes) or no bound but that of a frame (streams). It holds for whoever handles the code, and
    /// may be more or less; 0 takes requests without data. What is taken whole is never longer than
    /// [`Config::max_partial_bytes`].
    ///
    /// A longer request is refused as too long: a classic one on its header, without waiting for its
    /// data; one on a link with the first of its frames that is beyond. The price of more: so much
    /// memory for each of up to [`Config::max_requests_per_code`] requests in hand, and a link's window
    /// is at least twice the longest. Links that are open already keep theirs, and take no more whole
    /// than they said when they were opened.
    ///
    /// ```
    /// # use actix::prelude::*;
    /// # use actix_peer::{Incoming, Peer, Reply, handler};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vote = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame)).start();
    /// let peer = Peer::builder().handle("VOTE", vote)?.max_len("VOTE", 64)?.start().await?;
    /// # peer.stop().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The code is not four bytes, or belongs to the framework.
    pub fn max_len(
        mut self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        bytes: u32,
    ) -> Result<Self, RegisterError> {
        self.lengths.push((application_code(code)?, bytes));
        Ok(self)
    }

    /// Registers the handler for a code whose data is streamed to it, however long: it takes
    /// [`Incoming::into_body`].
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_stream(
        self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<Incoming>>,
    ) -> Result<Self, RegisterError> {
        self.entry(code, Arc::new(handler.into()), true)
    }

    /// Registers the handler for a code that takes one-way messages together: the address of any
    /// actor with `Handler<IncomingBatch>`, on any arbiter.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_batch(
        self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<IncomingBatch>>,
    ) -> Result<Self, RegisterError> {
        self.entry(code, Arc::new(Batched(handler.into())), false)
    }

    /// Registers the handler for a typed message: the address of any actor with
    /// `Handler<Received<M>>`, on any arbiter.
    ///
    /// # Errors
    /// The message's code belongs to the framework.
    pub fn on<M: PeerMessage>(
        self,
        handler: impl Into<Recipient<Received<M>>>,
    ) -> Result<Self, RegisterError> {
        self.entry(M::CODE, Arc::new(Typed::new(handler.into())), false)
    }

    fn entry(
        mut self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        serve: Arc<dyn Serve>,
        streamed: bool,
    ) -> Result<Self, RegisterError> {
        self.handlers.push((application_code(code)?, Entry { serve, streamed }));
        Ok(self)
    }

    /// Serves `NAME`, `LIST`, `JOIN`, `QUIT` and `PING` (WIRE.md part 2), so that other nodes, the
    /// original programs among them, can join this one.
    pub fn well_known(mut self) -> Self {
        self.well_known = true;
        self
    }

    /// Who picks the next hop for a message to a node that is not a neighbour. Default [`Direct`]:
    /// nobody.
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Box::new(router);
        self
    }

    /// Adds a piece of maintenance, [`PingSweep`](crate::PingSweep) for instance. Each runs on its
    /// own schedule; one that panics is started again from a fresh clone.
    pub fn stabilizer(mut self, stabilizer: impl Stabilizer + Clone) -> Self {
        let name = stabilizer.name().to_owned();
        let make = Box::new(move || Job::Pure(Box::new(stabilizer.clone())));
        self.recipes.push(Recipe { name, make });
        self
    }

    /// Adds a piece of maintenance as an async closure: run at the start, then again `every` so
    /// long after the last run ended.
    pub fn every(
        mut self,
        every: Duration,
        name: impl Into<String>,
        run: impl AsyncFn(Peer) + 'static,
    ) -> Self {
        let run = Rc::new(run);
        let run: Rc<dyn Fn(Peer) -> LocalBoxFuture<'static, ()>> = Rc::new(move |peer| {
            let run = Rc::clone(&run);
            Box::pin(async move { run(peer).await })
        });
        let make = Box::new(move || Job::Closure { every, run: Rc::clone(&run) });
        self.recipes.push(Recipe { name: name.into(), make });
        self
    }

    /// Sends every [`PeerEvent`] to this actor. What its full mailbox does not take is counted and
    /// lost. The node keeps the actor alive until it has stopped.
    pub fn events(mut self, subscriber: impl Into<Recipient<PeerEvent>>) -> Self {
        self.events.push(subscriber.into());
        self
    }

    /// Has the node prove who it is, and all others, with mutual TLS: its id is its public key then.
    /// Short for `transport(TlsTransport::new(identity))`, which replaces the transport; options are
    /// those of [`TlsTransport`](crate::transport::tls::TlsTransport).
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn identity(self, identity: crate::transport::tls::NodeIdentity) -> Self {
        self.transport(crate::transport::tls::TlsTransport::new(identity))
    }

    /// Where messages of [`Peer::send_reliable`] are kept until they are acknowledged, so that they
    /// survive a restart of this node. Default: nowhere.
    pub fn outbox(mut self, outbox: impl Outbox) -> Self {
        self.outbox = Some(Arc::new(outbox));
        self
    }

    /// What carries the bytes. Default [`Tcp`].
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Spreads links and connections over so many threads of their own, each with an arbiter, in
    /// turn. Default 0: everything runs where the node is started. At most [`MAX_WORKERS`].
    ///
    /// The node's other actors stay where it was started, and handlers run on the arbiter where they
    /// were started; so this pays when reading, writing and decoding are the bottleneck. The price:
    /// one thread each, and a message to a handler crosses threads.
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Starts the node on the arbiter where it is called.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing running.
    pub async fn start(self) -> Result<Peer, StartError> {
        self.config.validate()?;
        self.check_handlers()?;
        let at: Address = self.listen.parse().map_err(|source| {
            StartError::InvalidListenAddress { text: self.listen.clone(), source }
        })?;
        let id = self.id.as_deref().map(str::parse::<PeerId>).transpose()?;
        let id = match (id, self.transport.proves()) {
            (Some(id), Some(key)) if id != *key => {
                return Err(StartError::NotTheKey { id, key: key.clone() });
            }
            (id, key) => key.cloned().or(id),
        };
        let host = self.host.as_deref().map(str::parse::<Host>).transpose()?;
        on_arbiter()?;
        let kept = match &self.outbox {
            Some(outbox) => outbox.load().await.map_err(StartError::Outbox)?,
            None => Vec::new(),
        };
        let threads = Threads::start(self.workers.min(MAX_WORKERS)).await;
        let listener =
            self.transport.listen(&at).await.map_err(|source| StartError::listen(at, source))?;
        let bound = listener.local_address();
        let host = host.unwrap_or_else(|| self.transport.own_host(&bound));
        let address = Address::new(host, bound.port());
        let id = id.map_or_else(|| address.to_string().parse(), Ok)?;
        let me = PeerInfo::new(id, address)?;

        #[cfg(feature = "metrics")]
        crate::peer::metrics::describe();
        if self.transport.proves().is_none() && is_public(&bound) {
            tracing::warn!(
                address = %bound,
                "listening beyond loopback without TLS: ids are only claimed, and everybody on the way reads along"
            );
        }

        let events = EventBus::new(self.config.event_queue, self.events);
        let config = descriptors::fit(self.config);
        let node = Arc::new(Node::new(config, me, self.transport, events, threads));
        if let Some(outbox) = self.outbox {
            node.links.keep_in(outbox);
        }
        let table = Table {
            list: PeerList::new(node.me.id().clone(), node.config.max_peers)
                .located(node.me.address().clone()),
            router: self.router,
        };
        node.spawn(node.tasks.track_future(watch_bans(Arc::clone(&node))));
        let (list, current) = watch::channel(None);
        let (stopped, report) = watch::channel(None);
        let peers = Peers::new(current);
        self.lengths.into_iter().for_each(|(code, bytes)| node.routes.set_max_len(code, bytes));
        register(&node, &peers, self.handlers, self.well_known);

        let mut peer = None;
        PeerActor::create(|ctx: &mut Context<PeerActor>| {
            let handle = Peer::new(Arc::clone(&node), peers, ctx.address(), report);
            let weak = handle.downgrade();
            peer = Some(handle);
            let parts = Parts {
                node: Arc::clone(&node),
                peer: weak,
                table,
                list,
                recipes: self.recipes,
                stopped,
                bound,
            };
            let actor = PeerActor::new(parts);
            actor.start_list(ctx);
            actor.start_listener(listener, ctx);
            actor.start_stabilizers(ctx);
            actor.follow_admission(ctx);
            actor
        });
        watchdog::start(&node);
        node.emit(&PeerEvent::Started { me: node.me.clone() });
        links::replay(&node, kept);
        peer.ok_or(StartError::NoArbiter)
    }

    fn check_handlers(&self) -> Result<(), RegisterError> {
        let well_known = self.well_known.then_some(WellKnown::CODES).into_iter().flatten();
        let mut seen = BTreeSet::new();
        let duplicate = self
            .handlers
            .iter()
            .map(|(code, _)| *code)
            .chain(well_known)
            .find(|code| !seen.insert(*code));
        duplicate.map_or(Ok(()), |code| Err(RegisterError::Duplicate(code)))
    }
}

/// Whether others than this machine may reach it. What has a name is in a network of tests, or is
/// bound by its IP.
const fn is_public(bound: &Address) -> bool {
    match bound.host() {
        Host::Ip(ip) => !ip.to_canonical().is_loopback(),
        Host::Name(_) => false,
    }
}

/// A node needs an arbiter (or a `LocalSet`): its actors are not `Send`.
fn on_arbiter() -> Result<(), StartError> {
    let spawn = std::panic::catch_unwind(|| actix_rt::spawn(std::future::ready(())));
    spawn.map(drop).map_err(|_| StartError::NoArbiter)
}

fn register(node: &Arc<Node>, peers: &Peers, handlers: Vec<(TypeCode, Entry)>, well_known: bool) {
    for (code, Entry { serve, streamed }) in handlers {
        node.routes.insert(code, application_route(node, code, serve, streamed));
    }
    if well_known {
        for (code, handler) in well_known::routes(node, peers) {
            let route = application_route(node, code, Arc::new(handler), false);
            node.routes.insert(
                code,
                Route { intake: Intake::Whole(node.config.max_control_len), ..route },
            );
        }
    }
    let serve = Arc::new(Forward { node: Arc::downgrade(node), peers: peers.clone() });
    let route = application_route(node, TypeCode::FWD, serve, false);
    node.routes.insert(TypeCode::FWD, Route { internal: true, ..route });
}
