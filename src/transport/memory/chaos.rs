//! Faults that a network draws by itself, from its seed.

mod dice;

use std::{fmt, time::Duration};

pub(super) use self::dice::{ChaosDice, ChaosState, DialFate};
use super::MemoryNetwork;

/// Faults that the network draws from its seed, each with a probability from 0 to 1, for
/// [`MemoryNetwork::chaos`]. All are off by default. A negative probability or NaN means 0.
///
/// The draws have generators of their own, one for each direction of each connection and one for
/// dials, so they change no latency. With the same seed and the same use of the network, the same
/// faults happen.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::transport::memory::{Chaos, MemoryNetwork};
///
/// let network = MemoryNetwork::new(42);
/// network.chaos(Chaos::light());
/// network.chaos(Chaos::none().short_reads(0.5).breaks(0.1, 4_096));
/// network.chaos(Chaos::heavy().slow_dials(0.0, Duration::ZERO));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chaos {
    pub(super) short_reads: f64,
    pub(super) short_writes: f64,
    pub(super) pending_writes: f64,
    pub(super) late_writes: f64,
    pub(super) lateness: Duration,
    pub(super) breaks: f64,
    pub(super) break_within: u64,
    pub(super) slow_dials: f64,
    pub(super) slow_dial: Duration,
    pub(super) refused_dials: f64,
    pub(super) broken_dials: f64,
}

impl Chaos {
    /// No faults.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            short_reads: 0.0,
            short_writes: 0.0,
            pending_writes: 0.0,
            late_writes: 0.0,
            lateness: Duration::ZERO,
            breaks: 0.0,
            break_within: 0,
            slow_dials: 0.0,
            slow_dial: Duration::ZERO,
            refused_dials: 0.0,
            broken_dials: 0.0,
        }
    }

    /// Faults of a bad day: some of each kind, so that most exchanges still succeed.
    #[must_use]
    pub const fn light() -> Self {
        Self::none()
            .short_reads(0.05)
            .short_writes(0.05)
            .pending_writes(0.05)
            .late_writes(0.02, Duration::from_millis(500))
            .breaks(0.05, 64 * 1024)
            .slow_dials(0.05, Duration::from_secs(2))
            .refused_dials(0.01)
            .broken_dials(0.01)
    }

    /// Faults everywhere: most connections break or are slow.
    #[must_use]
    pub const fn heavy() -> Self {
        Self::none()
            .short_reads(0.5)
            .short_writes(0.5)
            .pending_writes(0.3)
            .late_writes(0.2, Duration::from_secs(3))
            .breaks(0.4, 16 * 1024)
            .slow_dials(0.3, Duration::from_secs(15))
            .refused_dials(0.1)
            .broken_dials(0.1)
    }

    /// A read returns a part of the arrived data: one byte in half of the cases, otherwise a random
    /// number of bytes. The probability is that of a read of at least two bytes.
    #[must_use]
    pub const fn short_reads(mut self, probability: f64) -> Self {
        self.short_reads = probability;
        self
    }

    /// A write takes a part of the data: one byte in half of the cases, otherwise a random number
    /// of bytes. The probability is that of a write of at least two bytes.
    #[must_use]
    pub const fn short_writes(mut self, probability: f64) -> Self {
        self.short_writes = probability;
        self
    }

    /// A write returns `Pending` once although there is room, and wakes its task.
    #[must_use]
    pub const fn pending_writes(mut self, probability: f64) -> Self {
        self.pending_writes = probability;
        self
    }

    /// The data of one write arrives later, by a uniform time up to `lateness`. Data that is
    /// written later in the same direction does not overtake it.
    #[must_use]
    pub const fn late_writes(mut self, probability: f64, lateness: Duration) -> Self {
        self.late_writes = probability;
        self.lateness = lateness;
        self
    }

    /// A connection breaks as soon as a uniform number of bytes from 0 to `within` was written in
    /// one of its directions, with either [`Ending`](super::Ending). The probability is that of a
    /// connection. Bytes are counted from the dial, or from the call of [`MemoryNetwork::chaos`]
    /// if the connection existed then.
    #[must_use]
    pub const fn breaks(mut self, probability: f64, within: u64) -> Self {
        self.breaks = probability;
        self.break_within = within;
        self
    }

    /// A dial takes longer, by a uniform time up to `longer`.
    #[must_use]
    pub const fn slow_dials(mut self, probability: f64, longer: Duration) -> Self {
        self.slow_dials = probability;
        self.slow_dial = longer;
        self
    }

    /// A dial is refused although there is a listener.
    #[must_use]
    pub const fn refused_dials(mut self, probability: f64) -> Self {
        self.refused_dials = probability;
        self
    }

    /// A dial is accepted, and the connection is broken at once, with either
    /// [`Ending`](super::Ending).
    #[must_use]
    pub const fn broken_dials(mut self, probability: f64) -> Self {
        self.broken_dials = probability;
        self
    }
}

/// The number of faults of each kind that [`Chaos`] has caused; see
/// [`MemoryNetwork::chaos_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaosCounts {
    /// Reads that returned a part of the arrived data.
    pub short_reads: u64,
    /// Writes that took a part of the data.
    pub short_writes: u64,
    /// Writes that returned `Pending` although there was room.
    pub pending_writes: u64,
    /// Writes whose data arrived later.
    pub late_writes: u64,
    /// Connections that broke after some bytes.
    pub breaks: u64,
    /// Dials that took longer.
    pub slow_dials: u64,
    /// Dials that were refused although there was a listener.
    pub refused_dials: u64,
    /// Dials that were accepted and whose connection was broken at once.
    pub broken_dials: u64,
}

impl ChaosCounts {
    /// Each kind by its name, with its number.
    #[must_use]
    pub const fn by_kind(&self) -> [(&'static str, u64); 8] {
        [
            ("short reads", self.short_reads),
            ("short writes", self.short_writes),
            ("pending writes", self.pending_writes),
            ("late writes", self.late_writes),
            ("breaks", self.breaks),
            ("slow dials", self.slow_dials),
            ("refused dials", self.refused_dials),
            ("broken dials", self.broken_dials),
        ]
    }
}

/// `3 short reads, 1 breaks`: the kinds that happened.
impl fmt::Display for ChaosCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut happened = self.by_kind().into_iter().filter(|(_, count)| *count > 0);
        match happened.next() {
            Some((kind, count)) => write!(f, "{count} {kind}")?,
            None => return f.write_str("no faults"),
        }
        happened.try_for_each(|(kind, count)| write!(f, ", {count} {kind}"))
    }
}

impl MemoryNetwork {
    /// Sets the faults that the network draws. They apply to all connections from now on, also to
    /// those that exist: whether and where each [breaks](Chaos::breaks) is drawn again. With
    /// [`Chaos::none`] no further fault happens.
    pub fn chaos(&self, chaos: Chaos) {
        self.lock().set_chaos(chaos);
    }

    /// The faults that [`chaos`](Self::chaos) has caused since the network was created.
    #[must_use]
    pub fn chaos_counts(&self) -> ChaosCounts {
        self.lock().chaos.counts()
    }
}
