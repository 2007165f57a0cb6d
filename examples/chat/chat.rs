//! The chat of this node: an actor that owns the rooms, the people and the offers.

mod direct;
mod input;
mod presence;
mod receipt;
mod rooms;

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use actix::prelude::*;
use actix_peer::{Incoming, Peer, PeerEvent, PeerId, handler, peer::RegisterError};

use self::rooms::Room;
pub(crate) use self::{
    input::{Input, Select},
    receipt::UntilHeard,
};
use crate::{
    files::{self, Offers, Waiting},
    people::People,
    text::{MAX_SHOWN, Nick, RoomName, clean},
    view::{Author, Event, RoomView, Show},
    wire::{Ended, HasHeard, Offer, Whisper},
};

/// The time between two looks at neighbours and people.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The maximum number of rooms of one node: each has two topics, and a node has 16 by default.
pub(crate) const MAX_ROOMS: usize = 8;

/// The settings of the chat.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) nick: Nick,
    pub(crate) rooms: Vec<RoomName>,
    pub(crate) downloads: PathBuf,
    pub(crate) accept: bool,
}

/// The chat of this node.
pub(crate) struct Chat {
    peer: Peer,
    show: Show,
    settings: Settings,
    rooms: Vec<Room>,
    /// The number of the room to which lines go.
    current: usize,
    people: People,
    offers: Offers,
    /// The files that others have offered.
    waiting: VecDeque<Waiting>,
    /// The number of the last of them.
    numbered: u32,
    /// The files that are being received.
    fetching: usize,
    /// The contacts about which was complained.
    complained: Vec<String>,
    /// The last report of the rooms.
    shown: Option<Event>,
}

impl Chat {
    pub(crate) fn new(peer: Peer, show: Show, settings: Settings) -> Self {
        Self {
            peer,
            show,
            settings,
            rooms: Vec::new(),
            current: 0,
            people: People::default(),
            offers: Offers::default(),
            waiting: VecDeque::new(),
            numbered: 0,
            fetching: 0,
            complained: Vec::new(),
            shown: None,
        }
    }

    /// Registers what serves the messages of other nodes.
    fn register(&self, ctx: &Context<Self>) -> Result<(), RegisterError> {
        let (offers, show) = (self.offers.clone(), self.show.clone());
        let serve = handler::from_fn(async move |incoming: Incoming| {
            files::serve(&offers, &show, incoming).await
        });
        self.peer.on::<Whisper>(ctx.address())?;
        self.peer.on::<Offer>(ctx.address())?;
        self.peer.on::<Ended>(ctx.address())?;
        self.peer.on::<HasHeard>(ctx.address())?;
        self.peer.handle(<crate::wire::Fetch as actix_peer::frame::Wire>::CODE, serve.start())?;
        Ok(())
    }

    fn is_me(&self, id: &PeerId) -> bool {
        self.peer.id() == id
    }

    /// The author of a line with this nick.
    fn author(&self, id: &PeerId, nick: &Nick) -> Author {
        Author { id: id.clone(), label: nick.label(id), is_me: self.is_me(id) }
    }

    /// Reports the rooms to the terminal, if something has changed.
    fn report(&mut self) {
        let now = tokio::time::Instant::now();
        let all = self.rooms.iter().map(|room| {
            let people = self.people.in_room(room.name(), now);
            let people = people.into_iter().map(|one| self.author(one.info.id(), &one.nick));
            RoomView {
                name: room.name().clone(),
                neighbors: room.neighbors(),
                people: people.collect(),
            }
        });
        let event = Event::Rooms {
            all: all.collect(),
            current: self.current,
            me: self.settings.nick.label(self.peer.id()),
            links: self.peer.active_neighbors().len(),
        };
        if self.shown.as_ref() != Some(&event) {
            self.shown = Some(event.clone());
            self.show.event(event);
        }
    }
}

impl Actor for Chat {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Err(error) = self.register(ctx) {
            self.show.trouble(format!("cannot receive private messages and files: {error}"));
        }
        self.peer.subscribe(ctx.address().recipient());
        for room in std::mem::take(&mut self.settings.rooms) {
            self.enter(room, ctx);
        }
        self.current = 0;
        ctx.run_interval(LOOK_EVERY, |this, _| {
            this.look_at_rooms();
            this.show_missed();
            this.report();
        });
        self.report();
    }
}

impl Handler<PeerEvent> for Chat {
    type Result = ();

    fn handle(&mut self, event: PeerEvent, _: &mut Self::Context) {
        match event {
            PeerEvent::Joined { contact, .. } => {
                let contact = contact.to_string();
                self.complained.retain(|other| *other != contact);
                self.show.note(None, format!("joined {contact}"));
            }
            PeerEvent::NotJoined { contact, why, again } => {
                let contact = contact.to_string();
                if self.complained.contains(&contact) {
                    return;
                }
                let then = if again { "; trying again" } else { "" };
                let why = clean(&why.to_string(), MAX_SHOWN);
                self.show.trouble(format!("cannot join {contact}: {why}{then}"));
                self.complained.push(contact);
            }
            PeerEvent::StoodStill { time } => {
                let seconds = time.as_secs();
                self.show.note(None, format!("this program stood still for {seconds} seconds"));
            }
            _ => {}
        }
        self.report();
    }
}

/// Leaves all rooms. The answer comes when this has been said in them.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct LeaveAll;

impl Handler<LeaveAll> for Chat {
    type Result = ();

    fn handle(&mut self, _: LeaveAll, _: &mut Self::Context) {
        self.rooms.iter().for_each(Room::say_goodbye);
        // A node that stops waits for the subscriptions, up to its limit.
        self.rooms.clear();
    }
}

/// Completes if the chat has ended, which it does only by a panic.
pub(crate) async fn until_broken(chat: &Addr<Chat>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while chat.connected() {
        ticks.tick().await;
    }
}
