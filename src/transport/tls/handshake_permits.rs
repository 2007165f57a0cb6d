//! The limit of concurrent handshakes.

use std::sync::{Arc, Weak};

use indexmap::IndexMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    overlay::{Host, is_loopback},
    sync::Mutex,
};

/// Permits for handshakes, in total and for each source. A connection without a permit waits.
#[derive(Debug)]
pub(super) struct HandshakePermits {
    all: Arc<Semaphore>,
    /// The maximum of one source.
    share: usize,
    /// The sources that hold or wait for a permit, and some that did: at most twice as many.
    sources: Mutex<IndexMap<Host, Weak<Semaphore>>>,
}

/// A permit for a handshake, held until it is dropped.
pub(super) struct HandshakePermit {
    _of_all: OwnedSemaphorePermit,
    _of_source: Option<OwnedSemaphorePermit>,
}

impl HandshakePermits {
    pub(super) fn new(all: usize) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(all)),
            share: all.div_ceil(4),
            sources: Mutex::default(),
        }
    }

    fn source(&self, host: &Host) -> Arc<Semaphore> {
        let mut sources = self.sources.lock();
        if let Some(source) = sources.get(host).and_then(Weak::upgrade) {
            return source;
        }
        if sources.len() >= sources.capacity() {
            sources.retain(|_, source| source.strong_count() > 0);
        }
        let source = Arc::new(Semaphore::new(self.share));
        sources.insert(host.clone(), Arc::downgrade(&source));
        source
    }

    /// Waits for a permit. `None` only if the semaphores are closed.
    pub(super) async fn acquire(
        &self,
        host: &Host,
        limit_loopback: bool,
    ) -> Option<HandshakePermit> {
        // A permit keeps its semaphore alive, so that the source is known while it has one.
        let of_source = if limit_loopback || !is_loopback(host) {
            Some(self.source(host).acquire_owned().await.ok()?)
        } else {
            None
        };
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(HandshakePermit { _of_all: of_all, _of_source: of_source })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn host(n: u32) -> Host {
        std::net::IpAddr::from(n.to_be_bytes()).into()
    }

    #[test]
    fn one_source_gets_a_quarter_and_all_get_no_more_than_there_are() {
        let permits = HandshakePermits::new(8);
        let take = |n| permits.acquire(&host(n), false).now_or_never().flatten();
        let first: Vec<_> = std::iter::from_fn(|| take(1)).collect();
        assert_eq!(first.len(), 2);
        let others: Vec<_> = (2..20).filter_map(take).collect();
        assert_eq!(others.len(), 6);
        drop(first);
        assert!(take(1).is_some());
    }

    #[test]
    fn loopback_has_a_share_only_when_it_is_asked_for() {
        for (limit, taken) in [(false, 8), (true, 2)] {
            let permits = HandshakePermits::new(8);
            let here = "127.0.0.1".parse().unwrap();
            let take = || permits.acquire(&here, limit).now_or_never().flatten();
            assert_eq!(std::iter::from_fn(take).collect::<Vec<_>>().len(), taken);
        }
    }

    #[test]
    fn sources_without_a_handshake_are_forgotten() {
        let permits = HandshakePermits::new(8);
        for n in 0..100_000 {
            assert!(permits.acquire(&host(n), false).now_or_never().is_some());
        }
        assert!(permits.sources.lock().len() < 64);
    }
}
