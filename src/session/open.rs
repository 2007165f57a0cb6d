//! Opens links: by dialling, or on an accepted connection ([protocol](crate::protocol#opening)).

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    classic::{client, writer::explain},
    fault_points::{Sometimes, reached},
    frame::{FrameError, FrameHead, TypeCode},
    limits::Misbehavior,
    link::{
        COUNTS, ClassicSign, Frames, Hello, LENGTHS, LISTING, Link, LinkConfig, LinkEvent,
        LinkPhase, MAX_HELLO_LEN, MAX_IN_HELLO, REFUSALS, Role, SERIES, code,
    },
    message::RequestError,
    node::{
        Direction, Refusal,
        connections::{Opened, OpenedProtocol},
    },
    overlay::{Address, PeerId},
    session::{
        Endpoint,
        driver::Driver,
        state::Session,
        unreached::{Reached, Unreached},
    },
    time::{Later, now},
    transport::{IdentityFault, Io, ReadHalf, WriteHalf},
};

/// Buffer space for a hello. A longer one is read in several steps.
const HELLO_READ: usize = 1 << 10; // bytes

/// The time-out for a hello: two round trips of the slowest network. A node that accepts a
/// connection and sends nothing for this time does not speak links.
const HELLO_TIME: Duration = Duration::from_secs(2);

fn machine(endpoint: &Endpoint, role: Role) -> Link {
    let config = &endpoint.config;
    let longest = endpoint.routes.longest().max(config.max_frame_len);
    // Two of the longest messages fit, so that an incomplete one does not block another.
    let window = config.link_window.max(longest.saturating_mul(2).saturating_add(1 << 10));
    let lengths = endpoint.routes.unusual_lengths(longest);
    let fits = lengths.len() <= MAX_IN_HELLO;
    let with_lengths = Some(LENGTHS).filter(|_| fits);
    let features = [Some(REFUSALS), Some(LISTING), Some(COUNTS), Some(SERIES), with_lengths];
    let hello = Hello {
        info: endpoint.me.clone(),
        window,
        max_message: longest,
        max_open: config.max_link_requests,
        incarnation: endpoint.links.incarnation,
        features: features.into_iter().flatten().map(str::to_owned).collect(),
        lengths: if fits { lengths } else { Vec::new() },
    };
    let config = LinkConfig { hello, keep_alive: config.keep_alive };
    Link::new(role, config, now())
}

/// Opens a link to the peer `whom` at `to`.
pub(super) async fn dial(endpoint: &Arc<Endpoint>, to: &Address, whom: Option<&PeerId>) -> Reached {
    match greet(endpoint, to, whom).await {
        Ok((io, link, buffer)) => dialled(endpoint, to, io, link, buffer),
        // The peer has another link with this node, which won over this one, or has no room, or
        // stops.
        Err(Unreached::Left) => endpoint.links.open_session((to, None)).ok_or(Unreached::Left),
        Err(unreached) => Err(unreached),
    }
}

/// Connects and exchanges hellos.
async fn greet(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    whom: Option<&PeerId>,
) -> Result<(Io, Link, BytesMut), Unreached> {
    let limit = endpoint.config.connect_timeout;
    let until = Instant::now().later(limit);
    let mut io = client::connect(endpoint, to, whom, until).await.map_err(|error| match error {
        RequestError::Identity(fault) => Unreached::Identity(fault),
        RequestError::Banned(id) => Unreached::Banned(id),
        RequestError::Connect { source, .. } => Unreached::failed(&source),
        RequestError::Busy => Unreached::NoRoom,
        _ => Unreached::Stopped,
    })?;
    let mut link = machine(endpoint, Role::Dialler);
    let mut buffer = BytesMut::new();
    // A peer that accepts the connection and sends no hello is a classic peer.
    match timeout(limit.min(HELLO_TIME), hellos(endpoint, &mut io, &mut link, &mut buffer)).await {
        Ok(Ok(HelloAnswer::Hello)) => match claims_another(endpoint, &io, &link, to) {
            Some(fault) => {
                endpoint.counters.errors_not_your_id.one();
                Err(Unreached::Identity(fault))
            }
            // The peer may have been banned during the exchange of hellos.
            None => match &io.proven {
                Some(id) if endpoint.bans.refuses_id(id) => Err(Unreached::Banned(id.clone())),
                _ => Ok((io, link, buffer)),
            },
        },
        Ok(Ok(HelloAnswer::Goodbye)) => {
            reached(Sometimes::HelloGoodbye);
            if let Some(hello) = link.theirs()
                && endpoint.may_claim(io.proven.as_ref(), hello.info.id())
            {
                endpoint.links.found(hello.info.id(), to);
            }
            Err(Unreached::Left)
        }
        Ok(Ok(HelloAnswer::Refusal(text))) if text == Refusal::Busy.text() => {
            reached(Sometimes::HelloBusy);
            Err(Unreached::Busy)
        }
        Ok(Ok(HelloAnswer::Refusal(text))) if text == Refusal::Stopping.text() => {
            Err(Unreached::failed(&io::ErrorKind::ConnectionAborted.into()))
        }
        Ok(Ok(HelloAnswer::Refusal(_) | HelloAnswer::Other)) => {
            Err(Unreached::Classic { sign: Some(ClassicSign::Answer) })
        }
        Ok(Ok(HelloAnswer::Nothing) | Err(_)) => {
            Err(Unreached::Classic { sign: Some(ClassicSign::End) })
        }
        Err(_) => {
            reached(Sometimes::HelloUnanswered);
            Err(Unreached::Classic { sign: Some(ClassicSign::Silence) })
        }
    }
}

/// The fault if the hello claims another id than the one that the other side has proved.
fn claims_another(
    endpoint: &Endpoint,
    io: &Io,
    link: &Link,
    to: &Address,
) -> Option<IdentityFault> {
    let (at, claimed) = (to.clone(), link.theirs()?.info.id().clone());
    let proven = io.proven.as_ref();
    (!endpoint.may_claim(proven, &claimed)).then(|| match proven.cloned() {
        Some(proven) => IdentityFault::ClaimsAnother { at, proven, claimed },
        None => IdentityFault::NotTls { at },
    })
}

/// The first answer of the other side.
enum HelloAnswer {
    Hello,
    /// A hello followed by the announcement that the link is closed to new exchanges.
    Goodbye,
    Refusal(String),
    /// Something else.
    Other,
    /// The end of the connection or of the link.
    Nothing,
}

async fn hellos(
    endpoint: &Endpoint,
    io: &mut Io,
    link: &mut Link,
    buffer: &mut BytesMut,
) -> io::Result<HelloAnswer> {
    let mut out = BytesMut::new();
    link.take_output(&mut out);
    endpoint.counters.bytes_out.add(out.len() as u64);
    endpoint.counters.frames_out.one();
    io.writer.write_all(&out).await?;
    io.writer.flush().await?;
    loop {
        buffer.reserve(HELLO_READ);
        let n = io.reader.read_buf(buffer).await?;
        endpoint.counters.bytes_in.add(n as u64);
        for frame in Frames::split(buffer) {
            let Ok(frame) = frame else { return Ok(HelloAnswer::Other) };
            if link.phase() == LinkPhase::Greeting && frame.code() == TypeCode::ERRO {
                return Ok(HelloAnswer::Refusal(
                    String::from_utf8_lossy(frame.data()).into_owned(),
                ));
            }
            if link.phase() == LinkPhase::Greeting && frame.code() != code::LNK {
                return Ok(HelloAnswer::Other);
            }
            link.handle(frame, now());
        }
        match link.phase() {
            LinkPhase::Greeting if n == 0 => return Ok(HelloAnswer::Nothing),
            LinkPhase::Greeting => {}
            LinkPhase::Leaving if link.is_finished() => return Ok(parted(link)),
            LinkPhase::Open | LinkPhase::Leaving => return Ok(HelloAnswer::Hello),
            LinkPhase::Closed => return Ok(parted(link)),
        }
    }
}

/// Whether nothing can be begun on the link, and nothing is open.
fn is_over(link: &Link) -> bool {
    link.phase() == LinkPhase::Closed || link.is_finished()
}

/// Classifies a link that was closed before it was used.
fn parted(link: &mut Link) -> HelloAnswer {
    let mut events = Vec::new();
    link.take_events(&mut events);
    let polite = events.iter().any(|event| matches!(event, LinkEvent::Leaving));
    if polite { HelloAnswer::Goodbye } else { HelloAnswer::Nothing }
}

/// Registers a link that this node has dialled, and starts its actor.
fn dialled(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    io: Io,
    link: Link,
    buffer: BytesMut,
) -> Reached {
    let id = endpoint.links.next_id();
    let who = (&io.remote, io.proven.is_some());
    let session = Session::new(endpoint.parts(), id, link, who, Some(to.clone()));
    let session = Arc::new(session.ok_or(Unreached::Classic { sign: Some(ClassicSign::Answer) })?);
    endpoint.answered(to);
    let driver =
        open(endpoint, &session, io.reader, io.writer, buffer, true).ok_or(Unreached::Stopped)?;
    endpoint.node.host(Opened {
        address: io.remote,
        direction: Direction::Out,
        protocol: OpenedProtocol::Link(driver.link()),
        run: Box::pin(driver.run()),
    });
    // If both sides dialled at once, this link may be the one that is closed.
    Ok(endpoint.links.open_session((to, Some(session.peer.id()))).unwrap_or(session))
}

/// Registers an open link and returns its driver. `None` if the node has aborted.
fn open(
    endpoint: &Endpoint,
    session: &Arc<Session>,
    reader: ReadHalf,
    writer: WriteHalf,
    buffer: BytesMut,
    listed: bool,
) -> Option<Driver> {
    if !endpoint.links.opened(session, listed) {
        return None;
    }
    session.report_opened();
    // The lengths may have changed since the hello.
    session.send_lengths();
    if endpoint.drain.is_cancelled() {
        session.bye();
    }
    Some(Driver::new(Arc::clone(session), Arc::clone(&endpoint.links), reader, writer, buffer))
}

/// Accepts a link on a connection whose first bytes, in `buffer`, are the header of a hello. `None`
/// if the link was refused or broken, which is handled here.
pub(crate) async fn welcome(
    endpoint: &Arc<Endpoint>,
    (mut reader, mut writer): (ReadHalf, WriteHalf),
    mut buffer: BytesMut,
    (remote, proven): (&Address, Option<PeerId>),
) -> Option<Driver> {
    let len = FrameHead::peek(&buffer).map_or(0, |head| head.len());
    if len as usize > MAX_HELLO_LEN {
        endpoint.refuse(remote, Some(code::LNK), Refusal::TooLong);
        endpoint.offended(remote, proven.as_ref(), Misbehavior::TooLong);
        explain(writer, Refusal::TooLong, Arc::clone(&endpoint.node)).await;
        return None;
    }
    let mut link = machine(endpoint, Role::Acceptor);
    let hello = async {
        loop {
            for frame in Frames::split(&mut buffer) {
                let Ok(frame) = frame else { return Err(FrameError::TruncatedHeader { got: 0 }) };
                link.handle(frame, now());
            }
            if link.phase() != LinkPhase::Greeting {
                return Ok(());
            }
            buffer.reserve(HELLO_READ);
            let n = reader.read_buf(&mut buffer).await?;
            endpoint.counters.bytes_in.add(n as u64);
            if n == 0 {
                let (got, expected) = (buffer.len() as u64, 0);
                return Err(FrameError::TruncatedBody { code: code::LNK, got, expected });
            }
        }
    };
    match timeout(endpoint.config.header_timeout, hello).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            endpoint.count_frame_error(&error);
            endpoint.offended(remote, proven.as_ref(), Misbehavior::Truncated);
            return None;
        }
        Err(_) => {
            endpoint.counters.errors_late.one();
            endpoint.offended(remote, proven.as_ref(), Misbehavior::Late);
            return None;
        }
    }
    if let Some(hello) = link.theirs()
        && !endpoint.may_claim(proven.as_ref(), hello.info.id())
    {
        endpoint.refuse(remote, Some(code::LNK), Refusal::NotYourId);
        endpoint.offended(remote, proven.as_ref(), Misbehavior::NotItsId);
        link.fail(Refusal::NotYourId.reason());
    } else if is_over(&link) {
        endpoint.counters.links_broken.one();
        endpoint.offended(remote, proven.as_ref(), Misbehavior::BrokeLink);
    }
    if is_over(&link) {
        let mut out = BytesMut::new();
        link.take_output(&mut out);
        // Best effort: the reason is dropped on time-out.
        let last = async {
            writer.write_all(&out).await?;
            writer.shutdown().await
        };
        timeout(endpoint.config.header_timeout, last).await.map(drop).ok();
        return None;
    }
    // A peer that connects from the host where it says that it listens is reached over this link.
    let claimed = link.theirs()?.info.clone();
    let listed = claimed.address().host() == remote.host() && claimed.id() != endpoint.me.id();
    let id = endpoint.links.next_id();
    let session =
        Arc::new(Session::new(endpoint.parts(), id, link, (remote, proven.is_some()), None)?);
    open(endpoint, &session, reader, writer, buffer, listed)
}
