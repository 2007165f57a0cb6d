//! Which of the nodes that announce themselves in the local network are asked.

use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    bounded::BoundedMap,
    overlay::{Address, Host, PeerId, PeerInfo, Scope},
    time::Later,
};

/// The number of hints that wait to be asked. Further ones are dropped, because nodes repeat their
/// announcements.
const MAX_WAITING: usize = 64;

/// The number of recently announced ids that are remembered, so that they are not asked again.
const MAX_REMEMBERED: usize = 1_024;

/// How long an announced id is not asked again.
const REST: Duration = Duration::from_secs(60);

/// The hints of one network: bounded, each asked at most once a minute, with a total limit per
/// minute.
///
/// Any machine in the network can announce anything. A hint is therefore only an address to ask,
/// and never one outside of the network.
#[derive(Debug)]
pub(crate) struct Nearby {
    own: PeerId,
    loopback: bool,
    per_minute: usize,
    waiting: VecDeque<PeerInfo>,
    /// The announced ids, ranked by the time until which each is not asked again.
    heard: BoundedMap<PeerId, (), Instant>,
    asked: VecDeque<Instant>,
}

impl Nearby {
    /// No hints yet. At most `per_minute` are returned in any 60 s. With `loopback` only addresses
    /// of this machine are accepted; without it, none of them.
    #[must_use]
    pub(crate) fn new(own: PeerId, loopback: bool, per_minute: usize) -> Self {
        let (waiting, heard, asked) =
            (VecDeque::new(), BoundedMap::new(MAX_REMEMBERED), VecDeque::new());
        Self { own, loopback, per_minute, waiting, heard, asked }
    }

    /// Records the announcement of a node with its addresses. Returns whether it will be asked.
    pub(crate) fn heard(
        &mut self,
        id: PeerId,
        addresses: impl IntoIterator<Item = IpAddr>,
        port: u16,
        now: Instant,
    ) -> bool {
        if id == self.own || self.waiting.len() >= MAX_WAITING {
            return false;
        }
        let mut addresses: Vec<_> = addresses.into_iter().filter(|ip| self.may_ask(*ip)).collect();
        // The choice does not depend on the order. IPv4 is preferred.
        addresses.sort_unstable();
        let Some(info) = addresses
            .first()
            .and_then(|ip| PeerInfo::new(id.clone(), Address::new(Host::Ip(*ip), port)).ok())
        else {
            return false;
        };
        self.heard.remove_up_to(now);
        if self.heard.is_full() || self.heard.contains_key(&id) {
            return false;
        }
        self.heard.insert(id, (), now.later(REST));
        self.waiting.push_back(info);
        true
    }

    /// Whether an address may be asked. A link-local IPv6 address cannot be dialled without the
    /// name of an interface.
    fn may_ask(&self, ip: IpAddr) -> bool {
        match Scope::of(&Host::Ip(ip)) {
            Some(Scope::Machine) => self.loopback,
            Some(Scope::World) | None => false,
            Some(_) => {
                !self.loopback && !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
            }
        }
    }

    /// The next node to ask; `None` if there is none, or if the limit of this minute is reached.
    pub(crate) fn next(&mut self, now: Instant) -> Option<PeerInfo> {
        self.asked.retain(|at| now.saturating_duration_since(*at) < Duration::from_secs(60));
        if self.asked.len() >= self.per_minute {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.asked.push_back(now);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> PeerId {
        format!("n{n}").parse().unwrap()
    }

    fn lan(per_minute: usize) -> (Nearby, Instant) {
        let now = tokio::time::Instant::now().into_std();
        (Nearby::new(id(0), false, per_minute), now)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_addresses_of_the_network_are_asked() {
        let (mut near, now) = lan(100);
        for (n, (text, asked)) in [
            ("192.168.1.2", true),
            ("10.1.2.3", true),
            ("fd00::1", true),
            ("169.254.1.1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("8.8.8.8", false),
            ("fe80::1", false),
            ("224.0.0.251", false),
            ("2001:4860::1", false),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(near.heard(id(n + 1), [ip(text)], 9000, now), asked, "{text}");
        }
        let mut here = Nearby::new(id(0), true, 9);
        assert!(here.heard(id(1), [ip("192.168.1.2"), ip("127.0.0.1")], 9000, now));
        assert_eq!(here.next(now), Some("n1 127.0.0.1 9000".parse().unwrap()));
        assert!(!here.heard(id(2), [ip("192.168.1.2")], 9000, now));
    }

    #[test]
    fn the_node_itself_and_port_0_are_no_hints() {
        let (mut near, now) = lan(100);
        assert!(!near.heard(id(0), [ip("10.0.0.1")], 9000, now));
        assert!(!near.heard(id(1), [ip("10.0.0.1")], 0, now));
        assert!(!near.heard(id(1), [], 9000, now));
        assert_eq!(near.next(now), None);
    }

    #[test]
    fn a_flood_of_announcements_costs_a_bounded_number_of_questions() {
        let (mut near, begun) = lan(30);
        let mut asked = Vec::new();
        for n in 0..60_000 {
            let now = begun + Duration::from_millis(n as u64 * 10);
            near.heard(id(n + 1), [ip("10.0.0.1")], 9000, now);
            asked.extend(near.next(now).map(|_| now));
            assert!(near.waiting.len() <= MAX_WAITING && near.heard.len() <= MAX_REMEMBERED);
        }
        // Ten minutes.
        assert_eq!(asked.len(), 300);
        assert!(asked.windows(31).all(|some| some[30] - some[0] >= Duration::from_secs(60)));
    }

    #[test]
    fn a_node_that_announces_itself_again_is_asked_once_a_minute() {
        let (mut near, begun) = lan(30);
        let asked = (0..600).filter(|second| {
            let now = begun + Duration::from_secs(*second);
            near.heard(id(1), [ip("10.0.0.1")], 9000, now);
            near.next(now).is_some()
        });
        assert_eq!(asked.count(), 10);
    }
}
