//! The id of a node, and the text `id host port`.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::overlay::address::{Address, Host, InvalidAddress, InvalidHost, parse_port};

/// The name of a node: 1 to 64 ASCII letters, digits and `. _ : - [ ]`. By convention `host:port`.
///
/// Over plain TCP an id is only claimed: nothing proves it. With `transport::tls` it is the node's
/// Ed25519 public key, as 64 hexadecimal digits, and is proven.
///
/// ```
/// use actix_peer::PeerId;
///
/// let id: PeerId = "127.0.0.1:9000".parse()?;
/// assert_eq!(id.as_str(), "127.0.0.1:9000");
/// assert!("two words".parse::<PeerId>().is_err());
/// # Ok::<(), actix_peer::overlay::InvalidPeerId>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<str>);

/// The maximum length of an id, in bytes.
const MAX_ID_LEN: usize = 64;

/// The number of digits of a public key.
const KEY_LEN: usize = 64;

/// The number of digits of a key that are shown.
const SHORT: usize = 8;

/// Text that cannot be a [`PeerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPeerId {
    /// The text is empty.
    #[error("an id must not be empty")]
    Empty,
    /// The text has more than 64 bytes.
    #[error("an id has at most 64 bytes, not {len}")]
    TooLong {
        /// The length of the text, in bytes.
        len: usize,
    },
    /// A character that is neither an ASCII letter nor a digit nor one of `. _ : - [ ]`.
    #[error("an id must not contain {0:?}")]
    Character(char),
}

impl PeerId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has the form of a public key: 64 hexadecimal digits. Such an id can be proven.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.0.len() == KEY_LEN && self.0.bytes().all(|digit| digit.is_ascii_hexdigit())
    }

    /// The seed of the random choices of one run of the node with this id.
    #[cfg(any(feature = "gossip", feature = "swim"))]
    pub(crate) fn seed(&self, incarnation: u64) -> u64 {
        let mix = |seed: u64, byte| seed.rotate_left(7) ^ u64::from(byte);
        self.as_str().bytes().fold(incarnation, mix)
    }

    /// The text for display; a key is shortened to its beginning.
    pub(crate) const fn short(&self) -> Short<'_> {
        Short(self)
    }
}

/// An id for display; a key is shortened to its beginning.
pub(crate) struct Short<'a>(&'a PeerId);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str().get(..SHORT) {
            Some(first) if self.0.is_key() => write!(f, "{first}…"),
            _ => f.write_str(self.0.as_str()),
        }
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, InvalidPeerId> {
        if text.is_empty() {
            return Err(InvalidPeerId::Empty);
        }
        if text.len() > MAX_ID_LEN {
            return Err(InvalidPeerId::TooLong { len: text.len() });
        }
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-' | '[' | ']');
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(InvalidPeerId::Character(c)),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<&str> for PeerId {
    type Error = InvalidPeerId;

    fn try_from(text: &str) -> Result<Self, InvalidPeerId> {
        text.parse()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for PeerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PeerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a node announces about itself: id, host and port. Its text form on the wire is `id host
/// port` ([protocol](crate::protocol#names-of-nodes)).
///
/// ```
/// use actix_peer::PeerInfo;
///
/// let peer: PeerInfo = "ada 192.0.2.7 9000".parse()?;
/// assert_eq!(peer.id().as_str(), "ada");
/// assert_eq!(peer.address().to_string(), "192.0.2.7:9000");
/// assert!("ada 192.0.2.7 0".parse::<PeerInfo>().is_err());
/// # Ok::<(), actix_peer::overlay::InvalidPeerInfo>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerInfo {
    id: PeerId,
    address: Address,
}

/// Text that is not `id host port`, or has an address that cannot be connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPeerInfo {
    /// There are not three fields, or there is a control character.
    #[error("expected three fields: id host port")]
    Fields,
    /// The id is invalid.
    #[error(transparent)]
    Id(#[from] InvalidPeerId),
    /// The host is invalid.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// The port is not a number.
    #[error(transparent)]
    Port(#[from] InvalidAddress),
    /// Port 0 cannot be connected to.
    #[error("the port must not be 0")]
    PortZero,
}

impl PeerInfo {
    /// Makes the description of a peer.
    ///
    /// # Errors
    /// The port is 0.
    pub fn new(id: PeerId, address: Address) -> Result<Self, InvalidPeerInfo> {
        if address.port() == 0 { Err(InvalidPeerInfo::PortZero) } else { Ok(Self { id, address }) }
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> &PeerId {
        &self.id
    }

    /// Host and port.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        self.address.host()
    }

    /// The port, 1 to 65535.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }
}

impl FromStr for PeerInfo {
    type Err = InvalidPeerInfo;

    fn from_str(text: &str) -> Result<Self, InvalidPeerInfo> {
        let mut fields = text.split_ascii_whitespace();
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(id), Some(host), Some(port), None) => {
                Self::new(id.parse()?, Address::new(host.parse()?, parse_port(port)?))
            }
            _ => Err(InvalidPeerInfo::Fields),
        }
    }
}

impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.id, self.host(), self.port())
    }
}

impl fmt::Debug for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerInfo({self})")
    }
}

serde_as_text!(PeerId, PeerInfo);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_letters_digits_and_a_few_signs() {
        for text in ["a", "127.0.0.1:9000", "[::1]:9000", "node_7-b", &"x".repeat(64)] {
            assert_eq!(text.parse::<PeerId>().unwrap().as_str(), text);
        }
        assert_eq!("".parse::<PeerId>(), Err(InvalidPeerId::Empty));
        assert_eq!("x".repeat(65).parse::<PeerId>(), Err(InvalidPeerId::TooLong { len: 65 }));
        for (text, c) in [
            ("a b", ' '),
            ("a\n", '\n'),
            ("a\0", '\0'),
            ("é", 'é'),
            ("a/b", '/'),
            ("\u{7f}", '\u{7f}'),
        ] {
            assert_eq!(text.parse::<PeerId>(), Err(InvalidPeerId::Character(c)));
        }
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits_and_is_shown_short() {
        let key: PeerId = "0123456789abcdef".repeat(4).parse().unwrap();
        assert!(key.is_key());
        assert_eq!(key.short().to_string(), "01234567…");
        for text in ["127.0.0.1:9000", "abc", &"0".repeat(63), &"x".repeat(64)] {
            let id: PeerId = text.parse().unwrap();
            assert!(!id.is_key());
            assert_eq!(id.short().to_string(), text);
        }
    }

    #[test]
    fn a_peer_is_id_host_and_port_in_three_fields() {
        for (text, shown) in [
            ("a 127.0.0.1 9000", "a 127.0.0.1 9000"),
            (" a \t::1\r\n 1 ", "a ::1 1"),
            ("x:1 example.org 65535", "x:1 example.org 65535"),
            ("a [::1] 00080", "a ::1 80"),
        ] {
            assert_eq!(text.parse::<PeerInfo>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "a",
            "a b",
            "a 127.0.0.1",
            "a 127.0.0.1 9000 x",
            "a 127.0.0.1 0",
            "a 127.0.0.1 65536",
            "a 127.0.0.1 -1",
            "a 127.0.0.1 +1",
            "a 127.0.0.1 1e3",
            "a 127.0.0.1 9\0",
            "a\u{a0}127.0.0.1 9000 1",
            "a 127.0.0.\u{661} 9000",
            "a\u{b}b 127.0.0.1 9000",
        ] {
            assert!(text.parse::<PeerInfo>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_id_parses_from_its_own_text(id in "[a-zA-Z0-9._:-]{1,64}", ip in any::<IpAddr>(), port in 1_u16..) {
            let peer = PeerInfo::new(id.parse().unwrap(), Address::new(Host::Ip(ip), port)).unwrap();
            prop_assert_eq!(peer.to_string().parse::<PeerInfo>().unwrap(), peer.clone());
            prop_assert_eq!(peer.address().to_string().parse::<Address>().unwrap(), peer.address().clone());
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,80}|[ -~]{0,80}|[0-9a-f:.\\[\\] ]{0,40}") {
            if let Ok(peer) = text.parse::<PeerInfo>() {
                prop_assert_eq!(peer.to_string().parse::<PeerInfo>().unwrap(), peer);
            }
            text.parse::<Address>().ok();
        }
    }
}
