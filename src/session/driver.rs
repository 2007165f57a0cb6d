//! The task of a link: reads, delivers, polls replies, writes, and handles time-outs.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep, timeout},
};
use tokio_util::io::poll_read_buf;

use crate::{
    fault_points::{FaultPoint, Sometimes, fault_point, reached},
    limits::{Misbehavior, throttle::Throttle},
    link::{Frames, LinkEvent, LinkPhase, Reason},
    node::{AbortedExchange, Direction, connections::HostedLink},
    session::{
        inbound::Inbound, leaving::Leaving, pool::LinkPool, state::Session, status::LinkHandle,
        tick::Tick,
    },
    time::{Later, now},
    transport::{ReadHalf, WriteHalf},
};

/// Buffer space for a read of short frames. The data stays in the cache until the handlers process
/// it, which saves a fifth of the time.
const READ_SHORT: usize = 16 << 10; // bytes

/// Buffer space for a read of long frames: as many whole frames as fit. A frame that is split at
/// the end of a read would have to be moved.
const READ_LONG: usize = 64 << 10; // bytes

/// The length from which a frame is long.
const LONG_FRAME: usize = 4 << 10; // bytes

/// Space on the stack for the first read after the buffer was freed.
const READ_IDLE: usize = 2 << 10; // bytes

/// After a read of this length the driver yields to the handlers before it reads more.
const READ_AT_ONCE: usize = 8 << 10; // bytes

/// The maximum length of one write. While the system copies the next piece, the other side reads.
/// If the whole output (256 KiB) were written in one call, both sides would take turns, and long
/// messages would be half as fast.
const WRITE_AT_ONCE: usize = 32 << 10; // bytes

/// The time-out for the last frames of a link.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Drives one link until it ends.
pub(crate) struct Driver {
    session: Arc<Session>,
    links: Arc<LinkPool>,
    reader: ReadHalf,
    writer: WriteHalf,
    input: BytesMut,
    /// The length of the incoming frames if they are long, otherwise 0.
    long: usize,
    /// The missing bytes of the last frame.
    wanted: usize,
    /// The data that is being written.
    output: BytesMut,
    /// Whether the transport may hold unflushed data.
    unflushed: bool,
    /// Whether this side has ended its direction of the connection.
    write_ended: bool,
    /// The time since which no output could be written. `None` if the output makes progress.
    stalled: Option<Instant>,
    events: Vec<LinkEvent>,
    inbound: Inbound,
    tick: Tick,
    throttle: Throttle,
    /// The time of the next tick. `None` if no operation waits on the link.
    tick_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    leaving: Leaving,
    over: Option<Reason>,
    finished: bool,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Driver {
    pub(super) fn new(
        session: Arc<Session>,
        links: Arc<LinkPool>,
        reader: ReadHalf,
        writer: WriteHalf,
        input: BytesMut,
    ) -> Self {
        let wake = session.lock().link.next_wake();
        Self {
            inbound: Inbound::new(Arc::clone(&session), Arc::clone(&links)),
            tick: Tick::new(&session.node.config),
            throttle: Throttle::new(
                &session.node.meters,
                session.sender.address(),
                session.node.config.keep_alive,
            ),
            tick_at: None,
            timer: Box::pin(tokio::time::sleep_until(wake.into())),
            leaving: Leaving::default(),
            session,
            links,
            reader,
            writer,
            input,
            long: 0,
            wanted: 0,
            output: BytesMut::new(),
            unflushed: false,
            write_ended: false,
            stalled: None,
            events: Vec::new(),
            over: None,
            finished: false,
        }
    }

    /// The link for the actor of its connection.
    pub(crate) fn link(&self) -> Arc<dyn HostedLink> {
        let (session, links) = (Arc::clone(&self.session), Arc::clone(&self.links));
        Arc::new(LinkHandle { session, links })
    }

    /// Runs the link to its end. Dropping the future breaks it.
    pub(crate) async fn run(mut self) {
        let reason = std::future::poll_fn(|cx| self.poll(cx)).await;
        if reason != Reason::LOST {
            let last = async {
                self.session.take_output(&mut self.output);
                // Whatever is written may be handled.
                while !self.output.is_empty() {
                    let n = self.writer.write(&self.output).await?;
                    if n == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    self.output.advance(n);
                    self.session.wrote(n);
                }
                self.writer.shutdown().await
            };
            // Best effort: dropped on time-out.
            timeout(CLOSE_TIMEOUT, last).await.map(drop).ok();
        }
        self.finish(reason);
    }

    fn finish(&mut self, reason: Reason) {
        if !std::mem::replace(&mut self.finished, true) {
            let serving = self.inbound.serving();
            if self.session.node.abort.is_cancelled() {
                for code in serving {
                    let (direction, peer) = (Direction::In, self.session.sender.address().clone());
                    self.session.node.report_aborted(AbortedExchange {
                        direction,
                        peer,
                        code: Some(code),
                    });
                }
            }
            self.inbound.on_link_end(reason);
            self.session.on_link_end(reason);
            self.links.closed(&self.session);
            self.session.report_closed(reason);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        self.session.driver.register(cx.waker());
        loop {
            self.session.flush_consumed();
            let mut moved = self.inbound.poll(cx);
            moved |= self.take_events();
            if let Some(reason) = self.over {
                return Poll::Ready(reason);
            }
            moved |= self.poll_write(cx);
            let (read, much) = self.poll_read(cx);
            moved |= read | self.poll_timer(cx);
            if much {
                self.take_events();
                if let Some(reason) = self.over {
                    return Poll::Ready(reason);
                }
                self.inbound.flush_count();
                self.inbound.publish_sizes();
                // Yield to the handlers: the data that they release makes room in the buffer.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !moved {
                self.inbound.publish_sizes();
                return Poll::Pending;
            }
        }
    }

    /// Processes the events that the state machine made of the frames.
    fn take_events(&mut self) -> bool {
        let mut state = self.session.lock();
        if state.link.has_events() {
            state.link.take_events(&mut self.events);
        } else {
            // The state machine reports every end of an exchange.
            debug_assert!(self.inbound.incomplete_len() <= state.link.open_exchanges());
        }
        let asked = !state.exchanges.is_empty();
        self.leaving.update(&state, self.timer.as_mut());
        drop(state);
        let some = !self.events.is_empty();
        for event in self.events.drain(..) {
            match event {
                LinkEvent::Closed { reason, remote } => {
                    if matches!(reason, Reason::PROTOCOL | Reason::TOO_LONG) && !remote {
                        reached(Sometimes::LinkRulesBroken);
                        self.session.node.counters.links_broken.one();
                        self.session.offended(Misbehavior::BrokeLink);
                    }
                    self.over = Some(reason);
                }
                event => self.inbound.on_event(event),
            }
        }
        self.inbound.flush_count();
        if self.tick_at.is_none() && (asked || self.inbound.is_busy()) {
            let mut every = self.tick.every;
            if fault_point(FaultPoint::TickLate) {
                every = every.saturating_mul(2);
            }
            let next = Instant::now().later(every);
            self.tick_at = Some(next);
            let next = next.min(self.timer.deadline());
            self.timer.as_mut().reset(next);
        }
        some
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut wrote = false;
        loop {
            if self.output.is_empty() {
                self.output.clear();
                self.session.take_output(&mut self.output);
                if self.output.is_empty() {
                    return self.poll_flush(cx) | self.poll_end(cx) || wrote;
                }
            }
            if self.write_ended {
                // The other side was told everything.
                self.output.clear();
                return wrote;
            }
            let part = self.output.get(..WRITE_AT_ONCE).unwrap_or(&self.output);
            match Pin::new(&mut self.writer).poll_write(cx, part) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.lost();
                    return true;
                }
                Poll::Ready(Ok(n)) => {
                    self.output.advance(n);
                    self.unflushed = true;
                    self.stalled = None;
                    self.session.node.counters.bytes_out.add(n as u64);
                    self.session.wrote(n);
                    wrote = true;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return wrote;
                }
            }
        }
    }

    /// Flushes the transport. True if the link was lost.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> bool {
        if self.unflushed {
            match Pin::new(&mut self.writer).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    self.stalled = None;
                }
                Poll::Ready(Err(_)) => {
                    self.unflushed = false;
                    self.lost();
                    return true;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                }
            }
        }
        false
    }

    /// Ends this side's direction of a connection whose link is finished, when all refusals are
    /// written. True if it has just ended.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> bool {
        let ends = self.leaving.has_begun()
            && !self.write_ended
            && !self.unflushed
            && !self.inbound.is_delivering();
        if ends && self.session.lock().link.is_finished() {
            self.write_ended = Pin::new(&mut self.writer).poll_shutdown(cx).is_ready();
        }
        ends && self.write_ended
    }

    /// Reads once. Returns whether data arrived, and whether it was much.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> (bool, bool) {
        if self.throttle.poll(cx).is_pending() {
            return (false, false);
        }
        match self.poll_input(cx) {
            Poll::Pending => (false, false),
            Poll::Ready(Ok(0) | Err(_)) => {
                self.lost();
                (true, false)
            }
            Poll::Ready(Ok(n)) => {
                self.session.node.counters.bytes_in.add(n as u64);
                self.frames(n);
                (true, n >= READ_AT_ONCE || fault_point(FaultPoint::YieldEarly))
            }
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() == 0 {
            let mut space = [0; READ_IDLE];
            let mut space = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.reader).poll_read(cx, &mut space))?;
            self.input.extend_from_slice(space.filled());
            return Poll::Ready(Ok(space.filled().len()));
        }
        let (room, least, most) = match READ_LONG.checked_div(self.long) {
            None => (READ_SHORT, READ_SHORT / 4, usize::MAX),
            Some(frames) => {
                let room = self.wanted + frames.max(1) * self.long;
                (room, room, room)
            }
        };
        if self.input.capacity() - self.input.len() < least {
            self.input.reserve(room);
        }
        poll_read_buf(Pin::new(&mut self.reader), cx, &mut (&mut self.input).limit(most))
    }

    /// Passes the complete frames to the state machine.
    fn frames(&mut self, read: usize) {
        let frames = Frames::split(&mut self.input);
        let wanted = frames.wanted();
        let now = now();
        let mut state = self.session.lock();
        let before = state.link.counts();
        state.link.handle_all(frames, now);
        let counts = state.link.counts();
        if counts.moved != state.used.1 {
            state.used = (now.into(), counts.moved);
        }
        let round_trip = state.link.round_trip();
        drop(state);
        if counts.pongs != before.pongs {
            self.session.node.metrics.round_trip(round_trip);
        }
        let came = counts.frames_in - before.frames_in;
        self.session.node.counters.frames_in.add(came);
        if self.throttle.record(came, read) {
            self.session.node.counters.reads_paused.one();
        }
        self.inbound.count_received(counts.bytes_in - before.bytes_in);
        if wanted > 0 {
            let len = wanted + self.input.len();
            self.long = if len < LONG_FRAME { 0 } else { len };
        }
        self.wanted = wanted;
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = Instant::now();
        let session = Arc::clone(&self.session);
        let config = &session.node.config;
        let mut state = session.lock();
        if state.link.tick(now.into_std()) {
            // This node itself was blocked, so the output could make no progress.
            self.stalled = self.stalled.map(|_| now);
        }
        if self.stalled.is_some_and(|since| now.duration_since(since) >= config.stall_timeout) {
            reached(Sometimes::OutputStalled);
            self.session.node.counters.errors_stalled.one();
            state.link.fail(Reason::TIMED_OUT);
        }
        let moved = state.link.counts().moved;
        if moved != state.used.1 {
            state.used = (now, moved);
        }
        if self.leaving.has_expired(config, &state, now) {
            reached(Sometimes::LeavingExpired);
            if state.link.is_finished() {
                state.link.connection_lost();
            } else {
                state.link.fail(Reason::TIMED_OUT);
            }
        }
        let unused = now.duration_since(state.used.0);
        let wake = state.link.next_wake();
        let idle = self.session.is_idle(&state);
        let idle = idle && unused >= config.keep_alive;
        if idle {
            state.link.shrink();
        }
        let open = state.link.phase() == LinkPhase::Open;
        // The timer also fires for other reasons than a tick.
        let ticks = self.tick_at.is_some_and(|at| at <= now);
        if ticks {
            state.exchanges.values().for_each(|asked| asked.tick(self.tick.reply));
        }
        let waits = !state.exchanges.is_empty() || self.inbound.is_busy();
        drop(state);
        if idle {
            self.free_buffers();
        }
        let is_over =
            || unused >= config.link_idle_timeout || fault_point(FaultPoint::IdleLinkClosed);
        if idle && open && is_over() && !self.links.is_pinned(self.session.peer.id()) {
            reached(Sometimes::IdleLinkClosed);
            self.links.unlist(&self.session);
            self.session.bye();
        }
        if ticks {
            self.inbound.tick(now, &self.tick);
        }
        self.tick_at = match self.tick_at {
            Some(at) if !ticks && waits => Some(at),
            _ => waits.then(|| now.later(self.tick.every)),
        };
        let wake = self.leaving.wake(wake.into(), now);
        self.timer.as_mut().reset(self.tick_at.map_or(wake, |at| wake.min(at)));
        // The timer has to be polled again to wake this task.
        true
    }

    /// Frees the buffers of an idle link.
    fn free_buffers(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        self.events = Vec::new();
    }

    fn lost(&self) {
        self.session.with(|state| state.link.connection_lost());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.finish(Reason::LOST);
    }
}
