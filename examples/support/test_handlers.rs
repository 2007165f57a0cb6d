//! Handlers for tests and demonstrations, behind `--test-handlers`: one for each way in which a
//! handler can behave, so that anybody can see from outside that the node stays what it was.
//!
//! | code | answer |
//! |---|---|
//! | `ECHO` | the request |
//! | `SLOW` | `REPL`, after as many milliseconds as its data says, 5,000 when it is empty |
//! | `BOOM` | none: its handler panics |
//! | `BOO2` | none: its handler panics, and the actor again while it stops |
//! | `SINK` | nothing, once all of its data is read, however long |

use std::time::Duration;

use actix::prelude::*;
use actix_peer::{
    Builder, HandlerActor, Incoming, Reply, frame::Frame, handler, peer::RegisterError,
};
use futures::StreamExt;

/// What `SLOW` takes when it is not told.
const SLOW: u64 = 5_000; // milliseconds

/// The longest that `SLOW` takes: a request is not to stay for ever because it says so.
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
        return Reply::error(format!("Slow: 0 to {SLOWEST} milliseconds, please"));
    };
    tokio::time::sleep(Duration::from_millis(time)).await;
    Reply::one(Frame::text("REPL", time.to_string()))
}

/// An actor for each request, since it does not outlive it. Its panic is passed on.
async fn boo2(msg: Incoming) -> Reply {
    let actor = Boo2.start_supervised();
    actor.send(msg).await.unwrap_or_else(|gone| std::panic::resume_unwind(Box::new(gone)))
}

/// Reads all there is.
async fn sink(msg: Incoming) -> Reply {
    let mut body = msg.into_body();
    // An error says that the sender broke off: nobody is left to be answered.
    while let Some(Ok(_)) = body.next().await {}
    Reply::none()
}

/// Panics when it is asked.
struct Boom;

impl Actor for Boom {
    type Context = Context<Self>;
}

impl Supervised for Boom {}

impl Handler<Incoming> for Boom {
    type Result = Reply;

    #[expect(clippy::panic, reason = "this is what it is for")]
    fn handle(&mut self, _: Incoming, _: &mut Self::Context) -> Reply {
        panic!("BOOM, as asked");
    }
}

/// Panics when it is asked, and again in `stopped`: under actix's own `start` the two together end
/// the process.
struct Boo2;

impl Actor for Boo2 {
    type Context = Context<Self>;

    #[expect(clippy::panic, reason = "this is what it is for")]
    fn stopped(&mut self, _: &mut Self::Context) {
        panic!("BOO2, while stopping");
    }
}

impl Supervised for Boo2 {}

impl Handler<Incoming> for Boo2 {
    type Result = Reply;

    #[expect(clippy::panic, reason = "this is what it is for")]
    fn handle(&mut self, _: Incoming, ctx: &mut Self::Context) -> Reply {
        ctx.stop();
        panic!("BOO2, as asked");
    }
}
