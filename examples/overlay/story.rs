//! The steps of the example, with the promise of each.

use std::{collections::BTreeSet, time::Duration};

use actix::prelude::*;
use actix_peer::{
    Config, Incoming, Peer, PeerId, PeerInfo, Reply, frame::Frame, handler, message::Via,
    overlay::kademlia::Key, peer::KademliaConfig,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    Options,
    map::{Map, known},
    support::{Broken, Story, View, count},
};

/// The size of a bucket, and the copies of a record: small, so that no node knows all others.
const K: usize = 8;

/// The interval of refreshes and of publishing records again. An hour is usual.
const ROUND: Duration = Duration::from_secs(3);

/// The lifetime of a record.
const TTL: Duration = Duration::from_secs(120);

/// The time-out of a question. It is short, because all nodes are on loopback.
const REQUEST_TIME: Duration = Duration::from_millis(500);

/// The maximum time until look-ups are exact again, after a third was killed.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// The minimum number of exact look-ups out of 100, right after a third was killed.
const EXACT_AMONG_DEAD: usize = 80;

/// Dials of unverified addresses per second: high, because all nodes are on this machine.
const DIALS: u32 = 10_000;

const SERVICE: &str = "printer";

pub(crate) struct Overlay {
    options: Options,
    view: View,
    map: Map,
    nodes: Vec<Peer>,
    /// The nodes that provide the service.
    providers: BTreeSet<PeerId>,
    random: fastrand::Rng,
}

/// The results of some look-ups.
struct Looked {
    exact: usize,
    times: Vec<Duration>,
}

impl Looked {
    fn percentile(&self, percent: usize) -> String {
        let at = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        let time = self.times.get(at).copied().unwrap_or_default();
        format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
    }

    fn in_words(&self) -> String {
        let (all, exact) = (self.times.len(), self.exact);
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        format!("{exact} of {all} exact, p50 {p50}, p99 {p99}")
    }
}

impl Story for Overlay {
    const PROMISES: &'static [&'static str] = &[
        "every node listens",
        "all join through one contact each",
        "look-ups are exact",
        "providers of a name are found",
        "a record is read from anywhere",
        "messages reach nodes that are no neighbours",
        "a third is killed at once",
        "look-ups work right after",
        "the network heals: look-ups are exact again",
        "the record and the living providers are found",
        "every node stops cleanly",
    ];

    fn setup(&self) -> impl Serialize {
        &self.options
    }

    fn title(&self) -> String {
        let Options { nodes, seed, .. } = self.options;
        format!(
            "{nodes} nodes on 127.0.0.1, {K} in a bucket, a refresh every {ROUND:?}, seed {seed}"
        )
    }

    fn view(&mut self) -> &mut View {
        &mut self.view
    }

    async fn step(&mut self, number: usize) -> Result<String, Broken> {
        match number {
            0 => self.listen().await,
            1 => self.join().await,
            2 => self.look_up_all().await,
            3 => self.provide().await,
            4 => self.put().await,
            5 => self.route().await,
            6 => self.kill().await,
            7 => self.look_up_among_dead().await,
            8 => self.heal().await,
            9 => self.find_again().await,
            _ => self.stop().await,
        }
    }

    async fn end(&mut self) {
        futures::future::join_all(std::mem::take(&mut self.nodes).iter().map(Peer::abort)).await;
    }
}

fn record_key() -> Key {
    Key::of_bytes(b"motd")
}

const RECORD: &str = "no node knows all others";

impl Overlay {
    pub(crate) fn new(options: Options) -> Self {
        let view = View::new(options.json).with_picture();
        let random = fastrand::Rng::with_seed(options.seed);
        let map = Map::new(view.is_live());
        Self { options, view, map, nodes: Vec::new(), providers: BTreeSet::new(), random }
    }

    async fn start(&self, id: &str) -> Result<Peer, Broken> {
        let own = id.to_owned();
        let who = handler::from_fn(async move |msg: Incoming| {
            let hops = match msg.sender().via() {
                Via::Routed { path, .. } => path.len(),
                _ => 1,
            };
            Reply::one(Frame::text("REPL", format!("{own} {hops}")))
        });
        let kademlia = KademliaConfig::default()
            .k(K)
            .request_time(REQUEST_TIME)
            .refresh(ROUND)
            .republish(ROUND)
            .ttl(TTL);
        let peer = Peer::builder()
            .listen("127.0.0.1:0")
            .id(id)
            .config(Config::default().max_unverified_dials(DIALS))
            .well_known()
            .handle("WHO?", who.start())?
            .kademlia(kademlia);
        Ok(peer.start().await?)
    }

    fn draw(&self, asker: Option<&Peer>) {
        if self.view.is_live() {
            self.view.draw(self.map.draw(asker));
        }
    }

    /// Prints the map, unless it is redrawn on a terminal.
    fn print_map(&self) {
        if !self.view.is_live() {
            self.view.line(&self.map.draw(None));
        }
    }

    async fn listen(&mut self) -> Result<String, Broken> {
        for n in 0..self.options.nodes {
            let peer = self.start(&format!("n{n:03}")).await?;
            self.map.add(&peer);
            self.nodes.push(peer);
            self.draw(None);
        }
        Ok(count(self.nodes.len(), "TCP port"))
    }

    async fn join(&mut self) -> Result<String, Broken> {
        for n in 1..self.nodes.len() {
            let (contact, peer) =
                (self.random.usize(..n), self.nodes.get(n).ok_or("there is no node")?);
            let contact =
                self.nodes.get(contact).ok_or("there is no node")?.info().address().to_string();
            peer.join_kademlia(&contact).await?;
            self.view.progress(&format!("{n} of {}", self.nodes.len()));
            self.draw(Some(peer));
        }
        let sizes: Vec<usize> = self.nodes.iter().map(|peer| known(peer).len()).collect();
        let (least, most) = (sizes.iter().min(), sizes.iter().max());
        self.print_map();
        Ok(format!(
            "each knows {} to {} of the other {}",
            least.unwrap_or(&0),
            most.unwrap_or(&0),
            self.nodes.len() - 1
        ))
    }

    fn choose(&mut self) -> Result<Peer, Broken> {
        Ok(self.random.choice(&self.nodes).ok_or("there is no node")?.clone())
    }

    /// The nodes that an exact look-up of a key returns.
    fn nearest(&self, from: &Peer, target: Key) -> Vec<PeerInfo> {
        let others = self.nodes.iter().map(Peer::info).filter(|info| *info != from.info());
        let mut all: Vec<PeerInfo> = others.cloned().collect();
        all.sort_by_key(|info| Key::of(info.id()).distance(target));
        all.truncate(K);
        all
    }

    /// Looks up a node, then the nodes nearest to a key, and so on in turn.
    async fn look_ups(&mut self, number: u32) -> Result<Looked, Broken> {
        let mut looked = Looked { exact: 0, times: Vec::new() };
        for n in 0..number {
            let (from, to) = (self.choose()?, self.choose()?);
            let target = Key::of_bytes(&self.random.u64(..).to_be_bytes());
            let begun = Instant::now();
            let exact = if n % 2 == 0 {
                from.find(to.id()).await?.as_ref() == Some(to.info())
            } else {
                from.lookup(target).await? == self.nearest(&from, target)
            };
            looked.times.push(begun.elapsed());
            looked.exact += usize::from(exact);
            self.view.progress(&format!("{} of {} exact", looked.exact, looked.times.len()));
            self.draw(Some(&from));
        }
        looked.times.sort_unstable();
        Ok(looked)
    }

    async fn look_up_all(&mut self) -> Result<String, Broken> {
        let looked = self.look_ups(self.options.lookups).await?;
        if looked.exact < looked.times.len() {
            return Err(looked.in_words().into());
        }
        Ok(looked.in_words())
    }

    /// Lets every node look for the providers. Returns the number of nodes.
    async fn who_provides(&self) -> Result<usize, Broken> {
        for peer in &self.nodes {
            let found = peer.providers(SERVICE).await?;
            let found: BTreeSet<PeerId> = found.into_iter().map(|info| info.id().clone()).collect();
            if !found.is_superset(&self.providers) {
                let (own, all) = (peer.id(), &self.providers);
                return Err(format!("{own} finds {found:?} instead of {all:?}").into());
            }
            self.draw(Some(peer));
        }
        Ok(self.nodes.len())
    }

    async fn provide(&mut self) -> Result<String, Broken> {
        let mut kept = 0;
        for peer in self.nodes.iter().step_by((self.nodes.len() / 4).max(1)) {
            kept += peer.provide(SERVICE).await?;
            self.providers.insert(peer.id().clone());
        }
        let asked = self.who_provides().await?;
        let providers = self.providers.len();
        Ok(format!("{} found {providers} of {providers}; kept {kept} times", count(asked, "node")))
    }

    async fn read_everywhere(&self) -> Result<usize, Broken> {
        for peer in &self.nodes {
            let value = peer.get(record_key()).await?;
            if value.as_deref() != Some(RECORD.as_bytes()) {
                return Err(format!("{} reads {value:?}", peer.id()).into());
            }
            self.draw(Some(peer));
        }
        Ok(self.nodes.len())
    }

    async fn put(&mut self) -> Result<String, Broken> {
        let kept = self.choose()?.put(record_key(), RECORD, TTL).await?;
        let read = self.read_everywhere().await?;
        Ok(format!("kept by {}, read by {}", count(kept, "node"), count(read, "node")))
    }

    /// Sends messages to nodes that are not in the table of the sender, if there are any.
    async fn route(&mut self) -> Result<String, Broken> {
        let (mut sent, mut passed, mut most) = (0, 0, 0);
        for _ in 0..self.options.lookups {
            let from = self.choose()?;
            let known = known(&from);
            let stranger = |peer: &&Peer| peer.id() != from.id() && !known.contains(peer.id());
            let strangers: Vec<Peer> = self.nodes.iter().filter(stranger).cloned().collect();
            let Some(to) = self.random.choice(&strangers) else { continue };
            let replies = from.route(to.id(), Frame::text("WHO?", "")).await?.collect().await?;
            let answer = replies.first().and_then(|reply| reply.as_str().ok()).unwrap_or_default();
            let (id, hops) = answer.split_once(' ').unwrap_or_default();
            let hops: usize = hops.parse()?;
            if id != to.id().as_str() {
                return Err(format!("{answer:?} answered for {}", to.id()).into());
            }
            (sent, passed, most) = (sent + 1, passed + hops, most.max(hops));
            self.view.progress(&format!("{sent} messages"));
            self.draw(Some(&from));
        }
        if sent == 0 {
            return Ok("every node knows all others".to_owned());
        }
        let mean = passed as f64 / f64::from(sent);
        Ok(format!("{sent} of {sent} messages, {mean:.1} hops on average, {most} at most"))
    }

    async fn kill(&mut self) -> Result<String, Broken> {
        self.random.shuffle(&mut self.nodes);
        let third = self.nodes.len() / 3;
        let dead: Vec<Peer> = self.nodes.drain(..third).collect();
        futures::future::join_all(dead.iter().map(Peer::abort)).await;
        for peer in &dead {
            self.map.died(peer.id());
            self.providers.remove(peer.id());
        }
        self.draw(None);
        self.print_map();
        Ok(format!("{} killed, {} alive", dead.len(), self.nodes.len()))
    }

    async fn look_up_among_dead(&mut self) -> Result<String, Broken> {
        let looked = self.look_ups(self.options.lookups).await?;
        if looked.exact * 100 < looked.times.len() * EXACT_AMONG_DEAD {
            return Err(looked.in_words().into());
        }
        Ok(looked.in_words())
    }

    async fn heal(&mut self) -> Result<String, Broken> {
        let begun = Instant::now();
        sleep(ROUND).await;
        loop {
            let looked = self.look_ups(self.options.lookups).await?;
            if looked.exact == looked.times.len() {
                self.print_map();
                return Ok(looked.in_words());
            }
            if begun.elapsed() > HEALED_WITHIN {
                return Err(looked.in_words().into());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn find_again(&mut self) -> Result<String, Broken> {
        let asked = self.who_provides().await?;
        let read = self.read_everywhere().await?;
        let (living, read) = (count(self.providers.len(), "living provider"), count(read, "node"));
        Ok(format!("{living} found by {}, the record read by {read}", count(asked, "node")))
    }

    async fn stop(&mut self) -> Result<String, Broken> {
        let nodes = std::mem::take(&mut self.nodes);
        let reports = futures::future::join_all(nodes.iter().map(Peer::stop)).await;
        match reports.iter().find(|report| !report.is_clean()) {
            Some(report) => Err(format!("aborted {:?}", report.aborted).into()),
            None => Ok(format!("{}, nothing was aborted", count(nodes.len(), "node"))),
        }
    }
}
