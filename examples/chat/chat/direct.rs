//! Messages to one person: private lines and files.

use std::path::PathBuf;

use actix::prelude::*;
use actix_peer::{PeerInfo, Received, SendError, content::FileName, message::Sender};
use tokio::time::Instant;

use super::Chat;
use crate::{
    files::{self, Offered, Waiting},
    people::Person,
    text::{MAX_NICK, MAX_SHOWN, MAX_TEXT, Nick, clean, size},
    view::{Author, Event, Kind, Line, now},
    wire::{Ended, Offer, Outcome, Whisper},
};

/// The maximum number of files that others have offered and that wait for an answer.
const MAX_WAITING: usize = 32;

/// The maximum number of them that one person has offered.
const MAX_WAITING_EACH: usize = 4;

/// The maximum number of files that are received at once.
const MAX_FETCHING: usize = 4;

/// A future in the chat.
pub(super) type Work = ResponseActFuture<Chat, ()>;

/// Why a person could not be reached.
fn unreached(label: &str, error: &SendError) -> String {
    let why = clean(&error.to_string(), MAX_SHOWN);
    let maybe = if error.may_have_been_handled() { " (it may have come)" } else { "" };
    format!("{label} was not reached{maybe}: {why}")
}

/// A name without a path and without unsafe characters, made of any text.
fn safe_name(text: &str) -> Option<FileName> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = clean(last, MAX_SHOWN).replace(['\u{fffd}', '…'], "_");
    let safe = safe.trim_matches(|c: char| c == '.' || c.is_whitespace());
    safe.parse().or_else(|_| format!("file-{safe}").parse()).or_else(|_| "file".parse()).ok()
}

impl Chat {
    /// The sender of a message to this node alone. `None` if the id is not proven, if the person is
    /// banned, or is not known and gives no address.
    fn sender(&mut self, sender: &Sender, nick: &str, listens: &str) -> Option<Person> {
        let id = sender.proven().filter(|id| !self.people.is_banned(id))?;
        let known = self.people.get(id).map(|person| person.info.clone());
        let claimed = || PeerInfo::new(id.clone(), listens.parse().ok()?).ok();
        let info = known.or_else(claimed)?;
        self.people.note(&info, Nick::claimed(nick), None, Instant::now());
        self.people.get(id).cloned()
    }

    /// The own address, for answers.
    fn listens(&self) -> String {
        self.peer.info().address().to_string()
    }

    /// Says something to one person.
    pub(super) fn whisper(&self, to: Person, text: &str) -> Work {
        let (nick, text) = (self.settings.nick.to_string(), clean(text, MAX_TEXT));
        let (peer, show, listens) = (self.peer.clone(), self.show.clone(), self.listens());
        let sending = async move {
            let label = to.label();
            let whisper = Whisper { nick, listens, text: text.clone() };
            match peer.send(&to.info, whisper).await {
                Ok(()) => {
                    let line = Line { kind: Kind::Sent(label), ..Line::note(None, text) };
                    show.event(Event::Line(line));
                }
                Err(error) => show.trouble(unreached(&label, &error)),
            }
        };
        Box::pin(sending.into_actor(self))
    }

    /// Offers a file to one person.
    pub(super) fn offer(&self, to: Person, path: PathBuf) -> Work {
        let (peer, show, offers) = (self.peer.clone(), self.show.clone(), self.offers.clone());
        let (nick, listens) = (self.settings.nick.to_string(), self.listens());
        let offering = async move {
            let (name, bytes) = match files::look_at(&path).await {
                Ok(found) => found,
                Err(error) => return show.trouble(error.to_string()),
            };
            let (id, label) = (to.info.id().clone(), to.label());
            let offered = Offered { number: 0, to: id.clone(), label, name, path, bytes };
            let Offered { number, label, name, .. } = offers.add(offered);
            let offer = Offer { nick, listens, number, name: name.to_string(), bytes };
            // Before the answer: the other program may fetch the file at once.
            show.note(None, format!("you offer {name} ({}) to {label}", size(bytes)));
            let trouble = match peer.send(&to.info, offer).await {
                Ok(true) => return,
                Ok(false) => format!("{label} has too many offers: try again later"),
                Err(error) => unreached(&label, &error),
            };
            offers.remove(&id, number);
            show.trouble(trouble);
        };
        Box::pin(offering.into_actor(self))
    }

    /// Takes an offer out of the list, the latest one by default.
    fn take_waiting(&mut self, number: Option<u32>) -> Option<Waiting> {
        let found = match number {
            Some(number) => self.waiting.iter().position(|offer| offer.number == number),
            None => self.waiting.len().checked_sub(1),
        };
        let taken = found.and_then(|at| self.waiting.remove(at));
        if taken.is_none() {
            self.show.trouble(match number {
                Some(number) => format!("there is no offer with the number {number}"),
                None => "no file is offered to you".to_owned(),
            });
        }
        taken
    }

    pub(super) fn accept(&mut self, number: Option<u32>, ctx: &mut Context<Self>) {
        if self.fetching >= MAX_FETCHING {
            let why = format!("{MAX_FETCHING} files are being received: accept it afterwards");
            return self.show.trouble(why);
        }
        if let Some(offer) = self.take_waiting(number) {
            self.receive(offer, ctx);
        }
    }

    pub(super) fn decline(&mut self, number: Option<u32>, ctx: &mut Context<Self>) {
        if let Some(offer) = self.take_waiting(number) {
            self.show.note(None, format!("you decline {} from {}", offer.name, offer.label));
            let peer = self.peer.clone();
            let ended = Ended { number: offer.theirs, outcome: Outcome::Declined };
            let telling = async move {
                peer.send(&offer.from, ended).await.ok();
            };
            ctx.spawn(telling.into_actor(self));
        }
    }

    fn receive(&mut self, offer: Waiting, ctx: &mut Context<Self>) {
        self.fetching += 1;
        let (peer, show) = (self.peer.clone(), self.show.clone());
        let folder = self.settings.downloads.clone();
        let receiving = async move {
            let fetched = files::fetch(&peer, &offer, folder, &show).await;
            let outcome = if fetched.is_ok() { Outcome::Taken } else { Outcome::Failed };
            peer.send(&offer.from, Ended { number: offer.theirs, outcome }).await.ok();
        };
        let receiving = receiving.into_actor(self);
        ctx.spawn(receiving.map(|(), this, ctx| {
            this.fetching = this.fetching.saturating_sub(1);
            this.receive_next(ctx);
        }));
    }

    /// Receives the next file, if all are accepted.
    fn receive_next(&mut self, ctx: &mut Context<Self>) {
        if self.settings.accept
            && self.fetching < MAX_FETCHING
            && let Some(offer) = self.waiting.pop_front()
        {
            self.receive(offer, ctx);
        }
    }

    fn offered(&mut self, offer: Offer, sender: &Sender, ctx: &mut Context<Self>) -> bool {
        let Some(from) = self.sender(sender, &offer.nick, &offer.listens) else { return false };
        let of_sender = self.waiting.iter().filter(|other| other.from.id() == from.info.id());
        if self.waiting.len() >= MAX_WAITING || of_sender.count() >= MAX_WAITING_EACH {
            return false;
        }
        let Some(name) = safe_name(&offer.name) else { return false };
        self.numbered = self.numbered.wrapping_add(1);
        let (number, label, bytes) = (self.numbered, from.label(), size(offer.bytes));
        let what = format!("{label} offers {name} ({bytes})");
        self.show.note(
            None,
            if self.settings.accept {
                what
            } else {
                format!("{what}: /accept {number} or /decline {number}")
            },
        );
        let (theirs, bytes) = (offer.number, offer.bytes);
        self.waiting.push_back(Waiting { number, from: from.info, label, theirs, name, bytes });
        self.receive_next(ctx);
        true
    }
}

impl Handler<Received<Whisper>> for Chat {
    type Result = ();

    fn handle(&mut self, received: Received<Whisper>, _: &mut Self::Context) {
        let Whisper { nick, listens, text } = received.message;
        let nick: String = nick.chars().take(MAX_NICK).collect();
        let Some(from) = self.sender(&received.sender, &nick, &listens) else { return };
        let author = Author { id: from.info.id().clone(), label: from.label(), is_me: false };
        let at = now();
        let text = clean(&text, MAX_TEXT);
        let line = Line { room: None, kind: Kind::Private(author), at, order: at, text };
        self.show.event(Event::Line(line));
    }
}

impl Handler<Received<Offer>> for Chat {
    type Result = MessageResult<Received<Offer>>;

    fn handle(&mut self, received: Received<Offer>, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.offered(received.message, &received.sender, ctx))
    }
}

impl Handler<Received<Ended>> for Chat {
    type Result = ();

    fn handle(&mut self, received: Received<Ended>, _: &mut Self::Context) {
        let Some(id) = received.sender.proven() else { return };
        let Ended { number, outcome } = received.message;
        if outcome == Outcome::Failed {
            // The offer stays, for another attempt.
            return self.show.trouble(match self.people.get(id) {
                Some(person) => format!("{} could not receive the file", person.label()),
                None => "the file could not be received".to_owned(),
            });
        }
        if let Some(Offered { name, label, .. }) = self.offers.remove(id, number) {
            self.show.note(
                None,
                match outcome {
                    Outcome::Taken => format!("{label} has received {name}"),
                    _ => format!("{label} declines {name}"),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_becomes_a_safe_name() {
        for (text, expected) in [
            ("notes.txt", "notes.txt"),
            ("../../etc/passwd", "passwd"),
            ("C:\\boot.ini", "boot.ini"),
            (".bashrc", "bashrc"),
            ("..", "file-"),
            ("a\u{1b}[2J\u{202e}b", "a_[2J_b"),
            ("con", "file-con"),
            ("", "file-"),
            ("dir/", "file-"),
        ] {
            assert_eq!(safe_name(text).unwrap().as_str(), expected, "{text:?}");
        }
        assert!(safe_name(&"x".repeat(9_999)).is_some());
    }
}
