//! Processes the frames of the other side.

use std::time::Instant;

use bytes::{Buf, Bytes};

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    frame::{Frame, TypeCode},
    link::{
        AckLevel, ExchangeHead, Flags, Frames, Hello, LENGTHS, Link, LinkEvent, LinkPhase,
        LinkPhaseEvent, MAX_PAYLOAD, MessageBatch, Reason, Role, Sequenced, code,
        header::EXCHANGE_HEADER_LEN,
        lengths::Lengths,
        machine::{Exchange, REPLY_WINDOW},
        refusals::RefusalReport,
        sequenced::{SERIES, sequenced_len},
        tally::Tally,
    },
};

/// This many consecutive empty frames end a link ([protocol](crate::protocol#bad-input)).
const MAX_EMPTY_IN_A_ROW: u32 = 100;

/// The reason for which a frame ends the link.
struct Broken(Reason);

const PROTOCOL: Broken = Broken(Reason::PROTOCOL);

/// The parts of a frame of an exchange.
struct Arrived {
    exchange: u32,
    flags: Flags,
    code: TypeCode,
    data: Bytes,
    cost: u32,
}

impl Link {
    /// Processes a frame of the other side. One that breaks the rules ends the link with a reason.
    pub fn handle(&mut self, frame: Frame, now: Instant) {
        self.heard = now;
        self.counts.frames_in += 1;
        self.counts.bytes_in += frame.encoded_len() as u64;
        let handled = match self.phase {
            LinkPhase::Greeting => self.on_hello(&frame, now),
            LinkPhase::Open | LinkPhase::Leaving => self.on_frame(frame, now),
            LinkPhase::Closed => return,
        };
        if let Err(Broken(reason)) = handled {
            self.fail(reason);
        }
    }

    /// Processes all frames of a read, like [`handle`](Self::handle) for each frame. Consecutive
    /// one-way messages become one event, which saves a third of the time of short ones.
    pub fn handle_all(&mut self, mut frames: Frames, now: Instant) {
        loop {
            let apart = match frames.one_ways() {
                Some(run) if !fault_point(FaultPoint::BatchOfOne) && self.takes(&run) => {
                    frames.pass(&run);
                    self.on_batch(run, now);
                    continue;
                }
                // All of them before the next search for a batch, so that each is scanned at most
                // twice.
                Some(run) => run.count(),
                None => 1,
            };
            for _ in 0..apart {
                match frames.next() {
                    Some(Ok(frame)) => self.handle(frame, now),
                    Some(Err(reason)) => self.fail(reason),
                    None => return,
                }
            }
        }
    }

    /// Whether the other side may send all of these now. If so, takes their credit. If not,
    /// [`handle`](Self::handle) decides for each of them.
    fn takes(&mut self, run: &MessageBatch) -> bool {
        matches!(self.phase, LinkPhase::Open | LinkPhase::Leaving)
            && !self.bye_received
            && self.grant.take(run.cost())
    }

    fn on_batch(&mut self, run: MessageBatch, now: Instant) {
        self.heard = now;
        self.empty_in_a_row = 0;
        self.counts.frames_in += run.count() as u64;
        self.counts.moved += run.count() as u64;
        self.counts.bytes_in += run.encoded_len() as u64;
        self.received.add(run.code(), run.count() as u64);
        self.events.push(LinkEvent::MessageBatch(run));
    }

    fn on_hello(&mut self, frame: &Frame, now: Instant) -> Result<(), Broken> {
        let hello = Some(frame).filter(|frame| frame.code() == code::LNK);
        let hello = hello.and_then(|frame| Hello::from_frame(frame).ok()).ok_or(PROTOCOL)?;
        self.credit = hello.window;
        if hello.has(LENGTHS) {
            self.lengths = Lengths::new(&hello.lengths, hello.max_message);
        }
        self.theirs = Some(hello);
        if self.role == Role::Acceptor {
            self.send_hello();
        }
        self.ping.1 = now;
        self.step(LinkPhaseEvent::Hello);
        self.events.push(LinkEvent::Opened);
        Ok(())
    }

    fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Broken> {
        let code = frame.code();
        let head = ExchangeHead::peek(frame.data()).ok_or(PROTOCOL)?;
        let mut data = frame.into_data();
        data.advance(EXCHANGE_HEADER_LEN);
        if data.len() > MAX_PAYLOAD {
            return Err(Broken(Reason::TOO_LONG));
        }
        let moves_nothing = match code {
            code::CRD => data.iter().all(|byte| *byte == 0),
            _ => data.is_empty() && head.flags.has(Flags::MORE),
        };
        self.empty_in_a_row = if moves_nothing { self.empty_in_a_row + 1 } else { 0 };
        if self.empty_in_a_row >= MAX_EMPTY_IN_A_ROW {
            return Err(PROTOCOL);
        }
        let ExchangeHead { exchange, flags } = head;
        if flags.has(Flags::RESET) {
            return self.on_reset(exchange, Reason::from_payload(&data));
        }
        match code {
            code::LNK => Err(PROTOCOL),
            code::CRD => self.on_credit(exchange, &data),
            code::RFS => self.on_refused(exchange, data),
            code::GOT => self.on_counts(exchange, data).ok_or(PROTOCOL),
            code::LEN => self.lengths.update(exchange, data).ok_or(PROTOCOL),
            code::PNG => self.on_ping(&data),
            code::PON => {
                self.on_pong(&data, now);
                Ok(())
            }
            code::BYE => {
                self.on_bye();
                Ok(())
            }
            _ => {
                let cost = Self::cost(u32::try_from(data.len()).map_err(|_| PROTOCOL)?);
                self.counts.moved += u64::from(code::is_use(code));
                let arrived = Arrived { exchange, flags, code, data, cost };
                if exchange == 0 {
                    self.on_one_way(arrived)
                } else if (exchange % 2 == 1) == (self.role == Role::Dialler) {
                    self.on_reply(arrived)
                } else {
                    self.on_message(arrived)
                }
            }
        }
    }

    fn on_reset(&mut self, exchange: u32, reason: Reason) -> Result<(), Broken> {
        if exchange == 0 {
            self.report_lost(reason);
            self.close(reason, true);
        } else if let Some(open) = self.exchanges.get(&exchange) {
            if let Exchange::OneWayOut { code } = open {
                self.unrefused = self.unrefused.saturating_sub(1);
                self.sent.sub(*code, 1);
                // Refusals beyond the pairs that the other side keeps were reported before.
                drop(self.reset_refusals.add(RefusalReport { code: *code, reason, messages: 1 }));
            }
            self.forget(exchange);
            self.events.push(LinkEvent::Reset { exchange, reason });
        } else if self.was_used(exchange) {
            reached(Sometimes::LateFrameDiscarded);
            self.counts.late += 1;
        } else {
            return Err(PROTOCOL);
        }
        Ok(())
    }

    /// Whether the number was used by the side that owns it.
    fn was_used(&self, exchange: u32) -> bool {
        if (exchange % 2 == 1) == (self.role == Role::Dialler) {
            exchange < self.next_number
        } else {
            exchange <= self.last_number
        }
    }

    fn on_credit(&mut self, exchange: u32, data: &Bytes) -> Result<(), Broken> {
        let bytes = <[u8; 4]>::try_from(&data[..]).map(u32::from_be_bytes).map_err(|_| PROTOCOL)?;
        let window = self.theirs.as_ref().map_or(0, |theirs| theirs.window);
        if exchange == 0 {
            let credit = self.credit.checked_add(bytes).filter(|credit| *credit <= window);
            self.credit = credit.ok_or(PROTOCOL)?;
            self.events.push(LinkEvent::Granted { bytes });
            return Ok(());
        }
        let used = self.was_used(exchange);
        match self.exchanges.get_mut(&exchange) {
            Some(Exchange::RequestIn { credit, .. }) => {
                let more = credit.checked_add(bytes).filter(|credit| *credit <= REPLY_WINDOW);
                *credit = more.ok_or(PROTOCOL)?;
                self.events.push(LinkEvent::ReplyGranted { exchange });
                Ok(())
            }
            Some(_) => Err(PROTOCOL),
            None if used => {
                reached(Sometimes::LateFrameDiscarded);
                self.counts.late += 1;
                Ok(())
            }
            None => Err(PROTOCOL),
        }
    }

    fn on_refused(&mut self, exchange: u32, data: Bytes) -> Result<(), Broken> {
        let refusal =
            RefusalReport::from_payload(data).filter(|_| exchange == 0).ok_or(PROTOCOL)?;
        let RefusalReport { code, reason, messages } = self.reset_refusals.subtract(refusal);
        if messages == 0 {
            return Ok(());
        }
        // Each message is reported at most once, so that a remote causes no more events than
        // messages.
        let messages = u64::from(messages).min(self.unrefused);
        self.unrefused -= messages;
        self.sent.sub(code, messages);
        match u32::try_from(messages).unwrap_or(u32::MAX) {
            0 => self.counts.late += 1,
            messages => {
                reached(Sometimes::RefusalReported);
                if self.is_finished() {
                    reached(Sometimes::RefusalAfterGoodbye);
                }
                self.events.push(LinkEvent::Refused { code, reason, messages });
            }
        }
        Ok(())
    }

    fn on_ping(&mut self, data: &Bytes) -> Result<(), Broken> {
        if data.len() != 8 {
            return Err(PROTOCOL);
        }
        self.control(code::PON, 0, Flags::NONE, data);
        Ok(())
    }

    fn on_pong(&mut self, data: &Bytes, now: Instant) {
        let (number, asked) = self.ping;
        // Each keepalive counts once: a repeated answer has no effect.
        if data[..] == number.to_be_bytes() && std::mem::take(&mut self.ping_unanswered) {
            self.counts.pongs += 1;
            self.round_trip = Some(now.saturating_duration_since(asked));
        }
    }

    fn on_bye(&mut self) {
        self.bye_received = true;
        self.events.push(LinkEvent::Leaving);
        self.step(LinkPhaseEvent::Bye);
        self.bye();
    }

    /// Charges the credit of a one-way message or a request.
    fn charge(&mut self, cost: u32) -> Result<(), Broken> {
        if self.grant.take(cost) { Ok(()) } else { Err(PROTOCOL) }
    }

    fn on_one_way(&mut self, arrived: Arrived) -> Result<(), Broken> {
        if arrived.flags != Flags::NONE || self.bye_received {
            return Err(PROTOCOL);
        }
        self.charge(arrived.cost)?;
        self.message(arrived, true, false, None);
        Ok(())
    }

    fn message(
        &mut self,
        arrived: Arrived,
        first: bool,
        request: bool,
        numbered: Option<Sequenced>,
    ) {
        let Arrived { exchange, flags, code, data, cost } = arrived;
        let last = !flags.has(Flags::MORE);
        if last && !request {
            self.received.add(code, 1);
        }
        let message =
            LinkEvent::Message { exchange, code, data, first, last, request, numbered, cost };
        self.events.push(message);
    }

    /// Processes a frame in an exchange that this side has opened.
    fn on_reply(&mut self, arrived: Arrived) -> Result<(), Broken> {
        let Arrived { exchange, flags, code, data, cost } = arrived;
        if flags.has(Flags::OPEN) {
            return Err(PROTOCOL);
        }
        let used = self.was_used(exchange);
        let grant = match self.exchanges.get_mut(&exchange) {
            Some(Exchange::RequestOut { grant, .. }) => grant,
            Some(_) => return Err(PROTOCOL),
            None if used => {
                reached(Sometimes::LateReplyDiscarded);
                self.counts.late += 1;
                return Ok(());
            }
            None => return Err(PROTOCOL),
        };
        if code == code::ACK {
            let (sequence, level) = data.split_first_chunk().ok_or(PROTOCOL)?;
            let level = level.first().and_then(|level| AckLevel::from_byte(*level));
            let (sequence, level) = (u64::from_be_bytes(*sequence), level.ok_or(PROTOCOL)?);
            self.events.push(LinkEvent::Acknowledged { exchange, sequence, level });
        } else if code != code::END {
            if !grant.take(cost) {
                return Err(PROTOCOL);
            }
            let last = !flags.has(Flags::MORE);
            self.events.push(LinkEvent::Reply { exchange, code, data, last, cost });
        }
        if flags.has(Flags::END) {
            self.forget(exchange);
            if code != code::ACK {
                self.events.push(LinkEvent::Ended { exchange });
            }
        }
        Ok(())
    }

    /// Processes a frame in an exchange that the other side has opened, or opens with it.
    fn on_message(&mut self, arrived: Arrived) -> Result<(), Broken> {
        let (exchange, cost) = (arrived.exchange, arrived.cost);
        let (opens, more) = (arrived.flags.has(Flags::OPEN), arrived.flags.has(Flags::MORE));
        self.charge(cost)?;
        if exchange > self.last_number {
            return self.on_open(arrived, opens, more);
        }
        if opens || arrived.flags.has(Flags::NUMBERED) {
            return Err(PROTOCOL);
        }
        match self.exchanges.get_mut(&exchange) {
            Some(Exchange::RequestIn { receiving, .. }) if *receiving => {
                *receiving = more;
                self.message(arrived, false, true, None);
            }
            Some(Exchange::OneWayIn) => {
                self.message(arrived, false, false, None);
                if !more {
                    self.forget(exchange);
                }
            }
            Some(_) => return Err(PROTOCOL),
            None => {
                reached(Sometimes::LateFrameDiscarded);
                self.counts.late += 1;
                self.consumed(cost);
            }
        }
        Ok(())
    }

    fn on_open(&mut self, mut arrived: Arrived, request: bool, more: bool) -> Result<(), Broken> {
        let numbered = match arrived.flags.has(Flags::NUMBERED) {
            false => None,
            true if !request => return Err(PROTOCOL),
            true => {
                let series = self.agreed(SERIES);
                let numbered = Sequenced::peek(&arrived.data, series).ok_or(PROTOCOL)?;
                arrived.data.advance(sequenced_len(series));
                Some(numbered)
            }
        };
        // A side that has announced the end of the link may not start an exchange.
        if self.bye_received {
            return Err(PROTOCOL);
        }
        let exchange = arrived.exchange;
        self.last_number = exchange;
        let stays = request || more;
        if stays && self.open_in >= self.config.hello.max_open {
            self.counts.refused += 1;
            if !request {
                // The sender may have sent all of it already, and then ignores the reset.
                self.report_refused(arrived.code, Reason::BUSY, 1);
            }
            self.control(code::RST, exchange, Flags::RESET, &Reason::BUSY.to_payload());
            self.consumed(arrived.cost);
            return Ok(());
        }
        if stays {
            let serving = Exchange::RequestIn { receiving: more, credit: REPLY_WINDOW };
            let kind = if request { serving } else { Exchange::OneWayIn };
            self.exchanges.insert(exchange, kind);
            self.open_in += 1;
        }
        self.message(arrived, true, request, numbered);
        Ok(())
    }

    /// Notes the counts of the other side. `None` if the payload is not valid.
    pub(super) fn on_counts(&mut self, exchange: u32, payload: Bytes) -> Option<()> {
        self.received_there = Some(Tally::from_payload(payload).filter(|_| exchange == 0)?);
        Some(())
    }

    /// Reports lost messages when the other side ends the link and has sent its counts: no handler
    /// receives the rest.
    pub(super) fn report_lost(&mut self, reason: Reason) {
        let Some(got) = self.received_there.take() else { return };
        // The senders of these messages learn it from their exchanges.
        for open in self.exchanges.values() {
            if let Exchange::OneWayOut { code } = open {
                self.sent.sub(*code, 1);
            }
        }
        for (code, messages) in self.sent.without(&got) {
            let messages = u32::try_from(messages.min(self.unrefused)).unwrap_or(u32::MAX);
            self.unrefused -= u64::from(messages);
            if messages > 0 {
                reached(Sometimes::LostMessagesReported);
                self.events.push(LinkEvent::Refused { code, reason, messages });
            }
        }
    }
}
