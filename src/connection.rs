//! Layer 5: one conversation between two nodes, and the actors and messages that take part in it.

mod actor;
mod bans;
mod batch;
mod body;
mod brake;
mod budget;
mod clock;
mod config;
mod conversation;
mod counters;
pub mod delivery;
mod door;
mod doubts;
mod error;
mod event;
pub(crate) mod exchange;
mod gate;
pub mod handler;
mod incoming;
mod joins;
mod leash;
pub(crate) mod links;
pub(crate) mod measures;
#[cfg(feature = "swim")]
pub(crate) mod membership;
mod meter;
mod node;
mod parts;
mod patience;
mod phase;
pub(crate) mod quiet;
mod reader;
mod refusal;
mod reliable;
mod replies;
mod reply;
mod routes;
mod score;
mod source;
mod threads;
pub(crate) mod typed;
mod writer;

pub use crate::overlay::options::ConfigError;

#[cfg(feature = "test-utils")]
pub(crate) use self::clock::WallClock;
pub use self::{
    actor::ConnectionActor,
    batch::IncomingBatch,
    body::Body,
    config::{Config, ConfigEntry},
    counters::Counts,
    error::{Cause, RequestError, SendError},
    event::{Child, Events, PeerEvent, Removed},
    exchange::{Outgoing, Over},
    handler::{FnHandler, HandlerActor},
    incoming::{Identity, Incoming, Sender, Via},
    links::LinkStatus,
    node::{Cut, Direction},
    phase::{Phase, PhaseEvent},
    reader::ReadError,
    refusal::Refusal,
    reliable::{Kept, KeptId, Outbox, Receipt, Reliability, ReliableError, Unsure},
    replies::Replies,
    reply::Reply,
    score::{Ban, Offence, Offender},
    source::Source,
    typed::{PeerMessage, Received},
};
pub(crate) use self::{
    actor::{Held, accepted},
    bans::watch_bans,
    clock::{Ambient, now},
    counters::Counters,
    door::Door,
    event::EventBus,
    gate::TurnedAway,
    incoming::Token,
    joins::Joins,
    links::Links,
    measures::{Asking, Measures, Times},
    node::Node,
    reliable::SharedOutbox,
    routes::{Batched, Intake, Route, Routes, Serve, Told},
    threads::Threads,
    writer::explain,
};
