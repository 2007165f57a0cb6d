//! Questions to peers: within which time, and at which addresses.

pub(crate) mod hosts;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    classic::client,
    frame::{Frame, TypeCode},
    message::{RequestError, outgoing::OutgoingKind},
    overlay::{Address, AskFailure, PeerId, is_gap},
    session::Endpoint,
    time::{Later, now},
};

/// Why a question was not answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The connection was not opened, with the reason; `None` if the time ran out.
    NotConnected(Option<RequestError>),
    /// The exchange broke off.
    Broken(RequestError),
    /// No complete answer came in time.
    Late,
    /// This node itself was blocked meanwhile.
    StoodStill,
}

impl From<Unanswered> for AskFailure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotConnected(_) => Self::Unreachable,
            Unanswered::Broken(_) => Self::Broken,
            Unanswered::Late => Self::Late,
            Unanswered::StoodStill => Self::StoodStill,
        }
    }
}

/// Asks and collects the answer within a time. The failure is in the terms of the pure layers.
pub(crate) async fn question(
    node: &Arc<Endpoint>,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    within: Duration,
) -> Result<Vec<Frame>, AskFailure> {
    Ok(question_in_full(node, to, frame, within).await?)
}

/// As [`question`], with the full reason if there is no answer.
pub(crate) async fn question_in_full(
    node: &Arc<Endpoint>,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    within: Duration,
) -> Result<Vec<Frame>, Unanswered> {
    let until = Instant::now().later(within);
    let answer = question_until(node, to, frame, until).await;
    // A late wake-up means that this node was blocked, and that nothing was read in time.
    let gap = is_gap(until.into_std(), now());
    answer.map_err(|failure| if gap { Unanswered::StoodStill } else { failure })
}

async fn question_until(
    node: &Arc<Endpoint>,
    to: (&Address, Option<&PeerId>),
    frame: Frame,
    until: Instant,
) -> Result<Vec<Frame>, Unanswered> {
    let opened = timeout_at(until, client::open(&node.node, to, OutgoingKind::Frame(frame))).await;
    let replies = match opened {
        Ok(Ok(replies)) => replies,
        Ok(Err(
            error @ (RequestError::Connect { .. }
            | RequestError::Identity(_)
            | RequestError::Banned(_)
            | RequestError::Busy),
        )) => return Err(Unanswered::NotConnected(Some(error))),
        Err(_) => return Err(Unanswered::NotConnected(None)),
        Ok(Err(error)) => return Err(Unanswered::Broken(error)),
    };
    let limit = node.config.control_reply();
    match timeout_at(until, replies.collect_or_part_up_to(limit)).await {
        Ok(Ok(frames)) => Ok(frames),
        Ok(Err((frames, error))) => {
            // A refusal is a valid answer, even if the connection breaks after it.
            let refused = frames.first().is_some_and(|first| first.code() == TypeCode::ERRO);
            if refused { Ok(frames) } else { Err(Unanswered::Broken(error)) }
        }
        Err(_) => Err(Unanswered::Late),
    }
}
