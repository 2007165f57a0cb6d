//! Parts of a node beside its handlers and stabilizers: what speaks codes of the framework of its own and does its own work
//! as long as the node lives.

use std::{fmt, sync::Arc};

use futures::future::LocalBoxFuture;

use crate::{
    dispatch::{Route, Serve},
    frame::TypeCode,
    overlay::options::ConfigError,
    peer::{Peers, builder::handlers::application_route},
    session::Endpoint,
};

/// What a service finds in its node.
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
    /// For events and logs; one of a kind in a node.
    fn name(&self) -> &'static str;

    /// Says whether its options are within their bounds.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Before anybody can reach the node: [serves](Seat::serve) its codes.
    fn prepare(&self, context: &ServiceContext);

    /// Its work, which ends with the node: supervised as a stabilizer is, so that it is called anew when the one before
    /// panicked or returned.
    fn run(&self, context: ServiceContext) -> LocalBoxFuture<'static, ()>;
}
