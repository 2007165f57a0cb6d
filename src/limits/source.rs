//! The source of a connection: the unit to which limits apply.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Serialize, Serializer};

use crate::overlay::{Address, Host};

/// The source of a connection, to which limits apply: an IPv4 address, the /64 of an IPv6 address
/// (a site controls all its addresses; RFC 6177), or, in a simulated network, a name.
///
/// ```
/// use actix_peer::limits::Source;
///
/// let source = |text: &str| Source::of(&text.parse().unwrap());
/// assert_eq!(source("192.0.2.1:9000"), source("[::ffff:192.0.2.1]:1"));
/// assert_eq!(source("[2001:db8::1]:9000").to_string(), "2001:db8::/64");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(SourceKind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum SourceKind {
    V4(Ipv4Addr),
    V6Prefix([u16; 4]),
    Name(Host),
}

impl Source {
    /// The source of a connection from `address`; its port does not matter.
    #[must_use]
    pub fn of(address: &Address) -> Self {
        match address.host() {
            Host::Ip(ip) => Self::of_ip(*ip),
            name @ Host::Name(_) => Self(SourceKind::Name(name.clone())),
        }
    }

    pub(crate) const fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(SourceKind::V4(ip)),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self(SourceKind::V6Prefix([a, b, c, d]))
            }
        }
    }

    /// Whether the limits per source apply to this one. They do not apply to loopback, unless
    /// `limit_loopback` is set: a program that can connect from there can do more harm by other
    /// means, and tests and demonstrations open many such connections.
    pub(crate) const fn is_limited(&self, limit_loopback: bool) -> bool {
        limit_loopback || !self.is_this_machine()
    }

    const fn is_this_machine(&self) -> bool {
        match &self.0 {
            SourceKind::V4(ip) => ip.is_loopback(),
            SourceKind::V6Prefix([a, b, c, d]) => *a == 0 && *b == 0 && *c == 0 && *d == 0,
            SourceKind::Name(_) => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SourceKind::V4(ip) => ip.fmt(f),
            SourceKind::V6Prefix([a, b, c, d]) => {
                write!(f, "{}/64", Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0))
            }
            SourceKind::Name(name) => name.fmt(f),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
