//! A token bucket: a rate with a burst.

use std::time::{Duration, Instant};

use crate::time::{Later, part};

/// A rate with a burst, as a theoretical arrival time (GCRA).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    every: Duration,
    burst: Duration,
    /// The theoretical arrival time. `None` before the first token.
    next: Option<Instant>,
}

impl Bucket {
    /// `rate` tokens a second, at most `burst` at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let every = part(Duration::from_secs(1), rate);
        Self { every, burst: every.saturating_mul(burst), next: None }
    }

    /// Takes a token. Returns whether there was one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.next.map_or(now, |next| next.max(now));
        let after = next.later(self.every);
        let granted = after <= now.later(self.burst);
        if granted {
            self.next = Some(after);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_granted_at_once_and_then_the_rate() {
        let begun = crate::time::now();
        let mut bucket = Bucket::new(10, 3);
        assert_eq!((0..9).filter(|_| bucket.take(begun)).count(), 3);
        let later = begun + Duration::from_millis(200);
        assert_eq!((0..9).filter(|_| bucket.take(later)).count(), 2);
    }
}
