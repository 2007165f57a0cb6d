//! One life of a network: its nodes, what happens to them, and what has to hold.

#[cfg(feature = "gossip")]
mod broadcasts;
mod checks;
mod inject;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{StreamExt, future::LocalBoxFuture};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    SimNetwork, Traffic, Violation,
    options::NodeOptions,
    plan::{Plan, PlannedFault},
};
use crate::{
    frame::Frame,
    message::RequestError,
    node::PeerEvent,
    overlay::{Address, JoinFailure, PeerId, PeerInfo},
    peer::{Builder, JoinError, Peer, RegisterError},
    session::Endpoint,
    time::Later,
};

type Recipe = Rc<dyn Fn(usize, Builder) -> Result<Builder, RegisterError>>;
type Check = Rc<dyn Fn(SimNetwork) -> LocalBoxFuture<'static, Result<(), String>>>;

/// The pause between two rounds of checks.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// One life of a simulated network, given to the scenario of an [`Explore`](super::Explore). A
/// clone is the same life.
#[derive(Clone)]
pub struct Life(Rc<Inner>);

struct Inner {
    net: SimNetwork,
    plan: Plan,
    traffic: Traffic,
    #[cfg(feature = "gossip")]
    broadcasts: broadcasts::Broadcasts,
    began: Instant,
    nodes: Vec<Node>,
    recipe: RefCell<Option<Recipe>>,
    checks: RefCell<Vec<(String, Check)>>,
    /// How often each kind of fault was injected.
    faults: RefCell<BTreeMap<&'static str, u64>>,
    impostors: Cell<usize>,
    /// Every node that was ever started.
    endpoints: RefCell<Vec<Weak<Endpoint>>>,
    /// The first violation, seen by a check that runs beside the life.
    violation: RefCell<Option<Violation>>,
}

/// A node of the life, running or not.
struct Node {
    name: String,
    options: NodeOptions,
    host: RefCell<String>,
    id: RefCell<String>,
    /// What it was told about peers that do not list it.
    told: Rc<RefCell<BTreeMap<PeerId, bool>>>,
    /// The contact of a join that is tried again.
    waits_for: Rc<RefCell<Option<Address>>>,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("plan", &self.0.plan).finish_non_exhaustive()
    }
}

/// How much longer than planned a fault may last: bytes that were sent at a low rate still have to
/// arrive.
const LINGERS: Duration = Duration::from_secs(300);

impl Life {
    pub(super) fn new(net: SimNetwork, plan: Plan) -> Self {
        let node = |n: usize| {
            let name = format!("n{n}");
            Node {
                options: NodeOptions::new(&plan, n),
                host: RefCell::new(name.clone()),
                id: RefCell::new(name.clone()),
                name,
                told: Rc::default(),
                waits_for: Rc::default(),
            }
        };
        Self(Rc::new(Inner {
            net,
            traffic: Traffic::new(plan.seed),
            #[cfg(feature = "gossip")]
            broadcasts: broadcasts::Broadcasts::default(),
            began: Instant::now(),
            nodes: (0..plan.nodes).map(node).collect(),
            plan,
            recipe: RefCell::default(),
            checks: RefCell::default(),
            faults: RefCell::default(),
            impostors: Cell::new(0),
            endpoints: RefCell::default(),
            violation: RefCell::default(),
        }))
    }

    /// The network.
    #[must_use]
    pub fn net(&self) -> &SimNetwork {
        &self.0.net
    }

    /// What happens in this life.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// The messages that the nodes send each other beside those of the application, and their
    /// rules.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// The time since the beginning of the life.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.began.elapsed()
    }

    pub(super) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.0.faults.borrow().clone()
    }

    /// The violation of an invariant, seen now.
    pub fn violation(&self, invariant: impl Into<String>, detail: impl Into<String>) -> Violation {
        Violation::new(invariant, detail, self.now())
    }

    /// Adds an invariant of the application, which is a sentence. It is checked once in each second
    /// of virtual time; its error says what is wrong.
    pub fn always<F>(&self, invariant: &str, check: impl Fn(SimNetwork) -> F + 'static)
    where
        F: Future<Output = Result<(), String>> + 'static,
    {
        let check: Check = Rc::new(move |net| Box::pin(check(net)));
        self.0.checks.borrow_mut().push((invariant.to_owned(), check));
    }

    /// Starts the nodes `n0`, `n1` and so on by a recipe that receives the number and a builder
    /// with the options of the node. Each node but the first joins through a running one. The
    /// recipe is used again when a node starts again.
    ///
    /// # Errors
    /// If a node does not start.
    pub async fn start(
        &self,
        recipe: impl Fn(usize, Builder) -> Result<Builder, RegisterError> + 'static,
    ) -> Result<(), Violation> {
        *self.0.recipe.borrow_mut() = Some(Rc::new(recipe));
        for n in 0..self.0.nodes.len() {
            self.up(n).await?;
        }
        Ok(())
    }

    /// Starts a node, for the first time or again, and lets it join.
    async fn up(&self, n: usize) -> Result<(), Violation> {
        let Some(node) = self.0.nodes.get(n) else { return Ok(()) };
        let (host, id) = (node.host.borrow().clone(), node.id.borrow().clone());
        let (traffic, name) = (self.0.traffic.clone(), node.name.clone());
        let (options, user) = (node.options.clone(), self.0.recipe.borrow().clone());
        #[cfg(feature = "gossip")]
        let broadcasts = self.0.broadcasts.clone();
        let recipe = move |builder: Builder| {
            let builder = traffic.serve(&name, options.apply(builder))?;
            #[cfg(feature = "gossip")]
            let builder = broadcasts.serve(&name, builder)?;
            #[cfg(feature = "swim")]
            let builder = options.apply_swim(builder)?;
            match &user {
                Some(recipe) => recipe(n, builder),
                None => Ok(builder),
            }
        };
        let host = super::host(&host)?;
        let peer = self.0.net.launch(&node.name, (&host, &id), Rc::new(recipe)).await?;
        self.0.endpoints.borrow_mut().push(Arc::downgrade(peer.node()));
        self.0.traffic.begin(&node.name, &peer, node.options.disk.is_some());
        #[cfg(feature = "gossip")]
        if n % 2 == 1 {
            self.0.broadcasts.begin(&node.name, &peer);
        }
        self.hear(node, &peer);
        actix_rt::spawn(self.clone().join(n, peer));
        Ok(())
    }

    /// Notes what a node is told about its listing.
    fn hear(&self, node: &Node, peer: &Peer) {
        node.told.borrow_mut().clear();
        node.waits_for.take();
        let (told, mut events) = (Rc::clone(&node.told), peer.events());
        let (life, asker) = (self.clone(), peer.clone());
        let waits_for = Rc::clone(&node.waits_for);
        actix_rt::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    PeerEvent::UnknownThere { peer, refused } => {
                        told.borrow_mut().insert(peer.id().clone(), refused.is_some());
                    }
                    PeerEvent::Joined { .. } | PeerEvent::NotJoined { again: false, .. } => {
                        waits_for.take();
                    }
                    PeerEvent::PeerAdded { peer: added } => {
                        actix_rt::spawn(life.clone().dials_at_once(asker.clone(), added));
                    }
                    PeerEvent::TwoAddresses { told_by: Some(peer), .. } => {
                        told.borrow_mut().insert(peer.id().clone(), true);
                    }
                    _ => {}
                }
            }
        });
    }

    /// Keeps the violation, if it is the first.
    fn report(&self, invariant: impl Into<String>, detail: impl Into<String>) {
        let violation = self.violation(invariant, detail);
        self.0.violation.borrow_mut().get_or_insert(violation);
    }

    /// A peer that has just shown that it is alive is dialled without a pause.
    async fn dials_at_once(self, asker: Peer, peer: PeerInfo) {
        let begun = Instant::now();
        let asked = asker.request(&peer, Frame::empty("NAME")).await;
        if let Err(RequestError::Connect { source, .. }) = asked
            && source.kind() == std::io::ErrorKind::NotConnected
            && begun.elapsed().is_zero()
        {
            let detail = format!("{} does not dial {peer}: {source}", asker.info());
            self.report("liveness: a peer that is alive is dialled at once", detail);
        }
    }

    /// Joins through one node after the other until one takes this one in, or it has ended.
    async fn join(self, n: usize, peer: Peer) {
        let mut contact = n;
        loop {
            contact = (contact + 1) % self.0.nodes.len().max(1);
            if self.0.traffic.is_ended(&peer) {
                return;
            }
            if contact == n {
                // No other node runs.
                if self
                    .0
                    .nodes
                    .iter()
                    .all(|node| node.name == self.name(n) || self.0.net.peer(&node.name).is_err())
                {
                    return;
                }
                sleep(Duration::from_secs(2)).await;
                continue;
            }
            let Some(address) = self.address_of(contact) else { continue };
            match peer.join(&address.to_string()).await {
                Ok(_) => break,
                Err(error) if error.is_tried_again() => {
                    if let Some(node) = self.0.nodes.get(n) {
                        node.waits_for.replace(Some(address));
                    }
                    break;
                }
                Err(
                    JoinError::NotTakenIn { cause, .. } | JoinError::ContactFailed { cause, .. },
                ) if matches!(cause, JoinFailure::Busy | JoinFailure::Elsewhere { .. })
                    && !self.0.traffic.is_ended(&peer) =>
                {
                    let invariant = "liveness: a join that is refused for now is tried again";
                    let detail = format!("{} at {address}: {cause}", peer.info());
                    self.report(invariant, detail);
                    return;
                }
                Err(_) => sleep(Duration::from_millis(500)).await,
            }
        }
        #[cfg(feature = "kademlia")]
        if self.0.nodes.get(n).is_some_and(|node| node.options.kademlia) {
            for address in (0..self.0.nodes.len()).filter_map(|n| self.address_of(n)) {
                if address != *peer.info().address()
                    && peer.join_kademlia(&address.to_string()).await.is_ok()
                {
                    break;
                }
            }
        }
    }

    /// The address of a node. `None` if it does not run.
    fn address_of(&self, n: usize) -> Option<Address> {
        let peer = self.0.net.peer(&self.name(n)).ok()?;
        Some(peer.info().address().clone())
    }

    fn name(&self, n: usize) -> String {
        self.0.nodes.get(n).map_or_else(String::new, |node| node.name.clone())
    }

    /// Lets the planned faults happen, and checks the invariants, until no fault is in force.
    ///
    /// # Errors
    /// The first violation.
    pub async fn live(&self) -> Result<(), Violation> {
        let begin = Instant::now();
        let mut faults = Vec::new();
        for PlannedFault { at, fault, .. } in &self.0.plan.faults {
            let (life, fault, at) = (self.clone(), fault.clone(), begin.later(*at));
            faults.push(actix_rt::spawn(async move {
                sleep_until(at).await;
                life.inject(fault).await;
            }));
        }
        let calm = begin.later(self.0.plan.calm_at());
        let latest = calm.later(LINGERS);
        let is_over = || faults.iter().all(actix_rt::task::JoinHandle::is_finished);
        while Instant::now() < calm || (!is_over() && Instant::now() < latest) {
            sleep(CHECK_EVERY).await;
            #[cfg(feature = "gossip")]
            self.broadcast();
            self.check().await?;
        }
        Ok(())
    }

    /// Checks all that holds at any time.
    ///
    /// # Errors
    /// The first violation.
    pub async fn check(&self) -> Result<(), Violation> {
        if let Some(violation) = self.0.violation.borrow().clone() {
            return Err(violation);
        }
        self.0.traffic.check()?;
        #[cfg(feature = "gossip")]
        self.check_broadcasts()?;
        self.check_bounds().await?;
        let checks = self.0.checks.borrow().clone();
        for (invariant, check) in checks {
            let result = check(self.0.net.clone()).await;
            result.map_err(|detail| self.violation(invariant, detail))?;
        }
        Ok(())
    }

    /// A whole life: [`start`](Self::start), [`live`](Self::live), [`rest`](Self::rest) and
    /// [`end`](Self::end).
    ///
    /// # Errors
    /// The first violation.
    pub async fn whole(
        &self,
        recipe: impl Fn(usize, Builder) -> Result<Builder, RegisterError> + 'static,
    ) -> Result<(), Violation> {
        self.start(recipe).await?;
        self.live().await?;
        self.rest().await?;
        self.end().await
    }
}
