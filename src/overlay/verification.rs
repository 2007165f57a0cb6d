//! The rules for the verification of a peer: it is asked for its `NAME` at its address.

use std::time::Duration;

use crate::{
    frame::{Frame, TypeCode},
    overlay::{AskFailure, JoinFailure, PeerId},
};

/// The times after its `JOIN` at which a peer is asked for its `NAME`: the original programs listen
/// only after they have joined, and a slow one may need a while.
pub(crate) const ASKED_AFTER: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(3), Duration::from_secs(10)];

/// The further times for a peer that could not be asked then, because its address had been dialled
/// too often: it can be asked a minute after those dials.
pub(crate) const ASKED_LATER: [Duration; 6] = [
    Duration::from_secs(20),
    Duration::from_secs(30),
    Duration::from_secs(40),
    Duration::from_secs(50),
    Duration::from_secs(60),
    Duration::from_secs(70),
];

/// The maximum time for one answer.
pub(crate) const WITHIN: Duration = Duration::from_secs(2);

/// The conclusion from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The peer is there, with its id.
    Verified,
    /// Another node is there.
    Another,
    /// A node is there, but has no time for the question.
    Busy,
    /// No conclusion, because this node itself was blocked meanwhile.
    StoodStill,
    /// No conclusion: ask again.
    Silent,
}

impl Verdict {
    /// The conclusion from an answer to `NAME` about the peer with this id.
    pub(crate) fn of(answer: &Result<Vec<Frame>, AskFailure>, id: &PeerId) -> Self {
        if is_busy(answer) {
            return Self::Busy;
        }
        if *answer == Err(AskFailure::StoodStill) {
            return Self::StoodStill;
        }
        Self::said(answer, TypeCode::REPL, id)
    }

    /// The conclusion from an answer about the peer with this id, which has to be in a frame of
    /// this code.
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

/// Whether a peer answers that it is busy: a node is there, but has no time for the question.
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
            (Err(AskFailure::StoodStill), Verdict::StoodStill),
        ] {
            assert_eq!(Verdict::of(&answer, &id), expected, "{answer:?}");
        }
    }
}
