//! What is known about other nodes, for people: names, and how they are talked to. Pure values.

use std::collections::{BTreeSet, HashMap};

use actix_peer::{
    PeerId, PeerInfo,
    overlay::{Address, PeerList},
};

use crate::model::{Network, PeerRow, Speaks};

/// Nodes that are not in the table, of which something is remembered.
const MAX_STRANGERS: usize = 1_024;

/// Entries of one peer's list that are shown.
const MAX_LISTED: usize = 128;

/// Nodes in the picture of the network.
const MAX_NODES: usize = 512;

#[derive(Clone, Debug, Default)]
struct Node {
    id: Option<PeerId>,
    speaks: Speaks,
}

/// The table as it was last seen, and what was learned on the way.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    table: Vec<PeerInfo>,
    nodes: HashMap<Address, Node>,
    lists: HashMap<PeerId, Vec<PeerId>>,
}

impl Contacts {
    /// Takes the table as it is now. Those who left it.
    pub(crate) fn set_table(&mut self, list: &PeerList) -> Vec<PeerInfo> {
        let table: Vec<_> = list.iter().map(|entry| entry.info().clone()).collect();
        let old = std::mem::replace(&mut self.table, table);
        self.lists.retain(|id, _| list.contains(id));
        old.into_iter().filter(|peer| !list.contains(peer.id())).collect()
    }

    pub(crate) fn table(&self) -> &[PeerInfo] {
        &self.table
    }

    /// Whether somebody in the table is reached there.
    pub(crate) fn is_known(&self, address: &Address) -> bool {
        self.table.iter().any(|peer| peer.address() == address)
    }

    /// A peer of the table by its id, or by the text of its address.
    pub(crate) fn find(&self, text: &str) -> Option<&PeerInfo> {
        let by_id = self.table.iter().find(|peer| peer.id().as_str() == text);
        by_id.or_else(|| self.table.iter().find(|peer| peer.address().to_string() == text))
    }

    /// Where the node with this id is, as far as it is known.
    pub(crate) fn address_of(&self, id: &str) -> Option<Address> {
        let in_table = self.find(id).map(|peer| peer.address().clone());
        let met = || {
            self.nodes.iter().find(|(_, node)| node.id.as_ref().is_some_and(|of| of.as_str() == id))
        };
        in_table.or_else(|| met().map(|(address, _)| address.clone()))
    }

    /// How the node at this address is called: by its id when that is known.
    pub(crate) fn name_of(&self, address: &Address) -> String {
        let in_table = self.table.iter().find(|peer| peer.address() == address).map(PeerInfo::id);
        let met = || self.nodes.get(address).and_then(|node| node.id.as_ref());
        in_table.or_else(met).map_or_else(|| address.to_string(), ToString::to_string)
    }

    fn node(&mut self, address: &Address) -> Option<&mut Node> {
        if !self.nodes.contains_key(address) && self.nodes.len() >= MAX_STRANGERS {
            let table = &self.table;
            self.nodes.retain(|address, _| table.iter().any(|peer| peer.address() == address));
        }
        if self.nodes.len() < MAX_STRANGERS || self.nodes.contains_key(address) {
            Some(self.nodes.entry(address.clone()).or_default())
        } else {
            None
        }
    }

    /// The node at this address says that this is its id.
    pub(crate) fn met(&mut self, address: &Address, id: &PeerId) {
        if let Some(node) = self.node(address) {
            node.id = Some(id.clone());
        }
    }

    /// How the node at this address is talked to. Whether that is news.
    pub(crate) fn speaks(&mut self, address: &Address, speaks: Speaks) -> bool {
        self.node(address).is_some_and(|node| std::mem::replace(&mut node.speaks, speaks) != speaks)
    }

    /// How the node at this address is talked to.
    pub(crate) fn how(&self, address: &Address) -> Speaks {
        self.nodes.get(address).map(|node| node.speaks).unwrap_or_default()
    }

    /// Whom a peer knows, as it says.
    pub(crate) fn set_list(&mut self, of: &PeerId, mut knows: Vec<PeerId>) {
        knows.truncate(MAX_LISTED);
        if self.table.iter().any(|peer| peer.id() == of) {
            self.lists.insert(of.clone(), knows);
        }
    }

    /// The picture: this node first, then its peers, then whom they know.
    pub(crate) fn network(
        &self,
        me: &PeerId,
        round_trip: impl Fn(&PeerInfo) -> Option<u64>,
    ) -> Network {
        let mut nodes = vec![me.clone()];
        let mut seen: BTreeSet<PeerId> = BTreeSet::from([me.clone()]);
        let listed = self.table.iter().filter_map(|peer| self.lists.get(peer.id())).flatten();
        for id in self.table.iter().map(PeerInfo::id).chain(listed) {
            if nodes.len() < MAX_NODES && seen.insert(id.clone()) {
                nodes.push(id.clone());
            }
        }
        let own = self.table.iter().map(|peer| (me, peer.id()));
        let theirs = self.table.iter().flat_map(|peer| {
            let list = self.lists.get(peer.id()).into_iter().flatten();
            list.map(move |knows| (peer.id(), knows))
        });
        let knows: BTreeSet<(&PeerId, &PeerId)> = own.chain(theirs).collect();
        let knows =
            knows.into_iter().filter(|(a, b)| a != b && seen.contains(*a) && nodes.contains(b));
        Network {
            peers: self
                .table
                .iter()
                .map(|peer| PeerRow {
                    id: peer.id().to_string(),
                    address: peer.address().to_string(),
                    speaks: self.how(peer.address()),
                    round_trip_us: round_trip(peer),
                })
                .collect(),
            knows: knows.map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            nodes: nodes.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_peer::overlay::Learned;

    use super::*;

    fn contacts(ids: &[&str]) -> (Contacts, PeerList) {
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        for (port, id) in (1..).zip(ids) {
            let peer = format!("{id} 127.0.0.1 {port}").parse().unwrap();
            list.add(peer, Learned::Manual, tokio::time::Instant::now().into_std());
        }
        let mut contacts = Contacts::default();
        contacts.set_table(&list);
        (contacts, list)
    }

    #[test]
    fn the_picture_has_the_own_node_its_peers_and_whom_they_know() {
        let (mut contacts, mut list) = contacts(&["a", "b"]);
        let id = |text: &str| text.parse::<PeerId>().unwrap();
        contacts.set_list(&id("a"), vec![id("me"), id("x"), id("a")]);
        contacts.set_list(&id("stranger"), vec![id("y")]);
        let picture = contacts.network(&id("me"), |_| None);
        assert_eq!(picture.nodes, ["me", "a", "b", "x"]);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            picture.knows,
            [pair("a", "me"), pair("a", "x"), pair("me", "a"), pair("me", "b")]
        );
        list.remove(&id("a"));
        assert_eq!(contacts.set_table(&list)[0].id(), &id("a"));
        assert_eq!(contacts.network(&id("me"), |_| None).nodes, ["me", "b"]);
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let (mut contacts, _) = contacts(&["a"]);
        for port in 1..5_000_u16 {
            contacts.speaks(&format!("127.0.0.1:{port}").parse().unwrap(), Speaks::Links);
        }
        assert!(contacts.nodes.len() <= MAX_STRANGERS);
        assert_eq!(contacts.how(&"127.0.0.1:1".parse().unwrap()), Speaks::Links, "a peer stays");
    }
}
