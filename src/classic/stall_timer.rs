//! Waiting for something that moves: only standstill is late.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep},
};

use crate::time::Later;

/// A time limit that every progress renews.
#[derive(Debug)]
pub(crate) struct StallTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// Where it was made: whoever polls it may be elsewhere, and in no runtime at all.
    runtime: Option<Handle>,
}

impl StallTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false, runtime: Handle::try_current().ok() }
    }

    /// Something has moved.
    pub(crate) const fn moved(&mut self) {
        self.waiting = false;
    }

    /// Ready with the limit when nothing has moved for so long. To be called whenever there is
    /// nothing.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let limit = self.limit;
        let timer = match &mut self.timer {
            Some(timer) => {
                if !self.waiting {
                    timer.as_mut().reset(Instant::now().later(limit));
                }
                timer
            }
            none => {
                let _here = self.runtime.as_ref().map(Handle::enter);
                none.insert(Box::pin(tokio::time::sleep(limit)))
            }
        };
        self.waiting = true;
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(limit)
    }
}
