//! The key space, and the distance of two keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::overlay::PeerId;

/// The length of a key, in bytes.
const LEN: usize = 32;

/// A point in the key space: of a node, or of a name that is looked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key([u8; LEN]);

/// The distance of two keys: their bitwise exclusive or, as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; LEN]);

impl Key {
    /// Makes a key from these 32 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }

    /// The key of a node: the BLAKE3 hash of its id. A node can choose its key only by trying ids,
    /// and where ids are proven, each try costs a key pair.
    #[must_use]
    pub fn of(id: &PeerId) -> Self {
        Self::of_bytes(id.as_str().as_bytes())
    }

    /// The key of anything else: the BLAKE3 hash of its bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// The distance to another key.
    #[must_use]
    pub fn distance(self, other: Self) -> Distance {
        let mut bytes = self.0;
        bytes.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
        Distance(bytes)
    }

    /// A key that shares exactly the first `bits` bits with this one, with the others from
    /// `random`. The bit after them differs, so the key is in the bucket of that number.
    pub(crate) fn in_bucket(self, bits: usize, random: [u8; LEN]) -> Self {
        let mut bytes = self.0;
        for (at, (byte, random)) in bytes.iter_mut().zip(random).enumerate() {
            for bit in 0..8 {
                let (number, mask) = (at * 8 + bit, 0x80_u8 >> bit);
                if number == bits {
                    *byte ^= mask;
                } else if number > bits {
                    *byte = (*byte & !mask) | (random & mask);
                }
            }
        }
        Self(bytes)
    }
}

impl Distance {
    /// The number of leading bits that are the same: 0 in the further half of all keys, 256 for a
    /// key and itself.
    #[must_use]
    pub fn common_bits(&self) -> usize {
        let same = self.0.iter().take_while(|byte| **byte == 0).count();
        let next = self.0.get(same).map_or(0, |byte| byte.leading_zeros());
        same * 8 + next as usize
    }
}

fn hexadecimal(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Distance(")?;
        hexadecimal(&self.0, f)?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn distance_is_a_metric_in_which_each_distance_leads_to_one_key(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let (a, b, c) = (Key::new(a), Key::new(b), Key::new(c));
            prop_assert_eq!(a.distance(b), b.distance(a));
            prop_assert_eq!(a.distance(b).common_bits() == 256, a == b);
            // The triangle inequality, and from one key to the others all distances differ.
            let first = |distance: Distance| u128::from_be_bytes(distance.0[..16].try_into().unwrap()) >> 1;
            prop_assert!(first(a.distance(c)) <= first(a.distance(b)) + first(b.distance(c)) + 1);
            prop_assert_eq!(a.distance(b) == a.distance(c), b == c);
        }

        #[test]
        fn a_key_for_a_bucket_is_in_that_bucket(key: [u8; 32], random: [u8; 32], bits in 0_usize..256) {
            let key = Key::new(key);
            prop_assert_eq!(key.distance(key.in_bucket(bits, random)).common_bits(), bits);
        }
    }
}
