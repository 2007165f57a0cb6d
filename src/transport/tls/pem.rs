//! Encodes an Ed25519 private key as PKCS#8 (RFC 8410, section 7) in PEM (RFC 7468).

use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::Zeroizing;

/// The length of a private key.
pub(super) const SEED_LEN: usize = 32; // bytes

/// The bytes before the 32 bytes of the key: version 0, the algorithm, and two nested octet
/// strings.
const PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The same in version 1, where the public key follows (RFC 5958), as some tools write it.
const PREFIX_V1: [u8; 14] =
    [0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The length of the whole.
pub(super) const PKCS8_LEN: usize = PREFIX.len() + SEED_LEN; // bytes

pub(super) fn pkcs8(seed: &[u8; SEED_LEN]) -> Zeroizing<[u8; PKCS8_LEN]> {
    let mut bytes = Zeroizing::new([0; PKCS8_LEN]);
    for (to, from) in bytes.iter_mut().zip(PREFIX.iter().chain(seed)) {
        *to = *from;
    }
    bytes
}

/// The key as text.
pub(super) fn encode(seed: &[u8; SEED_LEN]) -> Zeroizing<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    // 48 bytes are 16 groups of three, so there is neither padding nor a second line.
    for group in pkcs8(seed).chunks_exact(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for shift in [18, 12, 6, 0] {
            let digit = DIGITS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'A');
            text.push(char::from(digit));
        }
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

/// The key in a text. `None` if it contains no Ed25519 key.
pub(super) fn decode(text: &[u8]) -> Option<Zeroizing<[u8; SEED_LEN]>> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    let bytes = der.secret_pkcs8_der();
    let seed = match bytes.strip_prefix(&PREFIX) {
        Some(seed) => <&[u8; SEED_LEN]>::try_from(seed).ok()?,
        None => {
            // The two bytes before are the tag and the length of the rest.
            let (head, rest) = bytes.split_first_chunk::<2>()?;
            let whole = head[0] == 0x30 && usize::from(head[1]) == rest.len() && rest.len() < 128;
            rest.strip_prefix(&PREFIX_V1).filter(|_| whole)?.first_chunk()?
        }
    };
    Some(Zeroizing::new(*seed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 8410, section 10.3.
    const RFC: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";

    /// The same section, with attributes and the public key.
    const RFC_WITH_PUBLIC: &str = "-----BEGIN PRIVATE KEY-----\n\
        MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
        Z9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn the_keys_of_rfc_8410_are_read_and_written() {
        let seed = decode(RFC.as_bytes()).unwrap();
        assert_eq!(encode(&seed).as_str(), RFC);
        assert_eq!(decode(RFC_WITH_PUBLIC.as_bytes()), Some(seed));
    }

    #[test]
    fn text_that_is_no_key_is_refused() {
        let other = RFC.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vu");
        for text in ["", "hello", &RFC[..60], &other, &RFC.replace("PRIVATE", "PUBLIC")] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_file_is_read_unchanged(seed in any::<[u8; SEED_LEN]>()) {
            prop_assert_eq!(decode(encode(&seed).as_bytes()).map(|seed| *seed), Some(seed));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(
            mut text in Just(RFC_WITH_PUBLIC.as_bytes().to_vec()),
            at in 0..RFC_WITH_PUBLIC.len(), byte in any::<u8>(), noise in any::<Vec<u8>>(),
        ) {
            text[at] = byte;
            decode(&text);
            decode(&noise);
        }
    }
}
