//! The gate of a node, as its listener and its connections share it.

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

/// Whom the node has let in.
pub(crate) struct Admission(Mutex<State>);

struct State {
    gate: Gate,
    /// Dropped when a half-open connection has to go.
    half_open: HashMap<ConnectionId, oneshot::Sender<()>>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("half_open", &self.half_open()).finish_non_exhaustive()
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

    /// Turns a connection away for which there is no place. Nobody has to go for it.
    pub(crate) fn turn_away(&self, from: &Address) -> TurnedAway {
        self.lock().gate.turn_away(from, now())
    }

    /// Lets a connection in. Another one that is half open may have to go for it: the flag says so.
    pub(crate) fn enter(
        self: &Arc<Self>,
        from: &Address,
    ) -> Result<(ConnectionPermit, bool), TurnedAway> {
        let mut state = self.lock();
        let (id, goes) = state.gate.enter(from, now())?;
        let (stay, told_to_go) = oneshot::channel();
        state.half_open.insert(id, stay);
        let gone = goes.and_then(|goes| state.half_open.remove(&goes));
        drop(state);
        let pass =
            ConnectionPermit { admission: Arc::clone(self), id, told_to_go: Some(told_to_go) };
        Ok((pass, gone.is_some()))
    }
}

/// The right to be connected; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<Admission>,
    id: ConnectionId,
    told_to_go: Option<oneshot::Receiver<()>>,
}

impl ConnectionPermit {
    /// Ready when this connection has to go, as long as it is half open. Not to be asked again then.
    pub(crate) async fn told_to_go(&mut self) {
        match &mut self.told_to_go {
            Some(told) => drop(told.await),
            None => std::future::pending().await,
        }
    }

    /// The header is complete.
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
