//! The messages between members: a version byte, then a message in postcard
//! ([protocol](crate::protocol#membership)).

use bytes::{BufMut, Bytes};
use foca::{Codec, Header, Member, Message, PostcardCodec};
use serde::{Deserialize, Serialize};

use super::{config::MAX_DATAGRAM, identity::Identity};
use crate::overlay::versioned;

/// The version of the format: the first byte.
const VERSION: u8 = 1;

/// The maximum length of a message: a datagram of the engine, and what is around it.
const LONGEST: usize = MAX_DATAGRAM + (1 << 10);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said<'a> {
    /// A datagram of the engine.
    #[serde(borrow)]
    Gossip(&'a [u8]),
    /// Asks whether `about` is the receiver. Answered with `Here`.
    Ask { nonce: u32, asker: Identity, about: Identity },
    /// The answer to `Ask`: the identity of the receiver.
    Here { nonce: u32, who: Identity },
}

/// Why a whole message was refused. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SwimRefused {
    /// It cannot be decoded, or has an impossible value.
    #[error("the data is not a membership message")]
    Malformed,
    /// It speaks for another node than its sender.
    #[error("the message speaks for another node than its sender")]
    NotTheSender,
    /// It would make this node send to a node that is not a member.
    #[error("the message names a node that is not a member")]
    Stranger,
    /// The maximum number of members is known.
    #[error("too many members")]
    Full,
    /// Another node with its id is a member, at another address.
    #[error("another node with its id is a member")]
    Taken,
    /// It is sent too often.
    #[error("the sender sends too often")]
    TooOften,
}

impl Said<'_> {
    pub(super) fn encode(&self) -> Option<Bytes> {
        versioned::encode(VERSION, self, LONGEST).map(Bytes::from)
    }
}

pub(super) fn decode(data: &[u8]) -> Result<Said<'_>, SwimRefused> {
    let said = versioned::decode(VERSION, data, LONGEST).ok_or(SwimRefused::Malformed)?;
    let possible = match &said {
        Said::Gossip(_) => true,
        Said::Ask { asker, about, .. } => asker.is_possible() && about.is_possible(),
        Said::Here { who, .. } => who.is_possible(),
    };
    if possible { Ok(said) } else { Err(SwimRefused::Malformed) }
}

/// A decoded datagram of the engine.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) header: Header<Identity>,
    pub(super) updates: Vec<Member<Identity>>,
}

impl Datagram {
    pub(super) fn decode(mut data: &[u8]) -> Result<Self, SwimRefused> {
        if data.len() > MAX_DATAGRAM {
            return Err(SwimRefused::Malformed);
        }
        let header: Header<Identity> =
            PostcardCodec.decode_header(&mut data).map_err(|_| SwimRefused::Malformed)?;
        let mut updates = Vec::new();
        if let Some((count, mut rest)) = data.split_first_chunk() {
            for _ in 0..u16::from_be_bytes(*count) {
                let update: Member<Identity> =
                    PostcardCodec.decode_member(&mut rest).map_err(|_| SwimRefused::Malformed)?;
                updates.push(update);
            }
            data = rest;
        }
        // Nodes send no broadcasts of their own, and nothing may follow.
        let of_ours = data.is_empty() && header.message != Message::Broadcast;
        let bare = matches!(header.message, Message::Announce | Message::TurnUndead);
        let named = match &header.message {
            Message::PingReq { target: id, .. }
            | Message::IndirectPing { origin: id, .. }
            | Message::IndirectAck { target: id, .. }
            | Message::ForwardedAck { origin: id, .. } => Some(id),
            Message::Ping(_)
            | Message::Ack(_)
            | Message::Announce
            | Message::Feed
            | Message::Gossip
            | Message::Broadcast
            | Message::TurnUndead => None,
        };
        let possible = [&header.src].into_iter().chain(named).all(Identity::is_possible)
            && updates.iter().all(|update| update.id().is_possible());
        if of_ours && possible && (updates.is_empty() || !bare) {
            Ok(Self { header, updates })
        } else {
            Err(SwimRefused::Malformed)
        }
    }

    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        PostcardCodec.encode_header(&self.header, &mut data).ok()?;
        if !self.updates.is_empty() {
            data.put_u16(u16::try_from(self.updates.len()).ok()?);
        }
        for update in &self.updates {
            PostcardCodec.encode_member(update, &mut data).ok()?;
        }
        Some(data)
    }
}
