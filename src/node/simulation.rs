//! The simulation that runs on this thread, if any.

use std::cell::RefCell;

use tokio::time::Instant;

use crate::overlay::Dice;

/// What a running simulation gives to the code on its thread.
struct Simulation {
    /// Draws the seeds of generators.
    seeds: Dice,
    began: Instant,
}

thread_local! {
    /// A simulation runs on one thread.
    static RUNNING: RefCell<Option<Simulation>> = const { RefCell::new(None) };
}

/// Separates these seeds from the numbers that the network draws by the same seed.
const SEEDS: u64 = 0x5349_4d52_4e47_0001;

/// Ends the simulation on this thread when it is dropped.
#[must_use]
pub(crate) struct Running(Option<Simulation>);

/// Begins a simulation on this thread.
pub(crate) fn begin(seed: u64, began: Instant) -> Running {
    let simulation = Simulation { seeds: Dice::new(seed ^ SEEDS), began };
    Running(RUNNING.with_borrow_mut(|running| running.replace(simulation)))
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| *running = self.0.take());
    }
}

/// Whether a simulation runs on this thread.
pub(crate) fn is_running() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// Draws a seed for a generator. `None` outside of a simulation.
pub(crate) fn next_seed() -> Option<u64> {
    RUNNING.with_borrow_mut(|running| Some(running.as_mut()?.seeds.next()))
}

/// When the simulation began. `None` outside of one.
pub(crate) fn began() -> Option<Instant> {
    RUNNING.with_borrow(|running| Some(running.as_ref()?.began))
}
