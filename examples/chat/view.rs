//! Events from the chat to the terminal.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix_peer::PeerId;
use chrono::{DateTime, Local};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use crate::text::RoomName;

/// The number of events that wait for the terminal. Further ones are dropped, so that a terminal
/// that is stopped does not stop the node.
const QUEUE: usize = 4_096;

/// The author of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) id: PeerId,
    /// The nick with the short form of the key.
    pub(crate) label: String,
    pub(crate) is_me: bool,
}

/// The kind of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Said in the room.
    Said(Author),
    /// Said to this person alone.
    Private(Author),
    /// Said by this person to the one with this label.
    Sent(String),
    /// Something that has happened.
    Note,
    /// Something that did not work.
    Trouble,
}

/// One line, in safe characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `None` if it belongs to no room.
    pub(crate) room: Option<RoomName>,
    pub(crate) kind: Kind,
    /// The time to show, in milliseconds since 1970.
    pub(crate) at: i64,
    /// The place among the lines of the room: the time at which it was said, or at which it came.
    pub(crate) order: i64,
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn note(room: Option<&RoomName>, text: String) -> Self {
        let at = now();
        Self { room: room.cloned(), kind: Kind::Note, at, order: at, text }
    }

    pub(crate) fn author(&self) -> Option<&PeerId> {
        match &self.kind {
            Kind::Said(author) | Kind::Private(author) => Some(&author.id),
            Kind::Sent(_) | Kind::Note | Kind::Trouble => None,
        }
    }

    /// The line as plain text.
    pub(crate) fn plain(&self) -> String {
        let (text, time) = (&self.text, clock(self.at));
        let room = self.room.as_ref().map(|room| format!("[{room}] ")).unwrap_or_default();
        match &self.kind {
            Kind::Said(author) => format!("{room}{time} {}: {text}", author.label),
            Kind::Private(author) => format!("{time} {} to you: {text}", author.label),
            Kind::Sent(to) => format!("{time} you to {to}: {text}"),
            Kind::Note => format!("{room}* {text}"),
            Kind::Trouble => format!("! {text}"),
        }
    }
}

/// A room, as the list of rooms shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomView {
    pub(crate) name: RoomName,
    /// The number of neighbours of this node in the room.
    pub(crate) neighbors: usize,
    /// The people that were seen there lately.
    pub(crate) people: Vec<Author>,
}

/// The state of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Runs,
    /// It has ended; the text is what to show.
    Done(String),
    Failed(String),
}

/// A transfer of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) number: u64,
    /// The file and the other person: `notes.txt to bob~k3f9`.
    pub(crate) title: String,
    pub(crate) done: u64,
    pub(crate) bytes: u64,
    pub(crate) state: State,
}

impl Transfer {
    pub(crate) fn percent(&self) -> u64 {
        self.done.saturating_mul(100).checked_div(self.bytes).unwrap_or(100).min(100)
    }
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Line(Line),
    /// The rooms, the number of the current one, and the own nick have changed.
    Rooms {
        all: Vec<RoomView>,
        current: usize,
        me: String,
        links: usize,
    },
    Left(RoomName),
    Transfer(Transfer),
    /// Hide the lines of this author.
    Hide(PeerId),
    /// The program ends.
    End,
}

/// The sending side of the events. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    events: Sender<Event>,
    /// The number of events that were dropped.
    dropped: Arc<AtomicU64>,
}

impl Show {
    pub(crate) fn new() -> (Self, Receiver<Event>) {
        let (sender, receiver) = channel(QUEUE);
        (Self { events: sender, dropped: Arc::default() }, receiver)
    }

    pub(crate) fn event(&self, event: Event) {
        match self.events.try_send(event) {
            Ok(()) => self.report_dropped(),
            // The terminal is stopped.
            Err(TrySendError::Full(_)) => drop(self.dropped.fetch_add(1, Ordering::Relaxed)),
            // The program ends.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Tells that events were dropped, once there is room again.
    fn report_dropped(&self) {
        if self.events.capacity() < QUEUE / 2 {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.trouble(format!("the terminal was too slow: {dropped} events were not shown"));
        }
    }

    pub(crate) fn note(&self, room: Option<&RoomName>, text: impl Into<String>) {
        self.event(Event::Line(Line::note(room, text.into())));
    }

    pub(crate) fn trouble(&self, text: impl Into<String>) {
        let line = Line { kind: Kind::Trouble, ..Line::note(None, text.into()) };
        self.event(Event::Line(line));
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// The time of the day, as `HH:MM`.
pub(crate) fn clock(at: i64) -> String {
    let at = DateTime::from_timestamp_millis(at).unwrap_or_default();
    at.with_timezone(&Local).format("%H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_stable() {
        let id: PeerId = "ab".repeat(32).parse().unwrap();
        let ada = Author { id, label: "ada~abcd".into(), is_me: false };
        let line = |kind, room: Option<&str>| {
            let room = room.map(|room| room.parse().unwrap());
            let line = Line { kind, at: 0, ..Line::note(room.as_ref(), "hello".into()) };
            line.plain().replace(&clock(0), "HH:MM")
        };
        assert_eq!(line(Kind::Said(ada.clone()), Some("rust")), "[rust] HH:MM ada~abcd: hello");
        assert_eq!(line(Kind::Private(ada), None), "HH:MM ada~abcd to you: hello");
        assert_eq!(line(Kind::Sent("bob~efgh".into()), None), "HH:MM you to bob~efgh: hello");
        assert_eq!(line(Kind::Note, Some("rust")), "[rust] * hello");
        assert_eq!(line(Kind::Trouble, None), "! hello");
    }

    #[test]
    fn a_terminal_that_is_stopped_bounds_what_waits_and_hears_of_it() {
        let (show, mut events) = Show::new();
        for _ in 0..QUEUE + 7 {
            show.note(None, "x");
        }
        for _ in 0..QUEUE {
            events.try_recv().unwrap();
        }
        assert!(events.try_recv().is_err());
        show.note(None, "y");
        events.try_recv().unwrap();
        let Event::Line(line) = events.try_recv().unwrap() else { panic!("no line") };
        assert_eq!(line.plain(), "! the terminal was too slow: 7 events were not shown");
    }

    #[test]
    fn a_time_out_of_every_calendar_is_shown_as_some_time() {
        assert_eq!(clock(i64::MAX).len(), 5);
        assert_eq!(clock(i64::MIN).len(), 5);
    }

    #[test]
    fn an_empty_file_is_complete() {
        let state = State::Runs;
        let transfer = Transfer { number: 1, title: String::new(), done: 0, bytes: 0, state };
        assert_eq!(transfer.percent(), 100);
    }
}
