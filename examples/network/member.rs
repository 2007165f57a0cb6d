//! One member of the network: a node, the routes that it has learned, and what it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Config, HandlerActor, Incoming, Peer, PeerId, PeerInfo, PingSweep, Received, Reply, StartError,
    frame::{Frame, TypeCode, Wire},
    handler,
    message::Via,
    overlay::PeerList,
    peer::WeakPeer,
    router,
};
use serde::{Deserialize, Serialize};

use crate::body;

/// "Which nodes do you reach, and over how many hops?"
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Vec<(PeerId, u8)>")]
pub(crate) struct AskRoutes {
    asker: PeerId,
}

impl Wire for AskRoutes {
    const CODE: TypeCode = TypeCode::new(b"RTES");
}

/// "Who are you, and which way did I come?"
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "(PeerId, usize)")]
pub(crate) struct Greet;

impl Wire for Greet {
    const CODE: TypeCode = TypeCode::new(b"GREE");
}

/// Something that everybody should hear.
#[derive(Message, Serialize, Deserialize, Clone)]
#[rtype(result = "()")]
pub(crate) struct News {
    pub(crate) number: u64,
}

impl Wire for News {
    const CODE: TypeCode = TypeCode::new(b"NEWS");
}

/// The way to one node: the neighbour to hand a message to, and how far it is.
#[derive(Clone)]
struct Way {
    next: PeerInfo,
    hops: u8,
}

type Routes = Arc<Mutex<BTreeMap<PeerId, Way>>>;

/// Locks; a panic elsewhere does not matter to plain data.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a member knows and answers.
#[derive(Clone)]
struct Citizen {
    id: PeerId,
    routes: Routes,
    heard: Arc<Mutex<BTreeSet<u64>>>,
    peer: Arc<OnceLock<WeakPeer>>,
}

impl Actor for Citizen {
    type Context = Context<Self>;
}

impl Supervised for Citizen {}

impl Handler<Received<AskRoutes>> for Citizen {
    type Result = MessageResult<Received<AskRoutes>>;

    /// Tells every way but those that lead over the asker: they would only lead in circles.
    fn handle(&mut self, msg: Received<AskRoutes>, _: &mut Self::Context) -> Self::Result {
        let routes = lock(&self.routes);
        let useful = routes.iter().filter(|(_, way)| *way.next.id() != msg.message.asker);
        MessageResult(useful.map(|(to, way)| (to.clone(), way.hops)).collect())
    }
}

impl Handler<Received<Greet>> for Citizen {
    type Result = MessageResult<Received<Greet>>;

    fn handle(&mut self, msg: Received<Greet>, _: &mut Self::Context) -> Self::Result {
        let passed = match msg.sender.via() {
            Via::Routed { path, .. } => path.len(),
            _ => 1,
        };
        MessageResult((self.id.clone(), passed))
    }
}

impl Handler<Received<News>> for Citizen {
    type Result = ();

    fn handle(&mut self, msg: Received<News>, _: &mut Self::Context) {
        let fresh = lock(&self.heard).insert(msg.message.number);
        if let Some(peer) = self.peer.get().and_then(WeakPeer::upgrade).filter(|_| fresh) {
            actix::spawn(async move { spread(&peer, &msg.message).await });
        }
    }
}

/// Tells every known peer. Whoever is gone does not hear it.
pub(crate) async fn spread(peer: &Peer, news: &News) {
    let (Ok(list), Ok(frame)) = (peer.peers().list().await, news.to_frame()) else { return };
    for entry in list.iter() {
        peer.notify(entry.info(), frame.clone()).await.ok();
    }
}

/// One member.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    citizen: Citizen,
}

/// How a member is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The size of the peer table.
    pub(crate) max_peers: usize,
    /// The pause between two ping sweeps, and between two looks at the neighbours' routes.
    pub(crate) every: Duration,
}

impl Member {
    pub(crate) async fn start(id: &str, pace: Pace) -> Result<Self, Box<dyn std::error::Error>> {
        let citizen = Citizen {
            id: id.parse()?,
            routes: Routes::default(),
            heard: Arc::default(),
            peer: Arc::default(),
        };
        let peer = Self::node(&citizen, pace)?.await?;
        citizen.peer.set(peer.downgrade()).ok();
        Ok(Self { peer, citizen })
    }

    fn node(
        citizen: &Citizen,
        pace: Pace,
    ) -> Result<impl Future<Output = Result<Peer, StartError>>, Box<dyn std::error::Error>> {
        let actor = citizen.clone().start_supervised();
        let (to_route, to_learn) = (Arc::clone(&citizen.routes), Arc::clone(&citizen.routes));
        let next_hop =
            move |to: &PeerId, _: &PeerList| lock(&to_route).get(to).map(|way| way.next.clone());
        let sweep = PingSweep::new().every(pace.every).within(Duration::from_secs(2)).misses(2);
        let drink =
            handler::from_fn(async |msg: Incoming| match body::drink(msg.into_body()).await {
                Ok((bytes, sum)) => Reply::one(Frame::text("REPL", format!("{bytes} {sum:016x}"))),
                Err(error) => Reply::error(error.to_string()),
            });
        let builder = Peer::builder()
            .listen("127.0.0.1:0")
            .id(citizen.id.as_str())
            .config(Config::default().max_peers(pace.max_peers).max_hops(255))
            .well_known()
            .on::<AskRoutes>(actor.clone())?
            .on::<Greet>(actor.clone())?
            .on::<News>(actor)?
            .handle_stream("BODY", drink.start())?
            .router(router::from_fn(next_hop))
            .stabilizer(sweep)
            .every(pace.every, "routes", async move |peer| learn(&peer, &to_learn).await);
        Ok(builder.start())
    }

    /// The nodes that it has a way to, with the hops.
    pub(crate) fn routes(&self) -> BTreeMap<PeerId, u8> {
        lock(&self.citizen.routes).iter().map(|(to, way)| (to.clone(), way.hops)).collect()
    }

    /// Whether it has heard the news.
    pub(crate) fn has_heard(&self, news: &News) -> bool {
        lock(&self.citizen.heard).contains(&news.number)
    }

    /// The ids of the peers that it knows.
    pub(crate) async fn known(&self) -> BTreeSet<PeerId> {
        let list = self.peer.peers().list().await;
        list.map(|list| list.iter().map(|entry| entry.info().id().clone()).collect())
            .unwrap_or_default()
    }
}

/// Asks every neighbour for its ways and keeps the shortest: distance-vector routing, one round.
///
/// The table is made anew in each round, so that a way over a neighbour that is gone lasts one
/// round at most.
async fn learn(peer: &Peer, routes: &Routes) {
    let Ok(list) = peer.peers().list().await else { return };
    let mut learned: BTreeMap<PeerId, Way> = BTreeMap::new();
    for entry in list.iter() {
        let next = entry.info().clone();
        let told = peer.send(&next, AskRoutes { asker: peer.id().clone() }).await;
        let far = told
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(to, hops)| Some((to, hops.checked_add(1)?)));
        for (to, hops) in std::iter::once((next.id().clone(), 1)).chain(far) {
            if to != *peer.id() && learned.get(&to).is_none_or(|way| hops < way.hops) {
                learned.insert(to, Way { next: next.clone(), hops });
            }
        }
    }
    *lock(routes) = learned;
}
