//! The options of a node, and how the node is started from them.

mod address_book;
mod descriptors;
#[cfg(all(
    test,
    feature = "kademlia",
    feature = "mdns",
    feature = "swim",
    feature = "test-utils",
    feature = "tls"
))]
mod ends;
mod every;
#[cfg(feature = "gossip")]
mod gossip;
pub(crate) mod handlers;
#[cfg(feature = "kademlia")]
mod kademlia;
#[cfg(feature = "mdns")]
mod mdns;
mod peer_exchange;
#[cfg(feature = "swim")]
mod swim;

use std::{fmt, rc::Rc, sync::Arc};

use actix::prelude::{Actor, AsyncContext, Context, Recipient};
use actix_rt::{Arbiter, System};
use tokio::runtime::Handle;

use self::{every::Closure, handlers::Entry};
#[cfg(feature = "test-utils")]
use crate::node::WallClock;
#[cfg(feature = "gossip")]
use crate::peer::gossip::{Gossip, GossipConfig};
use crate::{
    connection::Connections,
    frame::TypeCode,
    node::{Ambient, Config, EventBus, Node, PeerEvent, Threads, watch},
    overlay::{
        Address, Direct, Host, JoinPolicy, PeerId, PeerInfo, PeerList, QuitPolicy, Router, Scope,
        Stabilizer,
        options::{ConfigError, Options, Setting, settings},
    },
    peer::{
        Peer, Peers, StartError,
        actor::{Parts, PeerActor},
        joining::{GivenContacts, JoinRetries, RejoinContacts},
        kept_links::KeptLinks,
        maintenance::{
            Maintenance, NodeContext, admission::FollowAdmission, bans::EndOfBans,
            watchdog::Watchdog,
        },
        stabilizer::Stabilizing,
        table::Table,
        verification::Verification,
    },
    reliable::{self, Outbox},
    session::Endpoint,
    transport::{Transport, tcp::Tcp},
};

/// The options of a node; [`start`](Self::start) starts the node.
///
/// Every option has a default. Most programs set the address to [`listen`](Self::listen) on.
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
    /// A part of the node needs the well-known codes where the application does not serve them:
    /// other nodes ask for its name.
    pub(super) needs_well_known: bool,
    /// The maintenance of the application: stabilizers and closures.
    stabilizers: Vec<Rc<dyn Maintenance>>,
    closures: Vec<Closure>,
    /// The maintenance of the parts that options of the builder add, at most one of each name.
    parts: Vec<Rc<dyn Maintenance>>,
    events: Vec<Recipient<PeerEvent>>,
    contacts: Vec<String>,
    kept_links: Vec<String>,
    advertise: Option<String>,
    workers: usize,
    outbox: Option<Arc<dyn Outbox>>,
    /// The options of the neighbours; `None` if the node keeps none.
    #[cfg(feature = "gossip")]
    gossip: Option<GossipConfig>,
    #[cfg(feature = "test-utils")]
    wall_clock: Option<WallClock>,
}

/// The maximum number of workers of a node.
pub const MAX_WORKERS: usize = 256;

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
            needs_well_known: false,
            stabilizers: Vec::new(),
            closures: Vec::new(),
            parts: Vec::new(),
            events: Vec::new(),
            contacts: Vec::new(),
            kept_links: Vec::new(),
            advertise: None,
            workers: 0,
            outbox: None,
            #[cfg(feature = "gossip")]
            gossip: Some(GossipConfig::default()),
            #[cfg(feature = "test-utils")]
            wall_clock: None,
        }
    }
}

impl Peer {
    /// Returns the default options of a new node.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// The address to listen on: `host:port`, IPv6 in brackets. Port 0 picks a free port. For a
    /// host name, the node listens on all addresses of that name; `localhost` is both families
    /// ([`Tcp`]). Default `127.0.0.1:0`.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// The node's id: 1 to 64 letters, digits and `. _ : - [ ]`. Default `host:port`, as in the
    /// original framework. With TLS the id is the public key and cannot be anything else.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The host that the node announces to other nodes. Default: the address listened on. If that
    /// is `0.0.0.0` or `[::]`, the default is the address of the interface that has the default
    /// route (found without sending a packet), or loopback if there is none. A host that no node
    /// can reach, such as `0.0.0.0` or a multicast address, is refused by [`start`](Self::start)
    /// ([`StartError::UnreachableHost`]).
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The address that the node announces to other nodes, `host:port`, for a node behind a port
    /// mapping. Default: the [`host`](Self::host), and the port that it listens on. A host that no
    /// node can reach, such as `0.0.0.0`, is refused by [`start`](Self::start)
    /// ([`StartError::UnreachableHost`]).
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Keeps a link with this peer open at all times, so that a message to it never waits for a
    /// dial: `host:port`, or `id host port` for this id only. Can be called for several peers.
    ///
    /// A link that has ended is dialled again, after pauses of 1 s to 1 minute. It is not closed
    /// while nothing is sent over it, nor to make room for others
    /// ([`Config::max_links`](crate::Config::max_links)). [`Status::kept_links_open`] counts the
    /// links that are open.
    ///
    /// [`Status::kept_links_open`]: crate::peer::Status::kept_links_open
    pub fn keep_linked(mut self, peer: impl Into<String>) -> Self {
        self.kept_links.push(peer.into());
        self
    }

    /// Keeps no neighbours, whatever the features of the crate are. The node knows what fits into its
    /// peer table, as a node of the original framework does: in a network that is larger than the
    /// tables, it may be left alone.
    pub fn without_gossip(self) -> Self {
        #[cfg(feature = "gossip")]
        return Self { gossip: None, ..self };
        #[cfg(not(feature = "gossip"))]
        self
    }

    /// Nodes by which this one joins the network: `host:port` each. Default: none.
    ///
    /// They are tried one after the other from the start on, until one takes the node in, and again,
    /// after pauses of 1 s to 2 minutes, while the node is alone and when it becomes alone later.
    /// Names are looked up again each time, and all their addresses are tried. The node itself may
    /// be among them. [`PeerEvent::Joined`] and, for the first try, [`PeerEvent::NotJoined`] report
    /// the result. A node that has [left](Peer::leave) joins again only by [`join`](Peer::join).
    pub fn contacts<C: Into<String>>(mut self, contacts: impl IntoIterator<Item = C>) -> Self {
        self.contacts.extend(contacts.into_iter().map(Into::into));
        self.needs_well_known = true;
        self
    }

    /// The maximum number of peers in the table; 0 = no limit. Default 128. Short for
    /// [`Config::max_peers`].
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.config = self.config.max_peers(peers);
        self
    }

    /// Which nodes a `JOIN` adds to the table. Default [`JoinPolicy::Verified`]. Short for
    /// [`Config::join_policy`].
    pub fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.config = self.config.join_policy(policy);
        self
    }

    /// Which nodes a `QUIT` removes from the table. Default [`QuitPolicy::Own`]. Short for
    /// [`Config::quit_policy`].
    pub fn quit_policy(mut self, policy: QuitPolicy) -> Self {
        self.config = self.config.quit_policy(policy);
        self
    }

    /// Sets all limits and times. Replaces earlier values of [`max_peers`](Self::max_peers),
    /// [`join_policy`](Self::join_policy) and [`quit_policy`](Self::quit_policy).
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The router, which picks the next hop for a message to a node that is not a neighbour.
    /// Default [`Direct`]: no such message is routed.
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Box::new(router);
        self
    }

    /// Adds maintenance, [`PingSweep`](crate::PingSweep) for instance. Each stabilizer runs on its
    /// own schedule. A stabilizer that panics is started again from a fresh clone.
    pub fn stabilizer(mut self, stabilizer: impl Stabilizer + Clone) -> Self {
        self.stabilizers.push(Rc::new(Stabilizing::new(stabilizer)));
        self
    }

    /// Sends every [`PeerEvent`] to this actor. Events that do not fit into its mailbox are counted
    /// and dropped. The node keeps the actor alive until the node has stopped.
    pub fn events(mut self, subscriber: impl Into<Recipient<PeerEvent>>) -> Self {
        self.events.push(subscriber.into());
        self
    }

    /// Authenticates this node and all others with mutual TLS: the node's id is its public key.
    /// Short for `transport(TlsTransport::new(identity))`, which replaces the transport. For its
    /// options see [`TlsTransport`](crate::transport::tls::TlsTransport).
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn identity(self, identity: crate::transport::tls::NodeIdentity) -> Self {
        self.transport(crate::transport::tls::TlsTransport::new(identity))
    }

    /// The store that keeps messages of [`Peer::send_reliable`] until they are acknowledged, so
    /// that they survive a restart of this node. Default: none.
    pub fn outbox(mut self, outbox: impl Outbox) -> Self {
        self.outbox = Some(Arc::new(outbox));
        self
    }

    /// Replaces the wall clock, for tests of a clock that is wrong or goes back. Default: the clock
    /// of the system. The wall clock dates the address book and gives each run of the node its
    /// incarnation number. No timer depends on it.
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    pub fn wall_clock(
        mut self,
        clock: impl Fn() -> std::time::SystemTime + Send + Sync + 'static,
    ) -> Self {
        self.wall_clock = Some(WallClock::new(clock));
        self
    }

    /// Adds the maintenance of a part of the node, and replaces an earlier one of the same name.
    pub(super) fn part(mut self, part: impl Maintenance + 'static) -> Self {
        self.parts.retain(|other| other.name() != part.name());
        self.parts.push(Rc::new(part));
        self
    }

    /// The transport that carries the bytes. Default [`Tcp`].
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Spreads links and connections in turn over this number of dedicated threads, each with an
    /// arbiter. Default 0: everything runs on the arbiter where the node is started. At most
    /// [`MAX_WORKERS`].
    ///
    /// The node's other actors stay on the arbiter where it was started, and handlers run on the
    /// arbiter where they were started. Workers therefore help when reading, writing and decoding
    /// are the bottleneck. Trade-off: each worker is one thread, and a message to a handler crosses
    /// threads. A node in a simulated network (feature `test-utils`) has none.
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Checks that every option of the node and of its parts is within its bounds.
    fn validate(&self) -> Result<(), ConfigError> {
        self.config.validate()?;
        Workers { workers: self.workers }.validate_all()?;
        self.transport.validate()?;
        self.parts.iter().chain(&self.stabilizers).try_for_each(|piece| piece.validate())?;
        self.closures.iter().try_for_each(Closure::validate)
    }

    /// Starts the node on the arbiter where it is called.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing running.
    pub async fn start(self) -> Result<Peer, StartError> {
        #[cfg(feature = "gossip")]
        let this = self.with_neighbors();
        #[cfg(not(feature = "gossip"))]
        let this = self;
        // Boxed, to keep the future of the caller small.
        Box::pin(this.start_with_parts()).await
    }

    /// Adds the part that keeps neighbours, if other nodes can ask this one for its name.
    #[cfg(feature = "gossip")]
    fn with_neighbors(mut self) -> Self {
        match self.gossip.take().filter(|_| self.well_known || self.needs_well_known) {
            Some(config) => self.part(Gossip::new(config)),
            None => self,
        }
    }

    async fn start_with_parts(self) -> Result<Peer, StartError> {
        self.validate()?;
        self.check_handlers()?;
        let at: Address = self.listen.parse().map_err(|source| {
            StartError::InvalidListenAddress { text: self.listen.clone(), source }
        })?;
        let contacts =
            parsed(&self.contacts, |text, source| StartError::InvalidContact { text, source })?;
        let kept_links =
            parsed(&self.kept_links, |text, source| StartError::InvalidKeptLink { text, source })?;
        let advertise = self.advertise.as_deref().map(|text| {
            let invalid = |source| StartError::InvalidAdvertise { text: text.to_owned(), source };
            text.parse::<Address>().map_err(invalid)
        });
        let advertise = advertise.transpose()?;
        let id = self.id.as_deref().map(str::parse::<PeerId>).transpose()?;
        let id = match (id, self.transport.proves()) {
            (Some(id), Some(key)) if id != *key => {
                return Err(StartError::NotTheKey { id, key: key.clone() });
            }
            (id, key) => key.cloned().or(id),
        };
        let host = self.host.as_deref().map(str::parse::<Host>).transpose()?;
        on_arbiter()?;
        #[cfg(feature = "test-utils")]
        if self.workers > 0 && crate::node::simulation::is_running() {
            return Err(StartError::WorkersInSimulation);
        }
        let kept = match &self.outbox {
            Some(outbox) => outbox.load().await.map_err(StartError::Outbox)?,
            None => Vec::new(),
        };
        let threads = Threads::start(self.workers).await;
        let listener = self.transport.listen(&at).await;
        let listener = listener.map_err(|source| StartError::listen(at.clone(), source))?;
        let bound = listener.local_address();
        let address = advertise.unwrap_or_else(|| {
            let host = host.unwrap_or_else(|| self.transport.own_host(&bound));
            Address::new(host, bound.port())
        });
        if Scope::of(address.host()).is_none() {
            return Err(StartError::UnreachableHost(address.host().clone()));
        }
        let id = id.map_or_else(|| address.to_string().parse(), Ok)?;
        let me = PeerInfo::new(id, address)?;

        #[cfg(feature = "metrics")]
        crate::peer::metrics::describe();
        let public = listener.local_addresses().into_iter().find(is_public);
        if self.transport.proves().is_none()
            && let Some(address) = public
        {
            tracing::warn!(
                %address,
                "listening beyond loopback without TLS: ids are only claimed, and anyone on the path can eavesdrop"
            );
        }

        let events = EventBus::new(self.events);
        let config = descriptors::fit(self.config);
        let stored = kept.iter().map(|kept| kept.id.life()).max();
        let ambient = self.transport.simulated().map_or_else(Ambient::default, Ambient::simulated);
        #[cfg(feature = "test-utils")]
        let ambient = ambient.with_date(self.wall_clock);
        let incarnation = ambient.incarnation(stored);
        // The host may be a name: a successor of the listener listens on all of its addresses
        // again.
        let listen_at = Address::new(at.host().clone(), bound.port());
        let node = Node::new(config, me, self.transport, events, threads, ambient);
        let node = Endpoint::new(node, incarnation);
        let connections = Connections::default();
        // This is the only place that sets it.
        node.host.set(Arc::new(connections.clone())).ok();
        let reliable = Arc::new(reliable::ReliableSender::new(Arc::clone(&node)));
        if let Some(outbox) = self.outbox {
            reliable.keep_in(outbox);
        }
        node.threads.follow_home(&node.drain, &node.abort);
        let list = PeerList::new(node.me.id().clone(), node.config.max_peers)
            .located(node.me.address().clone());
        let table = Table::new(list, self.router);
        let (list, current) = watch::channel(None);
        let (stopped, report) = watch::channel(None);
        let peers = Peers::new(current, node.threads.home().clone());
        self.lengths.into_iter().for_each(|(code, bytes)| node.routes.set_max_len(code, bytes));
        let well_known = self.well_known || self.needs_well_known;
        handlers::register(&node, &peers, self.handlers, well_known);

        let given: [Option<Rc<dyn Maintenance>>; 2] = [
            (!contacts.is_empty()).then(|| Rc::new(GivenContacts(contacts)) as _),
            (!kept_links.is_empty()).then(|| Rc::new(KeptLinks(kept_links)) as _),
        ];
        let mut peer = None;
        PeerActor::create(|ctx: &mut Context<PeerActor>| {
            let handle = Peer::new(
                (Arc::clone(&node), Arc::clone(&reliable), connections.clone()),
                peers,
                ctx.address(),
                report,
            );
            let weak = handle.downgrade();
            let context = NodeContext { node: Arc::clone(&node), peers: handle.peers().clone() };
            let closures = self.closures.into_iter().map(|closure| closure.of(weak.clone()));
            let maintenance: Vec<_> = standard(&context)
                .into_iter()
                .chain(self.parts)
                .chain(given.into_iter().flatten())
                .chain(self.stabilizers)
                .chain(closures)
                .collect();
            maintenance.iter().for_each(|piece| piece.prepare(&context));
            peer = Some(handle);
            let parts = Parts {
                node: Arc::clone(&node),
                connections,
                peer: weak,
                table,
                list,
                maintenance,
                stopped,
                listen_at,
            };
            let actor = PeerActor::new(parts);
            actor.start_list(ctx);
            actor.start_listener(listener, ctx);
            actor.start_stabilizers(ctx);
            actor
        });
        node.emit(&PeerEvent::Started { me: node.me.clone() });
        reliable::replay(&reliable, kept);
        peer.ok_or(StartError::NoArbiter)
    }
}

fn parsed<T: std::str::FromStr>(
    texts: &[String],
    invalid: impl Fn(String, T::Err) -> StartError,
) -> Result<Vec<T>, StartError> {
    let parse = |text: &String| text.parse().map_err(|source| invalid(text.clone(), source));
    texts.iter().map(parse).collect()
}

/// The maintenance that every node has.
fn standard(NodeContext { node, .. }: &NodeContext) -> Vec<Rc<dyn Maintenance>> {
    let mut pieces: Vec<Rc<dyn Maintenance>> = vec![
        Rc::new(Watchdog),
        Rc::new(EndOfBans),
        Rc::new(Verification),
        Rc::new(JoinRetries),
        Rc::new(RejoinContacts),
    ];
    if let Some(changes) = node.transport.admission_changes() {
        pieces.push(Rc::new(FollowAdmission(changes)));
    }
    pieces
}

/// [`Builder::workers`].
#[derive(Clone)]
struct Workers {
    workers: usize,
}

impl Options for Workers {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        settings! { "Builder::workers", "threads", &mut self.workers, 0..=MAX_WORKERS; }
    }
}

/// Whether other machines may reach the address. An address with a host name belongs to a test
/// network; a real socket is bound by its IP.
const fn is_public(bound: &Address) -> bool {
    match bound.host() {
        Host::Ip(ip) => !ip.to_canonical().is_loopback(),
        Host::Name(_) => false,
    }
}

/// A node needs a running arbiter: its actors are not `Send`, and workers belong to a system.
fn on_arbiter() -> Result<(), StartError> {
    let in_system = Handle::try_current().is_ok() && System::try_current().is_some();
    let arbiter = Arbiter::try_current().filter(|_| in_system);
    // An arbiter that has ended accepts no work.
    let runs = arbiter.is_some_and(|arbiter| arbiter.spawn_fn(|| ()));
    if runs { Ok(()) } else { Err(StartError::NoArbiter) }
}
