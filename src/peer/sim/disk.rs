//! The disk of a simulated node.

use std::{fmt, io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::sleep;

use crate::{
    reliable::{Kept, KeptId, Outbox},
    sync::Mutex,
};

/// An [`Outbox`] that survives the end of its node, and may be slow. A clone is the same disk.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::{frame::Frame, link::AckLevel, sim::{SimDisk, SimError, SimNetwork}};
///
/// SimNetwork::new(7).run(async |net| {
///     let disk = SimDisk::default();
///     let kept = disk.clone();
///     let ada = net.start_with("ada", move |builder| Ok(builder.outbox(kept.clone()))).await?;
///     let bob = "bob bob 9000".parse::<actix_peer::PeerInfo>().unwrap();
///     let news = Frame::text("NEWS", "it rains");
///     let _receipt = ada.try_send_reliable(&bob, news, AckLevel::Handled).await.unwrap();
///     net.advance(Duration::from_secs(1)).await;
///     net.crash("ada").await?;
///     assert_eq!(disk.len(), 1);
///     Ok::<_, SimError>(())
/// }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    write_time: Duration,
    /// Grows when the disk is replaced: a write that began before is lost.
    replaced: u64,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// Sets how long each write takes. Default: no time.
    pub fn set_write_time(&self, time: Duration) {
        self.0.lock().write_time = time;
    }

    /// Replaces the disk by an empty one.
    pub fn clear(&self) {
        let mut state = self.0.lock();
        state.kept.clear();
        state.replaced += 1;
    }

    /// The number of stored messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().kept.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn write(&self, change: impl FnOnce(&mut Vec<Kept>)) {
        let (time, replaced) = {
            let state = self.0.lock();
            (state.write_time, state.replaced)
        };
        if !time.is_zero() {
            sleep(time).await;
        }
        let mut state = self.0.lock();
        if state.replaced == replaced {
            change(&mut state.kept);
        }
    }
}

impl Outbox for SimDisk {
    fn store<'a>(&'a self, kept: &'a Kept) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.write(|all| all.push(kept.clone())).await;
            Ok(())
        })
    }

    fn delete(&self, id: KeptId) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.write(|all| all.retain(|kept| kept.id() != id)).await;
            Ok(())
        })
    }

    fn load(&self) -> BoxFuture<'_, io::Result<Vec<Kept>>> {
        Box::pin(async move { Ok(self.0.lock().kept.clone()) })
    }
}
