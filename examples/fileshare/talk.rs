//! Requests to other nodes: over a link if possible, otherwise as the original programs do.

use std::time::Duration;

use actix_peer::{
    Body, Outgoing, Over, Replies, RequestError,
    content::deceives,
    frame::{Frame, TypeCode},
    link::Reason,
    message::{Cause, ReadError},
    overlay::Address,
};
use futures::StreamExt;
use tokio::time::timeout;

use crate::{
    model::Speaks,
    name,
    state::{State, Stopping},
};

/// The time-out of a short request, connecting included.
pub(crate) const QUESTION_TIME: Duration = Duration::from_secs(5);

/// The maximum number of bytes of a refusal that are read.
const MAX_TEXT: usize = 1 << 10;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// There is no link with that node: it is one of the original programs.
    #[error("it does not support links")]
    Classic,
    /// It supports links, but is unreachable: it is down or asleep.
    #[error("it does not answer")]
    Silent,
    /// It opens links, but is another program or an older version.
    #[error("it does not know this request")]
    Unknown,
    #[error("it did not answer in time")]
    Late,
    /// The text of its `ERRO`.
    #[error("it refused: {0}")]
    Refused(String),
    #[error(transparent)]
    Request(RequestError),
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl NoAnswer {
    /// Whether the node did not respond, and may do so later.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Silent | Self::Late => true,
            Self::Request(RequestError::Reply(ReadError::Late(_)) | RequestError::NoCredit(_)) => {
                true
            }
            // The other node stops, closes one of two links, or is busy, and has not seen it.
            Self::Request(RequestError::Reset {
                reason: Reason::GOING_AWAY | Reason::BUSY,
                sent: false,
            }) => true,
            Self::Request(error) => error.cause() == Cause::Transport,
            Self::Classic | Self::Unknown | Self::Refused(_) | Self::Stopping(_) => false,
        }
    }
}

impl From<RequestError> for NoAnswer {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoLink(_) => Self::Classic,
            RequestError::Reset { reason: Reason::UNKNOWN_CODE, .. } => Self::Unknown,
            RequestError::Reply(ReadError::Reset(Reason::UNKNOWN_CODE)) => Self::Unknown,
            error => Self::Request(error),
        }
    }
}

impl State {
    /// Sends a request. Remembers whether the node supports links.
    pub(crate) async fn request(
        &self,
        to: &Address,
        frame: Frame,
        over: Over,
    ) -> Result<Replies, NoAnswer> {
        let peer = self.peer()?;
        let replies = peer.request(to, Outgoing::from(frame).over(over)).await;
        let replies = replies.map_err(|error| match error.into() {
            // A peer that supported links before will do so again when it is awake.
            NoAnswer::Classic if self.contacts.lock().how(to) == Speaks::Links => NoAnswer::Silent,
            error => error,
        });
        let speaks = match (&replies, over) {
            (Ok(_), Over::Link) => Some(Speaks::Links),
            (Err(NoAnswer::Classic), _) => Some(Speaks::Classic),
            _ => None,
        };
        if speaks.is_some_and(|speaks| self.contacts.lock().speaks(to, speaks)) {
            self.peers_changed.notify_one();
        }
        replies
    }

    /// Sends a short request and collects the replies.
    pub(crate) async fn ask(
        &self,
        to: &Address,
        frame: Frame,
        over: Over,
    ) -> Result<Vec<Frame>, NoAnswer> {
        let asked = async { Ok(self.request(to, frame, over).await?.collect().await?) };
        timeout(QUESTION_TIME, asked).await.map_err(|_| NoAnswer::Late)?
    }
}

/// Returns an error if the answer is an `ERRO`.
pub(crate) fn accepted(answer: &[Frame]) -> Result<(), NoAnswer> {
    match single(answer) {
        Err(words) if !answer.is_empty() => Err(NoAnswer::Refused(shown(words))),
        _ => Ok(()),
    }
}

/// The text of a single `REPL`, or of the first `ERRO`.
pub(crate) fn single(frames: &[Frame]) -> Result<&str, &str> {
    match frames.first() {
        Some(frame) if frame.code() == TypeCode::REPL => frame.as_str().map_err(|_| ""),
        Some(frame) => Err(frame.as_str().unwrap_or("")),
        None => Err(""),
    }
}

/// A number with its noun, in the plural if needed.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The text of a refusal that arrives as a body, with unsafe characters removed.
pub(crate) async fn words(mut body: Body) -> String {
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.next().await
        && text.len() < MAX_TEXT
    {
        text.extend_from_slice(&piece);
    }
    shown(&String::from_utf8_lossy(&text))
}

/// A text of another node, with unsafe characters removed.
pub(crate) fn shown(text: &str) -> String {
    name::shown(&text.replace(deceives, ""))
}
