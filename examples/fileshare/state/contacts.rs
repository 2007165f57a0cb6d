//! What is known about other nodes: names, kinds, round trips, and which node knows which. Pure
//! values.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use actix_peer::{
    PeerId, PeerInfo,
    overlay::{Address, Host, PeerList, Scope},
};

use crate::model::{Network, PeerRow, Speaks};

/// The maximum number of remembered nodes that are not in the table.
const MAX_STRANGERS: usize = 1_024;

/// The maximum number of entries of the list of one peer.
const MAX_LISTED: usize = 128;

/// The maximum number of nodes in the graph of the network.
const MAX_NODES: usize = 512;

/// The maximum number of host names whose addresses are remembered.
const MAX_NAMES: usize = 64;

/// The maximum number of addresses of one name.
const MAX_ADDRESSES: usize = 8;

/// A new measurement has the weight 1 / `SMOOTHING`.
const SMOOTHING: u32 = 4;

#[derive(Clone, Debug, Default)]
struct Node {
    id: Option<PeerId>,
    speaks: Speaks,
    time: Option<Duration>,
}

/// The last known table, and what was learned about other nodes.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    me: Option<PeerInfo>,
    table: Vec<PeerInfo>,
    nodes: HashMap<Address, Node>,
    lists: HashMap<PeerId, Vec<PeerInfo>>,
    names: HashMap<Arc<str>, Vec<IpAddr>>,
}

impl Contacts {
    /// Sets the description of this node.
    pub(crate) fn set_me(&mut self, me: &PeerInfo) {
        self.me = Some(me.clone());
    }

    /// Sets the current table. Returns the peers that are no longer in it.
    pub(crate) fn set_table(&mut self, list: &PeerList) -> Vec<PeerInfo> {
        let table: Vec<_> = list.iter().map(|entry| entry.info().clone()).collect();
        let old = std::mem::replace(&mut self.table, table);
        self.lists.retain(|id, _| list.contains(id));
        old.into_iter().filter(|peer| !list.contains(peer.id())).collect()
    }

    pub(crate) fn table(&self) -> &[PeerInfo] {
        &self.table
    }

    /// Whether a peer in the table has this address.
    pub(crate) fn is_known(&self, address: &Address) -> bool {
        self.table.iter().any(|peer| peer.address() == address)
    }

    /// A peer in the table, by its id or by any spelling of its address.
    pub(crate) fn find(&self, text: &str) -> Option<&PeerInfo> {
        let by_id = self.table.iter().find(|peer| peer.id().as_str() == text);
        let by_address = || {
            let peer = self.known_at(&text.parse().ok()?)?;
            self.table.iter().find(|other| other.id() == peer.id())
        };
        by_id.or_else(by_address)
    }

    /// The address of the node with this id, if it is known.
    pub(crate) fn address_of(&self, id: &str) -> Option<Address> {
        let in_table = self.find(id).map(|peer| peer.address().clone());
        let met = || {
            self.nodes.iter().find(|(_, node)| node.id.as_ref().is_some_and(|of| of.as_str() == id))
        };
        in_table.or_else(|| met().map(|(address, _)| address.clone()))
    }

    /// All spellings of an address: itself, and the IP addresses of a name.
    fn spellings(&self, address: &Address) -> Vec<Address> {
        let port = address.port();
        let at = |ip: IpAddr| Address::new(ip.to_canonical().into(), port);
        match address.host() {
            Host::Ip(ip) => vec![at(*ip)],
            name @ Host::Name(_) if Scope::of(name) == Some(Scope::Machine) => {
                let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                vec![address.clone(), at(v4), at(v6)]
            }
            Host::Name(name) => {
                let ips = self.names.get(name).into_iter().flatten();
                std::iter::once(address.clone()).chain(ips.map(|ip| at(*ip))).collect()
            }
        }
    }

    /// This node, or a peer in the table, by any spelling of its address.
    fn known_at(&self, address: &Address) -> Option<&PeerInfo> {
        let spellings = self.spellings(address);
        let mut known = self.me.iter().chain(&self.table);
        let same = |peer: &&PeerInfo| {
            peer.address() == address
                || peer.port() == address.port()
                    && self.spellings(peer.address()).iter().any(|one| spellings.contains(one))
        };
        known.find(same)
    }

    /// The spelling of `address` in the table: `localhost:9000` may be `127.0.0.1:9000` there.
    pub(crate) fn known_as(&self, address: &Address) -> Address {
        self.known_at(address).map_or_else(|| address.clone(), |peer| peer.address().clone())
    }

    /// The names in these entries that have to be looked up to identify known nodes.
    pub(crate) fn unresolved(&self, entries: &[PeerInfo]) -> Vec<(Arc<str>, u16)> {
        let known = |port| self.me.iter().chain(&self.table).any(|peer| peer.port() == port);
        let named = entries.iter().filter_map(|entry| match entry.address().host() {
            host @ Host::Name(name) if Scope::of(host) != Some(Scope::Machine) => {
                Some((name, entry.port()))
            }
            _ => None,
        });
        let room = MAX_NAMES.saturating_sub(self.names.len());
        let new = named.filter(|(name, port)| known(*port) && !self.names.contains_key(*name));
        let new: BTreeSet<_> = new.map(|(name, port)| (Arc::clone(name), port)).collect();
        new.into_iter().take(room).collect()
    }

    /// Records the result of a look-up.
    pub(crate) fn resolved(&mut self, name: Arc<str>, mut ips: Vec<IpAddr>) {
        ips.truncate(MAX_ADDRESSES);
        if self.names.len() < MAX_NAMES || self.names.contains_key(&name) {
            self.names.insert(name, ips);
        }
    }

    /// The name of the node at this address: its id if that is known.
    pub(crate) fn name_of(&self, address: &Address) -> String {
        let known = self.known_at(address).map(PeerInfo::id);
        let met = || self.nodes.get(address).and_then(|node| node.id.as_ref());
        known.or_else(met).map_or_else(|| address.to_string(), ToString::to_string)
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

    /// Records the id that the node at this address claims.
    pub(crate) fn met(&mut self, address: &Address, id: &PeerId) {
        if let Some(node) = self.node(address) {
            node.id = Some(id.clone());
        }
    }

    /// Records the kind of the node at this address. Returns whether it changed.
    pub(crate) fn speaks(&mut self, address: &Address, speaks: Speaks) -> bool {
        self.node(address).is_some_and(|node| std::mem::replace(&mut node.speaks, speaks) != speaks)
    }

    /// The kind of the node at this address.
    pub(crate) fn how(&self, address: &Address) -> Speaks {
        self.nodes.get(address).map(|node| node.speaks).unwrap_or_default()
    }

    /// Records a round trip to the node at this address.
    pub(crate) fn add_round_trip(&mut self, address: &Address, time: Duration) {
        if let Some(node) = self.node(address) {
            let smoothed = |old: Duration| (old * (SMOOTHING - 1) + time) / SMOOTHING;
            node.time = Some(node.time.map_or(time, smoothed));
        }
    }

    /// Records the list of a peer.
    pub(crate) fn set_list(&mut self, of: &PeerId, mut knows: Vec<PeerInfo>) {
        knows.truncate(MAX_LISTED);
        if self.table.iter().any(|peer| peer.id() == of) {
            self.lists.insert(of.clone(), knows);
        }
    }

    /// The graph: this node first, then its peers, then the peers of those. A node that a list has
    /// under another id or another spelling of its address is one node.
    pub(crate) fn network(&self) -> Network {
        let mut nodes: Vec<&PeerId> = Vec::new();
        let mut ids: HashMap<&PeerId, &PeerId> = HashMap::new();
        let mut places: HashMap<Address, &PeerId> = HashMap::new();
        let lists = self.table.iter().filter_map(|peer| {
            let list = self.lists.get(peer.id())?;
            Some((peer.id(), list))
        });
        let listed = lists.clone().flat_map(|(_, list)| list);
        let own = self.me.iter().chain(&self.table);
        let known = own.clone().count();
        for (n, node) in own.chain(listed).enumerate() {
            if ids.contains_key(node.id()) {
                continue;
            }
            let spellings = self.spellings(node.address());
            // Entries of this node's table are different nodes, whatever other lists say.
            let same = spellings.iter().find_map(|one| places.get(one).copied());
            let id = same.filter(|_| n >= known).unwrap_or(node.id());
            if id == node.id() {
                if nodes.len() >= MAX_NODES {
                    continue;
                }
                nodes.push(id);
            }
            ids.insert(node.id(), id);
            for spelling in spellings {
                places.entry(spelling).or_insert(id);
            }
        }
        let own = self.me.iter().flat_map(|me| self.table.iter().map(|peer| (me.id(), peer.id())));
        let theirs = lists.flat_map(|(of, list)| list.iter().map(move |knows| (of, knows.id())));
        let knows = own.chain(theirs).filter_map(|(a, b)| Some((*ids.get(a)?, *ids.get(b)?)));
        let knows: BTreeSet<(&PeerId, &PeerId)> = knows.filter(|(a, b)| a != b).collect();
        let row = |peer: &PeerInfo| {
            let time = self.nodes.get(peer.address()).and_then(|node| node.time);
            PeerRow {
                id: peer.id().to_string(),
                address: peer.address().to_string(),
                speaks: self.how(peer.address()),
                round_trip_us: time.and_then(|time| u64::try_from(time.as_micros()).ok()),
            }
        };
        Network {
            peers: self.table.iter().map(row).collect(),
            knows: knows.into_iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            nodes: nodes.into_iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_peer::overlay::Learned;

    use super::*;

    fn info(text: &str) -> PeerInfo {
        text.parse().unwrap()
    }

    fn contacts(ids: &[&str]) -> (Contacts, PeerList) {
        let mut list = PeerList::new("me".parse().unwrap(), 0);
        for (port, id) in (1..).zip(ids) {
            let peer = info(&format!("{id} 127.0.0.1 {port}"));
            list.add(peer, Learned::Manual, tokio::time::Instant::now().into_std());
        }
        let mut contacts = Contacts::default();
        contacts.set_me(&info("me 127.0.0.1 9000"));
        contacts.set_table(&list);
        (contacts, list)
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.to_owned(), b.to_owned())
    }

    #[test]
    fn the_picture_has_the_own_node_its_peers_and_whom_they_know() {
        let (mut contacts, mut list) = contacts(&["a", "b"]);
        let id = |text: &str| text.parse::<PeerId>().unwrap();
        let me = info("me 127.0.0.1 9000");
        contacts.set_list(&id("a"), vec![me, info("x 127.0.0.1 9"), info("a 127.0.0.1 1")]);
        contacts.set_list(&id("stranger"), vec![info("y 127.0.0.1 10")]);
        let picture = contacts.network();
        assert_eq!(picture.nodes, ["me", "a", "b", "x"]);
        assert_eq!(
            picture.knows,
            [pair("a", "me"), pair("a", "x"), pair("me", "a"), pair("me", "b")]
        );
        list.remove(&id("a"));
        assert_eq!(contacts.set_table(&list)[0].id(), &id("a"));
        assert_eq!(contacts.network().nodes, ["me", "b"]);
    }

    #[test]
    fn a_node_under_another_name_is_counted_and_drawn_once() {
        let (mut contacts, _) = contacts(&["a", "b"]);
        let id = |text: &str| text.parse::<PeerId>().unwrap();
        // This node, a peer, and a node that is in two lists, each by other words.
        let far = "127.0.0.1:9001 127.0.0.1 9001";
        contacts.set_list(&id("a"), vec![info("localhost:9000 localhost 9000"), info(far)]);
        let other = ["::ffff:127.0.0.1 1", "localhost 9001", "me.example 9000"];
        let entries: Vec<_> =
            other.iter().map(|at| info(&format!("{} {at}", at.replace(' ', ".")))).collect();
        assert_eq!(contacts.unresolved(&entries), [("me.example".into(), 9000)]);
        contacts.resolved("me.example".into(), vec!["127.0.0.1".parse().unwrap()]);
        assert_eq!(contacts.unresolved(&entries), []);
        contacts.set_list(&id("b"), entries);
        let picture = contacts.network();
        assert_eq!(picture.nodes, ["me", "a", "b", "127.0.0.1:9001"]);
        let far = "127.0.0.1:9001";
        let expected = [
            pair("a", far),
            pair("a", "me"),
            pair("b", far),
            pair("b", "a"),
            pair("b", "me"),
            pair("me", "a"),
            pair("me", "b"),
        ];
        assert_eq!(picture.knows, expected);
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(contacts.name_of(&address("localhost:1")), "a");
        assert_eq!(contacts.find("localhost:2").unwrap().id(), &id("b"));
        assert_eq!(contacts.find("localhost:9000"), None, "this node is no peer");
        assert_eq!(contacts.known_as(&address("localhost:9000")), address("127.0.0.1:9000"));
        assert_eq!(contacts.known_as(&address("localhost:77")), address("localhost:77"));
    }

    #[test]
    fn names_that_others_list_are_looked_up_only_so_often() {
        let (mut contacts, _) = contacts(&["a"]);
        assert_eq!(contacts.unresolved(&[info("x x.example 77")]), [], "no known port");
        let entries: Vec<_> =
            (0..1_000).map(|n| info(&format!("n{n} n{n}.example 9000"))).collect();
        let unresolved = contacts.unresolved(&entries);
        assert_eq!(unresolved.len(), MAX_NAMES);
        for (name, _) in unresolved {
            contacts.resolved(name, Vec::new());
        }
        assert_eq!(contacts.unresolved(&entries), []);
    }

    #[test]
    fn a_round_trip_is_smoothed_and_an_original_has_one() {
        let (mut contacts, _) = contacts(&["a", "b"]);
        let a = "127.0.0.1:1".parse().unwrap();
        contacts.speaks(&a, Speaks::Classic);
        let time = |contacts: &Contacts| contacts.network().peers[0].round_trip_us;
        contacts.add_round_trip(&a, Duration::from_micros(400));
        assert_eq!(time(&contacts), Some(400));
        contacts.add_round_trip(&a, Duration::from_micros(800));
        assert_eq!(time(&contacts), Some(500));
        assert_eq!(contacts.network().peers[1].round_trip_us, None);
    }

    #[test]
    fn the_memory_for_unknown_peers_is_bounded() {
        let (mut contacts, _) = contacts(&["a"]);
        for port in 1..5_000_u16 {
            contacts.speaks(&format!("127.0.0.1:{port}").parse().unwrap(), Speaks::Links);
        }
        assert!(contacts.nodes.len() <= MAX_STRANGERS);
        assert_eq!(contacts.how(&"127.0.0.1:1".parse().unwrap()), Speaks::Links, "a peer stays");
    }
}
