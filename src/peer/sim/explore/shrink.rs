//! The smallest life that breaks an invariant.

use std::time::Duration;

use super::Found;
use crate::{
    peer::sim::{FaultLevel, Plan, Violation},
    time::part,
};

/// The most lives that are tried.
const TRIES: usize = 60;

/// Searches for a smaller life that breaks the same invariant: shorter, with fewer faults (Zeller
/// and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), with fewer nodes.
pub(super) fn smallest(
    plan: &Plan,
    violation: Violation,
    run: impl Fn(&Plan) -> Option<Violation>,
) -> Found {
    let mut search = Search { best: Found { violation, plan: plan.clone() }, tries: 0, run };
    let seen_at = search.best.violation.at();
    if !seen_at.is_zero() {
        search.attempt(plan.until(seen_at));
    }
    search.fewer_faults();
    for nodes in 2..plan.nodes {
        if search.attempt(search.best.plan.with_nodes(nodes)) {
            break;
        }
    }
    search.fewer_faults();
    for level in [FaultLevel::None, FaultLevel::Light] {
        if search.attempt(search.best.plan.at_level(level)) {
            break;
        }
    }
    for of in [8, 4, 2] {
        if search.attempt(search.best.plan.until(part(search.best.plan.time, of))) {
            break;
        }
    }
    search.best
}

struct Search<R> {
    best: Found,
    tries: usize,
    run: R,
}

impl<R: Fn(&Plan) -> Option<Violation>> Search<R> {
    /// Whether this smaller life breaks the invariant, too.
    fn attempt(&mut self, plan: Plan) -> bool {
        if self.tries >= TRIES || plan == self.best.plan || plan.time == Duration::ZERO {
            return false;
        }
        self.tries += 1;
        match (self.run)(&plan) {
            Some(violation) if violation.invariant() == self.best.violation.invariant() => {
                self.best = Found { violation, plan };
                true
            }
            Some(_) | None => false,
        }
    }

    fn fewer_faults(&mut self) {
        if self.attempt(self.best.plan.with_faults(&[])) {
            return;
        }
        let mut parts = 2;
        loop {
            let numbers: Vec<_> =
                self.best.plan.faults.iter().map(|planned| planned.number).collect();
            if numbers.len() < 2 || self.tries >= TRIES {
                return;
            }
            let size = numbers.len().div_ceil(parts);
            let smaller = numbers.chunks(size).any(|without| {
                let rest: Vec<_> =
                    numbers.iter().copied().filter(|n| !without.contains(n)).collect();
                self.attempt(self.best.plan.with_faults(&rest))
            });
            if smaller {
                parts = parts.saturating_sub(1).max(2);
            } else if size == 1 {
                return;
            } else {
                parts = (parts * 2).min(numbers.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::sim::PlanSize;

    #[test]
    fn the_smallest_life_has_only_the_faults_and_nodes_that_it_needs() {
        let plan = Plan::new(3, PlanSize::nodes(6).time(Duration::from_secs(90)));
        let needed = [plan.faults[4].number, plan.faults[9].number];
        let broken = |plan: &Plan| {
            let has = |number: &usize| plan.faults.iter().any(|fault| fault.number == *number);
            needed.iter().all(has).then(|| Violation::new("held", "not", plan.time))
        };
        let found = smallest(&plan, broken(&plan).unwrap(), broken);
        let numbers: Vec<_> = found.plan.faults.iter().map(|fault| fault.number).collect();
        assert_eq!(numbers, needed);
        assert!(found.plan.nodes < plan.nodes || found.plan.faults.len() == 2, "{}", found.plan);
    }
}
