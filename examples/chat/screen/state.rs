//! The state of the screen.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{editor::Editor, log::Log};
use crate::{
    text::RoomName,
    view::{Event, Kind, Line, RoomView, State, Transfer},
};

/// The number of transfers that are shown.
pub(super) const MAX_TRANSFERS: usize = 4;

/// How long a transfer that has ended is shown.
const ENDED_FOR: std::time::Duration = std::time::Duration::from_secs(5);

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    logs: BTreeMap<RoomName, Log>,
    /// The lines that belong to no room, while there is none.
    outside: Log,
    pub(super) rooms: Vec<RoomView>,
    pub(super) current: usize,
    pub(super) me: String,
    pub(super) links: usize,
    /// The number of lines that were not seen yet.
    pub(super) unread: BTreeMap<RoomName, usize>,
    /// The transfers, and when they ended.
    pub(super) transfers: Vec<(Transfer, Option<Instant>)>,
    pub(super) editor: Editor,
    /// The number of rows below the ones that are shown.
    pub(super) scroll: usize,
    /// The number of rows of the log, as it was drawn.
    pub(super) page: usize,
    pub(super) has_colors: bool,
}

impl Screen {
    pub(super) fn new(has_colors: bool) -> Self {
        Self { has_colors, ..Self::default() }
    }

    pub(super) fn room(&self) -> Option<&RoomName> {
        self.rooms.get(self.current).map(|room| &room.name)
    }

    /// The lines of the current room.
    pub(super) fn log(&self) -> &Log {
        self.room().and_then(|room| self.logs.get(room)).unwrap_or(&self.outside)
    }

    /// Removes transfers that ended a while ago. Returns whether there were any.
    pub(super) fn tick(&mut self) -> bool {
        let before = self.transfers.len();
        let is_shown = |ended: Instant| ended.elapsed() < ENDED_FOR;
        self.transfers.retain(|(_, ended)| ended.is_none_or(is_shown));
        self.transfers.len() != before
    }

    pub(super) fn show(&mut self, event: Event) {
        match event {
            Event::Line(line) => self.line(line),
            Event::Rooms { all, current, me, links } => {
                let before = self.room().cloned();
                (self.rooms, self.current, self.me, self.links) = (all, current, me, links);
                let room = self.room().cloned();
                if let Some(room) = &room {
                    self.unread.remove(room);
                }
                if before != room {
                    self.scroll = 0;
                }
            }
            Event::Left(room) => {
                self.logs.remove(&room);
                self.unread.remove(&room);
            }
            Event::Transfer(transfer) => self.transfer(transfer),
            Event::Hide(author) => {
                self.outside.hide(&author);
                self.logs.values_mut().for_each(|log| log.hide(&author));
            }
            Event::End => {}
        }
    }

    /// Adds a line to its room. One without a room is shown where the person looks.
    fn line(&mut self, line: Line) {
        let current = self.room().cloned();
        let room = line.room.clone().or_else(|| current.clone());
        let is_said = matches!(line.kind, Kind::Said(_));
        let Some(room) = room else {
            self.outside.add(line);
            return;
        };
        let is_elsewhere = current.as_ref() != Some(&room);
        if is_elsewhere && is_said {
            let unread = self.unread.entry(room.clone()).or_default();
            *unread = unread.saturating_add(1);
        }
        let is_first = !self.logs.contains_key(&room);
        let log = self.logs.entry(room).or_default();
        if is_first {
            std::mem::take(&mut self.outside).lines().for_each(|line| {
                log.add(line.clone());
            });
        }
        log.add(line);
    }

    fn transfer(&mut self, transfer: Transfer) {
        let ended = match &transfer.state {
            State::Runs => None,
            State::Done(text) => Some(format!("{}: complete, {text}", transfer.title)),
            State::Failed(why) => Some(format!("{}: failed, {why}", transfer.title)),
        };
        if let Some(text) = &ended {
            self.line(Line::note(None, text.clone()));
        }
        let ended = ended.map(|_| Instant::now());
        match self.transfers.iter_mut().find(|(of, _)| of.number == transfer.number) {
            Some(known) => *known = (transfer, ended),
            None => self.transfers.push((transfer, ended)),
        }
        while self.transfers.len() > MAX_TRANSFERS {
            // An ended one first.
            let oldest = self.transfers.iter().position(|(_, ended)| ended.is_some()).unwrap_or(0);
            self.transfers.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(names: &[&str], current: usize) -> Event {
        let room = |name: &&str| RoomView {
            name: name.parse().unwrap(),
            neighbors: 0,
            people: Vec::new(),
        };
        let all = names.iter().map(room).collect();
        Event::Rooms { all, current, me: "ada~aaaa".into(), links: 1 }
    }

    fn note(room: Option<&str>, text: &str) -> Event {
        let room: Option<RoomName> = room.map(|room| room.parse().unwrap());
        Event::Line(Line::note(room.as_ref(), text.into()))
    }

    fn texts(screen: &Screen) -> Vec<&str> {
        screen.log().lines().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_line_without_a_room_is_shown_in_the_current_one() {
        let mut screen = Screen::new(false);
        screen.show(note(None, "before"));
        assert_eq!(texts(&screen), ["before"]);
        screen.show(rooms(&["a", "b"], 0));
        screen.show(note(Some("a"), "one"));
        screen.show(note(None, "two"));
        assert_eq!(texts(&screen), ["before", "one", "two"]);
        screen.show(rooms(&["a", "b"], 1));
        assert!(texts(&screen).is_empty());
        screen.show(Event::Left("a".parse().unwrap()));
        assert_eq!(screen.logs.len(), 0);
    }

    #[test]
    fn transfers_are_bounded_and_leave_a_line() {
        let mut screen = Screen::new(false);
        for number in 0..9 {
            let state = if number == 8 { State::Done("sent".into()) } else { State::Runs };
            let title = "a to bob".to_owned();
            screen.show(Event::Transfer(Transfer { number, title, done: 1, bytes: 2, state }));
        }
        assert_eq!(screen.transfers.len(), MAX_TRANSFERS);
        assert_eq!(texts(&screen), ["a to bob: complete, sent"]);
    }
}
