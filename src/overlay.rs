//! Layer 2: ids, the peer table, routing, joining and maintenance. Pure: no socket, no clock, no
//! actor.

mod forward;
mod id;
mod join;
mod list;
mod ping_sweep;
pub mod router;
mod stabilizer;

pub use self::{
    forward::{Envelope, Hop, RouteFault, RouteReason},
    id::{
        Address, Host, InvalidAddress, InvalidHost, InvalidPeerId, InvalidPeerInfo, PeerId,
        PeerInfo,
    },
    join::{JoinConfig, JoinEnd, JoinEvent, JoinReport, JoinStep, JoinWalk},
    list::{Added, Learned, PeerEntry, PeerList},
    ping_sweep::PingSweep,
    router::{Direct, FnRouter, Router},
    stabilizer::{AskFailure, Stabilizer, StabilizerAction, StabilizerEvent, View},
};
