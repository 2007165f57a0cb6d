//! The scope of an address, and which nodes may name it.

use std::net::IpAddr;

use crate::overlay::Host;

/// From where an address can be reached. A narrower scope is less than a wider one.
///
/// ```
/// use actix_peer::overlay::{Host, Scope};
///
/// let scope = |host: &str| Scope::of(&host.parse::<Host>().unwrap());
/// assert_eq!(scope("127.0.0.1"), Some(Scope::Machine));
/// assert_eq!(scope("localhost"), Some(Scope::Machine));
/// assert_eq!(scope("192.168.1.9"), Some(Scope::Site));
/// assert_eq!(scope("0.0.0.0"), None);
/// assert!(Scope::World > Scope::Site);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Loopback: this machine.
    Machine,
    /// Link-local (RFC 3927, RFC 4291 section 2.5.6).
    Link,
    /// Private, shared or unique local (RFC 1918, RFC 6598, RFC 4193).
    Site,
    /// Everywhere. A host name is included unless it is `localhost` (RFC 6761): only its look-up
    /// shows what it means.
    World,
}

impl Scope {
    /// The scope of a host; `None` if no node can have the address: an unspecified, multicast,
    /// broadcast or reserved address, or an IPv4-mapped IPv6 address.
    #[must_use]
    pub fn of(host: &Host) -> Option<Self> {
        match host {
            Host::Name(_) if is_localhost(host) => Some(Self::Machine),
            Host::Name(_) => Some(Self::World),
            Host::Ip(IpAddr::V4(ip)) => {
                let [first, second, ..] = ip.octets();
                match first {
                    0 | 224.. => None,
                    _ if ip.is_loopback() => Some(Self::Machine),
                    _ if ip.is_link_local() => Some(Self::Link),
                    100 if (64..128).contains(&second) => Some(Self::Site),
                    _ if ip.is_private() => Some(Self::Site),
                    _ => Some(Self::World),
                }
            }
            Host::Ip(IpAddr::V6(ip)) => {
                if ip.is_loopback() {
                    Some(Self::Machine)
                } else if ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4().is_some() {
                    None
                } else if ip.is_unicast_link_local() {
                    Some(Self::Link)
                } else if ip.is_unique_local() {
                    Some(Self::Site)
                } else {
                    Some(Self::World)
                }
            }
        }
    }

    /// Whether a node in this scope may name a host of the scope `other`. It may never name a host
    /// of a narrower scope, which would make the receiver scan what the sender cannot reach.
    #[must_use]
    pub fn may_name(self, other: Self) -> bool {
        other >= self
    }

    /// Whether one who asks from the address `asker` may make a node connect to `to`, as
    /// [`may_name`](Self::may_name) has it: never where no node can be.
    #[must_use]
    pub fn lets(asker: IpAddr, to: IpAddr) -> bool {
        let scope = |ip| Self::of(&Host::Ip(ip).canonical());
        scope(asker).zip(scope(to)).is_some_and(|(asker, to)| asker.may_name(to))
    }
}

fn is_localhost(host: &Host) -> bool {
    let Host::Name(name) = host else { return false };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// Whether two hosts are the same: names in any case, IPv4 also as an IPv4-mapped IPv6 address.
#[must_use]
pub(crate) fn is_same(a: &Host, b: &Host) -> bool {
    match (a, b) {
        (Host::Ip(a), Host::Ip(b)) => a.to_canonical() == b.to_canonical(),
        (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

/// Whether a host is this machine in any case, without a look-up.
#[must_use]
pub(crate) fn is_loopback(host: &Host) -> bool {
    Scope::of(&host.canonical()) == Some(Scope::Machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Option<Scope> {
        Scope::of(&text.parse().unwrap())
    }

    #[test]
    fn an_address_that_no_node_can_have_has_no_scope() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "::",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::7f00:1",
        ] {
            assert_eq!(scope(text), None, "{text}");
        }
    }

    #[test]
    fn a_sender_may_not_make_a_node_connect_to_a_narrower_scope_than_its_own() {
        for (asker, to, may) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", true),
            ("10.0.0.1", "8.8.8.8", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", true),
            ("10.0.0.1", "127.0.0.1", false),
            ("8.8.8.8", "10.0.0.1", false),
            ("8.8.8.8", "169.254.169.254", false),
            ("8.8.8.8", "100.64.0.1", false),
            ("8.8.8.8", "::ffff:127.0.0.1", false),
            ("2001:4860::1", "fe80::1", false),
            ("2001:4860::1", "fd00::1", false),
            ("2001:4860::1", "::1", false),
            ("127.0.0.1", "0.0.0.0", false),
            ("8.8.8.8", "224.0.0.1", false),
            ("::", "8.8.8.8", false),
        ] {
            let lets = Scope::lets(asker.parse().unwrap(), to.parse().unwrap());
            assert_eq!(lets, may, "{asker} names {to}");
        }
    }

    #[test]
    fn a_host_of_a_narrower_scope_may_not_be_named() {
        let rows = [
            (Scope::Machine, ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.LocalHost."]),
            (Scope::Link, ["169.254.1.1", "fe80::1", "169.254.169.254", "fe80::2", "febf::1"]),
            (Scope::Site, ["10.0.0.1", "172.16.0.1", "192.168.0.1", "fd00::1", "100.64.0.1"]),
            (Scope::World, ["9.9.9.9", "2606::1", "example.org", "100.128.0.1", "localhost.org"]),
        ];
        for (at, (expected, texts)) in rows.iter().enumerate() {
            for text in texts {
                assert_eq!(scope(text), Some(*expected), "{text}");
                for (other, (asker, _)) in rows.iter().enumerate() {
                    assert_eq!(asker.may_name(*expected), other <= at, "{asker:?} names {text}");
                }
            }
        }
    }
}
