//! Reports refused one-way messages to the other side.

use bytes::{Buf, Bytes};

use crate::{
    frame::{HEADER_LEN, TypeCode},
    link::{Reason, header::EXCHANGE_HEADER_LEN},
};

/// In the `features` of a hello: this side asks for reports of refused messages.
pub(crate) const REFUSALS: &str = "refusals";

/// The pairs of code and reason that are counted until they are reported.
const MAX_KINDS: usize = 16;

/// Messages of one code that were refused for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefusalReport {
    pub(super) code: TypeCode,
    pub(super) reason: Reason,
    pub(super) messages: u32,
}

impl RefusalReport {
    pub(super) fn to_payload(self) -> Vec<u8> {
        let Self { code, reason, messages } = self;
        [&messages.to_be_bytes()[..], code.as_bytes(), &reason.to_payload()].concat()
    }

    /// Decodes a payload. `None` if it is too short or reports no message.
    pub(super) fn from_payload(mut payload: Bytes) -> Option<Self> {
        let messages = payload.try_get_u32().ok().filter(|messages| *messages > 0)?;
        let code = TypeCode::new(payload.first_chunk()?);
        payload.advance(code.as_bytes().len());
        let reason =
            payload.first_chunk().map(|number| Reason::new(u16::from_be_bytes(*number)))?;
        Some(Self { code, reason, messages })
    }
}

/// Refusals that are not reported yet. Each pair of code and reason is one frame, whatever its
/// count.
#[derive(Debug, Default)]
pub(super) struct RefusalReports(Vec<RefusalReport>);

impl RefusalReports {
    /// Adds refusals. If there is no room for another pair, returns the earlier refusals, which
    /// have to be reported now.
    #[must_use]
    pub(super) fn add(&mut self, new: RefusalReport) -> Vec<RefusalReport> {
        let same = |old: &&mut RefusalReport| (old.code, old.reason) == (new.code, new.reason);
        if let Some(old) = self.0.iter_mut().find(same) {
            old.messages = old.messages.saturating_add(new.messages);
            return Vec::new();
        }
        let before = if self.0.len() < MAX_KINDS { Vec::new() } else { self.take() };
        self.0.push(new);
        before
    }

    /// Subtracts refusals of the same pair from both. Returns the rest of `from`.
    pub(super) fn subtract(&mut self, mut from: RefusalReport) -> RefusalReport {
        let same = |old: &&mut RefusalReport| (old.code, old.reason) == (from.code, from.reason);
        if let Some(old) = self.0.iter_mut().find(same) {
            let both = old.messages.min(from.messages);
            old.messages -= both;
            from.messages -= both;
            self.0.retain(|old| old.messages > 0);
        }
        from
    }

    pub(super) fn take(&mut self) -> Vec<RefusalReport> {
        std::mem::take(&mut self.0)
    }

    /// Their length as frames, in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        const HEADERS: usize = HEADER_LEN + EXCHANGE_HEADER_LEN;
        self.0.iter().map(|refusal| HEADERS + refusal.to_payload().len()).sum()
    }
}
