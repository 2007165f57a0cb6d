//! The state of a link.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use indexmap::IndexMap;

use crate::{
    fault_points::{Sometimes, reached},
    frame::{FrameError, TypeCode},
    link::{
        Hello, LinkConfig, LinkCounts, LinkEvent, LinkPhase, LinkPhaseEvent, MAX_PAYLOAD, Reason,
        Role,
        grant::Grant,
        header::{EXCHANGE_HEADER_LEN, HEADERS_LEN},
        lengths::{Lengths, MAX_IN_HELLO},
        refusals::RefusalReports,
        tally::Tally,
    },
};

/// Bytes of replies that each side may send in one exchange before more is granted
/// ([protocol](crate::protocol#credit)).
pub(super) const REPLY_WINDOW: u32 = 256 << 10;

/// Control frames that may wait to be written, in bytes. The link to a remote that makes this side
/// answer and does not read the answers ends here.
pub(super) const MAX_CONTROL_WAITING: usize = 256 << 10;

pub(super) const MAX_PAYLOAD_U32: u32 = 64 << 10;
const EXCHANGE_HEADER_U32: u32 = 5;
const _: () = assert!(MAX_PAYLOAD_U32 as usize == MAX_PAYLOAD);
const _: () = assert!(EXCHANGE_HEADER_U32 as usize == EXCHANGE_HEADER_LEN);

/// An open exchange.
#[derive(Debug)]
pub(super) enum Exchange {
    /// A request of this side.
    RequestOut { sending: bool, grant: Grant },
    /// A request of the other side.
    RequestIn { receiving: bool, credit: u32 },
    /// A long one-way message of this side.
    OneWayOut { code: TypeCode },
    /// A long one-way message of the other side.
    OneWayIn,
}

/// One side of a link.
///
/// ```
/// use std::time::{Duration, Instant}; use actix_peer::{frame::{Frame, FrameCodec, Part, TypeCode},
/// link::{Hello, Link, LinkConfig, LinkEvent, Role}}; use bytes::{Bytes, BytesMut}; use
/// tokio_util::codec::Decoder;
///
/// fn side(id: &str, role: Role, now: Instant) -> Link {
///     let hello = Hello {
///         info: format!("{id} 127.0.0.1 9000").parse().unwrap(),
///         window: 1 << 20, max_message: 1 << 16, max_open: 8, incarnation: 1, features: vec![],
///         lengths: vec![],
///     };
///     Link::new(role, LinkConfig { hello, keep_alive: Duration::from_secs(5) }, now)
/// }
///
/// /// Passes the output of `from` to `to`.
/// fn pass(from: &mut Link, to: &mut Link, now: Instant) {
///     let mut bytes = BytesMut::new();
///     from.take_output(&mut bytes);
///     while let Ok(Some(Part::Frame(frame))) = FrameCodec::new().decode(&mut bytes) {
///         to.handle(frame, now);
///     }
/// }
///
/// let now = Instant::now(); let (mut ada, mut bob) = (side("ada", Role::Dialler, now), side("bob",
/// Role::Acceptor, now)); pass(&mut ada, &mut bob, now); pass(&mut bob, &mut ada, now);
/// ada.one_way(TypeCode::new(b"NEWS"), b"hello").unwrap(); pass(&mut ada, &mut bob, now); let
/// message = bob.events().find(|event| matches!(event, LinkEvent::Message { .. }));
/// assert!(matches!(message, Some(LinkEvent::Message { data, .. }) if data ==
/// Bytes::from("hello")));
/// ```
#[derive(Debug)]
pub struct Link {
    pub(super) role: Role,
    pub(super) config: LinkConfig,
    pub(super) theirs: Option<Hello>,
    pub(super) phase: LinkPhase,
    pub(super) events: Vec<LinkEvent>,
    pub(super) exchanges: IndexMap<u32, Exchange>,
    /// Requests and long messages of the other side that are open.
    pub(super) open_in: u32,
    /// Requests of this side that are open.
    pub(super) open_out: u32,
    /// The number of this side's next exchange.
    pub(super) next_number: u32,
    /// The highest number that the other side has used.
    pub(super) last_number: u32,
    /// The bytes that the other side may send, and those that this side may send.
    pub(super) grant: Grant,
    pub(super) credit: u32,
    pub(super) empty_in_a_row: u32,
    pub(super) bye_sent: bool,
    /// Whether the last frames of this side are due. They follow the pending refusals.
    pub(super) bye_due: bool,
    pub(super) failed: Option<Reason>,
    pub(super) bye_received: bool,
    pub(super) heard: Instant,
    pub(super) ping: (u64, Instant),
    pub(super) round_trip: Option<Duration>,
    /// Whether the last keepalive is not answered yet.
    pub(super) ping_unanswered: bool,
    pub(super) out: BytesMut,
    pub(super) control_waiting: usize,
    pub(super) counts: LinkCounts,
    /// Refused one-way messages of the other side that are not reported to it yet.
    pub(super) refusals: RefusalReports,
    /// The number of one-way messages of this side that the other side has not reported as refused.
    pub(super) unrefused: u64,
    /// Refused messages whose senders learn it from the reset of their exchange.
    pub(super) reset_refusals: RefusalReports,
    /// One-way messages of this side that were not reported as refused.
    pub(super) sent: Tally,
    /// Complete one-way messages of the other side that this side did not refuse.
    pub(super) received: Tally,
    /// Long one-way messages of the other side that were incomplete at the end.
    pub(super) incomplete: Vec<u32>,
    /// The counts that the other side sends at the end. `None` if it has sent none.
    pub(super) received_there: Option<BTreeMap<TypeCode, u64>>,
    /// The longest messages that the other side accepts, by code.
    pub(super) lengths: Lengths,
    /// The lengths of this side that were sent to the other side.
    pub(super) own_lengths: BTreeMap<TypeCode, u32>,
}

impl Link {
    /// A link on a new connection. The output of a dialler begins with its hello.
    #[must_use]
    pub fn new(role: Role, config: LinkConfig, now: Instant) -> Self {
        let mut link = Self {
            role,
            theirs: None,
            phase: LinkPhase::Greeting,
            events: Vec::new(),
            exchanges: IndexMap::new(),
            open_in: 0,
            open_out: 0,
            next_number: if role == Role::Dialler { 1 } else { 2 },
            last_number: 0,
            grant: Grant::new(config.hello.window),
            credit: 0,
            empty_in_a_row: 0,
            bye_sent: false,
            bye_due: false,
            failed: None,
            bye_received: false,
            heard: now,
            ping: (0, now),
            round_trip: None,
            ping_unanswered: false,
            out: BytesMut::new(),
            control_waiting: 0,
            counts: LinkCounts::default(),
            refusals: RefusalReports::default(),
            unrefused: 0,
            reset_refusals: RefusalReports::default(),
            sent: Tally::default(),
            received: Tally::default(),
            incomplete: Vec::new(),
            received_there: None,
            lengths: Lengths::default(),
            own_lengths: config.hello.lengths.iter().take(MAX_IN_HELLO).copied().collect(),
            config,
        };
        if role == Role::Dialler {
            link.send_hello();
        }
        link
    }

    /// The phase of the link.
    #[must_use]
    pub const fn phase(&self) -> LinkPhase {
        self.phase
    }

    /// The hello of the other side. `None` if it has not arrived.
    #[must_use]
    pub const fn theirs(&self) -> Option<&Hello> {
        self.theirs.as_ref()
    }

    /// The role of this side.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Bytes of one-way messages and requests that this side may send now.
    #[must_use]
    pub const fn credit(&self) -> u32 {
        self.credit
    }

    /// Bytes of one-way messages and requests that have arrived and are not granted again. At most
    /// the window in the hello of this side.
    #[must_use]
    pub const fn unconsumed(&self) -> u32 {
        self.grant.outstanding()
    }

    /// Bytes of one-way messages and requests that have arrived and are not processed.
    #[must_use]
    pub const fn held(&self) -> u32 {
        self.grant.held()
    }

    /// Open exchanges, of both sides.
    #[must_use]
    pub fn open_exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// The counters of the link.
    #[must_use]
    pub const fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// The longest message that this side accepts, as announced in its hello.
    pub(crate) const fn own_max_message(&self) -> u32 {
        self.config.hello.max_message
    }

    /// The longest message that the other side buffers whole: its own limit, at most half its
    /// window, because it grants credit in steps of that.
    #[must_use]
    pub fn max_message(&self) -> u32 {
        self.theirs.as_ref().map_or(0, |theirs| {
            let frames = theirs.max_message.div_ceil(MAX_PAYLOAD_U32) + 1;
            let headers = frames * EXCHANGE_HEADER_U32;
            theirs.max_message.min((theirs.window / 2).saturating_sub(headers))
        })
    }

    /// Checks that the other side accepts a message of this length.
    ///
    /// # Errors
    /// If the message is longer than the other side accepts for its code. The error has the limit.
    /// It is known only if the hello of the other side lists the feature `lengths`. Acknowledged
    /// messages are also limited by `max_message`.
    pub fn check_length(
        &self,
        code: TypeCode,
        len: usize,
        numbered: bool,
    ) -> Result<(), FrameError> {
        let whole = self.theirs.as_ref().map(|theirs| theirs.max_message).filter(|_| numbered);
        let limit = self.lengths.of(code).into_iter().chain(whole).min().unwrap_or(u32::MAX);
        let (length, limit) = (len as u64, u64::from(limit));
        if length <= limit { Ok(()) } else { Err(FrameError::TooLong { code, length, limit }) }
    }

    /// Whether the other side accepts a message of this length, as far as its limit is known.
    pub(crate) fn allows(&self, code: TypeCode, len: usize) -> bool {
        self.lengths.allow(code, len)
    }

    /// The credit that a message of `len` bytes takes, headers included.
    #[must_use]
    pub fn cost(len: u32) -> u32 {
        len.saturating_add(len.div_ceil(MAX_PAYLOAD_U32).max(1) * EXCHANGE_HEADER_U32)
    }

    /// Bytes that wait to be written. The last frames of a link count only with their headers.
    #[must_use]
    pub fn output_len(&self) -> usize {
        let bye = if self.bye_due { HEADERS_LEN } else { 0 };
        let failed = self.failed.map_or(0, |_| HEADERS_LEN);
        self.out.len() + self.refusals.encoded_len() + bye + failed
    }

    /// Moves the output into `into`, which should be empty so that its buffer is reused.
    pub fn take_output(&mut self, into: &mut BytesMut) {
        self.last_frames();
        self.counts.bytes_out += self.out.len() as u64;
        self.control_waiting = 0;
        if into.is_empty() {
            std::mem::swap(&mut self.out, into);
        } else {
            into.unsplit(self.out.split());
        }
    }

    /// Frees unused buffers, for an idle link.
    pub fn shrink(&mut self) {
        self.out = BytesMut::from(self.out.as_ref());
        self.events.shrink_to(0);
    }

    /// Bytes of output so far, written or waiting.
    #[must_use]
    pub fn total_output(&self) -> u64 {
        self.counts.bytes_out + self.out.len() as u64
    }

    /// Whether there are events.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Moves the events since the last call into `into`, which should be empty so that its buffer
    /// is reused.
    pub fn take_events(&mut self, into: &mut Vec<LinkEvent>) {
        if into.is_empty() {
            std::mem::swap(&mut self.events, into);
        } else {
            into.append(&mut self.events);
        }
    }

    /// Takes the events since the last call.
    pub fn events(&mut self) -> std::vec::Drain<'_, LinkEvent> {
        self.events.drain(..)
    }

    /// Starts no new exchange. The link ends when all open exchanges of both sides are finished.
    pub fn bye(&mut self) {
        if matches!(self.phase, LinkPhase::Open | LinkPhase::Leaving) && !self.bye_sent {
            if !self.exchanges.is_empty() {
                reached(Sometimes::GoodbyeInExchange);
            }
            (self.bye_sent, self.bye_due) = (true, true);
            self.step(LinkPhaseEvent::Bye);
        }
    }

    /// Ends the link at once, and sends the reason to the other side.
    pub fn fail(&mut self, reason: Reason) {
        if self.phase != LinkPhase::Closed {
            self.failed = Some(reason);
            self.close(reason, false);
        }
    }

    /// Ends the link after its connection has ended. Nothing is sent. The link ends in order if it
    /// [is finished](Self::is_finished).
    pub fn connection_lost(&mut self) {
        if self.is_finished() {
            self.last_frames();
            self.step(LinkPhaseEvent::Finished);
            self.events.push(LinkEvent::Closed { reason: Reason::GOING_AWAY, remote: false });
        } else {
            self.close(Reason::LOST, false);
        }
    }

    /// Whether both sides have announced the end, and no exchange is open. Then each side ends its
    /// direction of the connection, and reads until the other side ends its own: it may still
    /// report refused messages.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let said = self.bye_sent && self.bye_received;
        said && self.exchanges.is_empty() && self.phase == LinkPhase::Leaving
    }

    pub(super) fn step(&mut self, event: LinkPhaseEvent) {
        if let Some(next) = self.phase.next(event) {
            self.phase = next;
        }
    }

    pub(super) fn close(&mut self, reason: Reason, remote: bool) {
        if self.phase != LinkPhase::Closed {
            self.step(LinkPhaseEvent::Broken);
            let incomplete = |(number, open): (u32, Exchange)| {
                matches!(open, Exchange::OneWayIn).then_some(number)
            };
            self.incomplete = self.exchanges.drain(..).filter_map(incomplete).collect();
            self.events.push(LinkEvent::Closed { reason, remote });
        }
    }

    /// Ends an exchange by this side.
    pub(super) fn finish(&mut self, exchange: u32, reason: Reason) {
        let is_incomplete = matches!(
            self.exchanges.get(&exchange),
            Some(Exchange::RequestIn { receiving: true, .. } | Exchange::OneWayIn)
        );
        if is_incomplete {
            self.events.push(LinkEvent::Abandoned { exchange, reason });
        }
        self.forget(exchange);
    }

    /// Removes an exchange that has ended for this side.
    pub(super) fn forget(&mut self, exchange: u32) {
        match self.exchanges.swap_remove(&exchange) {
            Some(Exchange::RequestOut { .. }) => self.open_out -= 1,
            Some(Exchange::RequestIn { .. } | Exchange::OneWayIn) => self.open_in -= 1,
            Some(Exchange::OneWayOut { .. }) | None => {}
        }
    }
}
