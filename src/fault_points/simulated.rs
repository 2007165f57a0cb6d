//! The fault points and counters of a simulation: state of its thread.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use super::{FaultPoint, Sometimes};

/// How often the [fault points](FaultPoint) of a simulation fire.
///
/// Each simulation draws from its seed which of the points can fire at all, so that runs differ
/// more from each other than if every point fired a little in each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Level {
    /// Never.
    #[default]
    Off,
    /// A third of the points, one time in fifty.
    Light,
    /// Two thirds of the points, one time in five.
    Heavy,
}

impl Level {
    /// The share of the points that can fire, and the probability that one of them fires.
    const fn shares(self) -> (f64, f64) {
        match self {
            Self::Off => (0.0, 0.0),
            Self::Light => (1.0 / 3.0, 0.02),
            Self::Heavy => (2.0 / 3.0, 0.2),
        }
    }
}

/// Makes the seeds of fault points differ from other uses of the same seed.
const SALT: u64 = 0x6275_6767_6966_7921;

/// The fault points of one simulation. Each has a generator of its own, so that the draws of one do
/// not change those of another.
#[derive(Debug)]
pub(crate) struct FaultPoints {
    level: Cell<Level>,
    points: Vec<Point>,
    /// The counts of [`Sometimes::ALL`].
    reached: Vec<Cell<u64>>,
}

#[derive(Debug)]
struct Point {
    /// The share of points at which this one can fire.
    rank: f64,
    random: RefCell<fastrand::Rng>,
    fired: Cell<u64>,
}

impl Point {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self { rank: random.f64(), random: RefCell::new(random), fired: Cell::new(0) }
    }

    fn fires(&self, level: Level) -> bool {
        let (share, probability) = level.shares();
        // A point draws even if it cannot fire, so that the level changes no later draw.
        let drawn = self.random.borrow_mut().f64();
        let fires = self.rank < share && drawn < probability;
        self.fired.set(self.fired.get().saturating_add(u64::from(fires)));
        fires
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<FaultPoints>>> = const { RefCell::new(None) };
}

/// Runs `work` on the fault points of the simulation that runs on this thread, if there is one.
fn with_current<R>(work: impl FnOnce(&FaultPoints) -> R) -> Option<R> {
    // An error means that the thread is ending.
    CURRENT.try_with(|current| current.borrow().as_deref().map(work)).ok().flatten()
}

/// Whether the unusual behaviour is taken here. Always false outside of a simulation.
pub(crate) fn fault_point(point: FaultPoint) -> bool {
    let fires = |points: &FaultPoints| match points.level.get() {
        Level::Off => false,
        level => points.points.get(point as usize).is_some_and(|point| point.fires(level)),
    };
    with_current(fires).unwrap_or(false)
}

/// Notes that a situation has occurred.
pub(crate) fn reached(what: Sometimes) {
    with_current(|points| {
        if let Some(count) = points.reached.get(what as usize) {
            count.set(count.get().saturating_add(1));
        }
    });
}

impl FaultPoints {
    /// The fault points of a simulation with this seed, switched off.
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        let mut seeds = fastrand::Rng::with_seed(seed ^ SALT);
        Rc::new(Self {
            level: Cell::default(),
            points: FaultPoint::ALL.iter().map(|_| Point::new(seeds.u64(..))).collect(),
            reached: Sometimes::ALL.iter().map(|_| Cell::new(0)).collect(),
        })
    }

    pub(crate) fn set_level(&self, level: Level) {
        self.level.set(level);
    }

    /// How often each point has fired.
    pub(crate) fn fired(&self) -> BTreeMap<FaultPoint, u64> {
        let fired = self.points.iter().map(|point| point.fired.get());
        FaultPoint::ALL.iter().copied().zip(fired).collect()
    }

    /// How often each situation has occurred.
    pub(crate) fn reached(&self) -> BTreeMap<Sometimes, u64> {
        Sometimes::ALL.iter().copied().zip(self.reached.iter().map(Cell::get)).collect()
    }

    /// Makes these the fault points of this thread until the result is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered { before: CURRENT.replace(Some(Rc::clone(self))) }
    }
}

/// Restores the earlier fault points of the thread when it is dropped, also during a panic.
#[must_use]
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<Rc<FaultPoints>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn draws(seed: u64, level: Level) -> Vec<bool> {
        let points = FaultPoints::new(seed);
        points.set_level(level);
        let _entered = points.enter();
        (0..2_000).map(|n| fault_point(FaultPoint::ALL[n % FaultPoint::ALL.len()])).collect()
    }

    #[test]
    fn the_seed_and_the_level_decide_which_points_fire() {
        assert_eq!(draws(1, Level::Heavy), draws(1, Level::Heavy));
        assert_ne!(draws(1, Level::Heavy), draws(2, Level::Heavy));
        let fired = |level| {
            let fired = (0..100).map(|seed| draws(seed, level)).collect::<Vec<_>>().concat();
            fired.iter().filter(|fired| **fired).count()
        };
        assert_eq!(fired(Level::Off), 0);
        // Of 200,000: 1/3 of 2 %, and 2/3 of 20 %.
        let (light, heavy) = (fired(Level::Light), fired(Level::Heavy));
        assert!(
            (1_000..1_700).contains(&light) && (23_000..30_000).contains(&heavy),
            "{light} {heavy}"
        );
    }

    #[test]
    fn a_point_of_a_lower_level_fires_at_a_higher_one_as_well() {
        let (light, heavy) = (draws(3, Level::Light), draws(3, Level::Heavy));
        assert!(light.iter().zip(&heavy).all(|(light, heavy)| !light || *heavy));
        assert!(light.contains(&true));
    }

    #[test]
    fn situations_are_counted_by_name_and_those_that_never_occurred_are_known() {
        let points = FaultPoints::new(1);
        reached(Sometimes::Banned);
        let entered = points.enter();
        reached(Sometimes::TableFull);
        reached(Sometimes::TableFull);
        drop(entered);
        reached(Sometimes::TableFull);
        let counts = points.reached();
        assert_eq!((counts[&Sometimes::TableFull], counts[&Sometimes::Banned]), (2, 0));
        assert_eq!(counts.len(), Sometimes::ALL.len());
        assert_eq!(Sometimes::TableFull.name(), "TableFull");
    }

    #[test]
    fn the_points_of_a_thread_are_restored_after_a_panic_as_well() {
        let (outer, inner) = (FaultPoints::new(1), FaultPoints::new(2));
        let _outer = outer.enter();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _inner = inner.enter();
            reached(Sometimes::Banned);
            panic!("inside");
        }));
        assert!(panicked.is_err());
        reached(Sometimes::TableFull);
        let count = |points: &FaultPoints| points.reached().values().sum::<u64>();
        assert_eq!((count(&outer), count(&inner)), (1, 1));
        assert_eq!(outer.reached()[&Sometimes::TableFull], 1);
    }

    #[test]
    fn each_point_counts_how_often_it_has_fired() {
        let points = FaultPoints::new(5);
        points.set_level(Level::Heavy);
        let entered = points.enter();
        let fired = (0..1_000).filter(|_| {
            FaultPoint::ALL.iter().fold(false, |fired, point| fault_point(*point) | fired)
        });
        assert!(fired.count() > 0);
        drop(entered);
        let fired = points.fired();
        assert_eq!(fired.len(), FaultPoint::ALL.len());
        // Two thirds of them can fire.
        let can_fire = fired.values().filter(|count| **count > 0).count();
        assert!(can_fire > 5 && can_fire < FaultPoint::ALL.len(), "{fired:?}");
        assert!(FaultPoint::ALL.iter().all(|point| !fault_point(*point)), "outside");
    }
}
