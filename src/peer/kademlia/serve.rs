//! Answering `@KAD`.

use std::sync::{Arc, Weak, atomic::Ordering};

use futures::future::BoxFuture;

use super::{Dht, lock};
use crate::{
    dispatch::{Notified, Serve},
    limits::Source,
    message::{Incoming, Reply, Sender},
    node::Refusal,
    overlay::{
        Address, Host, PeerInfo,
        kademlia::{
            Record, StoreRefusal,
            message::{Answer, Question, Request, Response},
        },
    },
    peer::asking::hosts::claims,
    session::Endpoint,
    time::{Later, now},
};

/// Serves `@KAD`.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) node: Weak<Endpoint>,
    pub(super) dht: Arc<Dht>,
}

impl Serve for Answering {
    /// Not an actor.
    fn handler(&self) -> u64 {
        0
    }

    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let (node, dht) = (self.node.upgrade(), Arc::clone(&self.dht));
        Box::pin(async move {
            let node = node.ok_or(Refusal::HandlerGone)?;
            let Some(request) = Request::decode(&incoming.frame) else {
                return Ok(Reply::error("Kademlia: not a question of this version"));
            };
            let sender = incoming.sender();
            if !node.may_claim(sender.proven(), request.from.id()) {
                return Err(Refusal::NotYourId);
            }
            // Whether the asker is at the host that it names.
            let is_there = claims(&node, sender, request.from.host(), |claim| claim.is_own()).await;
            let answer = dht.answer(&node, request.question, (&request.from, is_there), sender);
            if is_there {
                dht.note(&node, request.from, sender);
            }
            let response = Response { me: node.me.id().clone(), answer };
            let frame = response.encode().ok_or(Refusal::HandlerFailed)?;
            Ok(Reply::one(frame))
        })
    }

    fn notify(&self, incoming: Incoming) -> Notified {
        Notified::Serving(self.serve(incoming))
    }
}

impl Dht {
    fn answer(
        &self,
        node: &Endpoint,
        question: Question,
        (from, is_there): (&PeerInfo, bool),
        sender: &Sender,
    ) -> Answer {
        let closest = |target| {
            let table = self.table.lock();
            let mut nodes =
                table.map(|table| table.closest(target, self.config.k + 1)).unwrap_or_default();
            // The asker does not need its own address.
            nodes.retain(|node| node.id() != from.id());
            nodes.truncate(self.config.k);
            nodes
        };
        match question {
            Question::Ping => Answer::Here,
            Question::FindNode(target) => Answer::Nodes(closest(target)),
            Question::FindValue(target) => Answer::of(self.here(node, target), closest(target)),
            Question::Store(record) => {
                let direct = is_there && record.publisher() == from;
                match self.keep(record, sender.address().host(), direct) {
                    Ok(()) => Answer::Kept,
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
        }
    }

    fn keep(&self, record: Record, from: &Host, direct: bool) -> Result<(), StoreRefusal> {
        // Twice the number of nodes that keep a record, because tables differ.
        let nearer = self.table.lock().map_or(0, |table| table.nearer(record.key()));
        if nearer >= self.config.k * 2 {
            return Err(StoreRefusal::TooFar);
        }
        // Other nodes cannot store records in this node's name.
        if self.me.get().is_some_and(|me| me.id() == record.publisher().id()) {
            return Err(StoreRefusal::Outdated);
        }
        if record.is_provider() {
            let left = record.time_left().min(self.config.provider_ttl);
            let (publisher, until) = (record.publisher(), now().later(left));
            let mut silent = lock(&self.silent);
            if direct {
                silent.forget(publisher);
            } else if silent.has(publisher, until, now()) {
                // A copy of the announcement of a provider that did not answer this node.
                return Err(StoreRefusal::Over);
            }
        }
        let limited = Source::of(&Address::new(from.clone(), 1))
            .is_limited(self.limit_loopback.load(Ordering::Relaxed));
        let most = if limited { self.config.max_records_per_source } else { usize::MAX };
        lock(&self.store).keep_within(most, record, source(from), direct, now())
    }

    /// Records a node that asked from the host that it names.
    fn note(self: &Arc<Self>, node: &Arc<Endpoint>, from: PeerInfo, sender: &Sender) {
        let known = self.table.lock().is_some_and(|table| table.get(from.id()) == Some(&from));
        if sender.proven().is_some() || known {
            self.heard(node, from);
        } else {
            self.probe(node, from);
        }
    }
}

/// The host as limits count it: all addresses of one IPv6 subscriber count as one.
fn source(host: &Host) -> Host {
    match host {
        Host::Ip(ip) => match ip.to_canonical() {
            std::net::IpAddr::V6(ip) => {
                Host::Ip(std::net::Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into())
            }
            ip @ std::net::IpAddr::V4(_) => Host::Ip(ip),
        },
        name @ Host::Name(_) => name.clone(),
    }
}
