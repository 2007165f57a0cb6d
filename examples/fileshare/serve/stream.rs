//! A whole file as a stream of bytes, in bounded memory, read ahead by one piece.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::OwnedSemaphorePermit,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    digest::Manifest,
    name::FileName,
    share::{Opened, PIECE},
    state::State,
};

type Reading = JoinHandle<io::Result<Vec<u8>>>;

/// Reads an open file as it was when it was opened. One of which that is not there any more ends in
/// an error before its last byte, so that it is never taken for whole.
pub(super) struct FileStream {
    state: Arc<State>,
    name: FileName,
    opened: Arc<(Opened, Option<Arc<Manifest>>)>,
    /// Where the piece after the one that is being read begins.
    offset: u64,
    piece: Vec<u8>,
    /// Bytes of the piece that were handed out.
    used: usize,
    reading: Option<Reading>,
    _place: OwnedSemaphorePermit,
}

impl FileStream {
    pub(super) fn new(
        state: &Arc<State>,
        name: FileName,
        opened: (Opened, Option<Arc<Manifest>>),
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (state, opened) = (Arc::clone(state), Arc::new(opened));
        let (piece, reading) = (Vec::new(), None);
        let mut stream =
            Self { state, name, opened, offset: 0, piece, used: 0, reading, _place: place };
        stream.read_ahead(Vec::new());
        stream
    }

    fn read_ahead(&mut self, mut buffer: Vec<u8>) {
        let (offset, end) = (self.offset, self.opened.0.stamp().len());
        let len = (end - offset).min(PIECE as u64);
        if len == 0 {
            return;
        }
        self.offset += len;
        let opened = Arc::clone(&self.opened);
        self.reading = Some(spawn_blocking(move || {
            buffer.resize(usize::try_from(len).unwrap_or(PIECE), 0);
            let (opened, manifest) = &*opened;
            opened.read_as_opened(&mut buffer, offset, manifest.as_deref())?;
            Ok(buffer)
        }));
    }
}

impl AsyncRead for FileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.used == this.piece.len()
            && let Some(reading) = &mut this.reading
        {
            let read = ready!(Pin::new(reading).poll(cx));
            this.reading = None;
            let read = read.map_err(io::Error::other)?.inspect_err(|error| {
                this.state.error(format!("{} was not sent whole: {error}", this.name));
            });
            let old = std::mem::replace(&mut this.piece, read?);
            this.used = 0;
            this.read_ahead(old);
        }
        let rest = this.piece.get(this.used..).unwrap_or_default();
        let part = rest.get(..space.remaining()).unwrap_or(rest);
        space.put_slice(part);
        this.used += part.len();
        Poll::Ready(Ok(()))
    }
}
