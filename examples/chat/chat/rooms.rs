//! Entering and leaving rooms, and the lines in them.

use std::time::Duration;

use actix::{WeakAddr, prelude::*};
use actix_peer::{
    Peer, PeerId, PeerInfo,
    topics::{Published, Subscription, Topic, TopicConfig, TopicError, TopicEvent},
};
use tokio::time::Instant;

use super::{Chat, MAX_ROOMS, presence::Announcing, receipt::Receipts};
use crate::{
    text::{MAX_TEXT, Nick, RoomName, clean},
    view::{Event, Kind, Line, now},
    wire::{HISTORY, Presence, Said, lines_of, presence_of},
};

/// Old lines are shown when none has come for this time, sorted.
const SETTLE: Duration = Duration::from_millis(300);

/// Old lines are shown after this time in any case.
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);

/// The maximum number of lines that wait to be sorted.
const MAX_BATCH: usize = 2 * HISTORY;

/// A line whose time is this long ago is old, however it comes.
const OLD: Duration = Duration::from_secs(120);

/// The first time in a room, in which lines from before are sorted in.
const NEW_HERE: Duration = Duration::from_secs(10);

/// An event in a room.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Heard<M> {
    room: RoomName,
    event: TopicEvent<M>,
}

/// Passes the events of one room on, since an event does not say from which topic it is. It waits
/// until the chat has handled one, so that a flood stays in the bounded queue of the topic.
#[derive(Debug)]
pub(crate) struct Reader {
    room: RoomName,
    chat: WeakAddr<Chat>,
}

impl Actor for Reader {
    type Context = Context<Self>;
}

impl<M: Send + 'static> Handler<TopicEvent<M>> for Reader
where
    Chat: Handler<Heard<M>>,
{
    type Result = ResponseFuture<()>;

    fn handle(&mut self, event: TopicEvent<M>, _: &mut Self::Context) -> Self::Result {
        let (room, chat) = (self.room.clone(), self.chat.upgrade());
        Box::pin(async move {
            if let Some(chat) = chat {
                chat.send(Heard { room, event }).await.ok();
            }
        })
    }
}

/// A room in which this node is.
pub(super) struct Room {
    name: RoomName,
    said: Topic<Said>,
    pub(super) presence: Topic<Presence>,
    _subscriptions: (Subscription, Subscription),
    entered: (Instant, i64),
    /// Old lines that are to be sorted, and when the first and the last one came.
    batch: Vec<Line>,
    batched: Option<(Instant, Instant)>,
    pub(super) announcing: Announcing,
    pub(super) receipts: Receipts,
    /// The number of lines that are missing, and of whom the last ones are.
    missed: Option<(u64, PeerId)>,
}

impl Room {
    fn enter(peer: &Peer, name: RoomName, chat: WeakAddr<Chat>) -> Result<Self, TopicError> {
        let lines = TopicConfig::default().history(HISTORY);
        let said = peer.topic_with::<Said>(&lines_of(&name), lines)?;
        let presence = peer.topic::<Presence>(&presence_of(&name))?;
        let reader = Reader { room: name.clone(), chat }.start();
        let subscriptions =
            (said.subscribe(reader.clone().recipient())?, presence.subscribe(reader.recipient())?);
        Ok(Self {
            name,
            said,
            presence,
            _subscriptions: subscriptions,
            entered: (Instant::now(), now()),
            batch: Vec::new(),
            batched: None,
            announcing: Announcing::default(),
            receipts: Receipts::default(),
            missed: None,
        })
    }

    pub(super) const fn name(&self) -> &RoomName {
        &self.name
    }

    /// The number of neighbours in the room.
    pub(super) fn neighbors(&self) -> usize {
        self.said.neighbors().len()
    }

    /// A handle of its lines.
    pub(super) const fn lines(&self) -> &Topic<Said> {
        &self.said
    }

    pub(super) fn say_goodbye(&self) {
        self.presence.publish(&Presence::Gone).ok();
    }

    /// Whether a line is from before, by its time.
    fn is_old(&self, at: i64) -> bool {
        let (entered, entered_at) = self.entered;
        let age = now().saturating_sub(at);
        let is_very_old = age > i64::try_from(OLD.as_millis()).unwrap_or(i64::MAX);
        is_very_old || (entered.elapsed() < NEW_HERE && at < entered_at)
    }
}

impl Chat {
    pub(super) fn room(&self, name: &RoomName) -> Option<&Room> {
        self.rooms.iter().find(|room| room.name == *name)
    }

    pub(super) fn room_mut(&mut self, name: &RoomName) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.name == *name)
    }

    /// Enters a room, or makes it the current one.
    pub(super) fn enter(&mut self, name: RoomName, ctx: &Context<Self>) {
        if let Some(at) = self.rooms.iter().position(|room| room.name == name) {
            self.current = at;
            self.show.note(Some(&name), "you are in this room");
            return;
        }
        if self.rooms.len() >= MAX_ROOMS {
            self.show.trouble(format!("you are in {MAX_ROOMS} rooms: /leave one first"));
            return;
        }
        match Room::enter(&self.peer, name.clone(), ctx.address().downgrade()) {
            Ok(room) => {
                self.show.note(Some(&name), "you have entered");
                self.rooms.push(room);
                self.current = self.rooms.len().saturating_sub(1);
                self.announce(&name, true);
            }
            Err(error) => self.show.trouble(format!("cannot enter {name}: {error}")),
        }
    }

    /// Leaves a room, the current one by default.
    pub(super) fn leave(&mut self, name: Option<RoomName>) {
        let at = match &name {
            Some(name) => self.rooms.iter().position(|room| room.name == *name),
            None => (self.current < self.rooms.len()).then_some(self.current),
        };
        let Some(at) = at else {
            self.show.trouble("you are not in this room: /rooms lists yours");
            return;
        };
        let room = self.rooms.remove(at);
        room.say_goodbye();
        self.people.forget_room(&room.name);
        if self.current > at || self.current >= self.rooms.len() {
            self.current = self.current.saturating_sub(1);
        }
        self.show.note(None, format!("you have left {}", room.name));
        self.show.event(Event::Left(room.name));
    }

    /// Says a line in the current room.
    pub(super) fn say(&mut self, text: &str) {
        let Some(room) = self.rooms.get_mut(self.current) else {
            self.show.trouble("you are in no room: /join ROOM");
            return;
        };
        let (nick, text) = (self.settings.nick.to_string(), clean(text, MAX_TEXT));
        match room.said.publish(&Said { nick, at: now(), text }) {
            Ok(sequence) => room.receipts.say(sequence),
            Err(error) => self.show.trouble(format!("cannot say this: {error}")),
        }
    }

    fn heard(&mut self, room: &RoomName, published: Published<Said>, ctx: &mut Context<Self>) {
        let Published { message: Said { nick, at, text }, author, sequence, .. } = published;
        if let Some(room) = self.room_mut(room) {
            room.receipts.hear(author.id(), sequence);
        }
        if self.people.is_banned(author.id()) {
            return;
        }
        let nick = Nick::claimed(&nick);
        let Some(is_old) = self.room(room).map(|room| room.is_old(at)) else { return };
        let kind = Kind::Said(self.author(author.id(), &nick));
        // An old line does not say that its author is here.
        if !is_old {
            self.note_person(&author, nick, room, ctx);
        }
        // The clock of an author may be wrong: it does not put a line into the future, and it does
        // not change the place of a line that is new.
        let (at, came) = (at.min(now()), now());
        let order = if is_old { at } else { came };
        let line = Line { room: Some(room.clone()), kind, at, order, text: clean(&text, MAX_TEXT) };
        let Some(of) = self.room_mut(room) else { return };
        if !is_old && of.batch.is_empty() {
            self.show.event(Event::Line(line));
            return;
        }
        // It waits with the others, so that they are shown in their order.
        of.batch.push(line);
        let now = Instant::now();
        let first = of.batched.map_or(now, |(first, _)| first);
        of.batched = Some((first, now));
        if of.batch.len() >= MAX_BATCH {
            self.show_batch(room);
            return;
        }
        let room = room.clone();
        ctx.run_later(SETTLE, move |this, _| this.settle(&room));
    }

    /// Shows the old lines of a room, if no more of them come.
    fn settle(&mut self, room: &RoomName) {
        let Some((first, last)) = self.room(room).and_then(|room| room.batched) else { return };
        if last.elapsed() >= SETTLE || first.elapsed() >= SETTLE_AT_MOST {
            self.show_batch(room);
        }
    }

    fn show_batch(&mut self, room: &RoomName) {
        let Some(of) = self.room_mut(room) else { return };
        of.batched = None;
        let mut lines = std::mem::take(&mut of.batch);
        // A person may have been banned meanwhile.
        lines.retain(|line| line.author().is_none_or(|id| !self.people.is_banned(id)));
        lines.sort_by_key(|line| line.order);
        lines.into_iter().for_each(|line| self.show.event(Event::Line(line)));
    }

    /// Notes that lines are missing. It is shown with the next look, since they may be many.
    fn missed(&mut self, room: &RoomName, author: &PeerInfo, lines: u64) {
        if self.people.is_banned(author.id()) {
            return;
        }
        if let Some(room) = self.room_mut(room) {
            let before = room.missed.as_ref().map_or(0, |(before, _)| *before);
            room.missed = Some((before.saturating_add(lines), author.id().clone()));
        }
    }

    pub(super) fn show_missed(&mut self) {
        for room in &mut self.rooms {
            let Some((lines, author)) = room.missed.take() else { continue };
            let who = match self.people.get(&author) {
                Some(person) => person.label(),
                None => Nick::claimed("").label(&author),
            };
            let text = format!("lines are missing: {lines}, the last ones of {who}");
            self.show.note(Some(&room.name), text);
        }
    }
}

impl Handler<Heard<Said>> for Chat {
    type Result = ();

    fn handle(&mut self, heard: Heard<Said>, ctx: &mut Self::Context) {
        match heard.event {
            TopicEvent::Message(published) => self.heard(&heard.room, published, ctx),
            TopicEvent::Missed { author, messages, .. } => {
                self.missed(&heard.room, &author, messages);
            }
            _ => {}
        }
    }
}

impl Handler<Heard<Presence>> for Chat {
    type Result = ();

    fn handle(&mut self, heard: Heard<Presence>, ctx: &mut Self::Context) {
        if let TopicEvent::Message(published) = heard.event {
            self.heard_of(&heard.room, &published.author, published.message, ctx);
        }
    }
}
