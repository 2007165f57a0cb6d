//! Faults: what breaks and stalls which connections.

use super::{After, Place, State, key};
use crate::overlay::Host;
use crate::transport::memory::Link;
use crate::transport::memory::connection::Connection;
use crate::transport::memory::pipe::Wakers;

impl Link {
    fn touches(&self, host: &str) -> bool {
        key(self.from.host()) == host || key(self.to.host()) == host
    }
}

impl State {
    /// Does something to some connections; `None` where it had no effect.
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

    pub(super) fn parted(&self, a: &str, b: &str) -> bool {
        self.partitions.iter().any(|(these, those)| {
            (these.contains(a) && those.contains(b)) || (these.contains(b) && those.contains(a))
        })
    }

    fn parts(&self, link: &Link) -> bool {
        self.parted(&key(link.from.host()), &key(link.to.host()))
    }

    pub(in super::super) fn partition(&mut self, these: &[Host], those: &[Host]) -> After {
        let keys = |hosts: &[Host]| hosts.iter().map(key).collect();
        self.partitions.push((keys(these), keys(those)));
        self.each(|link| self.parts(link), |connection| Some(connection.stall(true)))
    }

    pub(in super::super) fn heal(&mut self) -> After {
        let after = self.each(|link| self.parts(link), |connection| Some(connection.stall(false)));
        self.partitions.clear();
        after
    }
}
