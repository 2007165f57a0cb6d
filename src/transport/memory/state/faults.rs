//! Injects faults: breaks and stalls connections.

use tokio::time::Instant;

use super::{After, CutOff, Place, State, key};
use crate::{
    overlay::Host,
    transport::memory::{Link, connection::Connection, pipe::Wakers},
};

impl Link {
    fn touches(&self, host: &str) -> bool {
        key(self.from.host()) == host || key(self.to.host()) == host
    }
}

impl State {
    /// Applies a function to some connections. It returns `None` if it had no effect.
    fn each(
        &self,
        which: impl Fn(&Link) -> bool,
        what: impl Fn(&Connection) -> Option<Wakers>,
    ) -> After {
        let mut after = After::default();
        for linked in self.links.iter().filter(|linked| which(&linked.link)) {
            let connection = linked.connection.upgrade();
            if let Some(wakers) = connection.and_then(|connection| what(&connection)) {
                after.wakers.append(wakers);
                after.count += 1;
            }
        }
        after
    }

    pub(in super::super) fn cut(&self, which: impl Fn(&Link) -> bool) -> After {
        self.each(which, Connection::tear)
    }

    pub(in super::super) fn crash(&mut self, host: &str) -> After {
        self.crashed.insert(host.to_owned(), false);
        let mut after = self.cut(|link| link.touches(host));
        let places: Vec<Place> =
            self.listeners.keys().filter(|(at, _)| at == host).cloned().collect();
        after.gone = places.iter().filter_map(|place| self.listeners.remove(place)).collect();
        after
    }

    pub(in super::super) fn refuse(&mut self, host: &str) {
        if let Some(refuses) = self.crashed.get_mut(host) {
            *refuses = true;
        }
    }

    pub(in super::super) fn revive(&mut self, host: &str) {
        self.crashed.remove(host);
    }

    /// Whether data from `from` does not arrive at `to`.
    pub(super) fn blocked(&self, from: &str, to: &str) -> bool {
        self.cuts.iter().any(|cut| {
            let across = |a: &str, b: &str| cut.these.contains(a) && cut.those.contains(b);
            across(from, to) || (cut.both_ways && across(to, from))
        })
    }

    /// Whether a dial between them is never answered, as it needs both directions.
    pub(super) fn parted(&self, a: &str, b: &str) -> bool {
        self.blocked(a, b) || self.blocked(b, a)
    }

    /// Begins or ends the partition of each direction of each connection.
    fn part(&self) -> After {
        let mut after = After::default();
        for linked in &self.links {
            let (from, to) = (key(linked.link.from.host()), key(linked.link.to.host()));
            let (there, back) = (self.blocked(&from, &to), self.blocked(&to, &from));
            if let Some(connection) = linked.connection.upgrade() {
                after.wakers.append(connection.part(there, back));
            }
        }
        after
    }

    pub(in super::super) fn cut_off(
        &mut self,
        these: &[Host],
        those: &[Host],
        both_ways: bool,
    ) -> After {
        let keys = |hosts: &[Host]| hosts.iter().map(key).collect();
        self.cuts.push(CutOff { these: keys(these), those: keys(those), both_ways });
        self.part()
    }

    pub(in super::super) fn heal(&mut self) -> After {
        self.cuts.clear();
        self.part()
    }

    /// Stalls `host` until `until`.
    pub(in super::super) fn stall(&mut self, host: &str, until: Instant) -> After {
        let held = self.stalled.entry(host.to_owned()).or_insert(until);
        *held = until.max(*held);
        self.each(|link| link.touches(host), |connection| Some(connection.hold(until)))
    }

    pub(in super::super) fn stall_link(&self, number: u64, until: Instant) -> After {
        self.each(
            |link| link.number == number,
            |connection| (!connection.is_broken()).then(|| connection.hold(until)),
        )
    }

    /// The end of the stall between two hosts. `None` if neither is stalled.
    pub(super) fn held_until(&self, a: &str, b: &str) -> Option<Instant> {
        let until = self.stalled.get(a).max(self.stalled.get(b)).copied()?;
        (until > Instant::now()).then_some(until)
    }
}
