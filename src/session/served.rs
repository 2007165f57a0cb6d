//! The messages of the other side of a link that handlers of this node process.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{FutureExt, future::BoxFuture};

use crate::{
    fault_points::{Sometimes, reached},
    frame::TypeCode,
    message::{Reply, body::Progress, reply::ReplyKind},
    node::{Permits, Refusal},
    session::{
        exchange::InExchange,
        reply,
        state::Session,
        tick::{Tick, Ticks},
    },
};

/// A message from its delivery until its reply is in the output. A panic affects only this
/// exchange.
pub(super) struct Served {
    session: Arc<Session>,
    exchange: InExchange,
    stage: Stage,
    /// The ticks of the whole exchange.
    ticks: Ticks,
}

enum Stage {
    /// The handler has it.
    Handling(Handling),
    /// It waits for a permit, or its reply is being sent.
    Work(BoxFuture<'static, ()>),
    Done,
}

/// A request that a handler processes.
pub(super) struct Handling {
    pub(super) answer: BoxFuture<'static, Result<Reply, Refusal>>,
    pub(super) _permits: Permits,
    /// The progress of the body that the handler reads. `None` if there is none.
    pub(super) progress: Option<Progress>,
    pub(super) internal: bool,
    pub(super) ticks: Ticks,
    pub(super) read: u64,
}

impl Served {
    pub(super) fn handling(
        session: &Arc<Session>,
        exchange: InExchange,
        handling: Handling,
    ) -> Self {
        Self::new(session, exchange, Stage::Handling(handling))
    }

    pub(super) fn work(
        session: &Arc<Session>,
        exchange: InExchange,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self::new(session, exchange, Stage::Work(work.boxed()))
    }

    fn new(session: &Arc<Session>, exchange: InExchange, stage: Stage) -> Self {
        Self { session: Arc::clone(session), exchange, stage, ticks: Ticks::default() }
    }

    /// The code of a request. `None` if it is a one-way message.
    pub(super) const fn request(&self) -> Option<TypeCode> {
        match self.stage {
            Stage::Handling(_) | Stage::Work(_) if self.exchange.request => {
                Some(self.exchange.code)
            }
            Stage::Handling(_) | Stage::Work(_) | Stage::Done => None,
        }
    }

    /// Counts a tick. True if the handler, or the whole exchange, has timed out, which ends the
    /// exchange.
    pub(super) fn tick(&mut self, limit: &Tick) -> bool {
        let mut late = self.request().is_some() && self.ticks.count(limit.exchange);
        if let Stage::Handling(handling) = &mut self.stage {
            let read = handling.progress.as_ref().map_or(0, Progress::get);
            if mem::replace(&mut handling.read, read) != read {
                handling.ticks = Ticks::default();
            }
            late |= handling.ticks.count(limit.handler);
        }
        if late {
            self.stage = Stage::Done;
            self.session.refuse(self.exchange, Refusal::HandlerLate);
        }
        late
    }

    /// Drops the exchange if it is the one that the other side has cancelled. A waiting message is
    /// not delivered; a handler that has begun is not interrupted. True if it was this exchange.
    pub(super) fn cancel(&mut self, exchange: u32) -> bool {
        let this = self.exchange.id == exchange && self.request().is_some();
        if this {
            match self.stage {
                Stage::Handling(_) => reached(Sometimes::RequestCancelledInHandler),
                Stage::Work(_) => reached(Sometimes::RequestCancelledWaiting),
                Stage::Done => {}
            }
            self.stage = Stage::Done;
        }
        this
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let exchange = self.exchange;
        let answer = match &mut self.stage {
            Stage::Handling(handling) => ready!(handling.answer.as_mut().poll(cx)),
            Stage::Work(work) => return work.as_mut().poll(cx),
            Stage::Done => return Poll::Ready(()),
        };
        let Stage::Handling(handling) = mem::replace(&mut self.stage, Stage::Done) else {
            return Poll::Ready(());
        };
        let internal = handling.internal;
        let answer = answer.and_then(Reply::into_result);
        // The common case.
        if let Ok(Reply(ReplyKind::One(frame))) = &answer
            && reply::try_one(&self.session, exchange.id, frame, internal)
        {
            return Poll::Ready(());
        }
        let session = Arc::clone(&self.session);
        let work = async move {
            reply::send(&session, exchange, answer, internal).await;
        };
        self.stage = Stage::Work(work.boxed());
        self.advance(cx)
    }
}

impl Future for Served {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        catch_unwind(AssertUnwindSafe(|| self.advance(cx))).unwrap_or_else(|_| {
            self.session.refuse(self.exchange, Refusal::HandlerFailed);
            Poll::Ready(())
        })
    }
}
