//! The identity of a node: an Ed25519 key pair.

use std::{fmt, path::Path, sync::Arc};

use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};
use rustls::{
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::{
    IdentityError, key_file,
    pem::{self, PKCS8_LEN, SEED_LEN},
};
use crate::overlay::PeerId;

/// The private part of a node's identity: an Ed25519 key. The public part is the node's id.
///
/// It is stored in a file as PKCS#8 PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes
/// it. Only its owner may read the file. A program with the file can act as the node, so two nodes
/// must never share one.
///
/// Cheap to clone. The key is never shown: [`Debug`] writes only the id.
///
/// # Examples
///
/// ```
/// use actix_peer::transport::tls::NodeIdentity;
///
/// # let folder = std::env::temp_dir().join(format!("actix-peer-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("node.pem");
/// let identity = NodeIdentity::load_or_generate(&path)?;
/// assert_eq!(identity.id().as_str().len(), 64);
/// assert_eq!(NodeIdentity::load(&path)?.id(), identity.id());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct NodeIdentity {
    id: PeerId,
    seed: Arc<Zeroizing<[u8; SEED_LEN]>>,
    key: Arc<CertifiedKey>,
    signing: Arc<Ed25519KeyPair>,
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeIdentity").field(&self.id).finish()
    }
}

/// The beginning of a `SubjectPublicKeyInfo` with an Ed25519 key (RFC 8410, section 4); the key
/// follows.
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The length of a public key.
const PUBLIC_LEN: usize = 32; // bytes

impl NodeIdentity {
    /// Generates a new identity, in memory only.
    ///
    /// # Errors
    /// [`IdentityError::NoRandom`].
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        SystemRandom::new().fill(&mut seed[..]).map_err(|_| IdentityError::NoRandom)?;
        // Every 32 bytes are an Ed25519 key, so only the random numbers can fail.
        Self::from_seed(seed).ok_or(IdentityError::NoRandom)
    }

    /// Reads the identity in a file.
    ///
    /// # Errors
    /// If it cannot be read, is not a regular file, is not an Ed25519 key, or (on Unix) others may
    /// read or write it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        let text = key_file::read(path)?;
        let malformed = || IdentityError::Malformed { path: path.display().to_string() };
        pem::decode(&text).and_then(Self::from_seed).ok_or_else(malformed)
    }

    /// Writes the identity to a new file that (on Unix) only its owner may read. The file appears
    /// atomically, and others can never read it.
    ///
    /// # Errors
    /// If the file exists already, or cannot be written.
    pub fn store(&self, path: impl AsRef<Path>) -> Result<(), IdentityError> {
        key_file::create(path.as_ref(), &pem::encode(&self.seed))
    }

    /// Reads the identity in a file. If there is no file, generates an identity and stores it
    /// there. If several programs do so at once, all get the same identity.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`store`](Self::store). A file that cannot be used is not
    /// changed.
    pub fn load_or_generate(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(IdentityError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let new = Self::generate()?;
        match new.store(path) {
            Ok(()) => Ok(new),
            Err(IdentityError::Exists { .. }) => Self::load(path),
            Err(error) => Err(error),
        }
    }

    /// The public key, as 64 hexadecimal digits: the node's id.
    #[must_use]
    pub const fn id(&self) -> &PeerId {
        &self.id
    }

    /// Signs data with the key (Ed25519, RFC 8032): 64 bytes that everyone who knows the
    /// [id](Self::id) can [verify](Self::verify).
    ///
    /// A signature proves no more than that the key was used on these bytes: begin them with what
    /// they are for, so that a signature for one purpose does not serve another one.
    ///
    /// ```
    /// use actix_peer::transport::tls::NodeIdentity;
    ///
    /// let ada = NodeIdentity::generate()?;
    /// let signature = ada.sign(b"chat: hello");
    /// assert!(NodeIdentity::verify(ada.id(), b"chat: hello", &signature));
    /// assert!(!NodeIdentity::verify(ada.id(), b"chat: hallo", &signature));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.signing.sign(data).as_ref().to_vec()
    }

    /// Whether the node with this id has [signed](Self::sign) the data. False as well for an id that
    /// is no key.
    #[must_use]
    pub fn verify(id: &PeerId, data: &[u8], signature: &[u8]) -> bool {
        let key = key_of(id);
        key.is_some_and(|key| UnparsedPublicKey::new(&ED25519, key).verify(data, signature).is_ok())
    }

    /// The same identity for the same name, in every run. Only for tests: everyone can derive it.
    ///
    /// # Panics
    /// Never: every 32 bytes are a key.
    #[cfg(feature = "test-utils")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-utils")))]
    #[must_use]
    #[expect(clippy::expect_used, reason = "every 32 bytes are a key")]
    pub fn for_tests(name: &str) -> Self {
        let hash = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        seed.copy_from_slice(hash.as_ref());
        Self::from_seed(seed).expect("a key")
    }

    fn from_seed(seed: Zeroizing<[u8; SEED_LEN]>) -> Option<Self> {
        let pkcs8: Zeroizing<[u8; PKCS8_LEN]> = pem::pkcs8(&seed);
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..])).ok()?;
        let signing = Arc::new(Ed25519KeyPair::from_seed_unchecked(&seed[..]).ok()?);
        let public = key.public_key()?.as_ref().to_vec();
        let id = id_of(&public)?;
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key));
        Some(Self { id, seed: Arc::new(seed), key, signing })
    }

    /// The key for the TLS library, with the public key in place of a certificate (RFC 7250).
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

/// The id of the key in this `SubjectPublicKeyInfo`. `None` if it is not an Ed25519 key.
pub(super) fn id_of(spki: &[u8]) -> Option<PeerId> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let key = spki.strip_prefix(&SPKI_PREFIX).filter(|key| key.len() == PUBLIC_LEN)?;
    let digit = |value: u8| DIGITS.get(usize::from(value)).map(|digit| char::from(*digit));
    let text: Option<String> =
        key.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).map(digit).collect();
    text?.parse().ok()
}

/// The key that is an id. `None` if the id is no key.
fn key_of(id: &PeerId) -> Option<[u8; PUBLIC_LEN]> {
    let text = id.as_str();
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let key: Option<Vec<u8>> = (0..PUBLIC_LEN).map(byte).collect();
    key.filter(|_| id.is_key())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, sections 10.1 and 10.3, and RFC 8032, section 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn seed() -> Zeroizing<[u8; SEED_LEN]> {
        let byte = |at: usize| u8::from_str_radix(&SEED[2 * at..2 * at + 2], 16).unwrap();
        Zeroizing::new(std::array::from_fn(byte))
    }

    #[test]
    fn the_signature_of_nothing_is_that_of_rfc_8032_and_belongs_to_this_key_and_data_only() {
        let (ada, bob) =
            (NodeIdentity::from_seed(seed()).unwrap(), NodeIdentity::generate().unwrap());
        let signature = ada.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert_eq!(signature[60..], [0x8e, 0x7a, 0x10, 0x0b]);
        assert!(NodeIdentity::verify(ada.id(), b"", &signature));
        assert!(!NodeIdentity::verify(bob.id(), b"", &signature));
        assert!(!NodeIdentity::verify(ada.id(), b"x", &signature));
        assert!(!NodeIdentity::verify(ada.id(), b"", &signature[1..]));
        assert!(!NodeIdentity::verify(&"ada".parse().unwrap(), b"", &signature));
    }

    #[test]
    fn the_id_is_the_public_key_of_rfc_8032() {
        let identity = NodeIdentity::from_seed(seed());
        // The first test vector of the RFC ends in 60 / 511a.
        assert_eq!(identity.unwrap().id().as_str(), PUBLIC);
    }

    #[test]
    fn the_key_is_never_shown() {
        let identity = NodeIdentity::from_seed(seed()).unwrap();
        assert_eq!(format!("{identity:?}"), format!("NodeIdentity({PUBLIC:?})"));
    }

    #[test]
    fn two_identities_are_not_the_same() {
        let (a, b) = (NodeIdentity::generate().unwrap(), NodeIdentity::generate().unwrap());
        assert_ne!(a.id(), b.id());
        assert!(a.id().is_key());
    }

    #[test]
    fn bytes_that_are_no_ed25519_key_have_no_id() {
        let good = [&SPKI_PREFIX[..], &[7; 32]].concat();
        assert!(id_of(&good).is_some());
        for cut in 0..good.len() {
            assert_eq!(id_of(&good[..cut]), None);
        }
        assert_eq!(id_of(&[&good[..], &[0]].concat()), None);
        let mut x25519 = good;
        x25519[8] = 0x6e;
        assert_eq!(id_of(&x25519), None);
    }
}
