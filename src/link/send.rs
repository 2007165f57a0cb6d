//! Sends the frames of a link.

use std::collections::BTreeMap;

use bytes::BufMut;

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    frame::{FrameHead, HEADER_LEN, TypeCode},
    link::{
        AckLevel, COUNTS, ExchangeHead, ExchangeKind, Flags, Hello, LENGTHS, Link, LinkPhase,
        MAX_LENGTHS, REFUSALS, Reason, Refused, code,
        grant::Grant,
        header::{EXCHANGE_HEADER_LEN, HEADERS_LEN},
        lengths,
        machine::{Exchange, MAX_CONTROL_WAITING, MAX_PAYLOAD_U32, REPLY_WINDOW},
        refusals::RefusalReport,
        sequenced::{SERIES, sequenced_len},
    },
};

impl Link {
    /// Whether both sides list a feature.
    pub(super) fn agreed(&self, feature: &str) -> bool {
        self.config.hello.has(feature)
            && self.theirs.as_ref().is_some_and(|theirs| theirs.has(feature))
    }

    /// The length of the numbers in front of an acknowledged message.
    #[must_use]
    pub fn numbered_len(&self) -> usize {
        sequenced_len(self.agreed(SERIES))
    }

    /// Sends a one-way message in one frame.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn one_way(&mut self, code: TypeCode, data: &[u8]) -> Result<(), Refused> {
        self.take_credit_for_new(data.len())?;
        self.unrefused += 1;
        self.sent.add(code, 1);
        self.push_frame(code, 0, Flags::NONE, data);
        Ok(())
    }

    /// Sends the first part of a request, a long one-way message or an acknowledged message.
    /// Returns the number of the exchange. With `more`, the rest is sent with
    /// [`send_next`](Self::send_next). The first frame of an acknowledged message has
    /// [`numbered_len`](Self::numbered_len) bytes less room.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn begin(
        &mut self,
        code: TypeCode,
        data: &[u8],
        kind: ExchangeKind,
        more: bool,
    ) -> Result<u32, Refused> {
        let (request, number) = (kind != ExchangeKind::OneWay, self.next_number);
        let max_open = self.theirs.as_ref().map_or(0, |theirs| theirs.max_open);
        if request && self.open_out >= max_open && self.phase == LinkPhase::Open {
            return Err(Refused::TooMany);
        }
        let (numbers, numbered) = match kind {
            ExchangeKind::Sequenced(numbered) => (numbered.to_bytes(self.agreed(SERIES)), true),
            ExchangeKind::OneWay | ExchangeKind::Request => (Vec::new(), false),
        };
        self.take_credit_for_new(numbers.len() + data.len())?;
        // The numbers are used up: the link ends after its open exchanges, and the next one starts
        // over.
        match number.checked_add(2) {
            Some(next) => self.next_number = next,
            None => self.bye(),
        }
        let flags = Flags::NONE.with(Flags::OPEN, request).with(Flags::NUMBERED, numbered);
        let flags = flags.with(Flags::MORE, more).with(Flags::END, !more);
        self.push_frame_parts(code, number, flags, &numbers, data);
        if request {
            let grant = Grant::new(REPLY_WINDOW);
            self.exchanges.insert(number, Exchange::RequestOut { sending: more, grant });
            self.open_out += 1;
        } else {
            self.unrefused += 1;
            self.sent.add(code, 1);
            if more {
                self.exchanges.insert(number, Exchange::OneWayOut { code });
            }
        }
        Ok(number)
    }

    /// Sends the next part of a request or a long one-way message.
    ///
    /// # Errors
    /// See [`Refused`]; `Over` if the other side has ended or reset the exchange.
    pub fn send_next(
        &mut self,
        exchange: u32,
        code: TypeCode,
        data: &[u8],
        more: bool,
    ) -> Result<(), Refused> {
        match self.exchanges.get(&exchange) {
            Some(Exchange::RequestOut { sending: true, .. } | Exchange::OneWayOut { .. }) => {}
            _ => return Err(Refused::Over),
        }
        self.take_credit(data.len())?;
        self.push_frame(
            code,
            exchange,
            Flags::NONE.with(Flags::MORE, more).with(Flags::END, !more),
            data,
        );
        if !more {
            match self.exchanges.get_mut(&exchange) {
                Some(Exchange::RequestOut { sending, .. }) => *sending = false,
                _ => self.forget(exchange),
            }
        }
        Ok(())
    }

    /// Sends a reply, or a part of one (`more`), in an exchange of the other side. With `end` it is
    /// the last.
    ///
    /// # Errors
    /// See [`Refused`]; `Full` until the other side has read earlier replies.
    pub fn reply(
        &mut self,
        exchange: u32,
        code: TypeCode,
        data: &[u8],
        more: bool,
        end: bool,
    ) -> Result<(), Refused> {
        let cost = cost_of(data.len())?;
        match self.exchanges.get_mut(&exchange) {
            Some(Exchange::RequestIn { credit, .. }) => {
                *credit = credit.checked_sub(cost).ok_or(Refused::Full)?;
            }
            _ => return Err(Refused::Over),
        }
        self.push_frame(
            code,
            exchange,
            Flags::NONE.with(Flags::MORE, more).with(Flags::END, end),
            data,
        );
        if end {
            self.finish(exchange, Reason::CANCELLED);
        }
        Ok(())
    }

    /// Acknowledges a message of the other side, which ends its exchange.
    ///
    /// # Errors
    /// `Over` if the exchange has ended.
    pub fn acknowledge(
        &mut self,
        exchange: u32,
        sequence: u64,
        level: AckLevel,
    ) -> Result<(), Refused> {
        let payload = [&sequence.to_be_bytes()[..], &[level.to_byte()]].concat();
        self.reply(exchange, code::ACK, &payload, false, true)
    }

    /// Ends an exchange of the other side without another message. No effect if it has ended.
    pub fn end(&mut self, exchange: u32) {
        if matches!(self.exchanges.get(&exchange), Some(Exchange::RequestIn { .. })) {
            self.control(code::END, exchange, Flags::END, &[]);
            self.finish(exchange, Reason::CANCELLED);
        }
    }

    /// Ends an exchange at once. No effect if it has ended.
    pub fn reset(&mut self, exchange: u32, reason: Reason) {
        if let Some(open) = self.exchanges.get(&exchange) {
            if let Exchange::OneWayOut { code } = open {
                // Its sender knows that it was not sent in full.
                self.sent.sub(*code, 1);
            }
            self.control(code::RST, exchange, Flags::RESET, &reason.to_payload());
            self.finish(exchange, reason);
        }
    }

    /// Refuses one-way messages of the other side, or the incomplete one of `exchange`. If the
    /// other side asks for reports, it gets one report for all messages that are refused before the
    /// next [`take_output`](Self::take_output).
    pub fn refuse_one_ways(
        &mut self,
        exchange: u32,
        code: TypeCode,
        reason: Reason,
        messages: u32,
    ) {
        self.report_refused(code, reason, messages);
        // An incomplete message was not counted.
        if !self.exchanges.contains_key(&exchange) && !self.incomplete.contains(&exchange) {
            self.received.sub(code, messages.into());
        }
        self.reset(exchange, reason);
    }

    /// Reports refusals to the other side, if it asks for reports.
    pub(super) fn report_refused(&mut self, code: TypeCode, reason: Reason, messages: u32) {
        let wants = |theirs: &Hello| theirs.has(REFUSALS);
        let ends = self.phase == LinkPhase::Closed && self.failed.is_none() && !self.bye_due;
        if self.theirs.as_ref().is_some_and(wants) && messages > 0 && !ends {
            if fault_point(FaultPoint::RefusalsReportedEarly) {
                let before = self.refusals.take();
                self.send_reports(before);
            }
            let before = self.refusals.add(RefusalReport { code, reason, messages });
            if !before.is_empty() {
                reached(Sometimes::RefusalKindsFull);
            }
            self.send_reports(before);
        }
    }

    fn send_reports(&mut self, refusals: Vec<RefusalReport>) {
        for refusal in refusals {
            self.control(code::RFS, 0, Flags::NONE, &refusal.to_payload());
        }
    }

    /// Adds the last frames to the output: refusals, and then the end of the link, so that a side
    /// that reads up to the end knows all refusals.
    pub(super) fn last_frames(&mut self) {
        let (bye, failed) = (std::mem::take(&mut self.bye_due), self.failed.take());
        let closed = self.phase == LinkPhase::Closed;
        let refusals = self.refusals.take();
        if !closed || bye || failed.is_some() {
            for refusal in refusals {
                self.encode_control(code::RFS, 0, Flags::NONE, &refusal.to_payload());
            }
        }
        if bye && failed.is_none() {
            self.encode_control(code::BYE, 0, Flags::NONE, &[]);
        }
        if let Some(reason) = failed {
            let wants = |theirs: &Hello| theirs.has(COUNTS);
            if self.theirs.as_ref().is_some_and(wants)
                && let Some(got) = self.received.to_payload()
            {
                self.encode_control(code::GOT, 0, Flags::NONE, &got);
            }
            self.encode_control(code::RST, 0, Flags::RESET, &reason.to_payload());
        }
    }

    /// Sends the lengths by code that have changed since they were sent, if the other side asks for
    /// them. `max_message` applies to a code that is no longer listed.
    pub fn send_lengths(&mut self, lengths: &[(TypeCode, u32)]) {
        let wants = |theirs: &Hello| theirs.has(LENGTHS);
        if !self.theirs.as_ref().is_some_and(wants) {
            return;
        }
        let default = self.config.hello.max_message;
        let lengths: BTreeMap<_, _> = lengths.iter().copied().collect();
        let before = std::mem::replace(&mut self.own_lengths, lengths.clone());
        let gone = before.keys().filter(|code| !lengths.contains_key(*code));
        let gone = gone.map(|code| (*code, default)).collect::<Vec<_>>();
        let new = lengths.into_iter().filter(|(code, length)| before.get(code) != Some(length));
        // If the other side gets more than it keeps, it knows that its list is incomplete.
        for (code, length) in gone.into_iter().chain(new).take(MAX_LENGTHS + 1) {
            self.control(code::LEN, 0, Flags::NONE, &lengths::to_payload(code, length));
        }
    }

    /// Notes that `bytes` of one-way messages and requests were processed.
    pub fn consumed(&mut self, bytes: u32) {
        if let Some(due) = self.grant.give_back(bytes) {
            self.control(code::CRD, 0, Flags::NONE, &due.to_be_bytes());
        }
    }

    /// Notes that `bytes` of replies were read.
    pub fn read(&mut self, exchange: u32, bytes: u32) {
        if let Some(Exchange::RequestOut { grant, .. }) = self.exchanges.get_mut(&exchange)
            && let Some(due) = grant.give_back(bytes)
        {
            self.control(code::CRD, exchange, Flags::NONE, &due.to_be_bytes());
        }
    }

    pub(super) fn send_hello(&mut self) {
        let hello = self.config.hello.to_frame();
        let head = self.head(hello.code(), hello.data().len());
        self.out.put_slice(&head);
        self.out.put_slice(hello.data());
    }

    /// Counts a frame with `len` bytes of data, and reserves space for it. Returns its header.
    fn head(&mut self, code: TypeCode, len: usize) -> [u8; HEADER_LEN] {
        self.counts.frames_out += 1;
        self.out.reserve(HEADER_LEN + len);
        #[expect(clippy::cast_possible_truncation, reason = "at most a payload and its header")]
        FrameHead::new(code, len as u32).to_bytes()
    }

    /// Adds a frame to the output: both headers and the payload.
    fn encode(&mut self, code: TypeCode, exchange: ExchangeHead, payload: [&[u8]; 2]) {
        let [numbers, payload] = payload;
        let head = self.head(code, EXCHANGE_HEADER_LEN + numbers.len() + payload.len());
        let mut headers = [0; HEADERS_LEN];
        let (frame_part, exchange_part) = headers.split_at_mut(HEADER_LEN);
        frame_part.copy_from_slice(&head);
        exchange_part.copy_from_slice(&exchange.to_bytes());
        self.out.put_slice(&headers);
        if !numbers.is_empty() {
            self.out.put_slice(numbers);
        }
        self.out.put_slice(payload);
    }

    fn push_frame(&mut self, code: TypeCode, exchange: u32, flags: Flags, payload: &[u8]) {
        self.push_frame_parts(code, exchange, flags, &[], payload);
    }

    fn push_frame_parts(
        &mut self,
        code: TypeCode,
        exchange: u32,
        flags: Flags,
        numbers: &[u8],
        payload: &[u8],
    ) {
        self.counts.moved += u64::from(code::is_use(code));
        self.encode(code, ExchangeHead { exchange, flags }, [numbers, payload]);
    }

    /// Sends a control frame, within the limit of waiting control frames.
    pub(super) fn control(&mut self, code: TypeCode, exchange: u32, flags: Flags, payload: &[u8]) {
        if self.phase == LinkPhase::Closed {
            return;
        }
        self.encode_control(code, exchange, flags, payload);
        self.control_waiting += HEADERS_LEN + payload.len();
        if self.control_waiting > MAX_CONTROL_WAITING {
            self.close(Reason::PROTOCOL, false);
        }
    }

    fn encode_control(&mut self, code: TypeCode, exchange: u32, flags: Flags, payload: &[u8]) {
        self.encode(code, ExchangeHead { exchange, flags }, [&[], payload]);
    }

    /// Takes the credit for a new message.
    fn take_credit_for_new(&mut self, len: usize) -> Result<(), Refused> {
        if self.phase == LinkPhase::Open { self.take_credit(len) } else { Err(Refused::NotOpen) }
    }

    fn take_credit(&mut self, len: usize) -> Result<(), Refused> {
        self.credit = self.credit.checked_sub(cost_of(len)?).ok_or(Refused::Full)?;
        Ok(())
    }
}

fn cost_of(len: usize) -> Result<u32, Refused> {
    let len = u32::try_from(len).ok().filter(|len| *len <= MAX_PAYLOAD_U32);
    len.map(Link::cost).ok_or(Refused::TooLong)
}
