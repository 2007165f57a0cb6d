//! The same work without this crate: `Framed` of tokio-util over TCP, without actors and limits.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{FutureExt, SinkExt, TryStreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::codec::{Decoder, Encoder, Framed};

use crate::work::{Done, Flush, Job, Mode, PIECE, spread};

/// A codec for the frames of src/protocol.md#frames.
struct Plain;

struct Frame {
    code: [u8; 4],
    data: Bytes,
}

impl Encoder<Frame> for Plain {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> io::Result<()> {
        out.reserve(8 + frame.data.len());
        out.put_slice(&frame.code);
        out.put_u32(u32::try_from(frame.data.len()).map_err(io::Error::other)?);
        out.put_slice(&frame.data);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Frame>> {
        let Some((code, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let Some((len, _)) = rest.split_first_chunk() else { return Ok(None) };
        let (code, len) = (*code, u32::from_be_bytes(*len) as usize);
        if bytes.len() < 8 + len {
            bytes.reserve(8 + len - bytes.len());
            return Ok(None);
        }
        bytes.advance(8);
        Ok(Some(Frame { code, data: bytes.split_to(len).freeze() }))
    }
}

/// Accepts connections until the process ends.
pub(crate) async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        actix_rt::spawn(connection(stream));
    }
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; 4];
    stream.peek(&mut head).await?;
    if &head == b"SINK" {
        return sink(&mut stream).await;
    }
    let (mut framed, mut count) = (Framed::new(stream, Plain), 0_u64);
    if &head == b"EACH" {
        // As in the documentation of `Framed`.
        while let Some(frame) = framed.try_next().await? {
            framed.send(frame).await?;
        }
        return Ok(());
    }
    while let Some(frame) = framed.try_next().await? {
        let mut next = Some(frame);
        // The answers to all frames that have arrived are sent together.
        while let Some(frame) = next {
            match &frame.code {
                b"ECHO" => framed.feed(frame).await?,
                b"STAT" => {
                    let data = Bytes::copy_from_slice(&count.to_be_bytes());
                    framed.feed(Frame { code: frame.code, data }).await?;
                }
                _ => count += 1,
            }
            next = framed.try_next().now_or_never().transpose()?.flatten();
        }
        framed.flush().await?;
    }
    Ok(())
}

/// Reads a length and that many bytes, and answers "done".
async fn sink(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let mut left = head.last_chunk().copied().map_or(0, u64::from_be_bytes);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        match stream.read(&mut piece).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => left -= n as u64,
        }
    }
    stream.write_all(b"done").await
}

async fn connect(to: SocketAddr) -> io::Result<Framed<TcpStream, Plain>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, Plain))
}

/// Runs a job.
pub(crate) async fn drive(to: SocketAddr, job: &Job) -> io::Result<Done> {
    let data = Bytes::from(vec![7; job.size]);
    match job.mode {
        Mode::Notify => notify(to, job, data).await,
        Mode::Request => request(to, job, data).await,
        Mode::Pipeline if job.flush == Flush::Each => pipeline(to, job, data).await,
        Mode::Pipeline => batched(to, job, data).await,
        Mode::Stream => stream(to, job).await,
        Mode::Classic => classic(to, job, data).await,
    }
}

async fn notify(to: SocketAddr, job: &Job, data: Bytes) -> io::Result<Done> {
    let mut framed = connect(to).await?;
    let begun = Instant::now();
    for _ in 0..job.count {
        framed.feed(Frame { code: *b"COUN", data: data.clone() }).await?;
    }
    framed.send(Frame { code: *b"STAT", data: Bytes::new() }).await?;
    let answer = framed.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if *answer.data != job.count.to_be_bytes() {
        return Err(io::Error::other("messages were lost"));
    }
    Ok(Done::new(begun))
}

async fn request(to: SocketAddr, job: &Job, data: Bytes) -> io::Result<Done> {
    let mut framed = connect(to).await?;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..job.count {
        let sent = Instant::now();
        framed.send(Frame { code: *b"ECHO", data: data.clone() }).await?;
        framed.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        latencies.push(sent.elapsed());
    }
    Ok(Done::new(begun).with_latencies(latencies))
}

/// As in the documentation of `Framed`: each answer lets the next request be sent.
async fn pipeline(to: SocketAddr, job: &Job, data: Bytes) -> io::Result<Done> {
    let mut framed = connect(to).await?;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    let (mut left, mut outstanding) = (job.count, VecDeque::new());
    while left > 0 || !outstanding.is_empty() {
        while left > 0 && outstanding.len() < job.outstanding {
            framed.send(Frame { code: *b"EACH", data: data.clone() }).await?;
            outstanding.push_back(Instant::now());
            left -= 1;
        }
        framed.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        latencies.extend(outstanding.pop_front().map(|sent| sent.elapsed()));
    }
    Ok(Done::new(begun).with_latencies(latencies))
}

/// Sends all requests that are due together, and reads all answers that have arrived.
async fn batched(to: SocketAddr, job: &Job, data: Bytes) -> io::Result<Done> {
    let mut framed = connect(to).await?;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    let (mut left, mut outstanding) = (job.count, VecDeque::new());
    while left > 0 || !outstanding.is_empty() {
        while left > 0 && outstanding.len() < job.outstanding {
            framed.feed(Frame { code: *b"ECHO", data: data.clone() }).await?;
            outstanding.push_back(Instant::now());
            left -= 1;
        }
        framed.flush().await?;
        let mut answer = framed.try_next().await?;
        while answer.is_some() {
            latencies.extend(outstanding.pop_front().map(|sent| sent.elapsed()));
            answer = framed.try_next().now_or_never().transpose()?.flatten();
        }
    }
    Ok(Done::new(begun).with_latencies(latencies))
}

async fn stream(to: SocketAddr, job: &Job) -> io::Result<Done> {
    let mut stream = TcpStream::connect(to).await?;
    let begun = Instant::now();
    let (mut left, mut piece) = (job.count, vec![0; PIECE]);
    stream.write_all(b"SINK").await?;
    stream.write_all(&left.to_be_bytes()).await?;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        if let Some(part) = piece.get_mut(..len) {
            // Filled again, because the source of this crate's body does the same.
            part.fill(7);
            stream.write_all(part).await?;
        }
        left -= len as u64;
    }
    stream.read_exact(&mut [0; 4]).await?;
    Ok(Done::new(begun))
}

async fn classic(to: SocketAddr, job: &Job, data: Bytes) -> io::Result<Done> {
    let begun = Instant::now();
    let one = async || -> io::Result<Duration> {
        let sent = Instant::now();
        let mut framed = connect(to).await?;
        framed.send(Frame { code: *b"ECHO", data: data.clone() }).await?;
        framed.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(sent.elapsed())
    };
    let latencies = spread(job, one).await?;
    Ok(Done::new(begun).with_latencies(latencies))
}
