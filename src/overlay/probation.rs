//! How a peer that has joined is verified: it is asked for its `NAME` where it says it listens.

use std::time::Duration;

use crate::{
    frame::{Frame, TypeCode},
    overlay::{AskFailure, JoinFailure, PeerId},
};

/// How long after its `JOIN` a peer is asked for its `NAME`: the original programs listen only
/// after they have joined, and a slow one may need a while.
pub(crate) const ASKED_AFTER: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(3), Duration::from_secs(10)];

/// The longest time for one answer.
pub(crate) const WITHIN: Duration = Duration::from_secs(2);

/// What an answer says about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is there, with its id.
    Verified,
    /// Another node is there.
    Another,
    /// Nothing: ask again.
    Silent,
}

impl Verdict {
    /// What the answer to `NAME` says about the peer with this id.
    pub(crate) fn of(answer: &Result<Vec<Frame>, AskFailure>, id: &PeerId) -> Self {
        Self::said(answer, TypeCode::REPL, id)
    }

    /// What an answer says about the peer with this id, which it has to name in a frame of this code.
    pub(crate) fn said(
        answer: &Result<Vec<Frame>, AskFailure>,
        code: TypeCode,
        id: &PeerId,
    ) -> Self {
        let Some(reply) = answer.as_ref().ok().and_then(|replies| replies.first()) else {
            return Self::Silent;
        };
        let said = reply.as_str().ok().filter(|_| reply.code() == code);
        match said {
            Some(text) if text.trim() == id.as_str() => Self::Verified,
            Some(_) => Self::Another,
            None => Self::Silent,
        }
    }
}

/// Whether a peer says that it is busy: a node is there, and has no time for the question.
pub(crate) fn is_busy(answer: &Result<Vec<Frame>, AskFailure>) -> bool {
    let reply = answer.as_ref().ok().and_then(|replies| replies.first());
    let words = reply.filter(|reply| reply.code() == TypeCode::ERRO).map(Frame::as_str);
    matches!(words, Some(Ok(words))
        if JoinFailure::of_words(TypeCode::NAME, words) == JoinFailure::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_claimed_id_verifies() {
        let id: PeerId = "bob".parse().unwrap();
        let said = |code: &'static str, text: &'static str| Ok(vec![Frame::text(code, text)]);
        for (answer, expected) in [
            (said("REPL", "bob"), Verdict::Verified),
            (said("REPL", " bob\r\n"), Verdict::Verified),
            (said("REPL", "eve"), Verdict::Another),
            (said("REPL", "bob2"), Verdict::Another),
            (said("PONG", "bob"), Verdict::Silent),
            (said("ERRO", "bob"), Verdict::Silent),
            (Ok(vec![]), Verdict::Silent),
            (Ok(vec![Frame::new("REPL", vec![0xff])]), Verdict::Silent),
            (Err(AskFailure::Unreachable), Verdict::Silent),
            (Err(AskFailure::Late), Verdict::Silent),
        ] {
            assert_eq!(Verdict::of(&answer, &id), expected, "{answer:?}");
        }
    }
}
