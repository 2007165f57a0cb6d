//! Models: tests that run several threads on the types of this crate under many schedules.
//!
//! The threads and tasks of a model are coroutines of [`shuttle`] in one thread of the system. One
//! runs at a time, and at each point a scheduler selects the one that goes on. A point is before
//! each operation on a [`Mutex`](super::Mutex), a [`RwLock`](super::RwLock), a
//! [`Notify`](super::Notify), a [`Semaphore`](super::Semaphore) and an [`atomic`](super::atomic),
//! and where a future is pending. What runs between two points is atomic to the model: operations
//! on channels, cancellation tokens, wakers and pipes, and the release of a permit. Atomic
//! operations are sequentially consistent, so that a model finds no fault of their ordering.
//!
//! Time passes only while all threads wait, and only as much as the model allows. Threads that then
//! still wait are a failure. So a time-out does not hide a lost wake-up.
//!
//! A model that fails prints its schedule. `MODEL_SCHEDULE=<schedule>` repeats that schedule, as
//! long as nothing else is random. `MODEL_RUNS=<n>` runs `n` times as many schedules, and
//! `SHUTTLE_RANDOM_SEED=<n>` runs others.

use std::{
    cell::{Cell, RefCell},
    env,
    sync::Arc,
    time::Duration,
};

use shuttle::{
    Config, MaxSteps, Runner,
    current::{me, try_get_current_task},
    scheduler::{
        PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
    },
    sync::atomic::{AtomicBool, Ordering},
    thread::yield_now,
};
use tokio::runtime::{Builder, Runtime};

pub(crate) use shuttle::{future::block_on, thread::JoinHandle};

/// The seed of the schedules.
const SEED: u64 = 7;

/// The number of times at which the order of precedence of the threads changes, and one. Most
/// faults need two such changes or fewer.
const DEPTH: usize = 3;

/// The space of each coroutine. Futures of tests without optimization are large.
const STACK: usize = 1 << 20; // bytes

/// A schedule with more points is one in which a thread waits for ever for a lock.
const MAX_POINTS: usize = 200_000;

/// The number of steps in which the time of a model passes.
const STEPS: u32 = 200;

/// The tasks that run only if no other does.
#[derive(Clone, Copy, Default)]
struct Patient {
    /// The one that waits for [`quiet`].
    quiet: Option<TaskId>,
    /// The one that advances the time, if nothing else can happen.
    clock: Option<TaskId>,
}

thread_local! {
    /// The timers of the model that runs in this thread.
    static TIMERS: RefCell<Option<&'static Runtime>> = const { RefCell::new(None) };
    static PATIENT: Cell<Patient> = const { Cell::new(Patient { quiet: None, clock: None }) };
}

/// Runs `model` under `runs` random schedules, and under as many in which the threads have an order
/// of precedence that changes a few times. No time passes.
pub(crate) fn explore(runs: usize, model: impl Fn() + Send + Sync + 'static) {
    explore_for(Duration::ZERO, runs, model);
}

/// As [`explore`], and up to `time` passes while all threads wait.
pub(crate) fn explore_for(time: Duration, runs: usize, model: impl Fn() + Send + Sync + 'static) {
    let timers = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // Timers of a model that fails must not wake its threads when they are dropped.
    let timers: &Runtime = Box::leak(Box::new(timers));
    TIMERS.set(Some(timers));
    let _inside = timers.enter();
    let model = Arc::new(move || {
        PATIENT.set(Patient::default());
        if !time.is_zero() {
            drop(thread(move || pass(time)));
        }
        model();
        // No lock is held when the other tasks are dropped.
        quiet();
    });
    if let Ok(schedule) = env::var("MODEL_SCHEDULE") {
        run_under(ReplayScheduler::new_from_encoded(&schedule), model);
    } else {
        let times = env::var("MODEL_RUNS").map_or(1, |times| times.parse().unwrap());
        let runs = runs * times;
        run_under(RandomScheduler::new_from_seed(SEED, runs), Arc::clone(&model));
        run_under(PctScheduler::new_from_seed(SEED, DEPTH, runs), model);
    }
}

fn run_under(scheduler: impl Scheduler + 'static, model: Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(MAX_POINTS);
    Runner::new(PatientLast(scheduler), config).run(move || model());
}

/// Selects a patient task only if no other can run.
struct PatientLast<S>(S);

impl<S: Scheduler> Scheduler for PatientLast<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let Patient { quiet, clock } = PATIENT.get();
        let is = |task: &Task, patient: Option<TaskId>| Some(task.id()) == patient;
        let others = |task: &&&Task| !is(task, quiet) && !is(task, clock);
        let mut least: Vec<_> = runnable.iter().filter(others).copied().collect();
        if least.is_empty() {
            least = runnable.iter().filter(|task| is(task, quiet)).copied().collect();
        }
        self.0.next_task(if least.is_empty() { runnable } else { &least }, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Whether this code runs in a model.
pub(crate) fn is_running() -> bool {
    try_get_current_task().is_some()
}

/// Lets another thread of the model go on, if the scheduler selects one.
pub(super) fn point() {
    if is_running() {
        AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Waits until `take` returns something.
pub(super) fn wait_for<T>(mut take: impl FnMut() -> Option<T>) -> T {
    point();
    loop {
        if let Some(taken) = take() {
            return taken;
        }
        yield_now();
    }
}

/// Runs `work` as a task of the model. Returns it if this is not a model. The model does not wait
/// for its end.
pub(crate) fn spawn<F>(work: F) -> Option<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    if !is_running() {
        return Some(work);
    }
    drop(shuttle::future::spawn(async move { drop(work.await) }));
    None
}

/// Starts a thread of the model.
pub(crate) fn thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    shuttle::thread::spawn(work)
}

/// Starts a thread of the model that runs a future.
pub(crate) fn run<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    thread(move || block_on(work))
}

/// Waits for the end of threads. Returns their results.
pub(crate) fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Waits until all other threads wait for something other than time.
pub(crate) fn quiet() {
    PATIENT.set(Patient { quiet: Some(me()), ..PATIENT.get() });
    yield_now();
    PATIENT.set(Patient { quiet: None, ..PATIENT.get() });
}

/// Advances the time by `all` in steps, each of them when all threads wait.
fn pass(all: Duration) {
    PATIENT.set(Patient { clock: Some(me()), ..PATIENT.get() });
    let timers = TIMERS.with_borrow(Clone::clone).unwrap();
    for _ in 0..STEPS {
        yield_now();
        timers.block_on(tokio::time::advance(all / STEPS));
    }
}
