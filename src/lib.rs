//! A peer-to-peer node built as actix actors.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod frame;
pub mod overlay;
pub mod transport;
