//! Messages of all verbs between the nodes of a simulated network, checked against the delivery
//! rules.

mod handlers;
mod ledger;
mod senders;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    time::Duration,
};

use futures::StreamExt;
use tokio::time::Instant;

use self::{
    handlers::Here,
    ledger::{Ledger, LifeNumber},
};
use super::{Violation, plan::Mood};
use crate::{
    node::PeerEvent,
    overlay::PeerInfo,
    peer::{Builder, Peer, RegisterError},
};

/// Messages of all verbs between nodes, and the model of the [delivery](crate::delivery) rules
/// beside them. A clone is the same traffic.
///
/// Every node that [serves](Self::serve) the traffic gets three codes (`TRQA`, `TRQB`, `TRST`) and
/// sends to the others: one-way messages, requests, streamed bodies, routed and acknowledged
/// messages, of a few bytes to more than a node accepts, to ids, addresses and both. The model
/// knows what each handler received and what each sender was told, and compares them.
#[derive(Clone)]
pub struct Traffic(Rc<Inner>);

struct Inner {
    seed: u64,
    began: Instant,
    ledger: Rc<RefCell<Ledger>>,
    /// The running nodes, by name, and their runs.
    nodes: RefCell<BTreeMap<String, (LifeNumber, PeerInfo)>>,
    /// The nodes whose runs have ended. Some run again with another id, or elsewhere.
    past: RefCell<Vec<PeerInfo>>,
    /// The last started run of each name, which has no [`Peer`] yet.
    starting: RefCell<BTreeMap<String, LifeNumber>>,
    moods: RefCell<BTreeMap<String, Rc<Cell<Mood>>>>,
    stopped: Cell<bool>,
    /// The mean pause between two messages of a task.
    pause: Cell<Duration>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("sent", &self.sent()).finish_non_exhaustive()
    }
}

impl Traffic {
    /// Traffic whose random choices are drawn from this seed. Called inside of
    /// [`SimNetwork::run`](super::SimNetwork::run).
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            seed,
            began: Instant::now(),
            ledger: Rc::default(),
            nodes: RefCell::default(),
            past: RefCell::default(),
            starting: RefCell::default(),
            moods: RefCell::default(),
            stopped: Cell::new(false),
            pause: Cell::new(Duration::from_millis(200)),
        }))
    }

    /// Sets the mean pause between two messages of one of the tasks of a node. Default: 200 ms.
    pub fn set_pause(&self, pause: Duration) {
        self.0.pause.set(pause);
    }

    /// Adds the handlers of the traffic to the node `name`: part of its recipe.
    ///
    /// # Errors
    /// [`RegisterError`] if the codes are in use.
    pub fn serve(&self, name: &str, builder: Builder) -> Result<Builder, RegisterError> {
        let inner = &self.0;
        let life = inner.ledger.borrow_mut().start(name);
        inner.starting.borrow_mut().insert(name.to_owned(), life);
        let here = Here {
            ledger: Rc::clone(&inner.ledger),
            life,
            mood: self.mood(name),
            began: inner.began,
        };
        handlers::serve(builder, here)
    }

    fn mood(&self, name: &str) -> Rc<Cell<Mood>> {
        Rc::clone(self.0.moods.borrow_mut().entry(name.to_owned()).or_default())
    }

    /// Sets what the handlers of a node do.
    pub fn set_mood(&self, name: &str, mood: Mood) {
        self.mood(name).set(mood);
    }

    /// Begins to send from the node `name`, which has just been started. `stores` says that it has
    /// an outbox.
    pub fn begin(&self, name: &str, peer: &Peer, stores: bool) {
        let Some(life) = self.0.starting.borrow_mut().remove(name) else { return };
        self.0.ledger.borrow_mut().set_info(life, peer.info().clone());
        let entry = (life, peer.info().clone());
        self.0.nodes.borrow_mut().insert(name.to_owned(), entry);
        let (ledger, mut events) = (Rc::clone(&self.0.ledger), peer.events());
        actix_rt::spawn(async move {
            while let Some(event) = events.next().await {
                if let PeerEvent::NotifyRefused { messages, .. } = event {
                    ledger.borrow_mut().refuse(life, messages);
                }
            }
        });
        senders::start(&self.0, life, peer, stores);
    }

    /// The node `name` is about to end.
    pub fn end(&self, name: &str) {
        if let Some((life, info)) = self.0.nodes.borrow_mut().remove(name) {
            self.0.past.borrow_mut().push(info);
            self.0.ledger.borrow_mut().end(life);
        }
    }

    /// Whether the run of this node has ended.
    pub(super) fn is_ended(&self, peer: &Peer) -> bool {
        let nodes = self.0.nodes.borrow();
        !nodes.values().any(|(_, info)| info == peer.info())
    }

    /// Sends nothing more.
    pub fn stop(&self) {
        self.0.stopped.set(true);
    }

    /// The number of messages that were sent, or attempted.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.ledger.borrow().sent_in_all()
    }

    /// The number of messages that handlers received.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.0.ledger.borrow().handled_in_all()
    }

    /// The number of calls of running nodes that have not ended.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.0.ledger.borrow().open_calls()
    }

    /// Checks the rules as far as they can be checked now.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self) -> Result<(), Violation> {
        let mut ledger = self.0.ledger.borrow_mut();
        ledger.check_limits(self.0.began.elapsed());
        ledger.first_violation().map_or(Ok(()), Err)
    }

    /// Checks what can only be checked when all calls have ended. `lossless` says that there were
    /// no faults, so that nothing may be lost.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_end(&self, lossless: bool) -> Result<(), Violation> {
        let mut ledger = self.0.ledger.borrow_mut();
        ledger.finish(self.0.began.elapsed(), lossless);
        ledger.first_violation().map_or(Ok(()), Err)
    }
}
