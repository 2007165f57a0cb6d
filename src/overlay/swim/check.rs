//! Questions of this node: whether a node is alive, and with which identity.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::identity::Identity;
use crate::{overlay::PeerId, time::Later};

/// The maximum number of nodes that are asked at the same time. Further ones are skipped; other
/// members will name them again.
const MAX_CHECKS: usize = 256;

/// The default number of tries for one node.
pub(super) const TRIES: u32 = 3;

#[derive(Debug)]
pub(super) struct Check {
    pub(super) who: Identity,
    pub(super) nonce: u32,
    pub(super) left: u32,
    pub(super) at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Checks(BTreeMap<PeerId, Check>);

impl Checks {
    /// Begins to ask `who`, or adds more tries. A newer run replaces an older one.
    pub(super) fn begin(&mut self, who: Identity, nonce: u32, tries: u32, now: Instant) {
        if let Some(check) = self.0.get_mut(&who.key) {
            check.left = check.left.max(tries);
            if who.bump > check.who.bump {
                check.who = who;
            }
        } else if self.0.len() < MAX_CHECKS {
            self.0.insert(who.key.clone(), Check { who, nonce, left: tries, at: now });
        }
    }

    /// The checks to ask again now, and the checks whose tries were all unanswered.
    pub(super) fn due(&mut self, now: Instant, again: Duration) -> (Vec<Check>, Vec<Check>) {
        let (mut ask, mut silent) = (Vec::new(), Vec::new());
        self.0.retain(|_, check| {
            let copy = |check: &Check| Check { who: check.who.clone(), ..*check };
            if check.at > now {
                return true;
            }
            if check.left == 0 {
                silent.push(copy(check));
                return false;
            }
            check.left -= 1;
            check.at = now.later(again);
            ask.push(copy(check));
            true
        });
        (ask, silent)
    }

    /// Handles an answer. Returns the check that it ends; `None` if there is none.
    pub(super) fn answered(&mut self, by: &PeerId, nonce: u32) -> Option<Check> {
        if self.0.get(by)?.nonce == nonce { self.0.remove(by) } else { None }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|check| check.at).min()
    }

    pub(super) fn postpone(&mut self, by: Duration) {
        self.0.values_mut().for_each(|check| check.at = check.at.later(by));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
