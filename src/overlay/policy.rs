//! Which nodes may join, and which may remove a peer from the table.

use serde::{Deserialize, Serialize};

use crate::overlay::{
    Host, Scope,
    scope::{is_loopback, is_same},
};

/// Which nodes a `JOIN` adds to the table ([protocol](crate::protocol#join)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinPolicy {
    /// A node that joins with the host that its connection came from, or a name of that host.
    ///
    /// It is added to the table at once, but unverified until a `NAME` sent to its host and port
    /// was answered with its id. The original programs expect to be added at once, and listen only
    /// after they have joined. The node is therefore asked after 0.5, 3 and 10 seconds, and is
    /// removed if it never answered. A node that has proved its id is verified without a question.
    #[default]
    Verified,
    /// A node that joins with any host that it may name ([`Scope::may_name`]). It is not asked for
    /// its name, as in the original programs. Any party that knows this node can therefore make it
    /// dial others again and again. For closed networks.
    Open,
    /// No node. The table holds only peers that this node contacted itself.
    Closed,
}

/// Which peers a `QUIT` removes from the table ([protocol](crate::protocol#quit)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuitPolicy {
    /// The sender: its connection came from the host of the entry, or has proved its id.
    #[default]
    Own,
    /// Any peer that any sender names, as in the original programs. For closed networks.
    Open,
}

/// For which nodes a node forwards routed messages ([`Peer::route`](crate::Peer::route)). Messages
/// for the node itself are handled in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ForwardPolicy {
    /// All nodes, within
    /// [`Config::max_forwards_per_source`](crate::Config::max_forwards_per_source).
    #[default]
    Everyone,
    /// Neighbours in the table, by the last id in the trace of the message; with TLS this id is
    /// proven.
    KnownPeers,
    /// No node.
    Nobody,
}

/// The source of a request, and the host that its sender claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The host that is claimed.
    pub(crate) host: &'a Host,
    /// The addresses of the claimed host, if it is a name.
    pub(crate) means: &'a [Host],
    /// Whether the claimed host is an address of this machine.
    pub(crate) here: bool,
    /// The host that the connection came from.
    pub(crate) source: &'a Host,
    /// Whether the source is an address of this machine.
    pub(crate) source_here: bool,
}

impl Claim<'_> {
    /// Whether the sender is at the host that it claims. All addresses of this machine count as one
    /// host, because the source address of a connection depends on its destination.
    pub(crate) fn is_own(&self) -> bool {
        let here = |host: &Host, here| here || is_loopback(host);
        let from_here = here(self.source, self.source_here);
        std::iter::once(self.host).chain(self.means).any(|host| is_same(host, self.source))
            || (from_here && (here(self.host, self.here) || self.means.iter().any(is_loopback)))
    }

    /// Whether the sender may name the host that it claims.
    pub(crate) fn may_name(&self) -> bool {
        let asker = if self.source_here {
            Some(Scope::Machine)
        } else {
            Scope::of(&canonical(self.source))
        };
        std::iter::once(self.host).chain(self.means).all(|host| {
            Scope::of(host).zip(asker).is_some_and(|(named, asker)| asker.may_name(named))
        })
    }
}

fn canonical(host: &Host) -> Host {
    match host {
        Host::Ip(ip) => Host::Ip(ip.to_canonical()),
        name @ Host::Name(_) => name.clone(),
    }
}

impl JoinPolicy {
    /// Whether it admits the sender of this claim.
    pub(crate) fn lets_in(self, claim: &Claim<'_>) -> bool {
        match self {
            Self::Verified => claim.may_name() && claim.is_own(),
            Self::Open => claim.may_name(),
            Self::Closed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets_in(policy: JoinPolicy, host: &str, means: &[&str], source: &str) -> bool {
        let means: Vec<Host> = means.iter().map(|host| host.parse().unwrap()).collect();
        let (host, source) = (host.parse().unwrap(), source.parse().unwrap());
        let claim =
            Claim { host: &host, means: &means, here: false, source: &source, source_here: false };
        policy.lets_in(&claim)
    }

    #[test]
    fn a_node_joins_only_with_the_host_that_its_connection_came_from() {
        for (host, means, source, expected) in [
            ("9.9.9.9", &[][..], "9.9.9.9", true),
            ("9.9.9.9", &[], "::ffff:9.9.9.9", true),
            ("10.0.0.1", &[], "10.0.0.1", true),
            ("node", &[], "NODE", true),
            ("a.example", &["9.9.9.9"], "9.9.9.9", true),
            ("localhost", &[], "127.0.0.1", true),
            ("127.0.0.2", &[], "::1", true),
            ("name", &["127.0.1.1"], "127.0.0.1", true),
            ("9.9.9.8", &[], "9.9.9.9", false),
            ("a.example", &["9.9.9.8"], "9.9.9.9", false),
            ("localhost", &[], "9.9.9.9", false),
            ("127.0.0.1", &[], "10.0.0.1", false),
            ("10.0.0.1", &[], "9.9.9.9", false),
            ("10.0.0.1", &[], "127.0.0.1", false),
            ("::ffff:9.9.9.9", &[], "9.9.9.9", false),
            ("0.0.0.0", &[], "127.0.0.1", false),
            ("255.255.255.255", &[], "127.0.0.1", false),
            // One of the addresses is an internal one of another machine.
            ("a.example", &["9.9.9.9", "127.0.0.1"], "9.9.9.9", false),
        ] {
            assert_eq!(
                lets_in(JoinPolicy::Verified, host, means, source),
                expected,
                "{host} from {source}"
            );
            assert!(!lets_in(JoinPolicy::Closed, host, means, source));
        }
    }

    #[test]
    fn an_open_node_accepts_any_host_that_its_asker_could_reach() {
        for (host, means, source, expected) in [
            ("9.9.9.8", &[][..], "9.9.9.9", true),
            ("9.9.9.8", &[], "10.0.0.1", true),
            ("10.0.0.2", &[], "10.0.0.1", true),
            ("10.0.0.2", &[], "9.9.9.9", false),
            ("inner.example", &["10.0.0.2"], "9.9.9.9", false),
            ("127.0.0.1", &[], "10.0.0.1", false),
            ("224.0.0.1", &[], "127.0.0.1", false),
        ] {
            assert_eq!(
                lets_in(JoinPolicy::Open, host, means, source),
                expected,
                "{host} from {source}"
            );
        }
    }

    #[test]
    fn all_addresses_of_this_machine_are_one_host() {
        let (lan, loopback, other): (Host, Host, Host) = (
            "192.168.1.5".parse().unwrap(),
            "127.0.0.1".parse().unwrap(),
            "192.168.1.6".parse().unwrap(),
        );
        let claim = |host, here, source, source_here| {
            JoinPolicy::Verified.lets_in(&Claim { host, means: &[], here, source, source_here })
        };
        assert!(claim(&lan, true, &loopback, true));
        assert!(claim(&loopback, true, &lan, true));
        assert!(!claim(&other, false, &loopback, true));
        assert!(!claim(&loopback, true, &other, false));
    }
}
