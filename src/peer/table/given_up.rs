//! Peers that were given up and return.

use crate::{
    fault_points::{Sometimes, reached},
    node::Removed,
    overlay::{Added, Address, Candidate, GivenUp, PeerEntry, PeerId, PeerInfo, PeerList},
    peer::{
        NodeDown, Peers,
        table::{tell_added, tell_removed},
    },
    session::Endpoint,
    time::now,
};

/// Whether a peer that was given up may return: it is admitted and not banned.
fn may_come_back(known: &GivenUp, node: &Endpoint) -> bool {
    let info = known.info();
    let seen_at = Address::new(known.entry().seen_at().clone(), info.port());
    node.transport.admits(info.id())
        && !node.bans.refuses_id(info.id())
        && !node.bans.refuses(info.address())
        && !node.bans.refuses(&seen_at)
}

impl Peers {
    /// Removes a peer that does not answer.
    pub(crate) async fn lost(&self, id: &PeerId) -> Result<(), NodeDown> {
        let id = id.clone();
        self.with(move |table, node| {
            let gone = table.list.give_up(&id, now());
            if gone.is_some() {
                reached(Sometimes::PeerGivenUp);
            }
            tell_removed(gone.as_ref(), Removed::Lost, node);
        })
        .await
    }

    /// Removes a peer whose address belongs to another node now, if the entry is unchanged.
    pub(crate) async fn replaced(&self, entry: &PeerEntry) -> Result<(), NodeDown> {
        let (id, added) = (entry.info().id().clone(), entry.added());
        self.with(move |table, node| {
            if table.list.get(&id).is_some_and(|known| known.added() == added) {
                reached(Sometimes::PeerReplaced);
                let gone = table.list.give_up(&id, now());
                tell_removed(gone.as_ref(), Removed::Replaced, node);
            }
        })
        .await
    }

    /// A copy of the table. Of the peers that were given up, it has only those that may return.
    pub(crate) async fn list_to_maintain(&self) -> Result<PeerList, NodeDown> {
        self.with(|table, node| {
            let mut list = table.list.clone();
            list.retain_given_up(|known| may_come_back(known, node));
            list
        })
        .await
    }

    /// The peer with this id, in the table or given up.
    pub(crate) async fn known(&self, id: &PeerId) -> Result<Option<PeerEntry>, NodeDown> {
        let id = id.clone();
        self.with(move |table, _| {
            let mut given_up = table.list.given_up(now()).map(GivenUp::entry);
            table.list.get(&id).or_else(|| given_up.find(|entry| *entry.info().id() == id)).cloned()
        })
        .await
    }

    /// Puts a peer back that was given up and has answered with its id, if it may still return and
    /// its shares allow it.
    pub(crate) async fn rejoin(&self, peer: PeerInfo) -> Result<(), NodeDown> {
        self.with(move |table, node| {
            let known = table.list.given_up(now()).find(|known| *known.info() == peer).cloned();
            let Some(known) = known.filter(|known| may_come_back(known, node)) else { return };
            let (learned, seen_at) = (known.entry().learned(), known.entry().seen_at());
            let candidate = Candidate::new(peer.clone(), learned.clone())
                .seen_at(seen_at.clone())
                .verified(true);
            let added = node.config.shares().admit(&mut table.list, candidate, now());
            if added == Added::Added {
                reached(Sometimes::PeerFoundAgain);
            }
            table.list.touch(peer.id(), now());
            tell_added(&added, &peer, node);
        })
        .await
    }
}
