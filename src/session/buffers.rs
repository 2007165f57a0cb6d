//! What a read brought is kept as it is, or copied.

use bytes::Bytes;

use crate::link::MessageBatch;

/// Data of a frame is a slice of what one read brought, so a short one keeps that whole read in
/// memory. As long as most of what comes is kept, that is the cheapest; a remote that sends little
/// data between much that is thrown away would make this node hold far more than a window.
#[derive(Debug, Default)]
pub(super) struct BufferRetention {
    kept: u64,
    other: u64,
}

/// The bytes after which the past counts for half.
const BALLAST_MEMORY: u64 = 1 << 20;

impl BufferRetention {
    /// So many bytes came in all.
    pub(super) const fn came(&mut self, bytes: u64) {
        self.other += bytes;
    }

    /// The data as it may be kept.
    pub(super) fn keep(&mut self, data: Bytes) -> Bytes {
        if self.is_mostly_other(data.len()) { Bytes::copy_from_slice(&data) } else { data }
    }

    /// The messages as they may be kept. Who keeps one of them keeps all.
    pub(super) fn keep_all(&mut self, messages: MessageBatch) -> MessageBatch {
        if self.is_mostly_other(messages.encoded_len()) { messages.copied() } else { messages }
    }

    /// Counts `len` bytes that are kept. Says whether more than that is thrown away.
    const fn is_mostly_other(&mut self, len: usize) -> bool {
        let len = len as u64;
        self.kept += len;
        self.other = self.other.saturating_sub(len);
        if self.kept + self.other > BALLAST_MEMORY {
            self.kept /= 2;
            self.other /= 2;
        }
        self.other > self.kept
    }
}
