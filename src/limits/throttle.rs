//! Limits the rate of reads from a source. TCP and credit then apply back-pressure.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Sleep;

use crate::{
    limits::meter::{Meter, Meters},
    overlay::Address,
    time::now,
};

/// Pauses reading after too much has arrived.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    meter: Option<Arc<Meter>>,
    /// The longest single pause, so that a link stays alive.
    most: Duration,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Throttle {
    /// A throttle for data from `address`, with pauses of at most `most`.
    pub(crate) fn new(meters: &Meters, address: &Address, most: Duration) -> Self {
        Self { meter: meters.of(address, now()), most, rest: None }
    }

    /// Whether a request whose first `bytes` have arrived is within the rate.
    pub(crate) fn allows(&self, bytes: usize) -> bool {
        self.meter.as_ref().is_none_or(|meter| meter.take(bytes as u64, now()))
    }

    /// Counts the frames and bytes of a read. True if reading pauses because of it.
    pub(crate) fn record(&mut self, frames: u64, bytes: usize) -> bool {
        let Some(meter) = &self.meter else { return false };
        let wait = meter.charge(frames, bytes as u64, now());
        if !wait.is_zero() {
            self.rest = Some(Box::pin(tokio::time::sleep(wait.min(self.most))));
        }
        !wait.is_zero()
    }

    /// Ready when reading may go on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        Poll::Ready(())
    }
}
