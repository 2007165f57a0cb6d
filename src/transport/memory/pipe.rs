//! The two directions of a connection: what is written, on its way, arrived, and over.

use std::{collections::VecDeque, io, sync::Arc, task::Waker, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::line::{Line, PACKET};
use super::{Direction, Ending};

use crate::time::Later;

/// Bytes that a direction holds before its writer waits, as the buffers of a socket do.
pub(super) const CAPACITY: usize = 64 * 1024;

/// How a direction of a new connection behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    /// Time from leaving the writer's host to reading.
    pub(super) latency: Duration,
    /// What the writer's host sends by.
    pub(super) line: Arc<Line>,
    /// Bytes after which the connection breaks.
    pub(super) cut_after: Option<u64>,
}

/// Wakers to be woken once no lock is held: waking may run code of others.
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

/// What became of reading.
#[derive(Debug)]
pub(super) enum Read {
    /// Bytes, the end, or a break.
    Done(io::Result<()>),
    /// Nothing yet, and when there will be something, if that is known.
    Later(Option<Instant>),
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    course: Course,
    /// Everything written and not yet read: first what has arrived, then what is on its way.
    bytes: BytesMut,
    arrived: usize,
    /// Lengths on their way, and when they arrive. Written at the same instant is one entry.
    on_the_way: VecDeque<(Instant, usize)>,
    written: u64,
    /// Nothing arrives while the network is partitioned here, neither bytes nor the end.
    parted: bool,
    /// Nothing arrives before this.
    held_until: Option<Instant>,
    /// No more is written after this; when the reader may learn it, and how.
    end: Option<(Instant, End)>,
    reader_is_gone: bool,
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
    fn new(course: Course) -> Self {
        Self {
            course,
            bytes: BytesMut::new(),
            arrived: 0,
            on_the_way: VecDeque::new(),
            written: 0,
            parted: false,
            held_until: None,
            end: None,
            reader_is_gone: false,
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
            let len = self.arrived.min(into.remaining());
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

    /// Takes what there is room for, up to where the connection is to be cut.
    pub(super) fn write(&mut self, data: &[u8], wakers: &mut Wakers) -> io::Result<usize> {
        let until_cut = usize::try_from(self.bytes_until_cut()).unwrap_or(usize::MAX);
        let len = data.len().min(self.room()?).min(until_cut);
        if len > 0 {
            self.push(data.get(..len).unwrap_or_default());
            wakers.take(&mut self.reading);
        }
        Ok(len)
    }

    /// Ends the direction, behind what was written.
    pub(super) fn finish(&mut self, wakers: &mut Wakers) -> io::Result<()> {
        match self.end {
            Some((_, End::Broken(Ending::Reset))) if !self.parted => {
                return Err(io::ErrorKind::NotConnected.into());
            }
            Some(_) => {}
            None => {
                self.end = Some((Instant::now().later(self.course.latency), End::Finished));
                wakers.take(&mut self.reading);
            }
        }
        Ok(())
    }

    /// Nobody will read any more.
    pub(super) fn abandon(&mut self, wakers: &mut Wakers) {
        self.reader_is_gone = true;
        self.bytes = BytesMut::new();
        self.arrived = 0;
        self.on_the_way.clear();
        wakers.take(&mut self.writing);
    }

    /// Stops it until it is told to go on, or has it go on.
    pub(super) fn part(&mut self, parted: bool, wakers: &mut Wakers) {
        self.arrive(Instant::now());
        self.parted = parted;
        wakers.take(&mut self.reading);
        wakers.take(&mut self.writing);
    }

    /// Stops it until then.
    pub(super) fn hold(&mut self, until: Instant, wakers: &mut Wakers) {
        self.arrive(Instant::now());
        self.held_until = self.held_until.max(Some(until));
        wakers.take(&mut self.reading);
    }

    fn stalled(&self, now: Instant) -> bool {
        self.parted || self.held_until.is_some_and(|until| now < until)
    }

    /// Whether it is time to cut the connection.
    pub(super) fn is_used_up(&self) -> bool {
        self.bytes_until_cut() == 0
    }

    /// Lets arrive what is due.
    fn arrive(&mut self, now: Instant) {
        let stalled = self.stalled(now);
        while let Some(&(at, len)) = self.on_the_way.front()
            && !stalled
            && at <= now
        {
            self.arrived += len;
            self.on_the_way.pop_front();
        }
    }

    fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.written = self.written.saturating_add(data.len() as u64);
        let at_once = self.course.latency.is_zero() && !self.course.line.is_limited();
        if at_once && self.is_clear() && self.on_the_way.is_empty() {
            self.arrived += data.len();
            return;
        }
        let now = Instant::now();
        if !self.course.line.is_limited() {
            return self.send(data.len(), now);
        }
        for packet in data.chunks(PACKET) {
            let left = self.course.line.left(packet.len(), now);
            self.send(packet.len(), left);
        }
    }

    /// So many bytes leave the writer's host at that time, and keep their place in the order.
    fn send(&mut self, bytes: usize, left: Instant) {
        let at = left.later(self.course.latency);
        match self.on_the_way.back_mut() {
            Some((last, len)) if *last >= at => *len += bytes,
            Some(_) | None => self.on_the_way.push_back((at, bytes)),
        }
    }

    /// Whether nothing has ever stopped it but what is over and known to be: asks no clock.
    const fn is_clear(&self) -> bool {
        !self.parted && self.held_until.is_none()
    }

    /// What the writer may still write now, or why it may not.
    fn room(&self) -> io::Result<usize> {
        match self.end {
            Some((_, End::Finished)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Some((_, End::Broken(ending))) if !self.parted => {
                return Err(match ending {
                    Ending::Eof => io::ErrorKind::BrokenPipe.into(),
                    Ending::Reset => io::ErrorKind::ConnectionReset.into(),
                });
            }
            // The news has not come through yet, and nobody will ever read what is written.
            Some((_, End::Broken(_))) => return Ok(0),
            None => {}
        }
        if self.reader_is_gone && !self.parted {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(CAPACITY.saturating_sub(self.bytes.len()))
    }

    fn bytes_until_cut(&self) -> u64 {
        self.course.cut_after.map_or(u64::MAX, |limit| limit.saturating_sub(self.written))
    }

    /// What the reader is told about the end, once everything that arrives has been read.
    fn ended(&self, now: Instant) -> Option<io::Result<()>> {
        let (at, end) = self.end?;
        if self.stalled(now) || at > now || !self.on_the_way.is_empty() {
            return None;
        }
        Some(match end {
            End::Finished | End::Broken(Ending::Eof) => Ok(()),
            End::Broken(Ending::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        })
    }

    /// When there will be something new for the reader, if that is known.
    fn next(&self) -> Option<Instant> {
        let bytes = self.on_the_way.front().map(|(at, _)| *at);
        let end = self.end.map(|(at, _)| at);
        let next = bytes.or(end).filter(|_| !self.parted)?;
        Some(self.held_until.map_or(next, |until| until.max(next)))
    }
}

#[derive(Debug)]
pub(super) struct Pipes {
    to_listener: Pipe,
    to_dialler: Pipe,
    pub(super) broken: bool,
}

impl Pipes {
    pub(super) fn new(to_listener: Course, to_dialler: Course) -> Self {
        Self {
            to_listener: Pipe::new(to_listener),
            to_dialler: Pipe::new(to_dialler),
            broken: false,
        }
    }

    pub(super) fn get(&mut self, direction: Direction) -> &mut Pipe {
        match direction {
            Direction::ToListener => &mut self.to_listener,
            Direction::ToDialler => &mut self.to_dialler,
        }
    }

    /// Breaks both directions. What has arrived can still be read; what is on its way is lost, but
    /// for the direction `spared`, where the break comes behind it.
    pub(super) fn tear(&mut self, ending: Ending, spared: Option<Direction>) -> Wakers {
        let mut wakers = Wakers::default();
        self.broken = true;
        let now = Instant::now();
        for direction in [Direction::ToListener, Direction::ToDialler] {
            let pipe = self.get(direction);
            let mut at = now;
            if spared == Some(direction) {
                at = at.later(pipe.course.latency);
            } else {
                pipe.arrive(now);
                pipe.on_the_way.clear();
                pipe.bytes.truncate(pipe.arrived);
            }
            // The end that its writer had given it stays the end, if it has got through.
            let over = matches!(pipe.end, Some((at, End::Finished)) if at <= now);
            if !over || pipe.stalled(now) {
                pipe.end = Some((at, End::Broken(ending)));
            }
            wakers.take(&mut pipe.reading);
            wakers.take(&mut pipe.writing);
        }
        wakers
    }
}
