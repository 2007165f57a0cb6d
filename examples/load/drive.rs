//! The sending side, over this crate.

use std::{
    iter::repeat_n,
    time::{Duration, Instant},
};

use actix_peer::{
    Outgoing, Over, Peer, RequestError,
    frame::{Frame, TypeCode},
    overlay::Address,
    peer::NotAllSent,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, repeat};

use crate::work::{Done, HandlerKind, Job, Mode, spread};

const ECHO: TypeCode = TypeCode::new(b"ECHO");
const SINK: TypeCode = TypeCode::new(b"SINK");

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    NotAll(#[from] NotAllSent),
    #[error("unexpected answer: {0:?}")]
    Answer(Vec<Frame>),
    #[error("only {handled} of {sent} messages were handled")]
    Lost { sent: u64, handled: u64 },
}

/// Runs a job.
pub(crate) async fn drive(peer: &Peer, to: &Address, job: &Job) -> Result<Done, Failed> {
    let data = Bytes::from(vec![7; job.size]);
    match job.mode {
        Mode::Notify => notify(peer, to, job, data).await,
        Mode::Request => request(peer, to, job, data).await,
        Mode::Pipeline => pipeline(peer, to, job, data, Over::Link).await,
        Mode::Stream => stream(peer, to, job).await,
        Mode::Classic => pipeline(peer, to, job, data, Over::Classic).await,
    }
}

async fn ask(peer: &Peer, to: &Address, message: Outgoing) -> Result<Vec<Frame>, Failed> {
    Ok(peer.request(to, message).await?.collect().await?)
}

/// Resident memory of the server, in bytes.
pub(crate) async fn resident(peer: &Peer, to: &Address) -> Result<u64, Failed> {
    let answer = ask(peer, to, Frame::text("MEMO", "").into()).await?;
    let bytes = answer.first().and_then(|frame| frame.as_str().ok()?.parse().ok());
    bytes.ok_or(Failed::Answer(answer))
}

async fn notify(peer: &Peer, to: &Address, job: &Job, data: Bytes) -> Result<Done, Failed> {
    let (code, stat) = job.handler.codes();
    let begun = Instant::now();
    if job.handler == HandlerKind::Batch {
        let count = usize::try_from(job.count).unwrap_or(usize::MAX);
        peer.notify_all(to, repeat_n(Frame::new(code, data), count)).await?;
    } else {
        for _ in 0..job.count {
            let message = Outgoing::from(Frame::new(code, data.clone()));
            peer.notify(to, message.over(Over::Link)).await?;
        }
    }
    // The answer arrives after all messages have been handled.
    let answer = ask(peer, to, Frame::empty(stat).into()).await?;
    let handled = answer.first().and_then(|frame| frame.data().first_chunk().copied());
    match handled.map(u64::from_be_bytes) {
        Some(handled) if handled == job.count => Ok(Done::new(begun)),
        Some(handled) => Err(Failed::Lost { sent: job.count, handled }),
        None => Err(Failed::Answer(answer)),
    }
}

async fn request(peer: &Peer, to: &Address, job: &Job, data: Bytes) -> Result<Done, Failed> {
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..job.count {
        latencies.push(echo(peer, to, data.clone(), Over::Link).await?);
    }
    Ok(Done::new(begun).with_latencies(latencies))
}

async fn echo(peer: &Peer, to: &Address, data: Bytes, over: Over) -> Result<Duration, Failed> {
    let sent = Instant::now();
    let message = Outgoing::from(Frame::new(ECHO, data)).over(over);
    let answer = ask(peer, to, message).await?;
    if answer.first().is_none_or(|frame| frame.code() != ECHO) {
        return Err(Failed::Answer(answer));
    }
    Ok(sent.elapsed())
}

async fn pipeline(
    peer: &Peer,
    to: &Address,
    job: &Job,
    data: Bytes,
    over: Over,
) -> Result<Done, Failed> {
    let begun = Instant::now();
    let latencies = spread(job, || echo(peer, to, data.clone(), over)).await?;
    Ok(Done::new(begun).with_latencies(latencies))
}

async fn stream(peer: &Peer, to: &Address, job: &Job) -> Result<Done, Failed> {
    let begun = Instant::now();
    let len = u32::try_from(job.count).unwrap_or(u32::MAX);
    let body = Outgoing::body(SINK, len, repeat(7).take(len.into())).over(Over::Link);
    let answer = ask(peer, to, body).await?;
    if answer.first().and_then(|frame| frame.as_str().ok()) != Some(len.to_string().as_str()) {
        return Err(Failed::Answer(answer));
    }
    Ok(Done::new(begun))
}
