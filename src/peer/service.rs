//! Services: parts of a node beside its handlers and stabilizers. A service serves its own codes of
//! the framework and does its own work until the node ends.

use std::{fmt, sync::Arc};

use futures::future::LocalBoxFuture;

use crate::{
    dispatch::{Route, Serve},
    frame::TypeCode,
    overlay::options::ConfigError,
    peer::{Peers, builder::handlers::application_route},
    session::Endpoint,
};

/// The parts of a node that a service uses.
#[derive(Clone, Debug)]
pub(crate) struct ServiceContext {
    pub(crate) node: Arc<Endpoint>,
    pub(crate) peers: Peers,
}

impl ServiceContext {
    /// Serves a code of the framework.
    pub(crate) fn serve(&self, code: TypeCode, serve: Arc<dyn Serve>) {
        let route = application_route(&self.node, code, serve, false);
        self.node.routes.insert(code, Route { internal: true, ..route });
    }
}

/// A part of the node that an option of the builder adds.
pub(crate) trait Service: fmt::Debug {
    /// The name for events and logs. A node has at most one service of each name.
    fn name(&self) -> &'static str;

    /// Checks that its options are within their bounds.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Prepares the service before the node is reachable: [serves](ServiceContext::serve) its
    /// codes.
    fn prepare(&self, context: &ServiceContext);

    /// The work of the service, which ends with the node. It is supervised like a stabilizer: it is
    /// called again when the earlier call panicked or returned.
    fn run(&self, context: ServiceContext) -> LocalBoxFuture<'static, ()>;
}
