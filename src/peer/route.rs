//! The limits of the routes that a node serves.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    dispatch::{Intake, Route, Serve},
    frame::TypeCode,
    session::Endpoint,
};

/// Makes a route with its own share of the requests in hand.
pub(crate) fn application_route(
    node: &Endpoint,
    code: TypeCode,
    serve: Arc<dyn Serve>,
    streamed: bool,
) -> Route {
    let config = &node.config;
    let intake =
        if streamed { Intake::Streamed(u32::MAX) } else { Intake::Whole(config.max_frame_len) };
    Route {
        handler: serve.handler(),
        serve,
        intake,
        permits: Arc::new(Semaphore::new(config.max_requests_per_code)),
        internal: false,
        timer: node.metrics.times(code),
    }
}
