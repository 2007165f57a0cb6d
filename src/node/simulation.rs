//! The simulation that runs on this thread, if any.

use std::{cell::RefCell, time::SystemTime};

use crate::{node::clock::simulated_date, overlay::Dice, transport::Simulated};

/// What a running simulation gives to the code on its thread.
struct Simulation {
    /// Draws the seeds of generators.
    seeds: Dice,
    clock: Simulated,
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
pub(crate) fn begin(clock: Simulated) -> Running {
    let simulation = Simulation { seeds: Dice::new(clock.seed() ^ SEEDS), clock };
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

/// The date of the simulation. `None` outside of one.
pub(crate) fn date() -> Option<SystemTime> {
    RUNNING.with_borrow(|running| running.as_ref().map(|running| simulated_date(&running.clock)))
}
