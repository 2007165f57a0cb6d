//! What a file is: its size, its BLAKE3 digest, and a check value for each part of it.
//!
//! BLAKE3 is a tree. A file is cut into parts of a power of two of bytes, each of which is a subtree;
//! the list of their chaining values merges to the root, which is the digest of the file. So once a
//! list has been held against the digest, each part is verified alone, in any order, from anybody.

use std::fmt;

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use serde::{Deserialize, Serialize};

/// The smallest part, in bytes: large enough that a request for one costs little beside it.
const MIN_PART: u64 = 1 << 20;

/// The largest part, in bytes: it is in memory as a whole.
pub(crate) const MAX_PART: u64 = 4 << 20;

/// The most parts of a file: 2 MiB of check values.
pub(crate) const MAX_PARTS: u64 = 1 << 16;

/// The longest file, in bytes.
pub(crate) const MAX_SIZE: u64 = MAX_PARTS * MAX_PART;

/// The digest of a whole file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest(blake3::Hash);

impl Digest {
    /// From 64 hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

/// How a file of some size is cut: the same at every node, so it never travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    size: u64,
    part: u64,
}

impl Cut {
    /// The cut of a file; none when it is longer than [`MAX_PARTS`] parts can hold (256 GiB).
    pub(crate) fn of(size: u64) -> Option<Self> {
        let mut part = MIN_PART;
        while size.div_ceil(part) > MAX_PARTS {
            part *= 2;
        }
        (part <= MAX_PART).then_some(Self { size, part })
    }

    /// Bytes of the file.
    pub(crate) const fn size(self) -> u64 {
        self.size
    }

    /// How many parts there are; none for an empty file.
    pub(crate) const fn parts(self) -> u64 {
        self.size.div_ceil(self.part)
    }

    /// Which part a byte is in.
    pub(crate) const fn index(self, offset: u64) -> u64 {
        offset / self.part
    }

    /// Where a part begins.
    pub(crate) const fn offset(self, index: u64) -> u64 {
        index * self.part
    }

    /// Bytes of a part; 0 past the end.
    pub(crate) fn len(self, index: u64) -> usize {
        let left = self.size.saturating_sub(index.saturating_mul(self.part));
        usize::try_from(left.min(self.part)).unwrap_or(0)
    }
}

/// The check value of one part.
pub(crate) type Check = ChainingValue;

/// The check value of the part that begins at `offset`. A part is never empty.
fn check_of(offset: u64, data: &[u8]) -> Check {
    Hasher::new().set_input_offset(offset).update(data).finalize_non_root()
}

/// The digest of a file, with the check values of its parts, and proof that they belong together.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    cut: Cut,
    digest: Digest,
    checks: Vec<Check>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("cut", &self.cut)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// A list of check values that does not belong to the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the check values do not belong to the digest")]
pub(crate) struct WrongChecks;

impl Manifest {
    /// Checks that came from elsewhere, held against the digest.
    pub(crate) fn verified(
        cut: Cut,
        digest: Digest,
        checks: Vec<Check>,
    ) -> Result<Self, WrongChecks> {
        let fits = if cut.parts() <= 1 {
            checks.is_empty()
        } else {
            checks.len() as u64 == cut.parts() && root(&checks) == Some(digest.0)
        };
        if fits { Ok(Self { cut, digest, checks }) } else { Err(WrongChecks) }
    }

    pub(crate) const fn cut(&self) -> Cut {
        self.cut
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// The check values; none when there is only one part, whose digest is that of the file.
    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether `data` is the part with this index.
    pub(crate) fn is_part(&self, index: u64, data: &[u8]) -> bool {
        if data.is_empty() || data.len() != self.cut.len(index) {
            return false;
        }
        if self.cut.parts() == 1 {
            return blake3::hash(data) == self.digest.0;
        }
        let check = usize::try_from(index).ok().and_then(|index| self.checks.get(index));
        check == Some(&check_of(self.cut.offset(index), data))
    }
}

impl Manifest {
    /// Of what `read` puts into the buffer for each part, given its offset. None when the file
    /// cannot be cut.
    pub(crate) fn of<E>(
        size: u64,
        mut read: impl FnMut(&mut [u8], u64) -> Result<(), E>,
    ) -> Result<Option<Self>, E> {
        let Some(cut) = Cut::of(size) else { return Ok(None) };
        let (mut digesting, mut buffer) = (Digesting::new(cut), Vec::new());
        for index in 0..cut.parts() {
            buffer.resize(cut.len(index), 0);
            read(&mut buffer, cut.offset(index))?;
            digesting.push(&buffer);
        }
        Ok(digesting.finish())
    }
}

/// Makes a [`Manifest`] of the parts of a file, one after another.
#[derive(Debug)]
pub(crate) struct Digesting {
    cut: Cut,
    checks: Vec<Check>,
    whole: Option<blake3::Hash>,
}

impl Digesting {
    pub(crate) const fn new(cut: Cut) -> Self {
        Self { cut, checks: Vec::new(), whole: None }
    }

    /// Takes the next part.
    pub(crate) fn push(&mut self, data: &[u8]) {
        if self.cut.parts() == 1 {
            self.whole = Some(blake3::hash(data));
        } else {
            self.checks.push(check_of(self.cut.offset(self.checks.len() as u64), data));
        }
    }

    /// The manifest, when all parts were taken.
    pub(crate) fn finish(self) -> Option<Manifest> {
        let digest = match self.cut.parts() {
            0 => Some(blake3::hash(&[])),
            1 => self.whole,
            parts if parts == self.checks.len() as u64 => root(&self.checks),
            _ => None,
        };
        Some(Manifest { cut: self.cut, digest: Digest(digest?), checks: self.checks })
    }
}

/// The most parts that are a whole subtree left of the rest.
const fn left_of(parts: usize) -> usize {
    parts.next_power_of_two() / 2
}

fn merge(checks: &[Check]) -> Option<Check> {
    match checks {
        [] => return None,
        [check] => return Some(*check),
        _ => {}
    }
    let (left, right) = checks.split_at_checked(left_of(checks.len()))?;
    Some(merge_subtrees_non_root(&merge(left)?, &merge(right)?, Mode::Hash))
}

/// The root over at least two parts. As deep as the logarithm of their number.
fn root(checks: &[Check]) -> Option<blake3::Hash> {
    let (left, right) = checks.split_at_checked(left_of(checks.len()))?;
    Some(merge_subtrees_root(&merge(left)?, &merge(right)?, Mode::Hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..=250).cycle().take(len).collect()
    }

    fn manifest(data: &[u8]) -> Manifest {
        let cut = Cut::of(data.len() as u64).unwrap();
        let mut digesting = Digesting::new(cut);
        for part in data.chunks(1 << 20) {
            digesting.push(part);
        }
        digesting.finish().unwrap()
    }

    #[test]
    fn the_digest_is_plain_blake3_whatever_the_number_of_parts() {
        const MIB: usize = 1 << 20;
        for len in [0, 1, 1024, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 5 * MIB + 7, 8 * MIB] {
            let data = bytes(len);
            assert_eq!(manifest(&data).digest().0, blake3::hash(&data), "{len}");
        }
    }

    #[test]
    fn each_part_is_verified_alone_and_a_changed_bit_is_found() {
        let mut data = bytes((3 << 20) + 5);
        let manifest = manifest(&data);
        assert_eq!(manifest.cut().parts(), 4);
        for (index, part) in data.chunks(1 << 20).enumerate() {
            assert!(manifest.is_part(index as u64, part));
            assert!(!manifest.is_part(index as u64 + 1, part));
        }
        assert!(!manifest.is_part(u64::MAX, &data[..1 << 20]));
        assert!(!manifest.is_part(3, &data[3 << 20..][..4]), "a short part");
        data[1 << 20] ^= 1;
        assert!(!manifest.is_part(1, &data[1 << 20..][..1 << 20]));
    }

    #[test]
    fn check_values_that_do_not_belong_to_the_digest_are_refused() {
        let good = manifest(&bytes(5 << 20));
        let verified = |checks| Manifest::verified(good.cut(), good.digest(), checks);
        assert_eq!(verified(good.checks().to_vec()), Ok(good.clone()));
        let mut swapped = good.checks().to_vec();
        swapped.swap(0, 1);
        assert_eq!(verified(swapped), Err(WrongChecks));
        assert_eq!(verified(good.checks()[..4].to_vec()), Err(WrongChecks));
        assert_eq!(verified(Vec::new()), Err(WrongChecks));
        let small = manifest(b"one part");
        assert_eq!(
            Manifest::verified(small.cut(), small.digest(), vec![[0; 32]]),
            Err(WrongChecks)
        );
        assert!(Manifest::verified(small.cut(), small.digest(), Vec::new()).is_ok());
    }

    #[test]
    fn a_file_has_at_most_64_ki_parts_of_at_most_4_mib() {
        assert_eq!(Cut::of(0).unwrap().parts(), 0);
        assert_eq!(Cut::of(4 << 30).unwrap().parts(), 4096);
        for size in [64_u64 << 30, (64 << 30) + 1, (128 << 30) + 1, 256 << 30] {
            assert!(Cut::of(size).unwrap().parts() <= MAX_PARTS, "{size}");
        }
        assert_eq!(Cut::of((256 << 30) + 1), None);
        assert_eq!(Cut::of(u64::MAX), None);
        let cut = Cut::of(u64::from(u32::MAX)).unwrap();
        assert_eq!((0..cut.parts()).map(|index| cut.len(index) as u64).sum::<u64>(), cut.size());
        assert_eq!(cut.len(u64::MAX), 0);
    }
}
