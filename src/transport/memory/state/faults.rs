//! Injects faults: breaks and stalls connections.

use tokio::time::Instant;

use super::{Deferred, ListenAddress, NetworkState, Partition, key};
use crate::{
    overlay::Host,
    transport::memory::{Chaos, MemoryLink, connection::Connection, pipe::Wakers},
};

impl MemoryLink {
    fn touches(&self, host: &str) -> bool {
        key(self.from.host()) == host || key(self.to.host()) == host
    }
}

impl NetworkState {
    /// Applies a function to some connections. It returns `None` if it had no effect.
    fn each(
        &self,
        which: impl Fn(&MemoryLink) -> bool,
        what: impl Fn(&Connection) -> Option<Wakers>,
    ) -> Deferred {
        let mut deferred = Deferred::default();
        for linked in self.links.iter().filter(|linked| which(&linked.link)) {
            let connection = linked.connection.upgrade();
            if let Some(wakers) = connection.and_then(|connection| what(&connection)) {
                deferred.wakers.append(wakers);
                deferred.count += 1;
            }
        }
        deferred
    }

    pub(in super::super) fn break_links(&self, which: impl Fn(&MemoryLink) -> bool) -> Deferred {
        let mut deferred = Deferred::default();
        for linked in self.links.iter().filter(|linked| which(&linked.link)) {
            if let Some(connection) = linked.connection.upgrade()
                && let Some(wakers) = connection.break_now()
            {
                deferred.wakers.append(wakers);
                deferred.count += 1;
                deferred.broken.push(connection);
            }
        }
        deferred
    }

    /// Sets the faults that are drawn, for existing connections as well.
    pub(in super::super) fn set_chaos(&mut self, chaos: Chaos) {
        self.chaos.set(chaos);
        for connection in self.links.iter().filter_map(|linked| linked.connection.upgrade()) {
            connection.draw_break();
        }
    }

    pub(in super::super) fn crash(&mut self, host: &str) -> Deferred {
        self.crashed.insert(host.to_owned(), false);
        let mut deferred = self.break_links(|link| link.touches(host));
        let addresses: Vec<ListenAddress> =
            self.listeners.keys().filter(|(at, _)| at == host).cloned().collect();
        deferred.gone =
            addresses.iter().filter_map(|address| self.listeners.remove(address)).collect();
        deferred
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
        self.partitions.iter().any(|partition| {
            let across =
                |a: &str, b: &str| partition.these.contains(a) && partition.those.contains(b);
            across(from, to) || (partition.both_ways && across(to, from))
        })
    }

    /// Whether a dial between them is never answered, as it needs both directions.
    pub(super) fn partitioned(&self, a: &str, b: &str) -> bool {
        self.blocked(a, b) || self.blocked(b, a)
    }

    /// Begins or ends the partition of each direction of each connection.
    fn apply_partitions(&self) -> Deferred {
        let mut deferred = Deferred::default();
        for linked in &self.links {
            let (from, to) = (key(linked.link.from.host()), key(linked.link.to.host()));
            let (there, back) = (self.blocked(&from, &to), self.blocked(&to, &from));
            if let Some(connection) = linked.connection.upgrade() {
                deferred.wakers.append(connection.set_partitioned(there, back));
            }
        }
        deferred
    }

    pub(in super::super) fn partition(
        &mut self,
        these: &[Host],
        those: &[Host],
        both_ways: bool,
    ) -> Deferred {
        let keys = |hosts: &[Host]| hosts.iter().map(key).collect();
        self.partitions.push(Partition { these: keys(these), those: keys(those), both_ways });
        self.apply_partitions()
    }

    pub(in super::super) fn heal(&mut self) -> Deferred {
        self.partitions.clear();
        self.apply_partitions()
    }

    /// Stalls `host` until `until`.
    pub(in super::super) fn stall(&mut self, host: &str, until: Instant) -> Deferred {
        let held = self.stalled.entry(host.to_owned()).or_insert(until);
        *held = until.max(*held);
        self.each(|link| link.touches(host), |connection| Some(connection.stall(until)))
    }

    pub(in super::super) fn stall_link(&self, number: u64, until: Instant) -> Deferred {
        self.each(
            |link| link.number == number,
            |connection| (!connection.is_broken()).then(|| connection.stall(until)),
        )
    }

    /// The end of the stall between two hosts. `None` if neither is stalled.
    pub(super) fn stalled_until(&self, a: &str, b: &str) -> Option<Instant> {
        let until = self.stalled.get(a).max(self.stalled.get(b)).copied()?;
        (until > Instant::now()).then_some(until)
    }
}
