//! Questions to one node, and iterative look-ups.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use indexmap::IndexMap;
use tokio::time::timeout;

use super::{Dht, lock};
use crate::{
    message::Outgoing,
    overlay::{
        Address, PeerId, PeerInfo,
        kademlia::{
            Heard, Key, Lookup, Record,
            message::{Answer, MAX_MESSAGE, Question, Request, Response},
        },
    },
    peer::{asking::hosts::ResolvedHosts, verification::may_ask},
    session,
    session::Endpoint,
    time::now,
};

/// The result of a look-up.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The nearest nodes that answered, nearest first.
    pub(super) closest: Vec<PeerInfo>,
    /// The records that they keep for the key, each with the address of the node that sent it.
    pub(super) records: Vec<(Address, Record)>,
    /// The node that was looked for, if it answered.
    pub(super) exact: Option<PeerInfo>,
}

/// The goal of a look-up at a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'a> {
    /// The nodes nearest to the key.
    Nodes,
    /// The records of the key.
    Records,
    /// The node with this id. The look-up ends when it has answered.
    Node(&'a PeerId),
}

impl Dht {
    /// Asks the node at an address. Returns its answer, with the id that it gives.
    pub(super) async fn ask_at(
        &self,
        node: &Arc<Endpoint>,
        (at, whom): (&Address, Option<&PeerId>),
        question: Question,
    ) -> Option<Response> {
        let request = Request { from: node.me.clone(), question }.encode()?;
        let mut message = Outgoing::from(request);
        if let Some(whom) = whom {
            message = message.only_to(whom);
        }
        let replies = async {
            let replies = session::request(node, at, message).await.ok()?;
            replies.collect_up_to(MAX_MESSAGE + 64).await.ok()
        };
        let replies = timeout(self.config.request_time, replies).await.ok().flatten()?;
        let response = replies.first().filter(|_| replies.len() == 1).and_then(Response::decode)?;
        whom.is_none_or(|whom| *whom == response.me).then_some(response)
    }

    /// Asks a node. An answer with its id, or the lack of one, is recorded in the table.
    pub(super) async fn ask(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        to: &PeerInfo,
        question: Question,
    ) -> Option<Answer> {
        let response = self.ask_at(node, (to.address(), Some(to.id())), question).await;
        if response.is_some() {
            node.answered(to.address());
            lock(&self.answered).note(to, now());
            lock(&self.silent).forget(to);
            self.heard(node, to.clone());
        } else {
            lock(&self.answered).forget(to);
            if self.knows(to) {
                self.failed(to);
            }
        }
        response.map(|response| response.answer)
    }

    pub(super) fn knows(&self, peer: &PeerInfo) -> bool {
        self.table.lock().is_some_and(|table| table.get(peer.id()) == Some(peer))
    }

    fn failed(&self, peer: &PeerInfo) {
        if let Some(mut table) = self.table.lock() {
            table.failed(peer.id());
        }
    }

    /// Records a live node: it answered, or proved its id. A node that would lose its place in the
    /// table for it is asked first.
    pub(super) fn heard(self: &Arc<Self>, node: &Arc<Endpoint>, peer: PeerInfo) {
        if !node.transport.admits(peer.id()) {
            return;
        }
        let heard = self.table.lock().map(|mut table| table.heard(peer));
        if heard == Some(Heard::Added) {
            self.grown.notify_one();
        }
        if let Some(Heard::Check(known)) = heard {
            let dht = Arc::clone(self);
            // At most one task for each node in the table: `heard` returns `Check` for it only once
            // until the result is recorded.
            self.spawn(node, async move |node| {
                let _permit = dht.probes.acquire().await;
                let there = dht.ask_at(&node, (known.address(), Some(known.id())), Question::Ping);
                // Not by `ask`, which calls `heard` and would recurse.
                if there.await.is_none() {
                    dht.failed(&known);
                } else if let Some(mut table) = dht.table.lock() {
                    table.heard(known);
                }
            });
        }
    }

    /// Spawns work that ends with the node.
    pub(super) fn spawn<F>(&self, node: &Arc<Endpoint>, work: impl FnOnce(Arc<Endpoint>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        node.spawn(node.until_drain(work(Arc::clone(node))));
    }

    /// Probes a node that names its own address without proof, if the table has a place for it and
    /// a permit is free, at the node's dial pace.
    pub(super) fn probe(self: &Arc<Self>, node: &Arc<Endpoint>, peer: PeerInfo) {
        let wanted = self.table.lock().is_some_and(|table| table.has_room(peer.id()));
        let Ok(permit) = Arc::clone(&self.probes).try_acquire_owned() else { return };
        if !wanted || !lock(&self.probed).insert(peer.address().clone()) {
            return;
        }
        let probing = Probing { dht: Arc::clone(self), at: peer.address().clone() };
        let dht = Arc::clone(self);
        self.spawn(node, async move |node| {
            let (_permit, _probing) = (permit, probing);
            if may_ask(&node, &mut ResolvedHosts::default(), &peer, None).await {
                dht.ask(&node, &peer, Question::Ping).await;
            }
        });
    }

    /// Asks nodes that are ever nearer to the key. Nodes in answers are hints: until such a node
    /// has answered, it is dialled at the node's dial pace, and only at an address that the
    /// answering node may name.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        target: Key,
        goal: Goal<'_>,
    ) -> Found {
        let known = self.table.lock().map(|mut table| {
            table.looked_for(target, now());
            // If no node answered lately, the network may have been at fault, and not the nodes.
            let known = table.closest(target, self.config.k);
            if known.is_empty() { table.failing(self.config.k) } else { known }
        });
        let known = known.unwrap_or_default();
        let mut lookup = Lookup::new(Key::of(node.me.id()), target, known, self.config.lookup());
        let (mut told_by, mut hosts) =
            (IndexMap::<PeerInfo, Address>::new(), ResolvedHosts::default());
        let (mut found, mut under_way) = (Found::default(), FuturesUnordered::new());
        loop {
            while let Some(peer) = lookup.next() {
                let may = match told_by.get(&peer).filter(|_| !self.knows(&peer)) {
                    Some(by) => hosts.may_go(node, peer.address(), by).await,
                    None => true,
                };
                let hint = told_by.contains_key(&peer)
                    && !self.knows(&peer)
                    && !lock(&self.answered).has(&peer, now());
                under_way.push(async move {
                    let may = may
                        && node.transport.admits(peer.id())
                        && (!hint || node.may_dial(peer.address()).await);
                    let question = match goal {
                        Goal::Records => Question::FindValue(target),
                        Goal::Nodes | Goal::Node(_) => Question::FindNode(target),
                    };
                    let answer = if may { self.ask(node, &peer, question).await } else { None };
                    (peer, answer)
                });
            }
            let Some((peer, answer)) = under_way.next().await else { break };
            let Some(answer) = answer else {
                lookup.failed(peer.id());
                continue;
            };
            let (records, mut nodes) = answer.into_parts();
            nodes.truncate(self.config.k);
            let records = records.into_iter().filter(|record| record.key() == target);
            found.records.extend(records.map(|record| (peer.address().clone(), record)));
            for told in &nodes {
                told_by.entry(told.clone()).or_insert_with(|| peer.address().clone());
            }
            lookup.answered(peer.id(), nodes);
            if let Goal::Node(id) = goal
                && peer.id() == id
            {
                found.exact = Some(peer);
                break;
            }
        }
        found.closest = lookup.closest();
        found
    }
}

/// An address that is being probed, until this is dropped.
struct Probing {
    dht: Arc<Dht>,
    at: Address,
}

impl Drop for Probing {
    fn drop(&mut self) {
        lock(&self.dht.probed).swap_remove(&self.at);
    }
}
