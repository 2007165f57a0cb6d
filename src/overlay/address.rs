//! Hosts and addresses of nodes.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

/// The host of a node: an IP address, or a name to be resolved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// IPv4 or IPv6.
    Ip(IpAddr),
    /// A host name: labels of letters, digits, `-` and `_`, at most 253 bytes.
    Name(Arc<str>),
}

/// Text that is neither an IP address nor a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither an IP address nor a host name")]
pub struct InvalidHost {
    text: String,
}

/// Shortens an invalid text for an error.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

fn is_label(label: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !label.is_empty()
        && label.len() <= 63
        && label.chars().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for Host {
    type Err = InvalidHost;

    /// IPv4, IPv6 (bare or in brackets), or a host name (RFC 1123, with `_`). A name whose last
    /// label is all digits is a wrong IPv4 address.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'))
            && let Ok(ip) = inner.parse::<Ipv6Addr>()
        {
            return Ok(Self::Ip(ip.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let digits = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let last = name.rsplit('.').next().unwrap_or_default();
        if text.len() <= 253 && name.split('.').all(is_label) && !digits(last) {
            Ok(Self::Name(text.into()))
        } else {
            Err(InvalidHost { text: shorten(text) })
        }
    }
}

impl Host {
    /// The one spelling of an IP address: IPv4 that is written as IPv6 is IPv4. A name stays.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match self {
            Self::Ip(ip) => Self::Ip(ip.to_canonical()),
            name @ Self::Name(_) => name.clone(),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A host and a port, to listen on or to connect to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

/// Text that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// There is no colon before a port, or an IPv6 address has no brackets.
    #[error("{text:?} is not host:port")]
    NoPort {
        /// The text, at most 64 characters of it.
        text: String,
    },
    /// The port is not a number from 0 to 65535.
    #[error("{text:?} is not a port")]
    Port {
        /// The text of the port, at most 64 characters of it.
        text: String,
    },
    /// The host is invalid.
    #[error(transparent)]
    Host(#[from] InvalidHost),
}

impl Address {
    /// Makes an address. Port 0 means any free port when listening, and is refused when connecting.
    #[must_use]
    pub const fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same address with the [canonical](Host::canonical) spelling of its host.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self::new(self.host.canonical(), self.port)
    }
}

/// Parses decimal digits only.
pub(super) fn parse_port(text: &str) -> Result<u16, InvalidAddress> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| InvalidAddress::Port { text: shorten(text) })
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let no_port = || InvalidAddress::NoPort { text: shorten(text) };
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(no_port());
        }
        Ok(Self { host: host.parse()?, port: parse_port(port)? })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(Host, Address);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ipv4_ipv6_or_a_name() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("localhost", "localhost"),
            ("a-b.example.org", "a-b.example.org"),
            ("my_host", "my_host"),
            ("example.org.", "example.org."),
            ("1.example", "1.example"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), shown);
        }
        let long = "a.".repeat(127) + "ab";
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "127.1",
            "a b",
            "[127.0.0.1]",
            "[::1",
            "a/b",
            "é",
            "a:b",
            &long,
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:0", "[::1]:9000", "localhost:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in [
            "127.0.0.1",
            "::1:9000",
            ":9000",
            "a:",
            "a:65536",
            "a:-1",
            "a:+1",
            "a: 1",
            "a:1e3",
            "a:0x10",
            "[::1]9000",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
