//! A bounded pool of buffers for parts. To get a MiB of zeroed memory from the operating system
//! takes as long as to receive it, so buffers are reused.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};

const MIB: usize = 1 << 20;

/// A bounded amount of memory.
#[derive(Clone, Debug)]
pub(crate) struct Buffers {
    /// A permit for each MiB.
    room: Arc<Semaphore>,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer and its permits; returned to the pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    len: usize,
    of: Buffers,
    _room: OwnedSemaphorePermit,
}

impl Buffers {
    pub(crate) fn new(mib: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(mib)), free: Arc::default() }
    }

    /// Takes a buffer of `len` bytes with arbitrary content; `None` if there is no room in time.
    pub(crate) async fn take(&self, len: usize, within: Duration) -> Option<Buffer> {
        let permits = u32::try_from(len.div_ceil(MIB)).ok()?;
        let room = timeout(within, Arc::clone(&self.room).acquire_many_owned(permits)).await;
        let room = room.ok()?.ok()?;
        let mut data = self.free.lock().pop().unwrap_or_default();
        if data.len() < len {
            data.resize(len, 0);
        }
        Some(Buffer { data, len, of: self.clone(), _room: room })
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.data.get(..self.len).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Larger buffers are rare, and would exceed the bound of the pool if they were kept.
        if self.data.len() <= MIB {
            self.of.free.lock().push(std::mem::take(&mut self.data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_bounded_and_used_again() {
        let buffers = Buffers::new(2);
        let soon = Duration::from_millis(1);
        let mut first = buffers.take(3, soon).await.unwrap();
        first.as_mut().copy_from_slice(b"abc");
        let second = buffers.take(MIB, soon).await.unwrap();
        assert!(buffers.take(1, soon).await.is_none());
        drop(first);
        assert_eq!(buffers.take(2, soon).await.unwrap().as_ref(), b"ab");
        drop(second);
        assert_eq!(buffers.take(2 * MIB, soon).await.unwrap().as_ref().len(), 2 * MIB);
        assert!(buffers.take(3 * MIB, soon).await.is_none());
        assert!(buffers.free.lock().len() <= 2);
    }
}
