use std::collections::BTreeSet;

use super::*;
use crate::peer::sim::{FaultLevel, PlanSize};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_life_without_faults_breaks_no_invariant_and_is_the_same_again() {
    let size = PlanSize::nodes(3).time(secs(10)).level(FaultLevel::None);
    let digests = || {
        let digests = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let seen = std::sync::Arc::clone(&digests);
        let explore = Explore::seeds(0..3).size(size).on_life(move |life| {
            seen.lock().insert((life.seed, life.digest));
        });
        let report = explore.run(async |life: Life| life.whole(|_, builder| Ok(builder)).await);
        assert!(report.is_clean() && report.handled > 50, "{report}");
        std::mem::take(&mut *digests.lock())
    };
    assert_eq!(digests(), digests());
}
