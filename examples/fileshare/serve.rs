//! The handlers for other nodes.

mod files;
mod queries;
mod stream;

use std::sync::Arc;

use actix::prelude::{Actor, Recipient};
use actix_peer::{Builder, Incoming, Reply, frame::TypeCode, handler, peer::RegisterError};

pub(crate) use self::queries::{QueryWork, handle_queries, send_query};
use crate::{
    protocol::{FGRC, FINF, FMAN, FQRY},
    state::State,
};

/// Registers the handlers of the program.
pub(crate) fn register(builder: Builder, state: &Arc<State>) -> Result<Builder, RegisterError> {
    let queries = serve(state, async |state, msg| queries::query(&state, &msg));
    builder
        .handle(TypeCode::QUER, queries.clone())?
        .handle(FQRY, queries)?
        .handle(TypeCode::RESP, serve(state, async |state, msg| queries::response(&state, &msg)))?
        .handle(TypeCode::FGET, serve(state, async |state, msg| files::get(&state, &msg).await))?
        .handle(FINF, serve(state, async |state, msg| files::info(&state, &msg)))?
        .handle(FMAN, serve(state, async |state, msg| files::manifest(&state, &msg).await))?
        .handle(FGRC, serve(state, async |state, msg| files::parts(state, &msg).await))
}

/// A handler with access to the state of the program.
fn serve(
    state: &Arc<State>,
    answer: impl AsyncFn(Arc<State>, Incoming) -> Reply + Copy + 'static,
) -> Recipient<Incoming> {
    let state = Arc::clone(state);
    handler::from_fn(async move |msg| answer(Arc::clone(&state), msg).await).start().recipient()
}
