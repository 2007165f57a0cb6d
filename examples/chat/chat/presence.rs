//! The people in a room: nodes announce themselves when they enter, answer a newcomer, and repeat
//! the announcement.

use std::time::Duration;

use actix::prelude::*;
use actix_peer::PeerInfo;
use tokio::time::Instant;

use super::Chat;
use crate::{
    text::{Nick, RoomName},
    wire::Presence,
};

/// The time between two announcements of one node in a room without newcomers.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// The minimum time between two answers to newcomers: one answer is for all who have come.
const ANSWER_EVERY: Duration = Duration::from_secs(5);

/// An answer comes within this time, at random, so that not all answer at once.
const ANSWER_WITHIN_MS: u64 = 400;

/// It is shown after this time that a person is in a room. A newcomer is told of the last half
/// minute, and should not see who has come and gone meanwhile.
const SHOW_AFTER: Duration = Duration::from_millis(300);

/// When this node tells that it is in a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Announcing {
    last: Option<Instant>,
    /// Whether an answer to a newcomer waits.
    waits: bool,
}

impl Announcing {
    /// A newcomer asks who is here. Returns how long to wait with the answer; `None` if one waits
    /// already.
    fn answers(&mut self, now: Instant, random: Duration) -> Option<Duration> {
        if self.waits {
            return None;
        }
        let earliest = self.last.and_then(|last| last.checked_add(ANSWER_EVERY)).unwrap_or(now);
        let wait = earliest.saturating_duration_since(now).saturating_add(random);
        self.waits = true;
        Some(wait)
    }

    fn repeats(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= REPEAT_EVERY)
    }
}

impl Chat {
    /// Tells a room that this node is there.
    pub(super) fn announce(&mut self, room: &RoomName, asks: bool) {
        let nick = self.settings.nick.to_string();
        let Some(room) = self.room_mut(room) else { return };
        room.announcing = Announcing { last: Some(Instant::now()), waits: false };
        // The only error is that the node stops.
        room.presence.publish(&Presence::Here { nick, asks }).ok();
    }

    pub(super) fn announce_everywhere(&mut self) {
        let rooms: Vec<_> = self.rooms.iter().map(|room| room.name().clone()).collect();
        rooms.iter().for_each(|room| self.announce(room, false));
    }

    pub(super) fn look_at_rooms(&mut self) {
        let now = Instant::now();
        let due = self.rooms.iter().filter(|room| room.announcing.repeats(now));
        let due: Vec<_> = due.map(|room| room.name().clone()).collect();
        due.iter().for_each(|room| self.announce(room, false));
    }

    /// Takes note of a person in a room, and warns of a nick that two people use.
    pub(super) fn note_person(
        &mut self,
        who: &PeerInfo,
        nick: Nick,
        room: &RoomName,
        ctx: &mut Context<Self>,
    ) {
        let (is_me, label) = (self.is_me(who.id()), nick.label(who.id()));
        let is_mine = !is_me && self.settings.nick.is_like(nick.as_str());
        let shown = nick.clone();
        let noted = self.people.note(who, nick, Some(room), Instant::now());
        if is_me {
            return;
        }
        if let Some(before) = &noted.renamed {
            self.show.note(Some(room), format!("{before} is now {label}"));
        }
        if noted.is_new {
            let (id, room) = (who.id().clone(), room.clone());
            ctx.run_later(SHOW_AFTER, move |this, _| {
                if let Some(label) = this.people.show(&id, &room, Instant::now()) {
                    this.show.note(Some(&room), format!("{label} is here"));
                }
            });
        }
        let other = noted.shares_with.filter(|_| !is_mine);
        let is_news = noted.is_new || noted.renamed.is_some();
        let mine = (is_mine && is_news).then(|| "you".to_owned());
        if let Some(other) = mine.or(other) {
            let who = format!("two people use the nick {shown}: {label} and {other}");
            self.show.note(Some(room), format!("{who}; the part after ~ tells them apart"));
        }
    }

    pub(super) fn heard_of(
        &mut self,
        room: &RoomName,
        who: &PeerInfo,
        presence: Presence,
        ctx: &mut Context<Self>,
    ) {
        if self.people.is_banned(who.id()) {
            return;
        }
        match presence {
            Presence::Here { nick, asks } => {
                self.note_person(who, Nick::claimed(&nick), room, ctx);
                if asks && !self.is_me(who.id()) {
                    self.answer_newcomer(room, ctx);
                }
            }
            Presence::Gone => {
                let label = self.people.leave(who.id(), room);
                if let Some(label) = label.filter(|_| !self.is_me(who.id())) {
                    self.show.note(Some(room), format!("{label} has left"));
                }
            }
        }
        self.report();
    }

    fn answer_newcomer(&mut self, room: &RoomName, ctx: &mut Context<Self>) {
        let random = Duration::from_millis(fastrand::u64(0..ANSWER_WITHIN_MS));
        let Some(of) = self.room_mut(room) else { return };
        if let Some(wait) = of.announcing.answers(Instant::now(), random) {
            let room = room.clone();
            ctx.run_later(wait, move |this, _| this.announce(&room, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_is_for_all_newcomers_of_some_seconds() {
        let now = Instant::now();
        let random = Duration::from_millis(7);
        let mut announcing = Announcing::default();
        assert_eq!(announcing.answers(now, random), Some(random));
        assert_eq!(announcing.answers(now, random), None);
        let mut told = Announcing { last: Some(now), waits: false };
        assert_eq!(told.answers(now, random), Some(ANSWER_EVERY + random));
        assert!(!told.repeats(now));
        assert!(told.repeats(now + REPEAT_EVERY));
    }
}
