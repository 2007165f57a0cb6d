//! Records of what happens on the network: dials, connections, and each frame that is written.

mod parser;
mod tap;

use std::{fmt, sync::Arc, time::Duration};

pub(super) use self::parser::{Parser, Protocol, Unit};
pub(super) use self::tap::Tap;
use super::{MemoryLink, MemoryNetwork, StreamDirection};
use crate::{frame::TypeCode, overlay::Address};

/// Something that happened on the network, for [`MemoryNetwork::record`].
///
/// `at` is the time since the start of the network, by tokio's clock. The text form has no time:
///
/// ```text
/// ada:32768 dials bob:9000
/// ada:32768 -> bob:9000 #17 connected
/// ada -> bob:9000 #17 PING 12 bytes 9f3c52a1b0de4477
/// bob:9000 -> ada #17 finished
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireEvent {
    /// A dial began.
    #[non_exhaustive]
    Dialled {
        /// When.
        at: Duration,
        /// The address of the dialler, with the port from which it dials.
        from: Address,
        /// The dialled address.
        to: Address,
    },
    /// A dial was refused: there is no listener, its host [refuses](super::Crashed::refuse), or
    /// [`Chaos`](super::Chaos) did it.
    #[non_exhaustive]
    Refused {
        /// When.
        at: Duration,
        /// The address of the dialler.
        from: Address,
        /// The dialled address.
        to: Address,
    },
    /// A dial will never be answered: a host is crashed or partitioned.
    #[non_exhaustive]
    Unanswered {
        /// When.
        at: Duration,
        /// The address of the dialler.
        from: Address,
        /// The dialled address.
        to: Address,
    },
    /// A connection was opened.
    #[non_exhaustive]
    Connected {
        /// When.
        at: Duration,
        /// The connection.
        link: Arc<MemoryLink>,
    },
    /// A whole frame was written. It may still be lost if the connection breaks.
    Frame(FrameRecord),
    /// A whole TLS record was written. Connections whose first byte is that of a TLS handshake (22)
    /// are recorded in this way. There is no hash, as encryption draws random numbers of its own.
    #[non_exhaustive]
    TlsRecord {
        /// When.
        at: Duration,
        /// The connection.
        link: Arc<MemoryLink>,
        /// The direction.
        direction: StreamDirection,
        /// The content type of TLS: 22 is a handshake, 23 application data, 21 an alert.
        content_type: u8,
        /// The length of its payload in bytes.
        len: u16,
    },
    /// A fault broke a connection.
    #[non_exhaustive]
    Broken {
        /// When.
        at: Duration,
        /// The connection.
        link: Arc<MemoryLink>,
    },
    /// A side ended its direction: it shut down or dropped its writer, possibly after a break.
    #[non_exhaustive]
    Finished {
        /// When.
        at: Duration,
        /// The connection.
        link: Arc<MemoryLink>,
        /// The direction that ended.
        direction: StreamDirection,
        /// The number of written bytes of an incomplete frame or TLS record. 0 if all are complete.
        incomplete: u64,
    },
    /// A side dropped both of its halves.
    #[non_exhaustive]
    Closed {
        /// When.
        at: Duration,
        /// The connection.
        link: Arc<MemoryLink>,
        /// The direction in which that side wrote.
        direction: StreamDirection,
    },
}

/// A frame that was written on a connection: a code of 4 bytes, a length, data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FrameRecord {
    /// When its last byte was written, since the start of the network.
    pub at: Duration,
    /// The connection.
    pub link: Arc<MemoryLink>,
    /// The direction.
    pub direction: StreamDirection,
    /// The type code.
    pub code: TypeCode,
    /// The length of the data in bytes.
    pub len: u32,
    /// The hash of the data: FNV-1a, 64 bits.
    pub hash: u64,
}

impl FrameRecord {
    /// The address of the writer. For a dialler, the port is the one from which it dialled.
    #[must_use]
    pub fn from(&self) -> &Address {
        self.link.ends(self.direction).0
    }

    /// The address of the reader. For a dialler, the port is the one from which it dialled.
    #[must_use]
    pub fn to(&self) -> &Address {
        self.link.ends(self.direction).1
    }
}

impl WireEvent {
    /// When it happened, since the start of the network.
    #[must_use]
    pub const fn at(&self) -> Duration {
        match self {
            Self::Dialled { at, .. }
            | Self::Refused { at, .. }
            | Self::Unanswered { at, .. }
            | Self::Connected { at, .. }
            | Self::TlsRecord { at, .. }
            | Self::Broken { at, .. }
            | Self::Finished { at, .. }
            | Self::Closed { at, .. } => *at,
            Self::Frame(frame) => frame.at,
        }
    }
}

/// `ada -> bob:9000 #17`: a connection and a direction. A dialler has no port here.
struct Along<'a>(&'a MemoryLink, StreamDirection);

impl fmt::Display for Along<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(link, direction) = self;
        let (dialler, listener) = (link.from.host(), &link.to);
        match direction {
            StreamDirection::ToListener => write!(f, "{dialler} -> {listener}")?,
            StreamDirection::ToDialler => write!(f, "{listener} -> {dialler}")?,
        }
        write!(f, " #{}", link.number)
    }
}

impl fmt::Display for WireEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialled { from, to, .. } => write!(f, "{from} dials {to}"),
            Self::Refused { from, to, .. } => write!(f, "{to} refuses {from}"),
            Self::Unanswered { from, to, .. } => write!(f, "{to} never answers {from}"),
            Self::Connected { link, .. } => {
                write!(f, "{} -> {} #{} connected", link.from, link.to, link.number)
            }
            Self::Frame(FrameRecord { link, direction, code, len, hash, .. }) => {
                write!(f, "{} {code} {len} bytes {hash:016x}", Along(link, *direction))
            }
            Self::TlsRecord { link, direction, content_type, len, .. } => {
                write!(f, "{} TLS {content_type} {len} bytes", Along(link, *direction))
            }
            Self::Broken { link, .. } => {
                write!(f, "{} broken", Along(link, StreamDirection::ToListener))
            }
            Self::Finished { link, direction, incomplete, .. } => {
                write!(f, "{} finished", Along(link, *direction))?;
                match incomplete {
                    0 => Ok(()),
                    bytes => write!(f, " after {bytes} bytes of a frame"),
                }
            }
            Self::Closed { link, direction, .. } => write!(f, "{} closed", Along(link, *direction)),
        }
    }
}

impl MemoryNetwork {
    /// Calls a function for each [`WireEvent`] until the returned value is dropped. Several
    /// functions may record at the same time.
    ///
    /// Frames are read from the bytes that are written, so a reader that sees other bytes is not
    /// the cause of a wrong record. Frames of connections that were opened earlier are not
    /// recorded. While no function records, frames are not parsed. A frame of any length costs no
    /// memory.
    ///
    /// The function runs inside the write, dial or fault. It may call this network.
    ///
    /// # Examples
    ///
    /// No frame with the code `GOSS` goes from ada to bob:
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// use std::sync::{Arc, Mutex};
    ///
    /// # use actix_peer::transport::Transport;
    /// # use tokio::io::AsyncWriteExt;
    /// use actix_peer::{frame::{FrameHead, TypeCode}, overlay::Host};
    /// use actix_peer::transport::memory::{MemoryNetwork, WireEvent};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
    /// let network = MemoryNetwork::new(42);
    /// let frames = Arc::new(Mutex::new(Vec::new()));
    /// let _recording = network.record({
    ///     let frames = Arc::clone(&frames);
    ///     move |event| {
    ///         if let WireEvent::Frame(frame) = event {
    ///             frames.lock().unwrap().push(frame.clone());
    ///         }
    ///     }
    /// });
    /// # let mut listener = network.transport("bob".parse::<Host>()?).listen(&"bob:9000".parse()?).await?;
    /// # let mut here = network.transport("ada".parse::<Host>()?).dial(&"bob:9000".parse()?).await?;
    /// # let there = poll_fn(|cx| listener.poll_accept(cx)).await?;
    /// here.writer.write_all(&FrameHead::new(TypeCode::PING, 2).to_bytes()).await?;
    /// here.writer.write_all(b"hi").await?;
    ///
    /// let frames = frames.lock().unwrap();
    /// let goss = TypeCode::new(b"GOSS");
    /// let (ada, bob): (Host, Host) = ("ada".parse()?, "bob".parse()?);
    /// let across = |from: &Host, to: &Host| *from == ada && *to == bob;
    /// assert!(!frames.iter().any(|f| f.code == goss && across(f.from().host(), f.to().host())));
    /// assert_eq!((frames.len(), frames[0].code, frames[0].len), (1, TypeCode::PING, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record(&self, each: impl Fn(&WireEvent) + Send + Sync + 'static) -> Recording {
        let tap = Arc::clone(&self.lock().tap);
        let number = tap.add(Arc::new(each));
        Recording { tap, number }
    }
}

/// Records until it is dropped; see [`MemoryNetwork::record`].
#[must_use = "the record ends when it is dropped"]
#[derive(Debug)]
pub struct Recording {
    tap: Arc<Tap>,
    number: u64,
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.tap.remove(self.number);
    }
}
