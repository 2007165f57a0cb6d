//! The steps of the example, with the promise of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix_peer::{Outgoing, PeerId, Target, frame::Wire, overlay::JoinConfig};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Options,
    body::Generated,
    member::{Greet, Member, MemberConfig, News},
    memory::resident,
    support::{Broken, STEP_TIME, Story, View, count},
};

/// How often a step checks its condition.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The maximum growth of memory while a body is streamed.
const MEMORY_GROWTH: u64 = 32 << 20;

pub(crate) struct Network {
    options: Options,
    view: View,
    members: BTreeMap<PeerId, Member>,
    killed: Option<PeerId>,
    random: fastrand::Rng,
}

impl Story for Network {
    const PROMISES: &'static [&'static str] = &[
        "every node listens",
        "all join, and are one network",
        "every node learns a route to every other",
        "a request reaches a node that is no neighbour",
        "news reach all nodes, each once",
        "all nodes remove a node that was killed",
        "a node that leaves tells the others",
        "a node that returns is found",
        "a large body arrives, in bounded memory",
        "every node stops cleanly",
    ];

    fn setup(&self) -> impl Serialize {
        &self.options
    }

    fn title(&self) -> String {
        let Options { nodes, max_peers, seed, .. } = self.options;
        format!("{nodes} nodes on 127.0.0.1, each knows at most {max_peers} peers, seed {seed}")
    }

    fn view(&mut self) -> &mut View {
        &mut self.view
    }

    async fn step(&mut self, number: usize) -> Result<String, Broken> {
        match number {
            0 => self.listen().await,
            1 => self.join().await,
            2 => self.learn().await,
            3 => self.greet().await,
            4 => self.spread_news().await,
            5 => self.kill().await,
            6 => self.leave().await,
            7 => self.come_back().await,
            8 => self.stream().await,
            _ => self.stop().await,
        }
    }

    async fn end(&mut self) {
        for member in std::mem::take(&mut self.members).into_values() {
            member.peer.abort().await;
        }
    }
}

impl Network {
    pub(crate) fn new(options: Options) -> Self {
        let view = View::new(options.json);
        let random = fastrand::Rng::with_seed(options.seed);
        Self { options, view, members: BTreeMap::new(), killed: None, random }
    }

    fn config(&self) -> MemberConfig {
        // Larger networks have longer intervals, so that maintenance stays a small part of the
        // work.
        let every = Duration::from_millis(u64::from(self.options.nodes) * 8)
            .max(Duration::from_millis(200));
        MemberConfig { max_peers: self.options.max_peers as usize, every }
    }

    async fn listen(&mut self) -> Result<String, Broken> {
        for n in 0..self.options.nodes {
            let member = Member::start(&format!("n{n:03}"), self.config()).await?;
            self.members.insert(member.peer.id().clone(), member);
        }
        let ports: BTreeSet<_> =
            self.members.values().map(|member| member.peer.info().port()).collect();
        Ok(format!("{} TCP ports", ports.len()))
    }

    fn member(&self, id: &PeerId) -> Result<&Member, Broken> {
        self.members.get(id).ok_or_else(|| format!("{id} is not running").into())
    }

    fn ids(&self) -> Vec<PeerId> {
        self.members.keys().cloned().collect()
    }

    /// Lets `id` join through one of `others`.
    async fn join_one(&mut self, id: &PeerId, others: &[PeerId]) -> Result<(), Broken> {
        let contact = self.random.choice(others).ok_or("there is no node to join")?;
        let contact = self.member(contact)?.peer.info().address().clone();
        // Two peers take an entry in both tables. If a node filled its table, later ones would find
        // no room.
        let wanted = (self.options.max_peers as usize / 3).max(1);
        let config = JoinConfig::new().hops(64).max_asks(2_000).within(STEP_TIME).target(wanted);
        let report = self.member(id)?.peer.join_with(contact, config).await?;
        if self.member(id)?.known().await.is_empty() {
            return Err(format!("{id} found no peer: {report:?}").into());
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<String, Broken> {
        let ids = self.ids();
        for (n, id) in ids.iter().enumerate().skip(1) {
            self.view.progress(&format!("{n} of {}", ids.len()));
            self.join_one(id, ids.get(..n).unwrap_or_default()).await?;
        }
        let tables = self.tables().await;
        let links: usize = tables.values().map(BTreeSet::len).sum();
        let most = tables.values().map(BTreeSet::len).max().unwrap_or(0);
        match ids.iter().find(|id| reached(&tables, id).len() < ids.len()) {
            Some(id) => Err(format!("{id} does not reach every node").into()),
            None => Ok(format!("{} links, at most {most} peers each", links / 2)),
        }
    }

    /// The known peers of each node.
    async fn tables(&self) -> BTreeMap<PeerId, BTreeSet<PeerId>> {
        let mut tables = BTreeMap::new();
        for (id, member) in &self.members {
            tables.insert(id.clone(), member.known().await);
        }
        tables
    }

    async fn learn(&mut self) -> Result<String, Broken> {
        let all = self.members.len() * (self.members.len() - 1);
        loop {
            let known: usize = self.members.values().map(|member| member.routes().len()).sum();
            if known >= all {
                let hops =
                    self.members.values().flat_map(|member| member.routes().into_values()).max();
                let hops = usize::from(hops.unwrap_or(0));
                return Ok(format!("{all} routes, at most {}", count(hops, "hop")));
            }
            self.view.progress(&format!("{known} of {all}"));
            sleep(POLL_EVERY).await;
        }
    }

    /// Sends a typed request from some node to the node that is farthest from it.
    async fn greet(&mut self) -> Result<String, Broken> {
        let mut askers = self.ids();
        self.random.shuffle(&mut askers);
        let farthest = |id: &PeerId| {
            let (to, hops) =
                self.member(id).ok()?.routes().into_iter().max_by_key(|route| route.1)?;
            Some((id.clone(), to, hops))
        };
        let found = askers.iter().filter_map(farthest).find(|(.., hops)| *hops > 1);
        let Some((from, to, _)) = found else {
            return Ok("all nodes are neighbours".to_owned());
        };
        let (answered, passed) =
            self.member(&from)?.peer.send(Target::routed(to.clone()), Greet).await?;
        if answered != to || passed < 2 {
            return Err(format!("{answered} answered for {to} after {passed} hops").into());
        }
        Ok(format!("{from} to {to}, {}", count(passed, "hop")))
    }

    async fn spread_news(&mut self) -> Result<String, Broken> {
        let news = News { number: self.random.u64(..) };
        let ids = self.ids();
        let from = self.random.choice(&ids).ok_or("there is no node")?.clone();
        self.member(&from)?.peer.broadcast(news.to_frame()?)?;
        loop {
            let others = self.members.iter().filter(|(id, _)| **id != from);
            let times: Vec<_> = others.map(|(_, member)| member.heard(&news)).collect();
            if times.iter().any(|times| *times > 1) {
                return Err("a node heard the news twice".into());
            }
            let heard = times.iter().sum::<usize>() + 1;
            if heard == ids.len() {
                return Ok(format!("{heard} of {heard} nodes"));
            }
            self.view.progress(&format!("{heard} of {}", ids.len()));
            sleep(POLL_EVERY).await;
        }
    }

    /// A member without which the network stays connected.
    async fn dispensable(&mut self) -> Result<PeerId, Broken> {
        let mut tables = self.tables().await;
        let mut ids = self.ids();
        self.random.shuffle(&mut ids);
        for id in ids {
            let own = tables.remove(&id).unwrap_or_default();
            let rest = tables.len();
            if tables.keys().all(|other| reached(&tables, other).len() == rest) {
                return Ok(id);
            }
            tables.insert(id, own);
        }
        Err("the network would split without any one node".into())
    }

    /// The number of nodes that know `gone`.
    async fn count_knowing(&self, gone: &PeerId) -> usize {
        let mut knowing = 0;
        for member in self.members.values() {
            knowing += usize::from(member.known().await.contains(gone));
        }
        knowing
    }

    async fn kill(&mut self) -> Result<String, Broken> {
        let victim = self.dispensable().await?;
        let member = self.members.remove(&victim).ok_or("there is no node")?;
        member.peer.abort().await;
        let knew = self.count_knowing(&victim).await;
        loop {
            let knowing = self.count_knowing(&victim).await;
            if knowing == 0 {
                let seen = format!("{victim} was known to {}, now to no node", count(knew, "node"));
                self.killed = Some(victim);
                return Ok(seen);
            }
            self.view.progress(&format!("{knowing} still know {victim}"));
            sleep(POLL_EVERY).await;
        }
    }

    async fn leave(&mut self) -> Result<String, Broken> {
        let leaver = self.dispensable().await?;
        let member = self.members.remove(&leaver).ok_or("there is no node")?;
        let report = member.peer.stop().await;
        let knowing = self.count_knowing(&leaver).await;
        if knowing > 0 || !report.is_clean() {
            return Err(format!("{knowing} still know {leaver}; {report:?}").into());
        }
        Ok(format!("{leaver} told {}, nothing was aborted", count(report.told, "peer")))
    }

    async fn come_back(&mut self) -> Result<String, Broken> {
        let id = self.killed.take().ok_or("no node was killed")?;
        let others = self.ids();
        let member = Member::start(id.as_str(), self.config()).await?;
        self.members.insert(id.clone(), member);
        self.join_one(&id, &others).await?;
        let asker = self.random.choice(&others).ok_or("there is no node")?.clone();
        while !self.member(&asker)?.routes().contains_key(&id) {
            self.view.progress(&format!("{asker} has no route to {id} yet"));
            sleep(POLL_EVERY).await;
        }
        // The routes may still change: a message that does not arrive is sent again.
        loop {
            match self.member(&asker)?.peer.send(Target::routed(id.clone()), Greet).await {
                Ok((answered, passed)) if answered == id => {
                    return Ok(format!("{asker} to {id}, {}", count(passed, "hop")));
                }
                Ok((answered, _)) => return Err(format!("{answered} answered for {id}").into()),
                Err(error) if error.may_have_been_handled() => return Err(error.into()),
                Err(_) => sleep(POLL_EVERY).await,
            }
        }
    }

    async fn stream(&mut self) -> Result<String, Broken> {
        let len = self.options.body_mib << 20;
        let seed = self.random.u64(..);
        let expected = format!("{len} {:016x}", Generated::sum_of(len.into(), seed));
        let mut ids = self.ids();
        self.random.shuffle(&mut ids);
        let [from, to, ..] = ids.as_slice() else {
            return Err("there are fewer than two nodes".into());
        };
        let to = self.member(to)?.peer.info().clone();
        let before = resident();
        let begun = Instant::now();
        let request = Outgoing::body("BODY", len, Generated::new(len.into(), seed));
        let exchange = async {
            self.member(from)?
                .peer
                .request(&to, request)
                .await?
                .collect()
                .await
                .map_err(Broken::from)
        };
        let (replies, most) = watched(exchange, &self.view).await;
        let replies = replies?;
        let answer = replies.first().and_then(|reply| reply.as_str().ok());
        if answer != Some(expected.as_str()) {
            return Err(format!("{answer:?} instead of {expected}").into());
        }
        let rate = f64::from(self.options.body_mib) / begun.elapsed().as_secs_f64();
        let grown = before.zip(most).map(|(before, most)| most.saturating_sub(before));
        match grown {
            Some(grown) if grown > MEMORY_GROWTH => {
                Err(format!("memory grew by {} MiB", grown >> 20).into())
            }
            Some(grown) => Ok(format!(
                "{} MiB, {rate:.0} MiB/s, memory +{:.1} MiB",
                self.options.body_mib,
                grown as f64 / f64::from(1 << 20)
            )),
            None => {
                Ok(format!("{} MiB, {rate:.0} MiB/s, memory not measured", self.options.body_mib))
            }
        }
    }

    async fn stop(&mut self) -> Result<String, Broken> {
        let nodes = self.members.len();
        let mut told = 0;
        while let Some((id, member)) = self.members.pop_first() {
            let report = member.peer.stop().await;
            if !report.is_clean() {
                return Err(format!("{id} aborted {:?}", report.aborted).into());
            }
            told += report.told;
        }
        Ok(format!("{nodes} nodes, {}, nothing was aborted", count(told, "goodbye")))
    }
}

/// Runs `work` and measures memory in the meantime. Returns its result and the maximum.
async fn watched<T>(work: impl Future<Output = T>, view: &View) -> (T, Option<u64>) {
    let mut work = std::pin::pin!(work);
    let mut most = resident();
    loop {
        match timeout(POLL_EVERY, work.as_mut()).await {
            Ok(result) => return (result, most.max(resident())),
            Err(_) => {
                most = most.max(resident());
                view.progress(&format!("{} MiB resident", resident().unwrap_or(0) >> 20));
            }
        }
    }
}

/// All nodes that can be reached from `start` over known peers.
fn reached<'a>(
    tables: &'a BTreeMap<PeerId, BTreeSet<PeerId>>,
    start: &'a PeerId,
) -> BTreeSet<&'a PeerId> {
    let mut reached = BTreeSet::new();
    let mut to_visit = vec![start];
    while let Some(id) = to_visit.pop() {
        if let Some(known) = tables.get(id).filter(|_| reached.insert(id)) {
            to_visit.extend(known.iter().filter(|id| tables.contains_key(*id)));
        }
    }
    reached
}
