//! The ticks of a link: one timer for all time-outs on it.

use std::time::Duration;

use crate::{node::Config, time::part};

/// The number of ticks in the shortest of the times that are counted in them.
const TICKS_IN_SHORTEST: u32 = 8;

/// The shortest tick.
const SHORTEST: Duration = Duration::from_millis(1);

/// A number of ticks: the age of an operation, or its limit.
///
/// A timer for each exchange would cost more than the rest of the exchange. A link counts ticks
/// instead, while an operation waits on it. An operation times out between its limit and two ticks
/// later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticks(u64);

impl Ticks {
    #[cfg(test)]
    pub(crate) const fn new(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Adds one. True if that is more than `limit`.
    pub(crate) const fn count(&mut self, limit: Self) -> bool {
        self.0 += 1;
        self.0 > limit.0
    }
}

/// The tick of a node's links, and the time-outs in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub(crate) every: Duration,
    pub(crate) handler: Ticks,
    pub(crate) reply: Ticks,
    pub(crate) stall: Ticks,
    /// A whole exchange.
    pub(crate) exchange: Ticks,
}

impl Tick {
    pub(crate) fn new(config: &Config) -> Self {
        let times = [config.reply_timeout, config.stall_timeout, config.exchange_timeout];
        let least = times.into_iter().fold(config.handler_timeout, Duration::min);
        let every = part(least, TICKS_IN_SHORTEST).max(SHORTEST);
        let ticks = |time: Duration| {
            Ticks(u64::try_from(time.as_nanos().div_ceil(every.as_nanos())).unwrap_or(u64::MAX - 1))
        };
        Self {
            every,
            handler: ticks(config.handler_timeout),
            reply: ticks(config.reply_timeout),
            stall: ticks(config.stall_timeout),
            exchange: ticks(config.exchange_timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_times_out_within_two_ticks_after_its_limit() {
        let config = Config::default()
            .handler_timeout(Duration::from_millis(800))
            .reply_timeout(Duration::from_millis(1_050));
        let tick = Tick::new(&config);
        assert_eq!(tick.every, Duration::from_millis(100));
        for (limit, late_after) in [(tick.handler, 9), (tick.reply, 12)] {
            let mut waited = Ticks::default();
            let ticks = (1..).find(|_| waited.count(limit));
            // The operation may have begun just before the first tick.
            assert_eq!(ticks, Some(late_after));
        }
    }
}
