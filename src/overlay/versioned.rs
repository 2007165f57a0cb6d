//! Messages between nodes of this crate: a version byte, then postcard.

use serde::{Deserialize, Serialize};

/// Encodes a message; `None` if it is longer than `most` bytes.
pub(crate) fn encode(version: u8, message: &impl Serialize, most: usize) -> Option<Vec<u8>> {
    let data = postcard::to_extend(message, vec![version]).ok()?;
    (data.len() <= most).then_some(data)
}

/// Decodes a message of this version, of at most `most` bytes. `None` if it is not one, or if bytes
/// follow it.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    version: u8,
    data: &'a [u8],
    most: usize,
) -> Option<T> {
    let (message, rest) = decode_front(version, data).filter(|_| data.len() <= most)?;
    (rest == 0).then_some(message)
}

/// Decodes a message of this version in front of other bytes. Returns the number of these.
pub(crate) fn decode_front<'a, T: Deserialize<'a>>(
    version: u8,
    data: &'a [u8],
) -> Option<(T, usize)> {
    let (first, rest) = data.split_first()?;
    let (message, rest) = postcard::take_from_bytes(rest).ok().filter(|_| *first == version)?;
    Some((message, rest.len()))
}
