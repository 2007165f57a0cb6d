//! What has to hold at any time, after the last fault, and at the end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{Life, Node};
#[cfg(feature = "swim")]
use crate::overlay::swim::{Member, MemberState};
use crate::{
    frame::Frame,
    node::{Config, ConnectionStatus, Direction},
    overlay::PeerInfo,
    peer::{
        Peer, Status,
        sim::{FaultLevel, SimNetwork, Violation},
    },
    sync::Mutex,
    transport::memory::WireEvent,
};

/// After the last fault, within this time every node reaches every other.
pub(super) const REACH_WITHIN: Duration = Duration::from_secs(20);

/// After the last fault, within this time the tables agree.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// After the last fault, within this time every join that is tried again succeeds: two of the
/// longest pauses between two tries.
const JOINED_WITHIN: Duration = Duration::from_secs(250);

/// The time after which a node at rest holds nothing: the longest limit of a call.
const FLOOR_WITHIN: Duration = Duration::from_secs(120);

/// The time for which a network at rest is watched.
const REST: Duration = Duration::from_secs(20);

/// The most frames between two nodes at rest in [`REST`]: some each second for pings and membership.
const MOST_AT_REST: usize = 120;

/// After the last fault, within this time no message is sent that a node has stored.
const STORED_FOR: Duration = Duration::from_secs(70);

/// After the last fault, within this time look-ups and the membership find every node.
const FOUND_WITHIN: Duration = Duration::from_secs(120);

/// The time for connections to end after the last node.
const GONE_WITHIN: Duration = Duration::from_secs(2);

impl Life {
    /// The ordinary nodes that run.
    pub(super) fn running(&self) -> Vec<Peer> {
        self.0.net.peers()
    }

    /// Each node keeps to its limits.
    pub(super) async fn check_bounds(&self) -> Result<(), Violation> {
        for node in &self.0.nodes {
            let Ok(peer) = self.0.net.peer(&node.name) else { continue };
            let (config, status) = (peer.config().clone(), peer.status().await);
            let dialled = |one: &&ConnectionStatus| one.direction == Direction::Out;
            let dialled = status.exchanges.iter().filter(dialled).count();
            let bounds = [
                ("connections", status.connections, config.max_connections),
                ("half_open", status.half_open, config.max_half_open),
                ("dialled classic exchanges", dialled, config.max_outgoing),
                ("peers", status.peers, config.max_peers),
                ("partial_bytes", status.partial_bytes, config.max_partial_bytes),
                ("partial_replies", status.partial_replies, config.max_partial_replies),
            ];
            for (what, is, limit) in bounds {
                if is > limit {
                    let detail = format!("{}: {what} is {is}, the limit is {limit}", node.name);
                    return Err(self.violation("bounds: a node keeps to its limits", detail));
                }
            }
            let window = config.link_window.max(config.max_frame_len.saturating_mul(2));
            for link in &status.links {
                if link.held > window {
                    let detail = format!("{}: {link:?}, the window is {window}", node.name);
                    return Err(self.violation("bounds: a link keeps to its window", detail));
                }
            }
        }
        Ok(())
    }

    /// After the last fault: every node reaches every other, the tables agree, all calls end, and
    /// every node comes to rest.
    ///
    /// # Errors
    /// The first violation.
    pub async fn rest(&self) -> Result<(), Violation> {
        let calm = Instant::now();
        self.0.traffic.stop();
        self.0.net.fault_points(FaultLevel::None);
        self.all_reach_all(calm).await?;
        #[cfg(feature = "gossip")]
        self.none_is_alone(calm).await?;
        self.all_list_all(calm).await?;
        self.all_join(calm).await?;
        while self.0.traffic.open_calls() > 0 {
            sleep(super::CHECK_EVERY).await;
            self.check().await?;
        }
        #[cfg(feature = "gossip")]
        self.all_hear_all().await?;
        self.comes_to_rest().await?;
        self.finds_others(calm).await?;
        self.is_silent(calm).await?;
        self.check().await?;
        self.0.traffic.check_end(self.0.plan.level == FaultLevel::None)
    }

    async fn all_reach_all(&self, calm: Instant) -> Result<(), Violation> {
        let peers = self.running();
        let asked = peers.iter().flat_map(|from| {
            peers
                .iter()
                .filter(|to| to.info() != from.info())
                .map(|to| self.reaches(from.clone(), to.clone(), calm))
        });
        join_all(asked).await.into_iter().collect()
    }

    async fn reaches(&self, from: Peer, to: Peer, calm: Instant) -> Result<(), Violation> {
        let mut last = String::from("no answer");
        // A node that takes few requests at once first answers those that wait.
        let is_ordinary = to.config().max_link_requests >= Config::default().max_link_requests;
        let limit = if is_ordinary { REACH_WITHIN } else { FLOOR_WITHIN };
        loop {
            let left = limit.saturating_sub(calm.elapsed());
            let ask =
                async { from.request(to.info(), Frame::empty("NAME")).await?.collect().await };
            match timeout(left, ask).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => {
                    let detail = format!("{} does not reach {}: {last}", from.info(), to.info());
                    return Err(self.violation("liveness: all nodes reach all others", detail));
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// A listed node lists the other, or has said why not.
    async fn all_list_all(&self, calm: Instant) -> Result<(), Violation> {
        loop {
            let wrong = self.one_sided().await;
            let Some(detail) = wrong else { return Ok(()) };
            if calm.elapsed() > LISTED_WITHIN {
                let invariant = "rule 20: a listed node lists the other or says why not";
                return Err(self.violation(invariant, detail));
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// A node that tries again to join gets in if its contact runs.
    async fn all_join(&self, calm: Instant) -> Result<(), Violation> {
        while let Some(detail) = self.not_joined().await {
            if calm.elapsed() > JOINED_WITHIN {
                let invariant = "liveness: a join that is refused for now succeeds later";
                return Err(self.violation(invariant, detail));
            }
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    async fn not_joined(&self) -> Option<String> {
        for node in &self.0.nodes {
            let contact = node.waits_for.borrow().clone();
            let Ok(peer) = self.0.net.peer(&node.name) else { continue };
            let is_contact = |there: &Peer| contact.as_ref() == Some(there.info().address());
            let Some(there) = self.running().into_iter().find(is_contact) else { continue };
            let has_room = there.status().await.peers < there.config().max_peers;
            if has_room && peer.status().await.peers == 0 {
                return Some(format!("{} is not in the network of {}", peer.info(), there.info()));
            }
        }
        None
    }

    async fn one_sided(&self) -> Option<String> {
        let mut tables = Vec::new();
        for node in &self.0.nodes {
            let Ok(peer) = self.0.net.peer(&node.name) else { continue };
            let list = peer.peers().list().await.ok()?;
            let listed: Vec<_> = list
                .iter()
                .filter(|entry| entry.verified().is_some())
                .map(|entry| entry.info().clone())
                .collect();
            tables.push((node, peer.info().clone(), listed));
        }
        for (node, me, listed) in &tables {
            for (_, other, theirs) in &tables {
                let told = node.told.borrow().get(other.id()).copied().unwrap_or(false);
                if listed.contains(other) && !theirs.contains(me) && !told {
                    return Some(format!("{me} lists {other}, which lists {theirs:?}"));
                }
            }
        }
        None
    }

    /// Nothing is open in a node, and nothing is held for others.
    async fn comes_to_rest(&self) -> Result<(), Violation> {
        let begun = Instant::now();
        for node in &self.0.nodes {
            let Ok(peer) = self.0.net.peer(&node.name) else { continue };
            loop {
                let status = peer.status().await;
                let Some(held) = held(&status) else { break };
                if begun.elapsed() > FLOOR_WITHIN {
                    let detail = format!("{}: {held}", node.name);
                    return Err(self.violation("bounds: a node at rest holds nothing", detail));
                }
                sleep(Duration::from_millis(70)).await;
            }
        }
        Ok(())
    }

    /// A network at rest carries only its maintenance, and not much of it.
    async fn is_silent(&self, calm: Instant) -> Result<(), Violation> {
        // Messages that an earlier run of a node has stored are sent for this time.
        sleep(STORED_FOR.saturating_sub(calm.elapsed())).await;
        let frames = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
        let seen = Arc::clone(&frames);
        let recording = self.0.net.wires().record(move |event| {
            if let WireEvent::Frame(frame) = event {
                *seen.lock().entry(frame.code.to_string()).or_default() += 1;
            }
        });
        sleep(REST).await;
        drop(recording);
        let frames = frames.lock();
        let application = frames.keys().any(|code| code.starts_with("TR"));
        let (all, nodes) = (frames.values().sum::<usize>(), self.0.nodes.len());
        if application || all > nodes.saturating_mul(nodes).saturating_mul(MOST_AT_REST) {
            let detail = format!("{all} frames in {REST:?}: {frames:?}");
            return Err(self.violation("silence: a network at rest is maintained, no more", detail));
        }
        Ok(())
    }

    /// Look-ups find every node, and the membership lists every member.
    async fn finds_others(&self, calm: Instant) -> Result<(), Violation> {
        let by_kademlia = self.networks(|_| true).await;
        let by_swim = self.networks(has_room_for_all).await;
        let nodes = &self.0.nodes;
        for (n, node) in nodes.iter().enumerate() {
            let other = nodes.get((n + 1) % nodes.len().max(1));
            let there = other.and_then(|other| self.0.net.peer(&other.name).ok());
            let (Ok(peer), Some(there)) = (self.0.net.peer(&node.name), there) else { continue };
            let together = |network: &BTreeMap<PeerInfo, usize>| {
                let number = network.get(peer.info());
                number.is_some() && number == network.get(there.info())
            };
            let by = (together(&by_kademlia), together(&by_swim));
            while let Err(detail) = finds(node, by, &peer, &there).await {
                if calm.elapsed() > FOUND_WITHIN {
                    let invariant = "liveness: look-ups and the membership find every node";
                    return Err(self.violation(invariant, detail));
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }

    /// The number of the network of each node that takes part: nodes that list each other, or are
    /// connected by others that take part. Nodes that a partition has kept apart since they were
    /// started are two networks: they have never heard of each other.
    pub(super) async fn networks(
        &self,
        takes_part: fn(&Peer) -> bool,
    ) -> BTreeMap<PeerInfo, usize> {
        let mut peers = self.running();
        peers.retain(takes_part);
        let numbers = peers.iter().enumerate().map(|(n, peer)| (peer.info().clone(), n));
        let mut network: BTreeMap<_, _> = numbers.collect();
        for peer in &peers {
            let Ok(list) = peer.peers().list().await else { continue };
            for other in list.iter() {
                let numbers = network.get(peer.info()).zip(network.get(other.info()));
                let Some((&stays, &goes)) = numbers else { continue };
                let moved = network.values_mut().filter(|number| **number == goes);
                moved.for_each(|number| *number = stays);
            }
        }
        network
    }

    /// Stops every node. Nothing of them is left.
    ///
    /// # Errors
    /// The first violation.
    pub async fn end(&self) -> Result<(), Violation> {
        let peers = self.running();
        for node in &self.0.nodes {
            self.0.traffic.end(&node.name);
        }
        self.end_in_turns(&self.0.net).await?;
        let tasks: Vec<_> = peers
            .iter()
            .filter(|peer| !peer.node().tasks.is_empty())
            .map(|peer| peer.info().to_string())
            .collect();
        if !tasks.is_empty() {
            let detail = format!("tasks of {tasks:?} are running");
            return Err(self.violation("rule 24: after the end of a node nothing is left", detail));
        }
        drop(peers);
        sleep(GONE_WITHIN).await;
        let open = self.0.net.wires().links();
        if !open.is_empty() {
            let detail = format!("connections are open: {open:?}");
            return Err(self.violation("rule 24: after the end of a node nothing is left", detail));
        }
        let left = self.0.endpoints.borrow().iter().filter_map(std::sync::Weak::upgrade).count();
        if left > 0 {
            let detail = format!("{left} nodes are still in memory");
            return Err(self.violation("rule 24: after the end of a node nothing is left", detail));
        }
        Ok(())
    }

    async fn end_in_turns(&self, net: &SimNetwork) -> Result<(), Violation> {
        for (n, node) in self.0.nodes.iter().enumerate() {
            if net.peer(&node.name).is_err() {
                continue;
            }
            let begun = Instant::now();
            if n % 2 == 0 {
                net.stop(&node.name).await?;
            } else {
                net.crash(&node.name).await?;
            }
            if begun.elapsed() > Duration::from_secs(20) {
                let detail = format!("{} took {:?}", node.name, begun.elapsed());
                return Err(self.violation("rule 24: a node ends within its limit", detail));
            }
        }
        Ok(())
    }
}

/// Whether a node can have a link with every other: members talk over links only.
fn has_room_for_all(peer: &Peer) -> bool {
    let (config, all) = (peer.config(), Config::default());
    config.links && config.max_links >= all.max_links && config.max_peers >= all.max_peers
}

/// Whether a node finds another one, by Kademlia and by the membership.
#[allow(unused_variables, clippy::unused_async, reason = "what it asks depends on the features")]
async fn finds(
    node: &Node,
    (by_kademlia, by_swim): (bool, bool),
    peer: &Peer,
    there: &Peer,
) -> Result<(), String> {
    let (id, whom) = (there.id(), there.info());
    #[cfg(feature = "kademlia")]
    if node.options.kademlia && by_kademlia {
        let found = peer.find(id).await;
        if !matches!(&found, Ok(Some(info)) if info == whom) {
            return Err(format!("{} looks up {whom} and finds {found:?}", peer.info()));
        }
    }
    #[cfg(feature = "swim")]
    if node.options.swim && by_swim {
        let members = peer.members();
        let is_up = |member: &Member| member.info() == whom && member.state() == MemberState::Up;
        if !members.iter().any(is_up) {
            return Err(format!("{} has {whom} not among {members:?}", peer.info()));
        }
    }
    Ok(())
}

/// What a node holds that is not at rest. `None` if nothing.
fn held(status: &Status) -> Option<String> {
    let Status { half_open, partial_bytes, partial_replies, outgoing, dialling, .. } = status;
    let nodes = [half_open, partial_bytes, partial_replies, outgoing, dialling];
    let open = status
        .links
        .iter()
        .find(|link| link.open > 0 || link.incomplete > 0 || link.in_hand > 0 || link.held > 0);
    let busy = nodes.into_iter().any(|held| *held > 0) || !status.exchanges.is_empty();
    (busy || open.is_some()).then(|| {
        let exchanges = &status.exchanges;
        format!(
            "half_open {half_open}, partial_bytes {partial_bytes}, partial_replies \
             {partial_replies}, outgoing {outgoing}, dialling {dialling}, {exchanges:?}, {open:?}"
        )
    })
}
