//! Models of links that several threads use ([`crate::sync::model`]).

mod credit;
mod hand_over;
pub(crate) mod network;
mod parts;
mod stop;
mod turns;
