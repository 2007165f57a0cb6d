//! The functions that record, and the clock of the network.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::WireEvent;
use crate::sync::Mutex;

type Recorder = Arc<dyn Fn(&WireEvent) + Send + Sync>;

#[derive(Clone, Default)]
struct Recorders {
    /// The number of the next one.
    next: u64,
    all: Vec<(u64, Recorder)>,
}

/// Where the connections of a network report events. While no function records, this costs one
/// atomic load.
#[derive(Default)]
pub(in super::super) struct Tap {
    /// The start of the network: its creation inside a runtime, otherwise the first use.
    began: OnceLock<Instant>,
    is_active: AtomicBool,
    recorders: Mutex<Arc<Recorders>>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("is_active", &self.is_active).finish_non_exhaustive()
    }
}

impl Tap {
    /// The start of the network. The first call starts it.
    pub(in super::super) fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// The time since the start of the network.
    pub(in super::super) fn at(&self) -> Duration {
        self.began().elapsed()
    }

    pub(super) fn add(&self, recorder: Recorder) -> u64 {
        let mut recorders = self.recorders.lock();
        let recorders = Arc::make_mut(&mut recorders);
        let number = recorders.next;
        recorders.next += 1;
        recorders.all.push((number, recorder));
        self.is_active.store(true, Ordering::Relaxed);
        number
    }

    pub(super) fn remove(&self, number: u64) {
        let mut guard = self.recorders.lock();
        let recorders = Arc::make_mut(&mut guard);
        let removed = recorders.all.extract_if(.., |(of, _)| *of == number).next();
        self.is_active.store(!recorders.all.is_empty(), Ordering::Relaxed);
        // The function may own anything, so it is dropped without the lock.
        drop(guard);
        drop(removed);
    }

    pub(in super::super) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// Calls every function with the event, which is made only if there is one. No lock may be
    /// held.
    pub(in super::super) fn emit(&self, event: impl FnOnce(Duration) -> WireEvent) {
        if self.is_active() {
            let recorders = Arc::clone(&self.recorders.lock());
            let event = event(self.at());
            for (_, recorder) in &recorders.all {
                recorder(&event);
            }
        }
    }
}
