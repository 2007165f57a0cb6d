//! Registering, replacing and removing handlers while the node runs.

use std::sync::Arc;

use actix::prelude::Recipient;

use crate::{
    dispatch::{Batched, PeerMessage, Received, Route, Routes, Serve, typed},
    frame::TypeCode,
    message::{Incoming, IncomingBatch},
    peer::{Peer, RegisterError, route::application_route},
};

/// Refuses codes that the application may not register.
pub(crate) fn application_code(
    code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
) -> Result<TypeCode, RegisterError> {
    let code = code.try_into().map_err(Into::into)?;
    if code.is_reserved() { Err(RegisterError::Reserved(code)) } else { Ok(code) }
}

/// A handler that was registered and has been replaced or removed. [`Peer::restore`] puts it back.
#[derive(Debug)]
pub struct Registration(Route);

impl Peer {
    /// Registers the handler for a code while the node runs. Returns the handler that it replaces.
    ///
    /// The replaced handler finishes the requests that it already has.
    ///
    /// # Errors
    /// The code is not four bytes, or belongs to the framework.
    pub fn handle(
        &self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<Incoming>>,
    ) -> Result<Option<Registration>, RegisterError> {
        Ok(self.register(application_code(code)?, Arc::new(handler.into()), false))
    }

    /// As [`handle`](Self::handle), for a handler that receives its data as a stream.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_stream(
        &self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<Incoming>>,
    ) -> Result<Option<Registration>, RegisterError> {
        Ok(self.register(application_code(code)?, Arc::new(handler.into()), true))
    }

    /// As [`handle`](Self::handle), for a handler that takes one-way messages in batches.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_batch(
        &self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        handler: impl Into<Recipient<IncomingBatch>>,
    ) -> Result<Option<Registration>, RegisterError> {
        Ok(self.register(application_code(code)?, Arc::new(Batched(handler.into())), false))
    }

    /// As [`handle`](Self::handle), for a typed message.
    ///
    /// # Errors
    /// The message's code belongs to the framework.
    pub fn on<M: PeerMessage>(
        &self,
        handler: impl Into<Recipient<Received<M>>>,
    ) -> Result<Option<Registration>, RegisterError> {
        Ok(self.register(
            application_code(M::CODE)?,
            Arc::new(typed::Typed::new(handler.into())),
            false,
        ))
    }

    /// Bounds the data of a request for a code while the node runs, as
    /// [`Builder::max_len`](crate::Builder::max_len).
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn set_max_len(
        &self,
        code: impl TryInto<TypeCode, Error: Into<RegisterError>>,
        bytes: u32,
    ) -> Result<(), RegisterError> {
        let code = application_code(code)?;
        self.change(|routes| routes.set_max_len(code, bytes));
        Ok(())
    }

    fn register(
        &self,
        code: TypeCode,
        serve: Arc<dyn Serve>,
        streamed: bool,
    ) -> Option<Registration> {
        let route = application_route(self.node(), code, serve, streamed);
        self.change(|routes| routes.insert(code, route)).map(Registration)
    }

    /// Changes the table of handlers, and announces the new maximum lengths of messages to other
    /// nodes.
    fn change<R>(&self, change: impl FnOnce(&Routes) -> R) -> R {
        let result = change(&self.node().routes);
        self.node().links.send_lengths();
        result
    }

    /// Removes the handler for a code and returns it. It finishes the requests that it already has.
    pub fn unregister(&self, code: TypeCode) -> Option<Registration> {
        if code.is_reserved() {
            return None;
        }
        self.change(|routes| routes.remove(code)).map(Registration)
    }

    /// Puts a handler back. Returns the handler that it replaces.
    ///
    /// # Errors
    /// The code belongs to the framework.
    pub fn restore(
        &self,
        code: TypeCode,
        handler: Registration,
    ) -> Result<Option<Registration>, RegisterError> {
        let code = application_code(code)?;
        Ok(self.change(|routes| routes.insert(code, handler.0)).map(Registration))
    }
}
