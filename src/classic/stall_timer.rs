//! A time-out that every progress renews.

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

/// A time-out that every progress renews.
#[derive(Debug)]
pub(crate) struct StallTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// The runtime in which it was created: it may be polled in another runtime, or in none.
    runtime: Option<Handle>,
}

impl StallTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false, runtime: Handle::try_current().ok() }
    }

    /// Notes progress.
    pub(crate) const fn reset(&mut self) {
        self.waiting = false;
    }

    /// Ready with the limit after that time without progress. Must be called whenever the watched
    /// operation is pending.
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
