//! The gate of a node, shared by its listener and its connections.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{
    limits::gate::{ConnectionId, Gate, GateConfig, TurnedAway},
    overlay::Address,
    time::now,
};

/// The admission of connections to a node.
pub(crate) struct Admission(Mutex<State>);

struct State {
    gate: Gate,
    /// Dropped when a half-open connection has to be closed.
    half_open: HashMap<ConnectionId, oneshot::Sender<()>>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("half_open", &self.half_open()).finish_non_exhaustive()
    }
}

impl Admission {
    pub(crate) fn new(config: GateConfig) -> Arc<Self> {
        let gate = Gate::new(config);
        Arc::new(Self(Mutex::new(State { gate, half_open: HashMap::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections whose header is not complete.
    pub(crate) fn half_open(&self) -> usize {
        self.lock().gate.half_open()
    }

    /// Refuses a connection for which there is no permit. No other connection is closed for it.
    pub(crate) fn turn_away(&self, from: &Address) -> TurnedAway {
        self.lock().gate.turn_away(from, now())
    }

    /// Admits a connection. The flag says whether another, half-open connection is closed for it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        from: &Address,
    ) -> Result<(ConnectionPermit, bool), TurnedAway> {
        let mut state = self.lock();
        let (id, displaced) = state.gate.enter(from, now())?;
        let (stay, told_to_go) = oneshot::channel();
        state.half_open.insert(id, stay);
        let displaced = displaced.and_then(|id| state.half_open.remove(&id));
        drop(state);
        let permit =
            ConnectionPermit { admission: Arc::clone(self), id, told_to_go: Some(told_to_go) };
        Ok((permit, displaced.is_some()))
    }
}

/// The permit of an accepted connection; returned when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<Admission>,
    id: ConnectionId,
    told_to_go: Option<oneshot::Receiver<()>>,
}

impl ConnectionPermit {
    /// Completes when this connection has to be closed while it is half open. Must not be called
    /// again after that.
    pub(crate) async fn told_to_go(&mut self) {
        match &mut self.told_to_go {
            Some(told) => drop(told.await),
            None => std::future::pending().await,
        }
    }

    /// Notes that the header is complete.
    pub(crate) fn greeted(&self) {
        let mut state = self.admission.lock();
        state.gate.greeted(self.id);
        state.half_open.remove(&self.id);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.gate.left(self.id);
        state.half_open.remove(&self.id);
    }
}
