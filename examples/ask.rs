//! Sends one request to a node and prints the reply, frame by frame.
//!
//! ```text
//! $ cargo run --example ask -- 127.0.0.1:9000 NAME
//! REPL 14 127.0.0.1:9000
//! $ cargo run --example ask -- 127.0.0.1:9000 ECHO --file picture.png
//! ECHO 3 ff d8 ff
//! ```
//!
//! Each line has the code, the length and the data. Data that is not printable text is shown as
//! hexadecimal digits. The exit code is 1, with a message, if it cannot connect, the time is up or
//! a frame is truncated; 2 for wrong options.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use actix_peer::{
    Body, Config, Outgoing, Over, Peer,
    frame::{Frame, TypeCode},
    overlay::Address,
};
use clap::Parser;
use futures::TryStreamExt;

/// Sends one frame and prints the replies.
#[derive(Parser)]
struct Options {
    /// The address of the node.
    #[arg(value_name = "HOST:PORT")]
    to: Address,
    /// The code of the message: four characters.
    code: TypeCode,
    /// The data of the message.
    #[arg(conflicts_with = "file")]
    data: Option<String>,
    /// A file to send as the data, streamed.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Seconds to wait for the connection, and for each part of the answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| "must be more than 0 seconds".to_owned())
}

async fn request(options: &Options) -> Result<Outgoing, Box<dyn std::error::Error>> {
    let Some(path) = &options.file else {
        let data = options.data.clone().unwrap_or_default();
        return Ok(Outgoing::from(Frame::text(options.code, data)).over(Over::Classic));
    };
    let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let len = file.metadata().await.map_err(unreadable)?.len();
    let len =
        u32::try_from(len).map_err(|_| format!("{} is too long for a frame", path.display()))?;
    Ok(Outgoing::body(options.code, len, file).over(Over::Classic))
}

/// Prints one frame: as text if it is short and printable, otherwise as hexadecimal digits.
async fn print(mut body: Body) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    let len = body.len().ok_or("a frame without a length")?;
    write!(out, "{} {len}", body.code())?;
    let mut text = None;
    while let Some(piece) = body.try_next().await? {
        let printable =
            |text: &&str| text.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control());
        let as_text = std::str::from_utf8(&piece).ok().filter(printable);
        if *text.get_or_insert(as_text.is_some() && piece.len() as u64 == len) {
            write!(out, " {}", as_text.unwrap_or_default())?;
        } else {
            for byte in &piece {
                write!(out, " {byte:02x}")?;
            }
        }
    }
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

async fn ask(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let request = request(options).await?;
    let config = Config::default().connect_timeout(options.timeout).reply_timeout(options.timeout);
    let peer = Peer::builder().config(config).start().await?;
    let mut replies = peer.request(&options.to, request).await?;
    while let Some(body) = replies.next_body().await? {
        print(body).await?;
    }
    Ok(())
}

#[actix::main]
async fn main() -> ExitCode {
    match ask(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
