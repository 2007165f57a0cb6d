//! What is due at a time.

use std::time::{Duration, Instant};

use crate::{
    overlay::views::{PeerKey, Views, ViewsEvent, machine::Purpose, receive::may_return},
    time::{Later, doubled},
};

/// How long a lost neighbour is asked again at the short pause.
const SOON_FOR: Duration = Duration::from_secs(300);
/// The longest pause after that.
const LATER_PAUSE: Duration = Duration::from_secs(60);
/// How long a lost neighbour is asked again.
const LOST_FOR: Duration = Duration::from_secs(3_600);

impl<P: PeerKey> Views<P> {
    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        if self.left {
            return;
        }
        let late: Vec<_> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.until <= now)
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in late {
            self.unreachable(&peer, now);
        }
        if self.shuffle_due.is_some_and(|due| due <= now) {
            self.shuffle(now);
        }
        self.ask_lost(now);
        if self.without.is_some_and(|since| since.later(self.config.alone_after) <= now) {
            self.without = None;
            if self.joined || !self.contacts.is_empty() {
                self.joined = false;
                self.event(ViewsEvent::Alone);
            }
        }
        self.fill(now);
    }

    /// The time of the next [`tick`](Self::tick). `None` if nothing is planned.
    #[must_use]
    pub fn next_tick(&self, now: Instant) -> Option<Instant> {
        if self.left {
            return None;
        }
        let filling = self.active.len() < self.config.active_target;
        let contacts = self.active.is_empty() && self.asked.len() < self.config.asked_at_once;
        let contacts = contacts.then(|| {
            let free = self.contacts.iter().filter(|(peer, _)| !self.asked.contains_key(*peer));
            free.map(|(_, contact)| contact.due).min()
        });
        let lost = self.lost.iter().filter(|(peer, _)| !self.asked.contains_key(*peer));
        [
            self.asked.values().map(|asked| asked.until).min(),
            self.shuffle_due,
            lost.map(|(_, lost)| lost.due).min(),
            self.without.map(|since| since.later(self.config.alone_after)),
            contacts.flatten(),
            filling.then(|| self.passive.next_pause_end(now)).flatten(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Asks lost neighbours again.
    fn ask_lost(&mut self, now: Instant) {
        self.lost.retain(|_, lost| lost.since.later(LOST_FOR) > now);
        let due: Vec<_> = self
            .lost
            .iter()
            .filter(|(peer, lost)| lost.due <= now && !self.asked.contains_key(*peer))
            .map(|(peer, lost)| (peer.clone(), lost.since, lost.tries))
            .collect();
        for (peer, since, tries) in due {
            let pause = self.retry_pause(since, now, tries);
            if let Some(lost) = self.lost.get_mut(&peer) {
                lost.due = now.later(pause);
            }
            let room = self.has_room() || may_return(&mut self.returned, &self.config, now);
            if room && !self.flaps.is_barred(&peer, now) {
                self.ask(peer, Purpose::Return, now);
            }
        }
    }

    pub(super) fn retry_pause(&mut self, since: Instant, now: Instant, tries: u32) -> Duration {
        let soon = now.saturating_duration_since(since) < SOON_FOR;
        let longest = if soon { self.config.retry_longest } else { LATER_PAUSE };
        let pause = doubled(self.config.retry_first, tries, longest);
        self.jittered(pause)
    }
}
