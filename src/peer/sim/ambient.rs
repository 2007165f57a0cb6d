//! The random numbers and the date of the simulation that runs on this thread.

use std::{ops::Range, time::SystemTime};

use crate::node::{
    clock::{system_date, system_random},
    simulation,
};

/// A generator of random numbers for the code of an application that runs in simulations and in
/// production.
///
/// In a task or an actor on the thread of [`SimNetwork::run`](super::SimNetwork::run), the seed of
/// the network decides its numbers. Each call returns another generator, so the order of the calls
/// counts. Anywhere else, the system seeds it.
///
/// ```
/// use actix_peer::sim::{self, SimError, SimNetwork};
///
/// let run = || {
///     SimNetwork::new(7).run(async |_| {
///         let (mut one, mut other) = (sim::rng(), sim::rng());
///         Ok::<_, SimError>([one.u64(0..1_000), one.u64(0..1_000), other.u64(0..1_000)])
///     })
/// };
/// assert_eq!(run()?, run()?);
/// # Ok::<(), SimError>(())
/// ```
#[must_use]
pub fn rng() -> SimRng {
    SimRng::new(simulation::next_seed().unwrap_or_else(system_random))
}

/// The date: the simulated one in a task or an actor on the thread of
/// [`SimNetwork::run`](super::SimNetwork::run), anywhere else that of the system.
///
/// It is the clock of the nodes. A simulation begins at a fixed date, and its date follows tokio's
/// paused clock.
///
/// ```
/// use std::time::Duration;
/// use actix_peer::sim::{self, SimError, SimNetwork};
///
/// SimNetwork::new(7).run(async |net| {
///     let begun = sim::now();
///     net.advance(Duration::from_secs(3_600)).await;
///     assert_eq!(sim::now(), begun + Duration::from_secs(3_600));
///     Ok::<_, SimError>(())
/// })?;
/// # Ok::<(), SimError>(())
/// ```
#[must_use]
pub fn now() -> SystemTime {
    simulation::date().unwrap_or_else(system_date)
}

/// A generator of random numbers. The same seed gives the same numbers. They are not secret.
///
/// [`rng`] makes one. A clone continues with the same numbers.
#[derive(Clone, Debug)]
pub struct SimRng(fastrand::Rng);

impl SimRng {
    /// A generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A random number of the range; the start of an empty range.
    pub fn u64(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() { range.start } else { self.0.u64(range) }
    }

    /// True with this probability: 0 is never, 1 is always.
    pub fn bool(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    /// A random element; `None` if the slice is empty.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let len = u64::try_from(of.len()).unwrap_or(u64::MAX);
        usize::try_from(self.u64(0..len)).ok().and_then(|at| of.get(at))
    }

    /// Shuffles the slice.
    pub fn shuffle<T>(&mut self, these: &mut [T]) {
        self.0.shuffle(these);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    use super::*;
    use crate::{
        node::simulation::is_running,
        peer::{Peer, StartError},
        sim::{SimError, SimNetwork},
    };

    fn run<T>(seed: u64, test: impl AsyncFnOnce(SimNetwork) -> T) -> T {
        let run = SimNetwork::new(seed).run(async |net| Ok::<_, SimError>(test(net).await));
        run.unwrap()
    }

    #[test]
    fn the_seed_decides_the_numbers_in_every_task_and_each_generator_has_its_own() {
        let draw = |seed| {
            run(seed, async |_| {
                let task = actix_rt::spawn(async { rng().u64(0..u64::MAX) }).await.unwrap();
                [task, rng().u64(0..u64::MAX), rng().u64(0..u64::MAX)]
            })
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2]);
    }

    #[test]
    fn the_date_is_that_of_the_nodes_and_the_same_in_each_run() {
        let dates = || {
            run(1, async |net| {
                net.advance(Duration::from_millis(1_234)).await;
                let date = now();
                let ada = net.start("ada").await.unwrap();
                let nodes = ada.node().ambient.unix_time();
                assert_eq!(date.duration_since(SystemTime::UNIX_EPOCH).unwrap(), nodes);
                date
            })
        };
        assert_eq!(dates(), dates());
    }

    #[test]
    fn outside_of_a_run_and_after_one_that_panicked_numbers_and_date_are_those_of_the_system() {
        let outside = || !is_running() && rng().u64(0..u64::MAX) != rng().u64(0..u64::MAX);
        assert!(outside());
        let simulated = run(1, async |_| {
            assert!(is_running());
            now()
        });
        assert!(outside() && now() < simulated);
        let panicked = catch_unwind(AssertUnwindSafe(|| run(1, async |_| panic!("in the test"))));
        assert!(panicked.is_err() && outside());
    }

    #[test]
    fn a_node_with_workers_does_not_start_in_a_simulated_network() {
        let error = run(1, async |_| Peer::builder().workers(1).start().await.unwrap_err());
        assert!(matches!(error, StartError::WorkersInSimulation));
    }

    #[test]
    fn draws_are_within_their_bounds() {
        let mut rng = SimRng::new(7);
        assert!((0..1_000).all(|_| (3..9).contains(&rng.u64(3..9))));
        assert_eq!((rng.u64(5..5), rng.pick::<u8>(&[])), (5, None));
        assert!((0..1_000).all(|_| rng.bool(1.0) && !rng.bool(0.0)));
        let heads = (0..1_000).filter(|_| rng.bool(0.25)).count();
        assert!((150..350).contains(&heads), "{heads}");
        let mut all: Vec<_> = (0..50).collect();
        rng.shuffle(&mut all);
        assert!(!all.is_sorted() && (0..50).all(|n| all.contains(&n)));
        assert!((0..100).all(|_| rng.pick(&all).is_some_and(|n| *n < 50)));
    }
}
