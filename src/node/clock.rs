//! The clocks and the random numbers of a node: what a simulation replaces to be deterministic.

use std::{
    fmt,
    hash::BuildHasher,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::task::spawn_blocking;

use crate::{fault_points::FaultPoint, overlay::Dice, sync::Mutex, transport::Simulated};

/// The last bits of an incarnation, which are random: some 65 ms. Two runs of a node that begin at
/// the same date have different incarnations, as on a machine whose clock stops while it is off.
const DRAWN: u64 = (1 << 16) - 1;

/// The range above a stored incarnation from which one is drawn if the date is not above it: some
/// 18 minutes. It is that large because runs in between may have stored nothing.
const ABOVE: u64 = (1 << 30) - 1;

/// A wall clock that a test gives a node.
#[cfg(feature = "test-utils")]
pub(crate) struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

#[cfg(feature = "test-utils")]
impl WallClock {
    pub(crate) fn new(date: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(date))
    }
}

#[cfg(feature = "test-utils")]
impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").finish_non_exhaustive()
    }
}

/// The source of the date and the random numbers of a node: the system, or a replacement in a test.
#[derive(Clone)]
pub(crate) struct Ambient {
    date: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    is_simulated: bool,
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").finish_non_exhaustive()
    }
}

impl Default for Ambient {
    fn default() -> Self {
        Self { date: Arc::new(system_date), random: Arc::new(system_random), is_simulated: false }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock of the system")]
pub(crate) fn system_date() -> SystemTime {
    SystemTime::now()
}

/// A number that no other program can guess.
#[expect(clippy::disallowed_types, reason = "the one place that draws random numbers")]
pub(crate) fn system_random() -> u64 {
    std::collections::hash_map::RandomState::new().hash_one(0)
}

/// The date on a simulated network.
pub(crate) fn simulated_date(simulated: &Simulated) -> SystemTime {
    UNIX_EPOCH.checked_add(simulated.since_1970()).unwrap_or(UNIX_EPOCH)
}

impl Ambient {
    /// The clock and the random numbers of a node on a simulated network.
    pub(crate) fn simulated(simulated: Simulated) -> Self {
        let dice = Mutex::new(Dice::new(simulated.seed()));
        Self {
            date: Arc::new(move || simulated_date(&simulated)),
            random: Arc::new(move || dice.lock().next()),
            is_simulated: true,
        }
    }

    /// Replaces the wall clock.
    #[cfg(feature = "test-utils")]
    pub(crate) fn with_date(mut self, date: Option<WallClock>) -> Self {
        if let Some(WallClock(date)) = date {
            self.date = date;
        }
        self
    }

    /// The time since 1970 by the wall clock. It may be wrong and may go back; no deadline depends
    /// on it.
    pub(crate) fn unix_time(&self) -> Duration {
        (self.date)().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// A number that no other node can guess.
    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    /// Runs work that blocks, on a thread for such work. On a simulated network it runs in place:
    /// the time at which a thread ends depends on the machine, and would decide what happens first.
    /// `None` if the work panicked or the runtime has ended.
    pub(crate) async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        if self.is_simulated {
            return catch_unwind(AssertUnwindSafe(work)).ok();
        }
        spawn_blocking(work).await.ok()
    }

    /// The incarnation of a run that begins now: the date in microseconds, with random last bits.
    /// It is above `stored`, the highest stored incarnation. If none is stored, it differs from
    /// earlier incarnations, but it is above them only if the wall clock does not go back.
    pub(crate) fn incarnation(&self, stored: Option<u64>) -> u64 {
        let micros = u64::try_from(self.unix_time().as_micros()).unwrap_or(u64::MAX);
        let (random, stored) = (self.random(), stored.unwrap_or(0));
        let drawn = (micros & !DRAWN) | (random & DRAWN);
        if drawn > stored { drawn } else { stored.saturating_add(1).saturating_add(random & ABOVE) }
    }
}

/// Waits for `time` if the fault point fires.
#[cfg(feature = "test-utils")]
pub(crate) async fn delay_at(point: FaultPoint, time: Duration) {
    if crate::fault_points::fault_point(point) {
        tokio::time::sleep(time).await;
    }
}

/// Does not wait outside of a simulation.
#[cfg(not(feature = "test-utils"))]
pub(crate) fn delay_at(_: FaultPoint, _: Duration) -> std::future::Ready<()> {
    std::future::ready(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_that_begin_at_the_same_date_have_different_incarnations() {
        for date in [UNIX_EPOCH - Duration::from_secs(9), UNIX_EPOCH + Duration::from_secs(1 << 30)]
        {
            let mut ambient = Ambient { date: Arc::new(move || date), ..Ambient::default() };
            let drawn: std::collections::BTreeSet<_> =
                (0..100).map(|_| ambient.incarnation(None)).collect();
            assert!(drawn.len() > 80, "{}", drawn.len());
            // A later date gives a higher incarnation, whatever the random bits are.
            let highest = *drawn.last().unwrap();
            ambient.date = Arc::new(move || date + Duration::from_secs(10));
            assert!(ambient.incarnation(None) > highest);
            // The incarnation is above the stored one, whatever the clock says.
            let stored = u64::MAX / 2;
            let above = [(); 2].map(|()| ambient.incarnation(Some(stored)));
            assert!(above[0] != above[1] && above.iter().all(|life| *life > stored), "{above:?}");
        }
    }
}
