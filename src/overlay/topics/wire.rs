//! The frames about topics: `@TPC` ([protocol](crate::protocol#topics)).

use serde::{Deserialize, Serialize};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{PeerInfo, trees::MessageId, versioned, views::MAX_SAMPLE},
};

/// The code of all messages.
pub const TPC: TypeCode = TypeCode::new(b"@TPC");

/// The version of the messages: the first byte.
const VERSION: u8 = 1;

/// The maximum number of topics in which a node takes part.
pub const MAX_TOPICS: usize = 256;

/// The maximum number of answers to one question that a node passes on.
pub const MAX_ANSWERS: usize = 8;

/// The maximum length of a message, in bytes: all topics of a node, or the longest ids and hosts of
/// an answer.
const MAX_MESSAGE: usize = 4 << 10;

/// The hash of the name of a topic: 64-bit FNV-1a. It shortens names, and hides none that can be
/// guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicHash(u64);

impl TopicHash {
    /// The hash of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// The hash as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A message about topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TopicsMessage {
    /// To a neighbour: the sender takes part in these topics, and in no others.
    Takes {
        /// The topics.
        topics: Vec<TopicHash>,
    },
    /// As a broadcast: its author looks for nodes that take part in this topic.
    Ask {
        /// The topic.
        topic: TopicHash,
    },
    /// To the neighbour that has brought the question first, and so on to its author: these nodes
    /// take part.
    Here {
        /// The question.
        question: MessageId<PeerInfo>,
        /// The node that answers, and others that it knows.
        peers: Vec<PeerInfo>,
    },
}

impl TopicsMessage {
    /// Encodes it as a frame. `None` if it exceeds the limits of a message.
    #[must_use]
    pub fn encode(&self) -> Option<Frame> {
        let data = versioned::encode(VERSION, self, MAX_MESSAGE).filter(|_| self.is_bounded())?;
        Some(Frame::new(TPC, data))
    }

    /// Decodes a message; `None` if the frame is not a message of this version, or exceeds the
    /// limits of a message.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<Self> {
        let is_one = frame.code() == TPC;
        let message = versioned::decode(VERSION, frame.data(), MAX_MESSAGE).filter(|_| is_one);
        message.filter(Self::is_bounded)
    }

    fn is_bounded(&self) -> bool {
        match self {
            Self::Takes { topics } => topics.len() <= MAX_TOPICS,
            Self::Ask { .. } => true,
            Self::Here { peers, .. } => peers.len() <= MAX_SAMPLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(peers: usize) -> TopicsMessage {
        let author: PeerInfo = "ada 192.0.2.1 9000".parse().unwrap();
        let question = MessageId { author: author.clone(), incarnation: 7, sequence: 1 };
        TopicsMessage::Here { question, peers: vec![author; peers] }
    }

    #[test]
    fn a_message_is_the_same_after_it_was_encoded_and_decoded() {
        let longest = format!("{} {} 65535", "i".repeat(64), vec!["h".repeat(62); 4].join("."));
        let longest: PeerInfo = longest.parse().unwrap();
        let question = MessageId { author: longest.clone(), incarnation: u64::MAX, sequence: 0 };
        for message in [
            TopicsMessage::Takes { topics: Vec::new() },
            TopicsMessage::Takes { topics: vec![TopicHash(u64::MAX); MAX_TOPICS] },
            TopicsMessage::Ask { topic: TopicHash::of("news") },
            TopicsMessage::Here { question, peers: vec![longest; MAX_SAMPLE] },
        ] {
            assert_eq!(TopicsMessage::decode(&message.encode().unwrap()), Some(message));
        }
    }

    #[test]
    fn a_message_beyond_a_limit_is_neither_encoded_nor_decoded() {
        let many = TopicsMessage::Takes { topics: vec![TopicHash(1); MAX_TOPICS + 1] };
        for message in [many, here(MAX_SAMPLE + 1)] {
            assert_eq!(message.encode(), None);
            let data = versioned::encode(VERSION, &message, usize::MAX).unwrap();
            assert_eq!(TopicsMessage::decode(&Frame::new(TPC, data)), None);
        }
        for data in [&[][..], &[1], &[2, 0, 0], &[1, 9], &[1, 0, 0, 0]] {
            assert_eq!(TopicsMessage::decode(&Frame::new(TPC, data.to_vec())), None, "{data:?}");
        }
        let frame = here(1).encode().unwrap();
        assert_eq!(TopicsMessage::decode(&Frame::new(b"@NBR", frame.data().clone())), None);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // The test vectors of its authors.
        assert_eq!(TopicHash::of("").get(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(TopicHash::of("foobar").get(), 0x8594_4171_f739_67e8);
    }
}
