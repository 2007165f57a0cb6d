//! The state of chaos that all connections of a network share, and its draws.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Chaos, ChaosCounts};
use crate::{overlay::Dice, sync::Mutex, transport::memory::Ending};

/// Makes the seeds of chaos differ from those of the latencies and of the nodes.
const CHAOS: u64 = 0x6368_616f_7363_6861;

/// The faults to draw and their counts. While chaos is off, a read or write costs one atomic load.
#[derive(Debug)]
pub(in super::super) struct ChaosState {
    seed: u64,
    is_on: AtomicBool,
    chaos: Mutex<Chaos>,
    counts: Mutex<ChaosCounts>,
}

impl ChaosState {
    pub(in super::super) fn new(seed: u64) -> Self {
        Self {
            seed: seed ^ CHAOS,
            is_on: AtomicBool::new(false),
            chaos: Mutex::new(Chaos::none()),
            counts: Mutex::default(),
        }
    }

    pub(in super::super) fn set(&self, chaos: Chaos) {
        *self.chaos.lock() = chaos;
        self.is_on.store(chaos != Chaos::none(), Ordering::Relaxed);
    }

    pub(in super::super) fn counts(&self) -> ChaosCounts {
        *self.counts.lock()
    }

    /// The faults to draw. `None` if chaos is off.
    fn chaos(&self) -> Option<Chaos> {
        self.is_on.load(Ordering::Relaxed).then(|| *self.chaos.lock())
    }

    fn count(&self, kind: impl FnOnce(&mut ChaosCounts) -> &mut u64) {
        let mut counts = self.counts.lock();
        let count = kind(&mut counts);
        *count = count.saturating_add(1);
    }

    pub(in super::super) fn count_break(&self) {
        self.count(|counts| &mut counts.breaks);
    }

    pub(in super::super) fn count_refused_dial(&self) {
        self.count(|counts| &mut counts.refused_dials);
    }

    pub(in super::super) fn count_broken_dial(&self) {
        self.count(|counts| &mut counts.broken_dials);
    }
}

/// What chaos does to a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum DialFate {
    Usual,
    Refused,
    /// It is accepted, and the connection is broken at once.
    Broken(Ending),
}

/// The draws of dials, or of one direction of a connection.
#[derive(Clone, Debug)]
pub(in super::super) struct ChaosDice {
    state: Arc<ChaosState>,
    random: fastrand::Rng,
    /// Whether the last write was held back.
    held_back: bool,
}

impl ChaosDice {
    /// The draws with this number.
    pub(in super::super) fn new(state: &Arc<ChaosState>, number: u64) -> Self {
        let seed = Dice::new(state.seed.wrapping_add(number)).next();
        let random = fastrand::Rng::with_seed(seed);
        Self { state: Arc::clone(state), random, held_back: false }
    }

    pub(in super::super) fn state(&self) -> &ChaosState {
        &self.state
    }

    /// An impossible fault draws no number.
    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }

    /// A time up to and including `longest`.
    fn time(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.u64(0..=nanos))
    }

    fn ending(&mut self) -> Ending {
        if self.random.bool() { Ending::Reset } else { Ending::Eof }
    }

    /// A part of `len` bytes.
    fn part(&mut self, len: usize) -> usize {
        if self.random.bool() { 1 } else { self.random.usize(1..=len) }
    }

    /// The bytes that a read of `len` bytes returns.
    pub(in super::super) fn read(&mut self, len: usize) -> usize {
        let Some(chaos) = self.state.chaos() else { return len };
        if len < 2 || !self.happens(chaos.short_reads) {
            return len;
        }
        self.state.count(|counts| &mut counts.short_reads);
        self.part(len)
    }

    /// The bytes that a write of `len` bytes takes, and how much later they arrive.
    pub(in super::super) fn write(&mut self, mut len: usize) -> (usize, Duration) {
        let Some(chaos) = self.state.chaos() else { return (len, Duration::ZERO) };
        if len > 1 && self.happens(chaos.short_writes) {
            self.state.count(|counts| &mut counts.short_writes);
            len = self.part(len);
        }
        if len == 0 || !self.happens(chaos.late_writes) {
            return (len, Duration::ZERO);
        }
        self.state.count(|counts| &mut counts.late_writes);
        (len, self.time(chaos.lateness))
    }

    /// Whether a write that has room waits once. Never twice in succession.
    pub(in super::super) fn holds_back(&mut self) -> bool {
        let Some(chaos) = self.state.chaos() else { return false };
        self.held_back = !self.held_back && self.happens(chaos.pending_writes);
        if self.held_back {
            self.state.count(|counts| &mut counts.pending_writes);
        }
        self.held_back
    }

    /// Whether a connection breaks: in the direction of the listener or not, after how many bytes,
    /// and how.
    pub(in super::super) fn breaks(&mut self) -> Option<(bool, u64, Ending)> {
        let chaos = self.state.chaos()?;
        let breaks = self.happens(chaos.breaks);
        breaks.then(|| {
            let to_listener = self.random.bool();
            (to_listener, self.random.u64(0..=chaos.break_within), self.ending())
        })
    }

    /// How much longer a dial takes, and what happens to it then.
    pub(in super::super) fn dial(&mut self) -> (Duration, DialFate) {
        let Some(chaos) = self.state.chaos() else { return (Duration::ZERO, DialFate::Usual) };
        let mut longer = Duration::ZERO;
        if self.happens(chaos.slow_dials) {
            self.state.count(|counts| &mut counts.slow_dials);
            longer = self.time(chaos.slow_dial);
        }
        if self.happens(chaos.refused_dials) {
            return (longer, DialFate::Refused);
        }
        if self.happens(chaos.broken_dials) {
            return (longer, DialFate::Broken(self.ending()));
        }
        (longer, DialFate::Usual)
    }
}
