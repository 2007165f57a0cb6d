//! How many one-way messages went over a link, by code: so that at its end a sender learns how many
//! were lost.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use crate::{
    frame::TypeCode,
    link::{Link, LinkEvent, Reason, machine::Exchange},
};

/// In the `features` of a hello: this side wants to be told at the end of the link.
pub(crate) const COUNTS: &str = "counts";

/// Codes that are counted. With more of them on one link, its losses are not known.
const MAX_CODES: usize = 256;

/// A count for each code. Messages come in runs of one code.
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

    /// Takes messages out again.
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

    /// All counts, unless there were too many codes.
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

    /// None if it is not a list of counts.
    fn from_payload(mut payload: Bytes) -> Option<BTreeMap<TypeCode, u64>> {
        let mut counts = BTreeMap::new();
        while !payload.is_empty() {
            let code = TypeCode::new(payload.first_chunk()?);
            payload.advance(code.as_bytes().len());
            counts.insert(code, payload.try_get_u64().ok()?);
        }
        (counts.len() <= MAX_CODES + 1).then_some(counts)
    }

    /// How many of each code are here and not in `others`, sorted by code.
    fn without(&self, others: &BTreeMap<TypeCode, u64>) -> Vec<(TypeCode, u64)> {
        let lost = |(code, count): (TypeCode, u64)| {
            let lost = count.saturating_sub(others.get(&code).copied().unwrap_or_default());
            (lost > 0).then_some((code, lost))
        };
        let mut lost: Vec<_> = self.all().into_iter().flatten().filter_map(lost).collect();
        lost.sort_unstable();
        lost
    }
}

impl Link {
    /// The other side says what it got. None if it does not.
    pub(super) fn counts_came(&mut self, exchange: u32, payload: Bytes) -> Option<()> {
        self.got_there = Some(Tally::from_payload(payload).filter(|_| exchange == 0)?);
        Some(())
    }

    /// The other side ends the link, and has said what it got: the rest never comes to a handler.
    pub(super) fn lost_on_the_way(&mut self, reason: Reason) {
        let Some(got) = self.got_there.take() else { return };
        // Their senders learn it from their exchange.
        for open in self.exchanges.values() {
            if let Exchange::Telling { code } = open {
                self.sent.sub(*code, 1);
            }
        }
        for (code, messages) in self.sent.without(&got) {
            let messages = u32::try_from(messages.min(self.told)).unwrap_or(u32::MAX);
            self.told -= u64::from(messages);
            if messages > 0 {
                self.events.push(LinkEvent::Refused { code, reason, messages });
            }
        }
    }
}
