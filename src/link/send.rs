//! What a link sends.

use bytes::BufMut;

use crate::{
    frame::{FrameHead, HEADER_LEN, TypeCode},
    link::{
        ExchangeHead, Flags, Link, LinkPhase, Reason, Refused, code,
        grant::Grant,
        header::EXCHANGE_HEADER_LEN,
        machine::{Exchange, MAX_CONTROL_WAITING, MAX_PAYLOAD_U32, REPLY_WINDOW},
    },
};

impl Link {
    /// Sends a one-way message in one frame.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn one_way(&mut self, code: TypeCode, data: &[u8]) -> Result<(), Refused> {
        self.pay(data)?;
        self.put(code, 0, Flags::NONE, data);
        Ok(())
    }

    /// Begins a request (`request`) or a long one-way message with its first part. Returns the
    /// number of the exchange. With `more`, the rest is sent with [`go_on`](Self::go_on).
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn begin(
        &mut self,
        code: TypeCode,
        data: &[u8],
        request: bool,
        more: bool,
    ) -> Result<u32, Refused> {
        let number = self.next_number;
        let max_open = self.theirs.as_ref().map_or(0, |theirs| theirs.max_open);
        if request && self.open_out >= max_open && self.phase == LinkPhase::Open {
            return Err(Refused::TooMany);
        }
        self.pay(data)?;
        // The numbers are used up: what is open is finished, and the next link begins anew.
        match number.checked_add(2) {
            Some(next) => self.next_number = next,
            None => self.bye(),
        }
        let flags = Flags::NONE.with(Flags::OPEN, request);
        self.put(code, number, flags.with(Flags::MORE, more).with(Flags::END, !more), data);
        if request {
            let grant = Grant::new(REPLY_WINDOW);
            self.exchanges.insert(number, Exchange::Asked { sending: more, grant });
            self.open_out += 1;
        } else if more {
            self.exchanges.insert(number, Exchange::Telling);
        }
        Ok(number)
    }

    /// Sends the next part of a request or a long one-way message.
    ///
    /// # Errors
    /// See [`Refused`]; `Over` when the other side has ended or reset the exchange meanwhile.
    pub fn go_on(
        &mut self,
        exchange: u32,
        code: TypeCode,
        data: &[u8],
        more: bool,
    ) -> Result<(), Refused> {
        match self.exchanges.get(&exchange) {
            Some(Exchange::Asked { sending: true, .. } | Exchange::Telling) => {}
            _ => return Err(Refused::Over),
        }
        self.pay_open(data)?;
        self.put(code, exchange, Flags::NONE.with(Flags::MORE, more).with(Flags::END, !more), data);
        if !more {
            match self.exchanges.get_mut(&exchange) {
                Some(Exchange::Asked { sending, .. }) => *sending = false,
                _ => self.forget(exchange),
            }
        }
        Ok(())
    }

    /// Sends a reply, or a part of one (`more`), in an exchange of the other side. With `end` it is
    /// the last.
    ///
    /// # Errors
    /// See [`Refused`]; `Full` until the other side has read what was sent.
    pub fn reply(
        &mut self,
        exchange: u32,
        code: TypeCode,
        data: &[u8],
        more: bool,
        end: bool,
    ) -> Result<(), Refused> {
        let cost = cost_of(data)?;
        match self.exchanges.get_mut(&exchange) {
            Some(Exchange::Serving { credit, .. }) => {
                *credit = credit.checked_sub(cost).ok_or(Refused::Full)?;
            }
            _ => return Err(Refused::Over),
        }
        self.put(code, exchange, Flags::NONE.with(Flags::MORE, more).with(Flags::END, end), data);
        if end {
            self.forget(exchange);
        }
        Ok(())
    }

    /// Ends an exchange of the other side without another message. No effect when it is over.
    pub fn end(&mut self, exchange: u32) {
        if matches!(self.exchanges.get(&exchange), Some(Exchange::Serving { .. })) {
            self.control(code::END, exchange, Flags::END, &[]);
            self.forget(exchange);
        }
    }

    /// Ends an exchange at once. No effect when it is over.
    pub fn reset(&mut self, exchange: u32, reason: Reason) {
        if self.exchanges.contains_key(&exchange) {
            self.control(code::RST, exchange, Flags::RESET, &reason.to_payload());
            self.forget(exchange);
        }
    }

    /// Notes that `bytes` of one-way messages and requests were worked off.
    pub fn consumed(&mut self, bytes: u32) {
        if let Some(due) = self.grant.give_back(bytes) {
            self.control(code::CRD, 0, Flags::NONE, &due.to_be_bytes());
        }
    }

    /// Notes that `bytes` of replies were read.
    pub fn read(&mut self, exchange: u32, bytes: u32) {
        if let Some(Exchange::Asked { grant, .. }) = self.exchanges.get_mut(&exchange)
            && let Some(due) = grant.give_back(bytes)
        {
            self.control(code::CRD, exchange, Flags::NONE, &due.to_be_bytes());
        }
    }

    pub(super) fn greet(&mut self) {
        let hello = self.config.hello.to_frame();
        self.raw(hello.code(), &[], hello.data());
    }

    fn raw(&mut self, code: TypeCode, head: &[u8], payload: &[u8]) {
        let len = head.len() + payload.len();
        self.out.reserve(HEADER_LEN + len);
        #[expect(clippy::cast_possible_truncation, reason = "at most a payload and its header")]
        self.out.put_slice(&FrameHead::new(code, len as u32).to_bytes());
        self.out.put_slice(head);
        self.out.put_slice(payload);
        self.counts.frames_out += 1;
    }

    fn put(&mut self, code: TypeCode, exchange: u32, flags: Flags, payload: &[u8]) {
        self.raw(code, &ExchangeHead { exchange, flags }.to_bytes(), payload);
    }

    /// Sends a frame of the link itself, within their limit.
    pub(super) fn control(&mut self, code: TypeCode, exchange: u32, flags: Flags, payload: &[u8]) {
        if self.phase == LinkPhase::Closed {
            return;
        }
        self.put(code, exchange, flags, payload);
        self.control_waiting += HEADER_LEN + EXCHANGE_HEADER_LEN + payload.len();
        if self.control_waiting > MAX_CONTROL_WAITING {
            self.close(Reason::PROTOCOL, false);
        }
    }

    fn pay(&mut self, data: &[u8]) -> Result<(), Refused> {
        if self.phase == LinkPhase::Open { self.pay_open(data) } else { Err(Refused::NotOpen) }
    }

    fn pay_open(&mut self, data: &[u8]) -> Result<(), Refused> {
        let cost = cost_of(data)?;
        self.credit = self.credit.checked_sub(cost).ok_or(Refused::Full)?;
        Ok(())
    }
}

fn cost_of(data: &[u8]) -> Result<u32, Refused> {
    let len = u32::try_from(data.len()).ok().filter(|len| *len <= MAX_PAYLOAD_U32);
    len.map(Link::cost).ok_or(Refused::TooLong)
}
