//! Who may join, and who may take a peer out of the table.

use serde::Serialize;

use crate::overlay::{
    Host, Scope,
    scope::{is_loopback, is_same},
};

/// Whom a `JOIN` adds to the table ([protocol](crate::protocol#join)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinPolicy {
    /// Who joins with a host that its connection came from, or a name of that. It is in the table at
    /// once, as the original programs expect, but unverified until a `NAME` sent to its host and
    /// port was answered with its id; they listen only after they have joined, so it is asked
    /// after 0.5, 3 and 10 seconds, and goes when it never answered. Who has proved its id is
    /// verified without being asked.
    #[default]
    Verified,
    /// Who joins with any host that it may name ([`Scope::may_name`]), and nobody is asked: as in the
    /// original programs. Whoever knows the node can have it dial others again and again. For closed
    /// networks.
    Open,
    /// Nobody. The table holds what this node went to itself.
    Closed,
}

/// Whom a `QUIT` takes out of the table ([protocol](crate::protocol#quit)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuitPolicy {
    /// The one who says it: its connection came from the host of the entry, or has proved its id.
    #[default]
    Own,
    /// Anyone whom anybody names, as in the original programs. For closed networks.
    Open,
}

/// For whom a node passes routed messages on ([`Peer::route`](crate::Peer::route)). What is for the
/// node itself is handled in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ForwardPolicy {
    /// Everyone, within [`Config::max_forwards_per_source`](crate::Config::max_forwards_per_source).
    #[default]
    Everyone,
    /// Neighbours that are in the table, by the id that the message says last; with TLS that is
    /// proven.
    KnownPeers,
    /// Nobody.
    Nobody,
}

/// Where a request came from and what its sender says about where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The host that is claimed.
    pub(crate) host: &'a Host,
    /// What it means, where it is a name.
    pub(crate) means: &'a [Host],
    /// Whether it is an address of this machine.
    pub(crate) here: bool,
    /// Where the connection came from.
    pub(crate) source: &'a Host,
    /// Whether that is an address of this machine.
    pub(crate) source_here: bool,
}

impl Claim<'_> {
    /// Whether the sender is at the host that it claims. Addresses of this machine are one host:
    /// which of them a connection comes from depends on the one that it goes to.
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
    /// Whether it lets in who makes this claim.
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
    fn who_joins_is_where_its_connection_came_from() {
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
            // One of its addresses is somebody else's inner one.
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
    fn an_open_node_takes_any_host_that_its_asker_could_reach() {
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
