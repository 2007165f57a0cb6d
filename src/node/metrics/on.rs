//! Histograms of the `metrics` facade, looked up once, when the node and its routes are created.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use metrics::{Histogram, histogram};
use tokio::time::Instant;

use crate::{frame::TypeCode, node::refusal::Refusal, sync::Mutex};

pub(crate) const REQUEST: &str = "actix_peer_request_seconds";
pub(crate) const HANDLER: &str = "actix_peer_handler_seconds";
pub(crate) const ROUND_TRIP: &str = "actix_peer_link_round_trip_seconds";

/// The number of codes with a label of their own; further codes share one label. This bounds the
/// cardinality for an application that generates its codes.
const MAX_CODES: usize = 64;

/// The label of all further codes.
const OTHER: &str = "other";

/// One histogram for each outcome.
#[derive(Clone)]
struct ByEnd {
    well: Histogram,
    badly: Histogram,
    dropped: Histogram,
}

impl fmt::Debug for ByEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByEnd").finish_non_exhaustive()
    }
}

/// Measures a time, and records it when it is dropped.
struct Clock {
    since: Instant,
    histogram: Histogram,
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.histogram.record(self.since.elapsed());
    }
}

/// The histograms of one node.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Arc<Requests>,
    round_trip: Histogram,
    codes: Mutex<BTreeSet<TypeCode>>,
}

#[derive(Debug)]
struct Requests {
    link: ByEnd,
    classic: ByEnd,
    /// Requests for which there was no connection.
    none: ByEnd,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let by_end = |over: &'static str| {
            let of = |outcome| histogram!(REQUEST, "over" => over, "outcome" => outcome);
            ByEnd { well: of("answered"), badly: of("failed"), dropped: of("dropped") }
        };
        let requests =
            Requests { link: by_end("link"), classic: by_end("classic"), none: by_end("none") };
        Self {
            requests: Arc::new(requests),
            round_trip: histogram!(ROUND_TRIP),
            codes: Mutex::default(),
        }
    }

    /// Starts the timer of a request of this node.
    pub(crate) fn asking(&self) -> RequestTimer {
        let histogram = self.requests.none.dropped.clone();
        let clock = Clock { since: Instant::now(), histogram };
        RequestTimer { clock, over: None, requests: Arc::clone(&self.requests) }
    }

    /// The histograms of the handler of one code.
    pub(crate) fn times(&self, code: TypeCode) -> HandlerTimer {
        let mut codes = self.codes.lock();
        let known = codes.contains(&code) || (codes.len() < MAX_CODES && codes.insert(code));
        drop(codes);
        let label = if known { code.to_string() } else { OTHER.to_owned() };
        let of = |outcome| histogram!(HANDLER, "code" => label.clone(), "outcome" => outcome);
        HandlerTimer(Arc::new(ByEnd {
            well: of("answered"),
            badly: of("refused"),
            dropped: of("given_up"),
        }))
    }

    /// Records the round trip of a keepalive on a link.
    pub(crate) fn round_trip(&self, time: Option<Duration>) {
        if let Some(time) = time {
            self.round_trip.record(time);
        }
    }
}

/// How long the handler of one code takes.
#[derive(Clone, Debug)]
pub(crate) struct HandlerTimer(Arc<ByEnd>);

impl HandlerTimer {
    /// Measures from now until the answer is ready or its future is dropped.
    pub(crate) fn take<T: Send + 'static>(
        &self,
        answer: BoxFuture<'static, Result<T, Refusal>>,
        is_refusal: fn(&T) -> bool,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        let times = Arc::clone(&self.0);
        let mut clock = Clock { since: Instant::now(), histogram: times.dropped.clone() };
        Box::pin(async move {
            let answer = answer.await;
            let refused = answer.as_ref().map_or(true, is_refusal);
            clock.histogram = if refused { &times.badly } else { &times.well }.clone();
            drop(clock);
            answer
        })
    }
}

/// One request of this node, from the call until its replies have ended. A timer that is dropped
/// earlier counts as a dropped request.
pub(crate) struct RequestTimer {
    clock: Clock,
    over: Option<bool>,
    requests: Arc<Requests>,
}

impl fmt::Debug for RequestTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTimer").finish_non_exhaustive()
    }
}

impl RequestTimer {
    fn by_end(&self) -> &ByEnd {
        match self.over {
            Some(true) => &self.requests.link,
            Some(false) => &self.requests.classic,
            None => &self.requests.none,
        }
    }

    /// The request has its path: a link, or a connection of its own.
    pub(crate) fn over(&mut self, link: bool) {
        self.over = Some(link);
        self.clock.histogram = self.by_end().dropped.clone();
    }

    pub(crate) fn end(mut self, answered: bool) {
        let by_end = self.by_end();
        self.clock.histogram = if answered { &by_end.well } else { &by_end.badly }.clone();
    }
}
