//! What content is: its size, its BLAKE3 digest, and a check value for each part of it.
//!
//! BLAKE3 is a tree. Content is cut into parts of a power of two of bytes, each of which is a subtree;
//! the list of their chaining values merges to the root, which is the digest. So once a list has been
//! held against the digest, each part is verified alone, in any order, from anybody.

use std::{cmp::Ordering, fmt, ops::Range, str::FromStr};

use blake3::{
    Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

/// The smallest part, in bytes: large enough that a request for one costs little beside it.
const MIN_PART: u64 = 1 << 20;

/// The largest part, in bytes: it is in memory as a whole.
pub const MAX_PART: u64 = 4 << 20;

/// The most parts of one content: 2 MiB of check values.
pub const MAX_PARTS: u64 = 1 << 16;

/// The longest content, in bytes: 256 GiB.
pub const MAX_SIZE: u64 = MAX_PARTS * MAX_PART;

/// The BLAKE3 digest of whole content. Its text form is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(blake3::Hash);

/// Text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct InvalidDigest;

impl Digest {
    /// The digest of content that is in memory.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(blake3::hash(data))
    }
}

impl Ord for Digest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_bytes().cmp(other.0.as_bytes())
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        blake3::Hash::from_hex(text).map(Self).map_err(|_| InvalidDigest)
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

crate::overlay::serde_as_text!(Digest);

/// How content of some size is cut: the same at every node, so it never travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: u64,
    part: u64,
}

impl Layout {
    /// The layout of content with `size` bytes; `None` for more than [`MAX_SIZE`].
    #[must_use]
    pub fn of(size: u64) -> Option<Self> {
        let mut part = MIN_PART;
        while size.div_ceil(part) > MAX_PARTS {
            part *= 2;
        }
        (part <= MAX_PART).then_some(Self { size, part })
    }

    /// Bytes of the content.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// How many parts there are; 0 for empty content.
    #[must_use]
    pub const fn parts(self) -> u64 {
        self.size.div_ceil(self.part)
    }

    /// The part that a byte is in.
    #[must_use]
    pub const fn index(self, offset: u64) -> u64 {
        offset / self.part
    }

    /// Where a part begins.
    #[must_use]
    pub const fn offset(self, index: u64) -> u64 {
        index.saturating_mul(self.part)
    }

    /// Bytes of a part; 0 past the end.
    #[must_use]
    pub fn len(self, index: u64) -> usize {
        let left = self.size.saturating_sub(self.offset(index));
        usize::try_from(left.min(self.part)).unwrap_or(0)
    }

    /// Where a part is in content that is in memory; empty past the end.
    #[must_use]
    pub fn range(self, index: u64) -> Range<usize> {
        let begin = usize::try_from(self.offset(index)).unwrap_or(usize::MAX);
        begin..begin.saturating_add(self.len(index))
    }
}

/// The check value of one part.
pub type Check = [u8; 32];

/// The check value of the part that begins at `offset`. A part is never empty.
fn check_of(offset: u64, data: &[u8]) -> Check {
    Hasher::new().set_input_offset(offset).update(data).finalize_non_root()
}

/// The digest of content with the check values of its parts, which belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    layout: Layout,
    digest: Digest,
    checks: Vec<Check>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("cut", &self.layout)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Check values that do not belong to the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the check values do not match the digest")]
pub struct WrongChecks;

impl Manifest {
    /// How the content is layout.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The digest of the content.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The check values in their order, 32 bytes each, as [`ManifestReader`] takes them. There are none
    /// when there is only one part: its digest is that of the content.
    #[must_use]
    pub fn check_bytes(&self) -> &[u8] {
        self.checks.as_flattened()
    }

    /// Whether `data` is the part with this index.
    #[must_use]
    pub fn is_part(&self, index: u64, data: &[u8]) -> bool {
        if data.is_empty() || data.len() != self.layout.len(index) {
            return false;
        }
        if self.layout.parts() == 1 {
            return blake3::hash(data) == self.digest.0;
        }
        let check = usize::try_from(index).ok().and_then(|index| self.checks.get(index));
        check == Some(&check_of(self.layout.offset(index), data))
    }

    /// Of `size` bytes: `read` fills the buffer with the part at an offset. `None` for more than
    /// [`MAX_SIZE`].
    ///
    /// # Errors
    /// The first error of `read`.
    pub fn of<E>(
        size: u64,
        mut read: impl FnMut(&mut [u8], u64) -> Result<(), E>,
    ) -> Result<Option<Self>, E> {
        let Some(layout) = Layout::of(size) else { return Ok(None) };
        let (mut digesting, mut buffer) = (Digesting::new(layout), Vec::new());
        for index in 0..layout.parts() {
            buffer.resize(layout.len(index), 0);
            read(&mut buffer, layout.offset(index))?;
            digesting.push(&buffer);
        }
        Ok(digesting.finish())
    }
}

/// Makes a [`Manifest`] of verified check values as they come from somebody, in pieces of any number of
/// values. It keeps no more than the content has parts.
#[derive(Debug)]
pub struct ManifestReader {
    layout: Layout,
    digest: Digest,
    checks: Vec<Check>,
}

impl ManifestReader {
    /// For content of which size and digest are known.
    #[must_use]
    pub const fn new(layout: Layout, digest: Digest) -> Self {
        Self { layout, digest, checks: Vec::new() }
    }

    /// How many check values belong to the content.
    const fn expected(&self) -> u64 {
        if self.layout.parts() > 1 { self.layout.parts() } else { 0 }
    }

    /// Whether all check values have come. Content of one part has none.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.checks.len() as u64 == self.expected()
    }

    /// Takes the next check values.
    ///
    /// # Errors
    /// They are more than there are parts, or cut within one.
    pub fn push(&mut self, data: &[u8]) -> Result<(), WrongChecks> {
        let (checks, rest) = data.as_chunks::<32>();
        let all = self.checks.len().saturating_add(checks.len()) as u64;
        if !rest.is_empty() || all > self.expected() {
            return Err(WrongChecks);
        }
        self.checks.extend_from_slice(checks);
        Ok(())
    }

    /// The manifest, once the values were held against the digest.
    ///
    /// # Errors
    /// Values are missing, or they belong to something else.
    pub fn finish(self) -> Result<Manifest, WrongChecks> {
        let complete = self.is_complete();
        let Self { layout, digest, checks } = self;
        if complete && (checks.is_empty() || root(&checks) == Some(digest.0)) {
            Ok(Manifest { layout, digest, checks })
        } else {
            Err(WrongChecks)
        }
    }
}

/// Makes a [`Manifest`] of the parts of content, one after another.
#[derive(Debug)]
pub struct Digesting {
    layout: Layout,
    checks: Vec<Check>,
    whole: Option<blake3::Hash>,
}

impl Digesting {
    /// For content that is cut like this. Parts come next, the first one first.
    #[must_use]
    pub const fn new(layout: Layout) -> Self {
        Self { layout, checks: Vec::new(), whole: None }
    }

    /// Takes the next part.
    pub fn push(&mut self, data: &[u8]) {
        if self.layout.parts() == 1 {
            self.whole = Some(blake3::hash(data));
        } else {
            self.checks.push(check_of(self.layout.offset(self.checks.len() as u64), data));
        }
    }

    /// The manifest, when all parts were taken.
    #[must_use]
    pub fn finish(self) -> Option<Manifest> {
        let digest = match self.layout.parts() {
            0 => Some(blake3::hash(&[])),
            1 => self.whole,
            parts if parts == self.checks.len() as u64 => root(&self.checks),
            _ => None,
        };
        Some(Manifest { layout: self.layout, digest: Digest(digest?), checks: self.checks })
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
        let layout = Layout::of(data.len() as u64).unwrap();
        let mut digesting = Digesting::new(layout);
        (0..layout.parts()).for_each(|index| digesting.push(&data[layout.range(index)]));
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
        assert_eq!(manifest.layout().parts(), 4);
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
        let read = |pieces: &[&[u8]]| {
            let mut reader = ManifestReader::new(good.layout(), good.digest());
            pieces.iter().try_for_each(|piece| reader.push(piece))?;
            reader.finish()
        };
        let checks = good.check_bytes();
        assert_eq!(read(&[checks]), Ok(good.clone()));
        assert_eq!(read(&[&checks[..64], &[], &checks[64..]]), Ok(good.clone()));
        assert_eq!(read(&[&checks[32..64], &checks[..32], &checks[64..]]), Err(WrongChecks));
        assert_eq!(read(&[&checks[..128]]), Err(WrongChecks), "one is missing");
        assert_eq!(read(&[checks, &[0; 32]]), Err(WrongChecks), "one more than there are parts");
        assert_eq!(read(&[&checks[..33]]), Err(WrongChecks), "half a value");
        assert_eq!(read(&[]), Err(WrongChecks));
        let small = manifest(b"one part");
        let reader = || ManifestReader::new(small.layout(), small.digest());
        assert_eq!(reader().push(&[0; 32]), Err(WrongChecks));
        assert_eq!(reader().finish(), Ok(small.clone()));
    }

    #[test]
    fn content_has_at_most_64_ki_parts_of_at_most_4_mib() {
        assert_eq!(Layout::of(0).unwrap().parts(), 0);
        assert_eq!(Layout::of(4 << 30).unwrap().parts(), 4096);
        for size in [64_u64 << 30, (64 << 30) + 1, (128 << 30) + 1, 256 << 30] {
            assert!(Layout::of(size).unwrap().parts() <= MAX_PARTS, "{size}");
        }
        assert_eq!(Layout::of((256 << 30) + 1), None);
        assert_eq!(Layout::of(u64::MAX), None);
        let layout = Layout::of(u64::from(u32::MAX)).unwrap();
        assert_eq!(
            (0..layout.parts()).map(|index| layout.len(index) as u64).sum::<u64>(),
            layout.size()
        );
        assert_eq!(layout.len(u64::MAX), 0);
    }
}
