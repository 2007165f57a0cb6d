//! Handlers that answer, record or measure what they receive.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{Incoming, Reply, frame::Frame, handler};
use futures::TryStreamExt;

/// Answers with the message itself.
pub(crate) fn echo() -> Recipient<Incoming> {
    handler::from_fn(async |msg: Incoming| Reply::one(msg.frame)).start().recipient()
}

/// Reads the body to its end. Answers with its length, or with the error that ended it.
pub(crate) async fn measure(msg: Incoming) -> Reply {
    let mut body = msg.into_body();
    loop {
        match body.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => break Reply::one(Frame::text("REPL", body.received().to_string())),
            Err(error) => break Reply::error(error.to_string()),
        }
    }
}

/// The texts that a handler has received, in order.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<Mutex<Vec<String>>>);

impl Taken {
    pub(crate) fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// Records each message and answers with it, after the time `each`.
pub(crate) struct Recorder {
    taken: Taken,
    each: Duration,
}

impl Recorder {
    pub(crate) fn start(taken: &Taken, each: Duration) -> Addr<Self> {
        Actor::start(Self { taken: taken.clone(), each })
    }
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Recorder {
    type Result = Reply;

    fn handle(&mut self, msg: Incoming, ctx: &mut Self::Context) -> Reply {
        self.taken.add(msg.frame.as_str().unwrap());
        if !self.each.is_zero() {
            ctx.wait(tokio::time::sleep(self.each).into_actor(self));
        }
        Reply::one(msg.frame)
    }
}
