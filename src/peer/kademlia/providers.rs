//! The providers of a name: claims of other nodes are checked before they are returned.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};

use super::{Dht, lock, lookup::Goal};
use crate::{
    overlay::{
        Address, PeerInfo,
        kademlia::{Key, Record, message::Question},
    },
    peer::asking::hosts::ResolvedHosts,
    session::Endpoint,
    time::{Later, now},
};

/// The number of providers that are asked at once. Estimated, not measured: if the maximum number
/// of providers is asked and all are dead, the answer takes eight times the maximum wait for one.
const AT_ONCE: usize = 16;

/// What nodes report about one provider.
#[derive(Debug)]
struct Claim {
    peer: PeerInfo,
    /// The remaining lifetime of its latest announcement.
    left: Duration,
    /// The nodes that report it.
    by: Vec<Address>,
}

/// Groups the reports into claims, one for each provider and address.
fn claims(said: Vec<(Address, Record)>, longest: Duration) -> Vec<Claim> {
    let mut claims: BTreeMap<PeerInfo, Claim> = BTreeMap::new();
    for (by, record) in said.into_iter().filter(|(_, record)| record.is_provider()) {
        let peer = record.publisher().clone();
        let new = || Claim { peer: peer.clone(), left: Duration::ZERO, by: Vec::new() };
        let claim = claims.entry(peer.clone()).or_insert_with(new);
        claim.left = claim.left.max(record.time_left().min(longest));
        if !claim.by.contains(&by) {
            claim.by.push(by);
        }
    }
    claims.into_values().collect()
}

/// Orders the claims for checking. The claim that most nodes report and the most recent claim
/// alternate. Neither dead providers that many nodes report nor invented ones that a few nodes
/// report can therefore hide live providers.
fn in_turn(claims: Vec<Claim>) -> Vec<Claim> {
    let mut known: Vec<_> = claims.iter().enumerate().collect();
    let mut late = known.clone();
    known.sort_by_key(|(_, claim)| Reverse((claim.by.len(), claim.left)));
    late.sort_by_key(|(_, claim)| Reverse((claim.left, claim.by.len())));
    let turns = known.into_iter().zip(late);
    let turns: Vec<_> = turns.flat_map(|(known, late)| [known.0, late.0]).collect();
    let mut claims: Vec<_> = claims.into_iter().map(Some).collect();
    turns.into_iter().filter_map(|n| claims.get_mut(n)?.take()).collect()
}

impl Dht {
    /// The live providers under a key, at most the configured number. Each has just answered, or is
    /// a member of the network that is up.
    pub(super) async fn providers(
        self: &Arc<Self>,
        node: &Arc<Endpoint>,
        key: Key,
    ) -> Vec<PeerInfo> {
        let mut said = self.look_up(node, key, Goal::Records).await.records;
        let here = lock(&self.store).get_with_sources(key, now());
        said.extend(
            here.into_iter()
                .map(|(source, record)| (Address::new(source, record.publisher().port()), record)),
        );
        let claims = in_turn(claims(said, self.config.provider_ttl));
        let most = self.config.max_providers_per_key;
        let mut there = Vec::new();
        if self.own_record(node, key).is_some_and(|own| own.is_provider()) {
            // This node is the most certain provider, so it comes first.
            there.push((usize::MAX, node.me.clone()));
        }
        let up = &members_up(node);
        let others = claims.into_iter().filter(|claim| claim.peer.id() != node.me.id());
        let others = others.take(self.config.lookup().max_questions).map(|claim| async move {
            let is_up = up.contains(&claim.peer) || self.is_there(node, &claim).await;
            is_up.then_some((claim.by.len(), claim.peer))
        });
        let mut found = stream::iter(others).buffer_unordered(AT_ONCE);
        while there.len() < most
            && let Some(found) = found.next().await
        {
            let is_new = |(_, peer): &(usize, PeerInfo)| {
                !there.iter().any(|(_, other): &(_, PeerInfo)| other.id() == peer.id())
            };
            let found = found.filter(is_new);
            there.extend(found);
        }
        there.sort_by(|(a, one), (b, other)| (b, one).cmp(&(a, other)));
        there.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Whether a provider answers. One that does not is forgotten.
    async fn is_there(self: &Arc<Self>, node: &Arc<Endpoint>, claim: &Claim) -> bool {
        let (peer, until) = (&claim.peer, now().later(claim.left));
        if !node.transport.admits(peer.id()) || lock(&self.silent).has(peer, until, now()) {
            return false;
        }
        if !self.knows(peer) && !self.may_ask(node, claim).await {
            return false;
        }
        let answers = self.ask(node, peer, Question::Ping).await.is_some();
        if !answers {
            lock(&self.silent).note(peer, until, now());
            lock(&self.store).forget_provider(peer);
        }
        answers
    }

    /// Whether this node may dial a provider: one of the nodes that report it may name its address,
    /// and the dial pace allows it.
    async fn may_ask(&self, node: &Arc<Endpoint>, claim: &Claim) -> bool {
        let (at, mut hosts) = (claim.peer.address(), ResolvedHosts::default());
        let mut may = false;
        for by in &claim.by {
            may = may || hosts.may_go(node, at, by).await;
        }
        let lately = lock(&self.answered).has(&claim.peer, now());
        may && (lately || node.may_dial(at).await)
    }
}

/// The members of the network that are up.
#[cfg(feature = "swim")]
fn members_up(node: &Endpoint) -> BTreeSet<PeerInfo> {
    use crate::overlay::swim::MemberState;

    let Some(shared) = node.membership.get() else { return BTreeSet::new() };
    let members = lock(&shared.machine).members();
    let up = members.iter().filter(|member| member.state() == MemberState::Up);
    up.map(|member| member.info().clone()).collect()
}

/// Without SWIM no other node is known to be up.
#[cfg(not(feature = "swim"))]
const fn members_up(_: &Endpoint) -> BTreeSet<PeerInfo> {
    BTreeSet::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(by: u16, id: &str, at: u16, seconds: u32) -> (Address, Record) {
        let publisher = format!("{id} 10.0.0.1 {at}").parse().unwrap();
        let record = Record::new(Key::of_bytes(b"x"), publisher, 1, seconds, Vec::new());
        (format!("10.0.0.2:{by}").parse().unwrap(), record)
    }

    #[test]
    fn the_most_reported_and_the_latest_claims_alternate_and_each_is_asked_once() {
        let mut all = Vec::new();
        for by in 1..=5 {
            all.extend((1..=40).map(|n| said(by, &format!("dead{n}"), n, 100)));
        }
        all.push(said(1, "living", 1, 3_000));
        // A node that lies, with the longest times.
        all.extend((1..=40).map(|n| said(9, &format!("made{n}"), n, u32::MAX)));
        // The same id at another address, and a value.
        all.push(said(9, "living", 2, 3_600));
        let value = Record::new(
            Key::of_bytes(b"x"),
            said(1, "v", 1, 1).1.publisher().clone(),
            1,
            9,
            vec![1],
        );
        all.push((said(1, "v", 1, 1).0, value));
        let order = in_turn(claims(all, Duration::from_secs(3_600)));
        assert_eq!(order.len(), 40 + 1 + 40 + 1);
        let at = |id: &str| order.iter().position(|claim| claim.peer.to_string() == id).unwrap();
        assert!(at("living 10.0.0.1 1") < 82 && at("dead40 10.0.0.1 40") < 80);
        let by = |claim: &Claim| claim.by.len();
        assert_eq!(order[..4].iter().map(by).collect::<Vec<_>>(), [5, 1, 5, 1]);
        // Without the invented claims it is the second.
        let honest = order.into_iter().filter(|claim| claim.left < Duration::from_secs(3_600));
        assert_eq!(in_turn(honest.collect())[1].peer.id().as_str(), "living");
    }
}
