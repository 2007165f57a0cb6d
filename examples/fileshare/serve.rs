//! What others ask of this node.

mod files;
mod queries;
mod stream;

use std::sync::Arc;

use actix::prelude::Actor;
use actix_peer::{Builder, Incoming, Reply, frame::TypeCode, handler, peer::RegisterError};

pub(crate) use self::queries::{QueryWork, send_query, work_on_queries};
use crate::{
    protocol::{FGRC, FINF, FMAN, FQRY},
    state::State,
};

/// Registers the handlers of the program.
pub(crate) fn register(builder: Builder, state: &Arc<State>) -> Result<Builder, RegisterError> {
    let serve = |answer: fn(Arc<State>, Incoming) -> BoxedReply| {
        let state = Arc::clone(state);
        handler::from_fn(async move |msg| answer(Arc::clone(&state), msg).await).start()
    };
    let queries = serve(|state, msg| Box::pin(async move { queries::query(&state, &msg) }));
    builder
        .handle(TypeCode::QUER, queries.clone())?
        .handle(FQRY, queries)?
        .handle(
            TypeCode::RESP,
            serve(|state, msg| Box::pin(async move { queries::response(&state, &msg) })),
        )?
        .handle(
            TypeCode::FGET,
            serve(|state, msg| Box::pin(async move { files::get(&state, &msg).await })),
        )?
        .handle(FINF, serve(|state, msg| Box::pin(async move { files::info(&state, &msg) })))?
        .handle(
            FMAN,
            serve(|state, msg| Box::pin(async move { files::manifest(&state, &msg).await })),
        )?
        .handle(FGRC, serve(|state, msg| Box::pin(async move { files::parts(state, &msg).await })))
}

type BoxedReply = futures::future::LocalBoxFuture<'static, Reply>;
