//! The I/O of Kademlia: which nodes are asked, what is answered and stored, and when it is
//! maintained.

mod answered;
mod config;
mod error;
mod handle;
mod lookup;
mod maintenance;
mod providers;
mod publish;
mod serve;
mod silent;
#[cfg(feature = "gossip")]
mod topics;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::LocalBoxFuture;
use indexmap::IndexSet;
use tokio::sync::{Notify, Semaphore};

#[cfg(feature = "gossip")]
pub(crate) use self::topics::provide_topic;
use self::{answered::Answered, publish::Own, serve::Answering, silent::Silent};
pub use self::{config::KademliaConfig, error::KademliaError};
use crate::{
    overlay::{
        Address, PeerInfo,
        kademlia::{Key, RecordStore, SharedTable, message::KAD},
        options::{ConfigError, Options as _},
    },
    peer::maintenance::{Maintenance, NodeContext},
    session::Endpoint,
    sync::Mutex,
};

/// The number of nodes that are probed at once. Estimated, not measured: each probe takes up to two
/// seconds and dials are paced, so more probes would only wait.
const PROBES_AT_ONCE: usize = 16;

/// The state of Kademlia in a node.
#[derive(Debug)]
pub(crate) struct Dht {
    config: KademliaConfig,
    /// As [`Config::limit_loopback`](crate::Config::limit_loopback) of the node.
    limit_loopback: AtomicBool,
    table: SharedTable,
    store: Mutex<RecordStore>,
    /// What this node publishes, and until when.
    own: Mutex<BTreeMap<Key, Own>>,
    probes: Arc<Semaphore>,
    /// The addresses that are being probed.
    probed: Mutex<IndexSet<Address>>,
    answered: Mutex<Answered>,
    silent: Mutex<Silent>,
    /// Notified when a new node is in the table.
    grown: Notify,
    drawn: AtomicU64,
    me: OnceLock<PeerInfo>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Dht {
    pub(crate) fn new(config: KademliaConfig, table: SharedTable) -> Self {
        Self {
            store: Mutex::new(RecordStore::new(config.limits())),
            config,
            limit_loopback: AtomicBool::new(false),
            table,
            own: Mutex::default(),
            probes: Arc::new(Semaphore::new(PROBES_AT_ONCE)),
            probed: Mutex::default(),
            answered: Mutex::default(),
            silent: Mutex::default(),
            grown: Notify::new(),
            drawn: AtomicU64::new(0),
            me: OnceLock::new(),
        }
    }

    /// The state in `node`; `None` if the node has no Kademlia.
    fn of(node: &Endpoint) -> Option<Arc<Self>> {
        Arc::clone(node.kademlia.get()?).downcast().ok()
    }

    /// 32 bytes that other nodes cannot predict unless they know when this node was started. They
    /// only spread refreshes over a bucket.
    fn random(&self, node: &Endpoint) -> [u8; 32] {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let text = format!("{} {} {drawn}", node.me.id(), node.links.incarnation);
        *Key::of_bytes(text.as_bytes()).as_bytes()
    }
}

/// The maintenance that [`Builder::kademlia`](crate::Builder::kademlia) adds.
#[derive(Debug)]
pub(crate) struct Kademlia(pub(crate) Arc<Dht>);

impl Maintenance for Kademlia {
    fn name(&self) -> &'static str {
        "kademlia"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.0.config.validate_all()
    }

    fn prepare(&self, context: &NodeContext) {
        let me = context.node.me.clone();
        self.0.table.make(Key::of(me.id()), self.0.config.k);
        self.0.me.set(me).ok();
        self.0.limit_loopback.store(context.node.config.limit_loopback, Ordering::Relaxed);
        context.node.kademlia.set(Arc::<Dht>::clone(&self.0)).ok();
        let serve = Answering { node: Arc::downgrade(&context.node), dht: Arc::clone(&self.0) };
        context.serve(KAD, Arc::new(serve));
    }

    fn run<'a>(&'a self, context: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(maintenance::run(context, &self.0))
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
