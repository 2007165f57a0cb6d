//! Counts the one-way messages of a link by code, so that a sender learns at the end of the link
//! how many were lost.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use crate::frame::TypeCode;

/// In the `features` of a hello: this side asks for the counts at the end of the link.
pub(crate) const COUNTS: &str = "counts";

/// The number of codes that are counted. If a link has more, its losses are not known.
const MAX_CODES: usize = 256;

/// A count for each code. Consecutive messages often have the same code.
#[derive(Debug, Default)]
pub(super) struct Tally {
    last: Option<(TypeCode, u64)>,
    others: BTreeMap<TypeCode, u64>,
    too_many: bool,
}

impl Tally {
    pub(super) fn add(&mut self, code: TypeCode, messages: u64) {
        *self.of(code) += messages;
    }

    /// Subtracts messages.
    pub(super) fn sub(&mut self, code: TypeCode, messages: u64) {
        let count = self.of(code);
        *count = count.saturating_sub(messages);
    }

    #[inline]
    fn of(&mut self, code: TypeCode) -> &mut u64 {
        if self.last.is_none_or(|(last, _)| last != code) {
            self.turn_to(code);
        }
        &mut self.last.get_or_insert((code, 0)).1
    }

    fn turn_to(&mut self, code: TypeCode) {
        if let Some((last, count)) = self.last.take() {
            self.others.insert(last, count);
        }
        let count = self.others.remove(&code).unwrap_or_default();
        if self.others.len() < MAX_CODES {
            self.last = Some((code, count));
        } else {
            (self.others, self.too_many) = (BTreeMap::new(), true);
        }
    }

    /// All counts. `None` if there were too many codes.
    fn all(&self) -> Option<impl Iterator<Item = (TypeCode, u64)>> {
        let counts = self.others.iter().map(|(code, count)| (*code, *count)).chain(self.last);
        (!self.too_many).then_some(counts)
    }

    pub(super) fn to_payload(&self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        for (code, count) in self.all()? {
            payload.put_slice(code.as_bytes());
            payload.put_u64(count);
        }
        Some(payload)
    }

    /// Decodes a list of counts. `None` if the payload is not valid.
    pub(super) fn from_payload(mut payload: Bytes) -> Option<BTreeMap<TypeCode, u64>> {
        let mut counts = BTreeMap::new();
        while !payload.is_empty() {
            let code = TypeCode::new(payload.first_chunk()?);
            payload.advance(code.as_bytes().len());
            counts.insert(code, payload.try_get_u64().ok()?);
        }
        (counts.len() <= MAX_CODES + 1).then_some(counts)
    }

    /// The excess over `others` for each code, sorted by code.
    pub(super) fn without(&self, others: &BTreeMap<TypeCode, u64>) -> Vec<(TypeCode, u64)> {
        let lost = |(code, count): (TypeCode, u64)| {
            let lost = count.saturating_sub(others.get(&code).copied().unwrap_or_default());
            (lost > 0).then_some((code, lost))
        };
        let mut lost: Vec<_> = self.all().into_iter().flatten().filter_map(lost).collect();
        lost.sort_unstable();
        lost
    }
}
