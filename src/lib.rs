//! A peer-to-peer node built as actix actors.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod connection;
pub mod frame;
pub mod overlay;
pub mod peer;
pub mod transport;

pub use self::{
    connection::{
        Body, Child, Config, Events, HandlerActor, Incoming, Outgoing, PeerEvent, PeerMessage,
        Received, Refusal, Replies, Reply, RequestError, SendError, handler,
    },
    overlay::{PeerId, PeerInfo, PingSweep, Router, Stabilizer, router},
    peer::{Builder, Peer, Peers, StartError, Target, messages},
};
