//! The admission of connections to a node, shared by its listener and its connections.

use std::{
    fmt,
    sync::{Arc, MutexGuard},
};

use indexmap::IndexMap;
use tokio::sync::oneshot;

use crate::{
    limits::connection_limiter::{
        AdmissionDenied, ConnectionId, ConnectionLimiter, ConnectionLimits,
    },
    overlay::Address,
    sync::Mutex,
    time::now,
};

/// The admission of connections to a node.
pub(crate) struct ConnectionAdmission(Mutex<AdmissionState>);

struct AdmissionState {
    limiter: ConnectionLimiter,
    /// Dropped when a half-open connection has to be closed.
    half_open: IndexMap<ConnectionId, oneshot::Sender<()>>,
}

impl fmt::Debug for ConnectionAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionAdmission")
            .field("half_open", &self.half_open())
            .finish_non_exhaustive()
    }
}

impl ConnectionAdmission {
    pub(crate) fn new(config: ConnectionLimits) -> Arc<Self> {
        let limiter = ConnectionLimiter::new(config);
        Arc::new(Self(Mutex::new(AdmissionState { limiter, half_open: IndexMap::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionState> {
        self.0.lock()
    }

    /// Connections whose header is not complete.
    pub(crate) fn half_open(&self) -> usize {
        self.lock().limiter.half_open()
    }

    /// Refuses a connection for which there is no permit. No other connection is closed for it.
    pub(crate) fn deny(&self, from: &Address) -> AdmissionDenied {
        self.lock().limiter.deny(from, now())
    }

    /// Admits a connection. The flag says whether another, half-open connection is closed for it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        from: &Address,
    ) -> Result<(ConnectionPermit, bool), AdmissionDenied> {
        let mut state = self.lock();
        let (id, oldest) = state.limiter.admit(from, now())?;
        let (keep, displaced) = oneshot::channel();
        state.half_open.insert(id, keep);
        let other = oldest.and_then(|id| state.half_open.swap_remove(&id));
        drop(state);
        let permit =
            ConnectionPermit { admission: Arc::clone(self), id, displaced: Some(displaced) };
        Ok((permit, other.is_some()))
    }
}

/// The permit of an accepted connection; returned when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<ConnectionAdmission>,
    id: ConnectionId,
    displaced: Option<oneshot::Receiver<()>>,
}

impl ConnectionPermit {
    /// Completes when this connection has to be closed while it is half open. Must not be called
    /// again after that.
    pub(crate) async fn displaced(&mut self) {
        match &mut self.displaced {
            Some(displaced) => drop(displaced.await),
            None => std::future::pending().await,
        }
    }

    /// Notes that the header is complete.
    pub(crate) fn header_complete(&self) {
        let mut state = self.admission.lock();
        state.limiter.header_complete(self.id);
        state.half_open.swap_remove(&self.id);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.limiter.closed(self.id);
        state.half_open.swap_remove(&self.id);
    }
}
