//! The handlers of the traffic: they record what they receive, and behave as their mood says.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use actix::prelude::*;
use bytes::Bytes;
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, sink},
    time::{Instant, sleep},
};

use super::ledger::{Arrival, Ledger, LifeNumber};
use crate::{
    dispatch::{HandlerActor, handler},
    frame::Frame,
    message::{Incoming, Reply, Sender, Via},
    peer::{Builder, RegisterError, sim::plan::Mood},
};

/// Two codes of one actor.
pub(super) const CODES: [&str; 2] = ["TRQA", "TRQB"];
/// A code without a handler.
pub(super) const NONE: &str = "TRNO";
/// The code of a streaming handler.
pub(super) const STREAM: &str = "TRST";

/// The code of a reply of these handlers. Another code is a refusal: an `ERRO` is an ordinary reply.
pub(super) const DONE: &str = "REPL";

/// The first bytes of a message: its number.
pub(super) const NUMBER: usize = size_of::<u64>();

/// What the handlers of one node share.
pub(super) struct Here {
    pub(super) ledger: Rc<RefCell<Ledger>>,
    pub(super) life: LifeNumber,
    pub(super) mood: Rc<Cell<Mood>>,
    pub(super) began: Instant,
}

impl Here {
    fn record(&self, data: &[u8], actor: &'static str, from: &Sender) {
        let Some(number) = data.first_chunk::<NUMBER>() else { return };
        let number = usize::try_from(u64::from_be_bytes(*number)).unwrap_or(usize::MAX);
        let link = from.link_id().filter(|_| *from.via() == Via::Link);
        let arrival = Arrival {
            at: self.life,
            actor,
            link,
            is_unverified: link.is_none(),
            is_ordered: actor == QUEUE,
        };
        self.ledger.borrow_mut().handle(self.began.elapsed(), number, &arrival);
    }

    /// The answer to a message.
    async fn answer(self: Rc<Self>) -> Reply {
        match self.mood.get() {
            Mood::Prompt => {}
            Mood::Slow(time) => sleep(time).await,
            Mood::Panics => on_purpose(),
            Mood::Silent => std::future::pending().await,
        }
        Reply::one(Frame::new(DONE, Bytes::new()))
    }
}

/// Panics without the message of the panic hook, which would hide the result of a run.
fn on_purpose() -> ! {
    std::panic::resume_unwind(Box::new("a handler panics on purpose"))
}

const QUEUE: &str = "queue";

/// Serves [`CODES`], in the order of its mailbox.
struct Queue(Rc<Here>);

impl Actor for Queue {
    type Context = Context<Self>;
}

impl Supervised for Queue {}

impl Handler<Incoming> for Queue {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, message: Incoming, _: &mut Self::Context) -> Self::Result {
        self.0.record(message.frame.data(), QUEUE, message.sender());
        if self.0.mood.get() == Mood::Panics {
            on_purpose();
        }
        Rc::clone(&self.0).answer().boxed_local()
    }
}

/// Adds the handlers of the traffic to a node.
pub(super) fn serve(builder: Builder, here: Here) -> Result<Builder, RegisterError> {
    let here = Rc::new(here);
    let queue = Queue(Rc::clone(&here)).start_supervised();
    let stream = handler::from_fn(async move |message: Incoming| {
        let (here, sender) = (Rc::clone(&here), message.sender().clone());
        let mut body = message.into_body().into_async_read();
        let mut number = [0; NUMBER];
        if body.read_exact(&mut number).await.is_err() {
            return Reply::none();
        }
        here.record(&number, "stream", &sender);
        if tokio::io::copy(&mut body, &mut sink()).await.is_err() {
            return Reply::none();
        }
        here.answer().await
    });
    let [first, second] = CODES;
    builder
        .handle(first, queue.clone())?
        .handle(second, queue)?
        .handle_stream(STREAM, stream.start())
}
