//! The options of the builder for handlers: which code each serves, and within which limits.

use std::{collections::BTreeSet, sync::Arc};

use actix::prelude::Recipient;
use tokio::sync::Semaphore;

use crate::{
    dispatch::{Batched, Intake, PeerMessage, Received, Route, Serve, typed::Typed},
    frame::TypeCode,
    message::{Incoming, IncomingBatch},
    peer::{Builder, Peers, RegisterError, forward::Forward, well_known, well_known::WellKnown},
    session::Endpoint,
};

/// A handler before the node applies its limits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    serve: Arc<dyn Serve>,
    streamed: bool,
}

/// Refuses codes that the application may not register.
pub(crate) fn application_code(
    code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
) -> Result<TypeCode, RegisterError> {
    let code = code.try_into().map_err(Into::into)?;
    if code.is_reserved() { Err(RegisterError::Reserved(code)) } else { Ok(code) }
}

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
        timer: node.measures.times(code),
    }
}

impl Builder {
    /// Registers the handler for a code: the address of any actor with `Handler<Incoming>`, on any
    /// arbiter.
    ///
    /// # Errors
    /// The code is not four bytes, or belongs to the framework. (Two handlers for one code are
    /// refused by [`start`](Self::start).)
    pub fn handle(
        self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<Incoming>>,
    ) -> Result<Self, RegisterError> {
        self.entry(code, Arc::new(handler.into()), false)
    }

    /// Bounds the data of a request for a code, in bytes. It replaces the default bound:
    /// [`Config::max_frame_len`](crate::Config::max_frame_len) for data that is collected before it
    /// is handled, [`Config::max_control_len`](crate::Config::max_control_len) for the well-known
    /// codes, and only the bound of a frame for streams. The bound holds for every handler of the
    /// code, and may be more or less than the default; 0 accepts requests without data. Data that
    /// is collected is never longer than
    /// [`Config::max_partial_bytes`](crate::Config::max_partial_bytes).
    ///
    /// A longer request is refused as too long. A classic request is refused when its header is
    /// read, before its data. A request on a link is refused at the first frame that exceeds the
    /// bound.
    ///
    /// Trade-off: a higher value costs that much memory for each of up to
    /// [`Config::max_requests_per_code`](crate::Config::max_requests_per_code) requests in hand,
    /// and a link's window is at least twice the longest bound. Links that are already open keep
    /// their window, and accept no more collected data than they announced when they were opened.
    ///
    /// ```
    /// # use actix::prelude::*;
    /// # use actix_peer::{Incoming, Peer, Reply, handler};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vote = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame)).start();
    /// let peer = Peer::builder().handle("VOTE", vote)?.max_len("VOTE", 64)?.start().await?;
    /// # peer.stop().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The code is not four bytes, or belongs to the framework.
    pub fn max_len(
        mut self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        bytes: u32,
    ) -> Result<Self, RegisterError> {
        self.lengths.push((application_code(code)?, bytes));
        Ok(self)
    }

    /// Registers the handler for a code whose data is streamed to it, at any length: the handler
    /// takes the body with [`Incoming::into_body`].
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_stream(
        self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<Incoming>>,
    ) -> Result<Self, RegisterError> {
        self.entry(code, Arc::new(handler.into()), true)
    }

    /// Registers the handler for a code that takes one-way messages in batches: the address of any
    /// actor with `Handler<IncomingBatch>`, on any arbiter.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_batch(
        self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<IncomingBatch>>,
    ) -> Result<Self, RegisterError> {
        self.entry(code, Arc::new(Batched(handler.into())), false)
    }

    /// Registers the handler for a typed message: the address of any actor with
    /// `Handler<Received<M>>`, on any arbiter.
    ///
    /// # Errors
    /// The message's code belongs to the framework.
    pub fn on<M: PeerMessage>(
        self,
        handler: impl Into<Recipient<Received<M>>>,
    ) -> Result<Self, RegisterError> {
        self.entry(M::CODE, Arc::new(Typed::new(handler.into())), false)
    }

    fn entry(
        mut self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        serve: Arc<dyn Serve>,
        streamed: bool,
    ) -> Result<Self, RegisterError> {
        self.handlers.push((application_code(code)?, Entry { serve, streamed }));
        Ok(self)
    }

    /// Serves `NAME`, `LIST`, `JOIN`, `QUIT` and `PING`
    /// ([protocol](crate::protocol#well-known-messages)), so that other nodes, including the
    /// original programs, can join this one. A node that [joins](crate::Peer::join) a network needs
    /// them: `join` registers those that have no handler yet.
    pub fn well_known(mut self) -> Self {
        self.well_known = true;
        self
    }

    pub(super) fn check_handlers(&self) -> Result<(), RegisterError> {
        let well_known = self.well_known.then_some(WellKnown::CODES).into_iter().flatten();
        let mut seen = BTreeSet::new();
        let duplicate = self
            .handlers
            .iter()
            .map(|(code, _)| *code)
            .chain(well_known)
            .find(|code| !seen.insert(*code));
        duplicate.map_or(Ok(()), |code| Err(RegisterError::Duplicate(code)))
    }
}

pub(super) fn register(
    node: &Arc<Endpoint>,
    peers: &Peers,
    handlers: Vec<(TypeCode, Entry)>,
    well_known: bool,
) {
    for (code, Entry { serve, streamed }) in handlers {
        node.routes.insert(code, application_route(node, code, serve, streamed));
    }
    let intake = Intake::Whole(node.config.max_control_len);
    let routes = well_known::routes(node, peers).into_iter().map(|(code, handler)| {
        let route = application_route(node, code, Arc::new(handler), false);
        (code, Route { intake, ..route })
    });
    node.routes.keep_off(routes.collect());
    if well_known {
        node.routes.switch_on();
    }
    let serve = Arc::new(Forward { node: Arc::downgrade(node), peers: peers.clone() });
    let route = application_route(node, TypeCode::FWD, serve, false);
    node.routes.insert(TypeCode::FWD, Route { internal: true, ..route });
}
