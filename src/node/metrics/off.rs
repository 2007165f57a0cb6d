//! Without the feature: empty types, which measure nothing at no cost.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{frame::TypeCode, node::refusal::Refusal};

#[derive(Debug)]
pub(crate) struct Metrics;

impl Metrics {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) const fn asking(&self) -> RequestTimer {
        RequestTimer
    }

    pub(crate) const fn times(&self, _: TypeCode) -> HandlerTimer {
        HandlerTimer
    }

    pub(crate) const fn round_trip(&self, _: Option<Duration>) {}
}

#[derive(Clone, Debug)]
pub(crate) struct HandlerTimer;

impl HandlerTimer {
    pub(crate) fn take<T: Send + 'static>(
        &self,
        answer: BoxFuture<'static, Result<T, Refusal>>,
        _: fn(&T) -> bool,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        answer
    }
}

#[derive(Debug)]
pub(crate) struct RequestTimer;

impl RequestTimer {
    pub(crate) const fn over(&mut self, _link: bool) {}

    pub(crate) const fn end(self, _answered: bool) {}
}
