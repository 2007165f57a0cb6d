//! One member of the network: a node, its handlers, and the routes that it has learned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Config, HandlerActor, Incoming, Peer, PeerId, PeerInfo, PingSweep, Received, Reply, StartError,
    frame::{Frame, TypeCode, Wire},
    message::Via,
    overlay::PeerList,
    router,
};
use serde::{Deserialize, Serialize};

use crate::body;

/// Asks a node which nodes it can reach, and over how many hops.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Vec<(PeerId, u8)>")]
pub(crate) struct AskRoutes {
    asker: PeerId,
}

impl Wire for AskRoutes {
    const CODE: TypeCode = TypeCode::new(b"RTES");
}

/// Asks a node for its id and for the number of hops of this message.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "(PeerId, usize)")]
pub(crate) struct Greet;

impl Wire for Greet {
    const CODE: TypeCode = TypeCode::new(b"GREE");
}

/// A message for all nodes.
#[derive(Message, Serialize, Deserialize, Clone)]
#[rtype(result = "()")]
pub(crate) struct News {
    pub(crate) number: u64,
}

impl Wire for News {
    const CODE: TypeCode = TypeCode::new(b"NEWS");
}

/// The route to one node: the neighbour to send a message to, and the distance.
#[derive(Clone)]
struct Route {
    next: PeerInfo,
    hops: u8,
}

type Routes = Arc<Mutex<BTreeMap<PeerId, Route>>>;

/// Locks the mutex. It ignores poison: the data stays valid after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler of a member's messages.
#[derive(Clone)]
struct MemberHandler {
    id: PeerId,
    routes: Routes,
    heard: Arc<Mutex<Vec<u64>>>,
}

impl Actor for MemberHandler {
    type Context = Context<Self>;
}

impl Supervised for MemberHandler {}

impl Handler<Received<AskRoutes>> for MemberHandler {
    type Result = MessageResult<Received<AskRoutes>>;

    /// Leaves out routes through the asking node, which would be loops.
    fn handle(&mut self, msg: Received<AskRoutes>, _: &mut Self::Context) -> Self::Result {
        let routes = lock(&self.routes);
        let useful = routes.iter().filter(|(_, route)| *route.next.id() != msg.message.asker);
        MessageResult(useful.map(|(to, route)| (to.clone(), route.hops)).collect())
    }
}

impl Handler<Received<Greet>> for MemberHandler {
    type Result = MessageResult<Received<Greet>>;

    fn handle(&mut self, msg: Received<Greet>, _: &mut Self::Context) -> Self::Result {
        let hops = match msg.sender.via() {
            Via::Routed { path, .. } => path.len(),
            _ => 1,
        };
        MessageResult((self.id.clone(), hops))
    }
}

impl Handler<Received<News>> for MemberHandler {
    type Result = ();

    fn handle(&mut self, msg: Received<News>, _: &mut Self::Context) {
        lock(&self.heard).push(msg.message.number);
    }
}

/// A running member.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    handler: MemberHandler,
}

/// The options of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberConfig {
    /// The size of the peer table.
    pub(crate) max_peers: usize,
    /// The interval of ping sweeps, and of asking neighbours for their routes.
    pub(crate) every: Duration,
}

impl Member {
    pub(crate) async fn start(
        id: &str,
        config: MemberConfig,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let handler =
            MemberHandler { id: id.parse()?, routes: Routes::default(), heard: Arc::default() };
        let peer = Self::node(&handler, config)?.await?;
        Ok(Self { peer, handler })
    }

    fn node(
        handler: &MemberHandler,
        config: MemberConfig,
    ) -> Result<impl Future<Output = Result<Peer, StartError>>, Box<dyn std::error::Error>> {
        let actor = handler.clone().start_supervised();
        let (to_route, to_learn) = (Arc::clone(&handler.routes), Arc::clone(&handler.routes));
        let next_hop = move |to: &PeerId, _: &PeerList| {
            lock(&to_route).get(to).map(|route| route.next.clone())
        };
        let sweep = PingSweep::new().every(config.every).within(Duration::from_secs(2)).misses(2);
        let checksum = actix_peer::handler::from_fn(async |msg: Incoming| {
            match body::checksum(msg.into_body()).await {
                Ok((bytes, sum)) => Reply::one(Frame::text("REPL", format!("{bytes} {sum:016x}"))),
                Err(error) => Reply::error(error.to_string()),
            }
        });
        let builder = Peer::builder()
            .listen("127.0.0.1:0")
            .id(handler.id.as_str())
            .config(Config::default().max_peers(config.max_peers).max_hops(255))
            .well_known()
            .on::<AskRoutes>(actor.clone())?
            .on::<Greet>(actor.clone())?
            .on::<News>(actor)?
            .handle_stream("BODY", checksum.start())?
            .router(router::from_fn(next_hop))
            .stabilizer(sweep)
            .every(config.every, "routes", async move |peer| learn(&peer, &to_learn).await);
        Ok(builder.start())
    }

    /// The nodes that it has a route to, with the hops.
    pub(crate) fn routes(&self) -> BTreeMap<PeerId, u8> {
        lock(&self.handler.routes).iter().map(|(to, route)| (to.clone(), route.hops)).collect()
    }

    /// How often it has received the news.
    pub(crate) fn heard(&self, news: &News) -> usize {
        lock(&self.handler.heard).iter().filter(|number| **number == news.number).count()
    }

    /// The ids of the peers that it knows.
    pub(crate) async fn known(&self) -> BTreeSet<PeerId> {
        let list = self.peer.peers().list().await;
        list.map(|list| list.iter().map(|entry| entry.info().id().clone()).collect())
            .unwrap_or_default()
    }
}

/// Asks every neighbour for its routes and keeps the shortest: one round of distance-vector
/// routing.
///
/// Each round builds a new table, so that a route through a neighbour that has left disappears
/// after one round.
async fn learn(peer: &Peer, routes: &Routes) {
    let Ok(list) = peer.peers().list().await else { return };
    let mut learned: BTreeMap<PeerId, Route> = BTreeMap::new();
    for entry in list.iter() {
        let next = entry.info().clone();
        let answer = peer.send(&next, AskRoutes { asker: peer.id().clone() }).await;
        let far = answer
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(to, hops)| Some((to, hops.checked_add(1)?)));
        for (to, hops) in std::iter::once((next.id().clone(), 1)).chain(far) {
            if to != *peer.id() && learned.get(&to).is_none_or(|route| hops < route.hops) {
                learned.insert(to, Route { next: next.clone(), hops });
            }
        }
    }
    *lock(routes) = learned;
}
