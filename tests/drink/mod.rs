//! A handler that reads a streamed body.

use actix_peer::{Incoming, Reply, frame::Frame};
use futures::TryStreamExt;

/// Reads the body to its end. Answers with its length, or with the error that ended it.
pub(crate) async fn drink(msg: Incoming) -> Reply {
    let mut body = msg.into_body();
    loop {
        match body.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => break Reply::one(Frame::text("REPL", body.received().to_string())),
            Err(error) => break Reply::error(error.to_string()),
        }
    }
}
