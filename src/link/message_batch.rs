//! Batches of one-way messages that arrived together: most of the traffic of a busy link.

use std::{fmt, ops::Range};

use bytes::Bytes;

use crate::{
    frame::{FrameHead, HEADER_LEN, TypeCode},
    link::header::{EXCHANGE_HEADER_LEN, HEADERS_LEN},
};

/// Consecutive one-way messages of one code, in one frame each. Never empty.
///
/// They stay in the buffer of the read. The batch is one reference to it, and a single message
/// needs another one only when it is requested.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageBatch {
    code: TypeCode,
    count: usize,
    /// The complete frames.
    frames: Bytes,
}

impl fmt::Debug for MessageBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBatch")
            .field("code", &self.code)
            .field("count", &self.count)
            .finish()
    }
}

impl MessageBatch {
    /// The messages at `begin` of `chunk`, which consists of complete frames. `None` if the frame
    /// there is not a one-way message.
    pub(super) fn at_front(chunk: &Bytes, begin: usize) -> Option<Self> {
        let code = chunk.get(begin..).and_then(FrameHead::peek)?.code();
        if code.is_reserved() {
            return None;
        }
        let (mut end, mut count) = (begin, 0);
        while let Some(payload) = chunk.get(end..).and_then(|rest| one_way(rest, code)) {
            end += payload.end;
            count += 1;
        }
        (count > 0).then(|| Self { code, count, frames: chunk.slice(begin..end) })
    }

    /// The batch of these payloads. `None` if there is none.
    #[cfg(feature = "test-utils")]
    pub(crate) fn of(
        code: TypeCode,
        payloads: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Option<Self> {
        let mut frames = Vec::new();
        for payload in payloads {
            let payload = payload.as_ref();
            let len = u32::try_from(EXCHANGE_HEADER_LEN + payload.len()).ok()?;
            frames.extend_from_slice(&FrameHead::new(code, len).to_bytes());
            frames.extend_from_slice(&[0; EXCHANGE_HEADER_LEN]);
            frames.extend_from_slice(payload);
        }
        Self::at_front(&frames.into(), 0)
    }

    /// The code of the messages.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.code
    }

    /// The number of messages.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes on the wire, headers included.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.frames.len()
    }

    /// The credit that they take, in bytes: payloads and exchange headers.
    #[must_use]
    pub(crate) fn cost(&self) -> u32 {
        u32::try_from(self.frames.len() - self.count * HEADER_LEN).unwrap_or(u32::MAX)
    }

    /// The payloads, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges().filter_map(|range| self.frames.get(range))
    }

    /// As [`iter`](Self::iter), each with a reference of its own to the shared buffer.
    pub fn payloads(&self) -> impl Iterator<Item = Bytes> {
        self.ranges().map(|range| self.frames.slice(range))
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let payload = one_way(self.frames.get(at..)?, self.code)?;
            let range = at + payload.start..at + payload.end;
            at = range.end;
            Some(range)
        })
    }

    /// A copy in a buffer of its own.
    pub(crate) fn copied(&self) -> Self {
        Self { frames: Bytes::copy_from_slice(&self.frames), ..*self }
    }
}

/// The range of the payload of the first frame. `None` if it is not a one-way message with this
/// code.
fn one_way(bytes: &[u8], code: TypeCode) -> Option<Range<usize>> {
    let (headers, _) = bytes.split_first_chunk::<HEADERS_LEN>()?;
    let (head, exchange) = headers.split_first_chunk()?;
    let head = FrameHead::from_bytes(*head);
    let end = HEADER_LEN + head.len() as usize;
    // A one-way message has exchange 0 and no flags, and is long enough for an exchange header.
    let plain = head.code() == code && exchange == [0; EXCHANGE_HEADER_LEN] && end >= HEADERS_LEN;
    plain.then_some(HEADERS_LEN..end)
}
