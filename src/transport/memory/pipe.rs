//! The two directions of a connection: data that is written, in transit and arrived, and its end.

use std::{collections::VecDeque, io, sync::Arc, task::Waker, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::chaos::ChaosDice;
use super::uplink::{PACKET, Uplink};
use super::{Ending, StreamDirection};
use crate::time::Later;

/// Bytes that a direction holds before its writer waits, like the buffers of a socket.
pub(super) const CAPACITY: usize = 64 * 1024;

/// How a direction of a new connection behaves.
#[derive(Clone, Debug)]
pub(super) struct PipeConfig {
    /// The time from leaving the host of the writer to its arrival.
    pub(super) latency: Duration,
    /// The uplink of the host of the writer.
    pub(super) uplink: Arc<Uplink>,
    /// Bytes after which the connection breaks.
    pub(super) break_after: Option<u64>,
    pub(super) chaos: ChaosDice,
}

/// Wakers to wake after the lock is released: waking may run other code.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn take(&mut self, waker: &mut Option<Waker>) {
        self.0.extend(waker.take());
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// The result of a read.
#[derive(Debug)]
pub(super) enum Read {
    /// Bytes, the end, or a break.
    Done(io::Result<()>),
    /// No data yet. The time is the next arrival, if it is known.
    Later(Option<Instant>),
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    config: PipeConfig,
    /// The written and unread bytes: first those that have arrived, then those in transit.
    bytes: BytesMut,
    arrived: usize,
    /// The lengths in transit, with their times of arrival. Writes at one instant are one entry.
    in_transit: VecDeque<(Instant, usize)>,
    written: u64,
    /// The number of written bytes at which chaos breaks the connection, and how.
    chaos_break: Option<(u64, Ending)>,
    /// Whether it is partitioned: neither bytes nor the end arrive.
    partitioned: bool,
    /// The end of a stall: nothing arrives before it.
    stalled_until: Option<Instant>,
    /// The end of the direction, and its time of arrival. `None` while it is open.
    end: Option<(Instant, End)>,
    reader_closed: bool,
    pub(super) reading: Option<Waker>,
    pub(super) writing: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The writer is done.
    Finished,
    /// The connection broke.
    Broken(Ending),
}

impl Pipe {
    fn new(config: PipeConfig) -> Self {
        Self {
            config,
            bytes: BytesMut::new(),
            arrived: 0,
            in_transit: VecDeque::new(),
            written: 0,
            chaos_break: None,
            partitioned: false,
            stalled_until: None,
            end: None,
            reader_closed: false,
            reading: None,
            writing: None,
        }
    }

    pub(super) fn read(
        &mut self,
        into: &mut ReadBuf<'_>,
        now: Instant,
        wakers: &mut Wakers,
    ) -> Read {
        self.arrive(now);
        if self.arrived > 0 {
            let len = self.config.chaos.read(self.arrived.min(into.remaining()));
            into.put_slice(self.bytes.get(..len).unwrap_or_default());
            self.bytes.advance(len);
            self.arrived -= len;
            wakers.take(&mut self.writing);
            return Read::Done(Ok(()));
        }
        match self.ended(now) {
            Some(end) => Read::Done(end),
            None => Read::Later(self.next()),
        }
    }

    /// Writes as much as there is room for, up to the position at which the connection breaks.
    pub(super) fn write(&mut self, data: &[u8], wakers: &mut Wakers) -> io::Result<usize> {
        let until_break = usize::try_from(self.bytes_until_break()).unwrap_or(usize::MAX);
        let (len, late) = self.config.chaos.write(data.len().min(self.room()?).min(until_break));
        if len > 0 {
            self.push(data.get(..len).unwrap_or_default(), late);
            wakers.take(&mut self.reading);
        }
        Ok(len)
    }

    /// Whether chaos lets a write wait once although there is room.
    pub(super) fn holds_back(&mut self) -> bool {
        self.room().is_ok_and(|room| room > 0) && self.config.chaos.holds_back()
    }

    /// Ends the direction after the written data.
    pub(super) fn finish(&mut self, wakers: &mut Wakers) -> io::Result<()> {
        match self.end {
            Some((_, End::Broken(Ending::Reset))) if !self.partitioned => {
                return Err(io::ErrorKind::NotConnected.into());
            }
            Some(_) => {}
            None => {
                self.end = Some((Instant::now().later(self.config.latency), End::Finished));
                wakers.take(&mut self.reading);
            }
        }
        Ok(())
    }

    /// Notes that the reader is dropped.
    pub(super) fn close_reader(&mut self, wakers: &mut Wakers) {
        self.reader_closed = true;
        self.bytes = BytesMut::new();
        self.arrived = 0;
        self.in_transit.clear();
        wakers.take(&mut self.writing);
    }

    /// Begins or ends a partition.
    pub(super) fn set_partitioned(&mut self, partitioned: bool, wakers: &mut Wakers) {
        self.arrive(Instant::now());
        self.partitioned = partitioned;
        wakers.take(&mut self.reading);
        wakers.take(&mut self.writing);
    }

    /// Stalls it until then.
    pub(super) fn stall(&mut self, until: Instant, wakers: &mut Wakers) {
        self.arrive(Instant::now());
        self.stalled_until = self.stalled_until.max(Some(until));
        wakers.take(&mut self.reading);
    }

    fn stalled(&self, now: Instant) -> bool {
        self.partitioned || self.stalled_until.is_some_and(|until| now < until)
    }

    /// How the connection breaks if chaos breaks it at the reached position.
    fn chaos_ending(&self) -> Option<Ending> {
        self.chaos_break.filter(|(at, _)| *at <= self.written).map(|(_, ending)| ending)
    }

    /// Moves due data from transit to arrived.
    fn arrive(&mut self, now: Instant) {
        let stalled = self.stalled(now);
        while let Some(&(at, len)) = self.in_transit.front()
            && !stalled
            && at <= now
        {
            self.arrived += len;
            self.in_transit.pop_front();
        }
    }

    /// Takes data that arrives `late` after its usual time.
    fn push(&mut self, data: &[u8], late: Duration) {
        self.bytes.extend_from_slice(data);
        self.written = self.written.saturating_add(data.len() as u64);
        let at_once = self.config.latency.is_zero() && !self.config.uplink.is_limited();
        if at_once && late.is_zero() && self.is_clear() && self.in_transit.is_empty() {
            self.arrived += data.len();
            return;
        }
        let now = Instant::now();
        if !self.config.uplink.is_limited() {
            return self.send(data.len(), now.later(late));
        }
        for packet in data.chunks(PACKET) {
            let left = self.config.uplink.left(packet.len(), now);
            self.send(packet.len(), left.later(late));
        }
    }

    /// Puts bytes that leave the host of the writer at that time into transit, in order.
    fn send(&mut self, bytes: usize, left: Instant) {
        let at = left.later(self.config.latency);
        match self.in_transit.back_mut() {
            Some((last, len)) if *last >= at => *len += bytes,
            Some(_) | None => self.in_transit.push_back((at, bytes)),
        }
    }

    /// Whether it has no partition and no recorded stall. Does not read the clock.
    const fn is_clear(&self) -> bool {
        !self.partitioned && self.stalled_until.is_none()
    }

    /// The number of bytes that may be written now, or the error of a write.
    fn room(&self) -> io::Result<usize> {
        match self.end {
            Some((_, End::Finished)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Some((_, End::Broken(ending))) if !self.partitioned => {
                return Err(match ending {
                    Ending::Eof => io::ErrorKind::BrokenPipe.into(),
                    Ending::Reset => io::ErrorKind::ConnectionReset.into(),
                });
            }
            // The break has not arrived at the writer yet, and the reader never gets this data.
            Some((_, End::Broken(_))) => return Ok(0),
            None => {}
        }
        if self.reader_closed && !self.partitioned {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(CAPACITY.saturating_sub(self.bytes.len()))
    }

    fn bytes_until_break(&self) -> u64 {
        let chaos = self.chaos_break.map(|(at, _)| at);
        let limit = self.config.break_after.into_iter().chain(chaos).min();
        limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.written))
    }

    /// The end for the reader, after all arriving data was read. `None` if it has not arrived.
    fn ended(&self, now: Instant) -> Option<io::Result<()>> {
        let (at, end) = self.end?;
        if self.stalled(now) || at > now || !self.in_transit.is_empty() {
            return None;
        }
        Some(match end {
            End::Finished | End::Broken(Ending::Eof) => Ok(()),
            End::Broken(Ending::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        })
    }

    /// The next time at which something arrives. `None` if it is not known.
    fn next(&self) -> Option<Instant> {
        let bytes = self.in_transit.front().map(|(at, _)| *at);
        let end = self.end.map(|(at, _)| at);
        let next = bytes.or(end).filter(|_| !self.partitioned)?;
        Some(self.stalled_until.map_or(next, |until| until.max(next)))
    }
}

#[derive(Debug)]
pub(super) struct Pipes {
    to_listener: Pipe,
    to_dialler: Pipe,
    pub(super) broken: bool,
}

impl Pipes {
    pub(super) fn new(to_listener: PipeConfig, to_dialler: PipeConfig) -> Self {
        Self {
            to_listener: Pipe::new(to_listener),
            to_dialler: Pipe::new(to_dialler),
            broken: false,
        }
    }

    pub(super) fn get(&mut self, direction: StreamDirection) -> &mut Pipe {
        match direction {
            StreamDirection::ToListener => &mut self.to_listener,
            StreamDirection::ToDialler => &mut self.to_dialler,
        }
    }

    /// Draws whether chaos breaks the connection after this number of bytes or more.
    pub(super) fn draw_break(&mut self, least: u64) {
        self.to_listener.chaos_break = None;
        self.to_dialler.chaos_break = None;
        if let Some((to_listener, bytes, ending)) = self.to_listener.config.chaos.breaks() {
            let pipe = if to_listener { &mut self.to_listener } else { &mut self.to_dialler };
            pipe.chaos_break = Some((pipe.written.saturating_add(bytes.max(least)), ending));
        }
    }

    /// Breaks the connection after all that was written in the direction, if that is as many bytes
    /// as it was to break after. False if it does not break.
    pub(super) fn break_if_due(
        &mut self,
        direction: StreamDirection,
        ending: Ending,
        wakers: &mut Wakers,
    ) -> bool {
        let pipe = self.get(direction);
        let is_due = pipe.bytes_until_break() == 0;
        if is_due {
            let chaos = pipe.chaos_ending();
            if chaos.is_some() {
                pipe.config.chaos.state().count_break();
            }
            wakers.append(self.break_now(chaos.unwrap_or(ending), Some(direction)));
        }
        is_due
    }

    /// Breaks both directions. Arrived data can still be read. Data in transit is lost, except in
    /// the direction `spared`, in which the break follows it.
    pub(super) fn break_now(&mut self, ending: Ending, spared: Option<StreamDirection>) -> Wakers {
        let mut wakers = Wakers::default();
        self.broken = true;
        let now = Instant::now();
        for direction in [StreamDirection::ToListener, StreamDirection::ToDialler] {
            let pipe = self.get(direction);
            let (mut at, mut is_complete) = (now, true);
            if spared == Some(direction) {
                at = at.later(pipe.config.latency);
            } else {
                pipe.arrive(now);
                is_complete = pipe.in_transit.is_empty();
                pipe.in_transit.clear();
                pipe.bytes.truncate(pipe.arrived);
            }
            // An end by its writer that has arrived, after all of the data, stays the end.
            let over = is_complete && matches!(pipe.end, Some((at, End::Finished)) if at <= now);
            if !over || pipe.stalled(now) {
                pipe.end = Some((at, End::Broken(ending)));
            }
            wakers.take(&mut pipe.reading);
            wakers.take(&mut pipe.writing);
        }
        wakers
    }
}
