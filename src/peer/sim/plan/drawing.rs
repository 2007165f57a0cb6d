//! Draws the faults of a plan.

use std::{ops::Range, time::Duration};

use super::{Fault, FaultLevel, Mood, Restart, secs};
use crate::overlay::Dice;

/// The mean time between the beginnings of two faults.
pub(super) const fn pause(level: FaultLevel) -> Option<Duration> {
    match level {
        FaultLevel::None => None,
        FaultLevel::Light => Some(secs(6)),
        FaultLevel::Heavy => Some(secs(3)),
    }
}

/// The longest fault, except for a stall that is longer than a keepalive.
const LONG: u64 = 20;

/// Draws the faults of a plan.
pub(super) struct Drawing {
    dice: Dice,
    nodes: usize,
    /// When the partition ends that is in force, because the network heals all partitions at once.
    whole_at: Duration,
    /// When each node is up again.
    up_at: Vec<Duration>,
}

/// Separates these draws from others by the same seed.
const PLAN: u64 = 0x706c_616e;

impl Drawing {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let up_at = vec![Duration::ZERO; nodes];
        Self { dice: Dice::new(seed ^ PLAN), nodes, whole_at: Duration::ZERO, up_at }
    }

    fn range(&mut self, range: Range<u64>) -> u64 {
        let span = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        range.start.saturating_add(u64::try_from(self.dice.below(span)).unwrap_or(0))
    }

    pub(super) fn time(&mut self, millis: Range<u64>) -> Duration {
        Duration::from_millis(self.range(millis))
    }

    fn long(&mut self) -> Duration {
        self.time(200..LONG * 1_000)
    }

    fn node(&mut self) -> usize {
        self.dice.below(self.nodes)
    }

    fn two(&mut self) -> (usize, usize) {
        let a = self.node();
        let step = 1 + self.dice.below(self.nodes.saturating_sub(1));
        (a, (a + step) % self.nodes.max(1))
    }

    /// A part of the nodes: at least one and not all.
    fn side(&mut self) -> Vec<usize> {
        let mut all: Vec<_> = (0..self.nodes).collect();
        let size = 1 + self.dice.below(self.nodes.saturating_sub(1));
        let mut side = self.dice.sample(&mut all, size);
        side.sort_unstable();
        side
    }

    fn restart(&mut self) -> Restart {
        Restart {
            moves: self.dice.below(4) == 0,
            renamed: self.dice.below(6) == 0,
            keeps_disk: self.dice.below(3) > 0,
        }
    }

    /// A fault that may begin at this time. `None` if the drawn kind may not begin now.
    pub(super) fn fault(&mut self, at: Duration, level: FaultLevel) -> Option<Fault> {
        let kinds = if level == FaultLevel::Light { 9 } else { 18 };
        let fault = match self.dice.below(kinds) {
            0 | 1 => {
                let (a, b) = self.two();
                Fault::Cut(a, b)
            }
            2 => {
                // Half of them within a hello and the first message.
                let end = if self.dice.below(2) == 0 { 600 } else { 100_000 };
                Fault::CutAfter { bytes: self.range(0..end), to_listener: self.dice.below(2) == 0 }
            }
            3 => {
                let (side, time) = (self.side(), self.long());
                let free: Vec<_> = (0..self.nodes).filter(|node| !side.contains(node)).collect();
                let bridge = match self.dice.below(4) {
                    0 if free.len() > 1 => free.get(self.dice.below(free.len())).copied(),
                    _ => None,
                };
                Fault::Partition { side, bridge, time }
            }
            4 => {
                let (from, to) = self.two();
                Fault::OneWay { from, to, time: self.long() }
            }
            5 => Fault::Stall { node: self.node(), time: self.time(100..25_000) },
            6 => Fault::Latency { median: self.time(5..800), time: self.long() },
            7 => Fault::Bandwidth {
                node: self.node(),
                bytes: self.range(5_000..500_000),
                time: self.long(),
            },
            8 => Fault::Handlers {
                node: self.node(),
                mood: Mood::Slow(self.time(1..4_000)),
                time: self.long(),
            },
            9 | 10 => Fault::Crash {
                node: self.node(),
                with_host: self.dice.below(2) == 0,
                away: self.long(),
                restart: self.restart(),
            },
            11 => Fault::Stop { node: self.node(), away: self.long(), restart: self.restart() },
            12 => {
                let seconds = self.range(1..5_000_000).cast_signed();
                let back = self.dice.below(2) == 0;
                Fault::Clock {
                    node: self.node(),
                    seconds: if back { seconds.wrapping_neg() } else { seconds },
                }
            }
            13 => Fault::Impostor { of: self.node(), time: self.long() },
            14 => {
                Fault::SlowDisk { node: self.node(), write: self.time(1..3_000), time: self.long() }
            }
            15 => {
                let mood = if self.dice.below(2) == 0 { Mood::Panics } else { Mood::Silent };
                Fault::Handlers { node: self.node(), mood, time: self.long() }
            }
            16 => match self.dice.below(3) {
                0 => Fault::Islands { time: self.time(200..8_000) },
                1 => {
                    let (side, times) = (self.side(), 2 + u32::try_from(self.dice.below(5)).ok()?);
                    Fault::Flapping { side, times, time: self.time(50..1_500) }
                }
                _ => {
                    let (node, whom) = self.two();
                    Fault::Ban { node, whom, time: self.long() }
                }
            },
            _ => Fault::Chaos { time: self.long() },
        };
        self.admit(at, fault)
    }

    /// Two partitions do not overlap, and a node that is down is not taken down.
    fn admit(&mut self, at: Duration, fault: Fault) -> Option<Fault> {
        let end = at.saturating_add(fault.time());
        match &fault {
            Fault::Partition { .. }
            | Fault::Islands { .. }
            | Fault::Flapping { .. }
            | Fault::OneWay { .. } => {
                if at < self.whole_at {
                    return None;
                }
                self.whole_at = end;
            }
            Fault::Crash { node, .. } | Fault::Stop { node, .. } => {
                let up_at = self.up_at.get_mut(*node)?;
                // The graceful end and the start of a node take their time.
                if at < up_at.saturating_add(secs(LONG)) && !up_at.is_zero() {
                    return None;
                }
                *up_at = end;
            }
            _ => {}
        }
        Some(fault)
    }
}
