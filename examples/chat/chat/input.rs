//! Carries out what a person types.

use actix::prelude::*;
use actix_peer::PeerId;

use super::{Chat, direct::Work};
use crate::{
    command::{Command, HELP},
    people::Person,
    text::{Nick, count, long_key},
    view::Event,
};

/// How long a ban lasts: longer than the program.
const BAN_TIME: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 3_600);

/// A line that a person has typed. The answer comes when it has been carried out.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Input(pub(crate) Command);

impl Handler<Input> for Chat {
    type Result = Work;

    fn handle(&mut self, Input(command): Input, ctx: &mut Self::Context) -> Work {
        let work = self.carry_out(command, ctx);
        self.report();
        work.unwrap_or_else(|| Box::pin(fut::ready(())))
    }
}

/// The number of a room that the terminal has chosen.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Select(pub(crate) usize);

impl Handler<Select> for Chat {
    type Result = ();

    fn handle(&mut self, Select(room): Select, _: &mut Self::Context) {
        if room < self.rooms.len() {
            self.current = room;
            self.report();
        }
    }
}

impl Chat {
    /// The person who is meant, who is not oneself.
    fn person(&self, who: &str) -> Option<Person> {
        match self.people.find(who) {
            Ok(person) if self.is_me(person.info.id()) => {
                self.show.trouble(format!("{who} is you"));
                None
            }
            Ok(person) => Some(person.clone()),
            Err(error) => {
                self.show.trouble(error.to_string());
                None
            }
        }
    }

    /// Returns what is still to be done.
    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) -> Option<Work> {
        match command {
            Command::Say(text) => self.say(&text),
            Command::Join(room) => self.enter(room, ctx),
            Command::Leave(room) => self.leave(room),
            Command::Rooms => self.list_rooms(),
            Command::Who => self.list_people(),
            Command::Nick(nick) => self.rename(nick),
            Command::Msg { to, text } => return Some(self.whisper(self.person(&to)?, &text)),
            Command::Send { to, path } => return Some(self.offer(self.person(&to)?, path)),
            Command::Accept(number) => self.accept(number, ctx),
            Command::Decline(number) => self.decline(number, ctx),
            Command::Ban(None) => self.list_banned(),
            Command::Ban(Some(who)) => {
                let person = self.person(&who)?;
                self.ban(person.info.id(), person.label());
            }
            Command::Unban(who) => self.unban(&who),
            Command::Help => {
                for (form, what) in HELP {
                    self.show.note(None, format!("{form}: {what}"));
                }
            }
            // The terminal ends the program.
            Command::Quit => {}
        }
        None
    }

    fn list_rooms(&self) {
        if self.rooms.is_empty() {
            self.show.note(None, "you are in no room: /join ROOM");
        }
        for (n, room) in self.rooms.iter().enumerate() {
            let current = if n == self.current { ", the current one" } else { "" };
            let people = self.people.in_room(room.name(), tokio::time::Instant::now()).len();
            let neighbors = count(room.neighbors(), "neighbour");
            let text = format!("room {}: {people} here, {neighbors}{current}", room.name());
            self.show.note(None, text);
        }
    }

    fn list_people(&self) {
        let Some(room) = self.rooms.get(self.current) else {
            return self.show.trouble("you are in no room: /join ROOM");
        };
        let people = self.people.in_room(room.name(), tokio::time::Instant::now());
        self.show.note(
            Some(room.name()),
            format!("{} here lately", count(people.len(), "person").replace("persons", "people")),
        );
        for person in people {
            let id = person.info.id();
            let me = if self.is_me(id) { " (you)" } else { "" };
            let text = format!("{}{me}, key {}", person.label(), long_key(id));
            self.show.note(Some(room.name()), text);
        }
    }

    fn rename(&mut self, nick: Nick) {
        self.show.note(None, format!("you are now {}", nick.label(self.peer.id())));
        self.settings.nick = nick;
        self.announce_everywhere();
    }

    fn list_banned(&self) {
        let banned = self.people.banned();
        let text = if banned.is_empty() { "no one".to_owned() } else { banned.join(", ") };
        self.show.note(None, format!("banned: {text}"));
    }

    fn ban(&mut self, id: &PeerId, label: String) {
        if !self.people.ban(id, label.clone()) || !self.peer.ban(id.clone(), BAN_TIME) {
            return self.show.trouble("too many people are banned: /unban one first");
        }
        self.waiting.retain(|offer| offer.from.id() != id);
        self.show.event(Event::Hide(id.clone()));
        self.show.note(None, format!("{label} is banned until you end the program"));
    }

    fn unban(&mut self, who: &str) {
        let ended = self.people.unban(who);
        if ended.is_empty() {
            self.show.trouble(format!("{who} is not banned: /ban lists who is"));
        }
        for (id, label) in ended {
            self.peer.unban(id);
            self.show.note(None, format!("{label} is no longer banned"));
        }
    }
}
