//! Many lives of a network, one for each seed, and the smallest one that breaks an invariant.

mod shrink;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Life, SimNetwork, Sometimes, Violation,
    plan::{Plan, PlanSize},
};
use crate::sync::Mutex;

/// The limit of virtual time of one life beyond its faults.
const AFTER: Duration = Duration::from_secs(3_600);

thread_local! {
    /// The panics of this thread, except for those on purpose.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the panics of each thread from now on.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.set(panics.get() + 1));
            before(info);
        }));
    });
}

/// Runs a scenario in many lives of a network, on all cores: one life for each seed. See the
/// [module](super) for an example.
#[must_use = "it does nothing until `run`"]
pub struct Explore {
    seeds: Range<u64>,
    size: PlanSize,
    threads: usize,
    shrink: bool,
    progress: Box<dyn Fn(&LifeReport) + Send + Sync>,
}

impl fmt::Debug for Explore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, size, threads, shrink, .. } = self;
        let mut f = f.debug_struct("Explore");
        f.field("seeds", seeds).field("size", size).field("threads", threads);
        f.field("shrink", shrink).finish_non_exhaustive()
    }
}

/// What happened in one life.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LifeReport {
    /// The seed.
    pub seed: u64,
    /// The virtual time from the beginning to the end.
    pub time: Duration,
    /// [`SimNetwork::digest`] at the end.
    pub digest: u64,
    /// Messages that the [`Traffic`](super::Traffic) sent, or attempted to send.
    pub sent: u64,
    /// Messages that its handlers received.
    pub handled: u64,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// [`SimNetwork::chaos_counts`](crate::transport::memory::MemoryNetwork::chaos_counts) and
    /// [`SimNetwork::fired`], in all.
    pub inner_faults: u64,
    /// How often each rare situation occurred.
    pub reached: BTreeMap<Sometimes, u64>,
    /// The invariant that did not hold. `None` if all did.
    pub violation: Option<Violation>,
    /// The first lines of [`SimNetwork::history`]; empty unless the life was
    /// [replayed](Explore::replay).
    pub history: Vec<String>,
}

/// A broken invariant, and the smallest life that breaks it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// What is broken in the smallest life.
    pub violation: Violation,
    /// The smallest life: fewer nodes, fewer faults, shorter.
    pub plan: Plan,
}

/// The sum of many lives.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The number of lives.
    pub lives: u64,
    /// The virtual time of all lives.
    pub time: Duration,
    /// The real time that they took.
    pub took: Duration,
    /// Messages that the [`Traffic`](super::Traffic) sent, or attempted to send.
    pub sent: u64,
    /// Messages that its handlers received.
    pub handled: u64,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often connections were hostile, and a node took an unusual but legal way, in all.
    pub inner_faults: u64,
    /// How often each rare situation occurred in all lives.
    pub reached: BTreeMap<Sometimes, u64>,
    /// The broken invariants, by seed.
    pub found: BTreeMap<u64, Found>,
}

impl Report {
    /// Whether every invariant held in every life.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// The rare situations that occurred in no life. Where there are many, the faults are too weak,
    /// or the lives too few.
    #[must_use]
    pub fn never_reached(&self) -> Vec<Sometimes> {
        let never = self.reached.iter().filter(|(_, times)| **times == 0);
        never.map(|(what, _)| *what).collect()
    }

    fn add(&mut self, life: &LifeReport) {
        self.lives += 1;
        self.time = self.time.saturating_add(life.time);
        self.sent += life.sent;
        self.handled += life.handled;
        for (kind, times) in &life.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        self.inner_faults += life.inner_faults;
        for (what, times) in &life.reached {
            *self.reached.entry(*what).or_default() += times;
        }
    }
}

impl fmt::Display for Report {
    /// One line, and one for each broken invariant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lives, time, took, sent, handled, faults, inner_faults, reached, found } = self;
        for (seed, Found { violation, plan }) in found {
            writeln!(f, "seed {seed}: {violation}\n{plan}\n  cut: {}", plan.cut_text())?;
        }
        let injected: u64 = faults.values().sum();
        write!(
            f,
            "{lives} seeds, {} s of virtual time in {:.1} s, {sent} messages sent, {handled} \
             handled, {injected} faults",
            time.as_secs(),
            took.as_secs_f64()
        )?;
        for (n, (kind, times)) in faults.iter().enumerate() {
            write!(f, "{}{kind} {times}", if n == 0 { " (" } else { ", " })?;
        }
        if !faults.is_empty() {
            f.write_str(")")?;
        }
        let rare = reached.values().filter(|times| **times > 0).count();
        let (kinds, found) = (reached.len(), found.len());
        write!(f, ", {inner_faults} inside of nodes and connections")?;
        write!(f, ", {rare} of {kinds} rare situations, {found} violations")
    }
}

impl Explore {
    /// The lives of these seeds, of the default [`PlanSize`], on all cores.
    pub fn seeds(seeds: Range<u64>) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let size = PlanSize::default();
        Self { seeds, size, threads, shrink: true, progress: Box::new(|_| {}) }
    }

    /// Sets the size of each life.
    pub fn size(self, size: PlanSize) -> Self {
        Self { size, ..self }
    }

    /// Sets the number of threads; 0 means 1. Default: the number of cores.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Whether a smaller life is looked for that breaks the same invariant. Default: true.
    pub fn shrink(self, shrink: bool) -> Self {
        Self { shrink, ..self }
    }

    /// Calls this after each life, on the thread of the life.
    pub fn on_life(self, progress: impl Fn(&LifeReport) + Send + Sync + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// Runs the scenario in each life.
    ///
    /// # Panics
    /// If a thread cannot be started.
    pub fn run(&self, scenario: impl AsyncFn(Life) -> Result<(), Violation> + Sync) -> Report {
        count_panics();
        let (next, report) = (AtomicU64::new(self.seeds.start), Mutex::new(Report::default()));
        let begun = clock();
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    return;
                }
                let plan = Plan::new(seed, self.size);
                let life = run_life(&plan, &scenario, false);
                let found = life.violation.clone().map(|violation| {
                    if self.shrink {
                        shrink::smallest(&plan, violation, |plan| {
                            run_life(plan, &scenario, false).violation
                        })
                    } else {
                        Found { violation, plan }
                    }
                });
                let mut report = report.lock();
                report.add(&life);
                report.found.extend(found.map(|found| (seed, found)));
                drop(report);
                (self.progress)(&life);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(work);
            }
        });
        let mut report = std::mem::take(&mut *report.lock());
        report.took = begun.elapsed();
        report
    }

    /// Runs the scenario in one life, and keeps its history.
    pub fn replay(
        &self,
        plan: &Plan,
        scenario: impl AsyncFn(Life) -> Result<(), Violation> + Sync,
    ) -> LifeReport {
        count_panics();
        run_life(plan, &scenario, true)
    }
}

/// The real clock, to say how long a run took.
#[allow(clippy::disallowed_methods, reason = "it measures the run, not the network")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

fn run_life(
    plan: &Plan,
    scenario: &(impl AsyncFn(Life) -> Result<(), Violation> + Sync),
    history: bool,
) -> LifeReport {
    let before = PANICS.with(Cell::get);
    let mut report = LifeReport {
        seed: plan.seed,
        time: Duration::ZERO,
        digest: 0,
        sent: 0,
        handled: 0,
        faults: BTreeMap::new(),
        inner_faults: 0,
        reached: BTreeMap::new(),
        violation: None,
        history: Vec::new(),
    };
    let net = SimNetwork::new(plan.seed).limit(plan.calm_at().saturating_add(AFTER));
    let lived = AssertUnwindSafe(|| {
        net.run(async |net| {
            net.wires().latency(Life::usual_latency());
            net.fault_points(plan.level);
            let life = Life::new(net.clone(), plan.clone());
            let result = scenario(life.clone()).await;
            report.time = life.now();
            report.digest = net.digest();
            report.sent = life.traffic().sent();
            report.handled = life.traffic().handled();
            report.faults = life.faults();
            let fired: u64 = net.fired().values().sum();
            report.inner_faults = fired
                + net.wires().chaos_counts().by_kind().iter().map(|(_, times)| times).sum::<u64>();
            report.reached = net.reached();
            if history {
                report.history = net.history();
            }
            result
        })
    });
    let result = catch_unwind(lived).unwrap_or_else(|_| {
        Err(Violation::new("nothing panics", "the scenario panicked", Duration::ZERO))
    });
    report.violation = result.err();
    let panics = PANICS.with(Cell::get) - before;
    if panics > 0 && report.violation.is_none() {
        let detail = format!("{panics} panics, see standard error");
        report.violation = Some(Violation::new("nothing panics", detail, report.time));
    }
    report
}

#[cfg(test)]
mod tests;
