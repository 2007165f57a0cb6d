//! Handlers for tests and demonstrations (`--test-handlers`): one for each way in which a handler
//! can misbehave. The node continues to work in each case.
//!
//! | code | answer |
//! |---|---|
//! | `ECHO` | the request |
//! | `SLOW` | `REPL`, after the number of milliseconds in its data; 5,000 if that is empty |
//! | `BOOM` | none: the handler panics |
//! | `BOO2` | none: the handler panics, and the actor panics again while it stops |
//! | `SINK` | none, after it has read data of any length |

use std::time::Duration;

use actix::prelude::*;
use actix_peer::{
    Builder, HandlerActor, Incoming, Reply, frame::Frame, handler, peer::RegisterError,
};
use futures::StreamExt;

/// The default time of `SLOW`.
const SLOW: u64 = 5_000; // milliseconds

/// The maximum time of `SLOW`, so that no request stays forever.
const SLOWEST: u64 = 60_000; // milliseconds

/// Registers all of them.
pub(crate) fn register(builder: Builder) -> Result<Builder, RegisterError> {
    builder
        .handle("ECHO", handler::from_fn(async |msg: Incoming| Reply::one(msg.frame)).start())?
        .handle("SLOW", handler::from_fn(slow).start())?
        .handle("BOOM", Boom.start_supervised())?
        .handle("BOO2", handler::from_fn(boo2).start())?
        .handle_stream("SINK", handler::from_fn(sink).start())
}

async fn slow(msg: Incoming) -> Reply {
    let time = match msg.frame.as_str().map(str::trim) {
        Ok("") => Some(SLOW),
        Ok(text) => text.parse().ok().filter(|time| *time <= SLOWEST),
        Err(_) => None,
    };
    let Some(time) = time else {
        return Reply::error(format!("Slow: the data must be 0 to {SLOWEST} milliseconds"));
    };
    tokio::time::sleep(Duration::from_millis(time)).await;
    Reply::one(Frame::text("REPL", time.to_string()))
}

/// Starts an actor for each request, which its panic ends. Passes the panic on.
async fn boo2(msg: Incoming) -> Reply {
    let actor = Boo2.start_supervised();
    actor.send(msg).await.unwrap_or_else(|gone| std::panic::resume_unwind(Box::new(gone)))
}

/// Reads the whole body.
async fn sink(msg: Incoming) -> Reply {
    let mut body = msg.into_body();
    // After an error there is no sender to answer.
    while let Some(Ok(_)) = body.next().await {}
    Reply::none()
}

/// Panics on each request.
struct Boom;

impl Actor for Boom {
    type Context = Context<Self>;
}

impl Supervised for Boom {}

impl Handler<Incoming> for Boom {
    type Result = Reply;

    #[expect(clippy::panic, reason = "it is there to panic")]
    fn handle(&mut self, _: Incoming, _: &mut Self::Context) -> Reply {
        panic!("BOOM, as asked");
    }
}

/// Panics on each request, and again in `stopped`. With actix's own `start` the two panics would
/// end the process.
struct Boo2;

impl Actor for Boo2 {
    type Context = Context<Self>;

    #[expect(clippy::panic, reason = "it is there to panic")]
    fn stopped(&mut self, _: &mut Self::Context) {
        panic!("BOO2, while stopping");
    }
}

impl Supervised for Boo2 {}

impl Handler<Incoming> for Boo2 {
    type Result = Reply;

    #[expect(clippy::panic, reason = "it is there to panic")]
    fn handle(&mut self, _: Incoming, ctx: &mut Self::Context) -> Reply {
        ctx.stop();
        panic!("BOO2, as asked");
    }
}
