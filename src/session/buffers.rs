//! Decides whether received data is kept as a slice of its read buffer or copied.

use bytes::Bytes;

use crate::link::MessageBatch;

/// The retention of read buffers on one link.
///
/// The data of a frame is a slice of a read buffer, so a short frame keeps the whole buffer in
/// memory. That is the cheapest way if most of the received data is kept. But a remote that sends
/// little data between many discarded bytes would make this node hold far more than a window.
#[derive(Debug, Default)]
pub(super) struct BufferRetention {
    kept: u64,
    other: u64,
}

/// The number of bytes after which the counts are halved.
const COUNTED_BYTES: u64 = 1 << 20;

impl BufferRetention {
    /// Counts all received bytes.
    pub(super) const fn count_received(&mut self, bytes: u64) {
        self.other += bytes;
    }

    /// The data to keep: itself or a copy.
    pub(super) fn keep(&mut self, data: Bytes) -> Bytes {
        if self.is_mostly_other(data.len()) { Bytes::copy_from_slice(&data) } else { data }
    }

    /// The messages to keep: themselves or a copy. A handler that keeps one of them keeps all.
    pub(super) fn keep_all(&mut self, messages: MessageBatch) -> MessageBatch {
        if self.is_mostly_other(messages.encoded_len()) { messages.copied() } else { messages }
    }

    /// Counts `len` bytes that are kept. True if more bytes are discarded than kept.
    const fn is_mostly_other(&mut self, len: usize) -> bool {
        let len = len as u64;
        self.kept += len;
        self.other = self.other.saturating_sub(len);
        if self.kept + self.other > COUNTED_BYTES {
            self.kept /= 2;
            self.other /= 2;
        }
        self.other > self.kept
    }
}
