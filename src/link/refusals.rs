//! What the other side is told of one-way messages that were refused.

use bytes::{Buf, Bytes};

use crate::{
    frame::{HEADER_LEN, TypeCode},
    link::{Reason, header::EXCHANGE_HEADER_LEN},
};

/// In the `features` of a hello: this side wants to be told.
pub(crate) const REFUSALS: &str = "refusals";

/// Code and reason pairs of which the numbers are kept until they are told.
const MAX_KINDS: usize = 16;

/// Messages of one code that were refused for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: TypeCode,
    pub(super) reason: Reason,
    pub(super) messages: u32,
}

impl Refusal {
    pub(super) fn to_payload(self) -> Vec<u8> {
        let Self { code, reason, messages } = self;
        [&messages.to_be_bytes()[..], code.as_bytes(), &reason.to_payload()].concat()
    }

    /// None when it is too short, or says nothing.
    pub(super) fn from_payload(mut payload: Bytes) -> Option<Self> {
        let messages = payload.try_get_u32().ok().filter(|messages| *messages > 0)?;
        let code = TypeCode::new(payload.first_chunk()?);
        payload.advance(code.as_bytes().len());
        let reason =
            payload.first_chunk().map(|number| Reason::new(u16::from_be_bytes(*number)))?;
        Some(Self { code, reason, messages })
    }
}

/// Refusals that are not told yet: one frame for each code and reason, however many there were.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Adds some. When there is no room for another kind, those before are returned: they have to be
    /// told now.
    #[must_use]
    pub(super) fn add(&mut self, new: Refusal) -> Vec<Refusal> {
        let same = |old: &&mut Refusal| (old.code, old.reason) == (new.code, new.reason);
        if let Some(old) = self.0.iter_mut().find(same) {
            old.messages = old.messages.saturating_add(new.messages);
            return Vec::new();
        }
        let before = if self.0.len() < MAX_KINDS { Vec::new() } else { self.take() };
        self.0.push(new);
        before
    }

    /// Takes those of the same kind that are here out of both. Returns what is left of `from`.
    pub(super) fn subtract(&mut self, mut from: Refusal) -> Refusal {
        let same = |old: &&mut Refusal| (old.code, old.reason) == (from.code, from.reason);
        if let Some(old) = self.0.iter_mut().find(same) {
            let both = old.messages.min(from.messages);
            old.messages -= both;
            from.messages -= both;
            self.0.retain(|old| old.messages > 0);
        }
        from
    }

    pub(super) fn take(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.0)
    }

    /// Bytes that they take as frames.
    pub(super) fn encoded_len(&self) -> usize {
        const HEADERS: usize = HEADER_LEN + EXCHANGE_HEADER_LEN;
        self.0.iter().map(|refusal| HEADERS + refusal.to_payload().len()).sum()
    }
}
