//! The messages in frames `@KAD` ([protocol](crate::protocol#kademlia)).
//!
//! # Wire
//!
//! Request and answer are one frame each, with the code `@KAD`. Its data is a version byte (1),
//! then postcard:
//!
//! | what | fields in order |
//! |---|---|
//! | request | the asker as text `id host port`; the question |
//! | question | 0 = ping; 1 = the nodes nearest to a key (32 bytes); 2 = the records of a key (32 bytes); 3 = store a record |
//! | record | key (32 bytes), publisher as text, sequence (varint), remaining lifetime in seconds (varint), value (bytes) |
//! | answer | the id of the answering node, as text; the content |
//! | content | 0 = alive; 1 = nodes (texts); 2 = records, then nodes; 3 = kept; 4 = refused, with the reason (varint) |
//!
//! Texts and bytes are preceded by their length, as in postcard. No bytes may follow. A message of
//! another version is not understood, and its asker gets no answer. Nodes share no clock: a record
//! says how much longer it is valid.

use serde::{Deserialize, Serialize};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        PeerId, PeerInfo,
        kademlia::{Key, Record},
        versioned,
    },
};

/// The code of all messages.
pub const KAD: TypeCode = TypeCode::new(b"@KAD");

/// The version of the messages.
const VERSION: u8 = 1;

/// The maximum number of nodes in an answer.
pub const MAX_NODES: usize = 64;

/// The maximum number of records in an answer.
pub const MAX_RECORDS: usize = 64;

/// The maximum length of a message, in bytes. An answer leaves entries out rather than exceed it.
pub const MAX_MESSAGE: usize = 128 << 10;

/// A question to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Question {
    /// Asks whether the node is alive. Answered with [`Answer::Here`].
    Ping,
    /// Asks for the nodes nearest to a key. Answered with [`Answer::Nodes`].
    FindNode(Key),
    /// Asks for the records of a key. Answered with [`Answer::Records`].
    FindValue(Key),
    /// Asks the node to keep a record. Answered with [`Answer::Kept`] or [`Answer::Refused`].
    Store(Record),
}

/// A question with its asker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The asker and the address where it listens, as it claims.
    pub from: PeerInfo,
    /// The question.
    pub question: Question,
}

/// Why a node does not keep a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum StoreRefusal {
    /// The value is too long.
    #[error("the value is too long")]
    TooLong,
    /// The record had expired when it arrived. Or it announces a provider that did not answer the
    /// refusing node, and does not come from that provider.
    #[error("the record has expired")]
    Over,
    /// The node keeps its maximum number of records, or of their bytes.
    #[error("the node keeps no more")]
    Full,
    /// The node keeps its maximum number of records from this source.
    #[error("the node keeps no more from this source")]
    TooManyOfSource,
    /// The node keeps records of its maximum number of publishers under this key.
    #[error("the node keeps no more for this key")]
    TooManyOfKey,
    /// The node has a newer record of the publisher, or one that came from the publisher itself.
    #[error("the node has a better one")]
    Outdated,
    /// The node knows many nodes that are nearer to the key.
    #[error("the node is too far from the key")]
    TooFar,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// The node is alive.
    Here,
    /// The nodes nearest to the key that the node knows, nearest first.
    Nodes(Vec<PeerInfo>),
    /// The records that the node keeps for the key, and the nodes nearest to the key.
    Records(Vec<Record>, Vec<PeerInfo>),
    /// The record is kept.
    Kept,
    /// The record is not kept.
    Refused(StoreRefusal),
}

/// An answer with its sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The id of the answering node, as it claims.
    pub me: PeerId,
    /// The answer.
    pub answer: Answer,
}

fn encode(message: &impl Serialize) -> Option<Frame> {
    versioned::encode(VERSION, message, MAX_MESSAGE).map(|data| Frame::new(KAD, data))
}

fn decode<'a, T: Deserialize<'a>>(frame: &'a Frame) -> Option<T> {
    let is_own = frame.code() == KAD;
    is_own.then(|| versioned::decode(VERSION, frame.data(), MAX_MESSAGE)).flatten()
}

impl Request {
    /// Encodes it as a frame; `None` if it is longer than [`MAX_MESSAGE`].
    #[must_use]
    pub fn encode(&self) -> Option<Frame> {
        encode(self)
    }

    /// Decodes a request; `None` if the frame is not a request of this version.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<Self> {
        decode(frame)
    }
}

impl Response {
    /// Encodes it as a frame; `None` if it exceeds the limits of an answer.
    #[must_use]
    pub fn encode(&self) -> Option<Frame> {
        self.answer.is_bounded().then(|| encode(self)).flatten()
    }

    /// Decodes an answer; `None` if the frame is not an answer of this version, or exceeds the
    /// limits of an answer.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<Self> {
        decode(frame).filter(|response: &Self| response.answer.is_bounded())
    }
}

impl Answer {
    fn is_bounded(&self) -> bool {
        match self {
            Self::Nodes(nodes) => nodes.len() <= MAX_NODES,
            Self::Records(records, nodes) => {
                records.len() <= MAX_RECORDS && nodes.len() <= MAX_NODES
            }
            Self::Here | Self::Kept | Self::Refused(_) => true,
        }
    }

    /// Makes the answer to a question for a key: the nearest `k` nodes, and as many records as fit
    /// beside them.
    #[must_use]
    pub fn of(mut records: Vec<Record>, mut nodes: Vec<PeerInfo>) -> Self {
        // All fields of a record except the value are shorter than this.
        const OTHER_FIELDS: usize = 512;
        nodes.truncate(MAX_NODES);
        records.truncate(MAX_RECORDS);
        let mut room = MAX_MESSAGE / 2;
        let fits = records.iter().take_while(|record| {
            let cost = record.value().len() + OTHER_FIELDS;
            let fits = cost <= room;
            room = room.saturating_sub(cost);
            fits
        });
        let fits = fits.count();
        records.truncate(fits);
        Self::Records(records, nodes)
    }

    /// The records and nodes in it.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Record>, Vec<PeerInfo>) {
        match self {
            Self::Nodes(nodes) => (Vec::new(), nodes),
            Self::Records(records, nodes) => (records, nodes),
            Self::Here | Self::Kept | Self::Refused(_) => (Vec::new(), Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(n: usize) -> PeerInfo {
        format!("n{n} 10.0.0.1 {}", n % 60_000 + 1).parse().unwrap()
    }

    fn record(len: usize) -> Record {
        Record::new(Key::of_bytes(b"k"), peer(1), 7, 3_600, vec![9; len])
    }

    #[test]
    fn a_question_is_a_version_the_asker_and_the_key() {
        let question = Question::FindNode(Key::new([0xab; 32]));
        let frame = Request { from: peer(1), question }.encode().unwrap();
        let mut expected = vec![1, 13];
        expected.extend_from_slice(b"n1 10.0.0.1 2");
        expected.push(1);
        expected.extend_from_slice(&[0xab; 32]);
        assert_eq!((frame.code(), frame.data().as_ref()), (KAD, expected.as_slice()));
    }

    #[test]
    fn a_record_is_key_publisher_sequence_seconds_and_value() {
        let frame = Request { from: peer(1), question: Question::Store(record(2)) }.encode();
        let mut expected = vec![1, 13];
        expected.extend_from_slice(b"n1 10.0.0.1 2");
        expected.push(3);
        expected.extend_from_slice(Key::of_bytes(b"k").as_bytes());
        expected.push(13);
        expected.extend_from_slice(b"n1 10.0.0.1 2");
        expected.extend_from_slice(&[7, 0x90, 0x1c, 2, 9, 9]);
        assert_eq!(frame.unwrap().data().as_ref(), expected.as_slice());
    }

    #[test]
    fn an_answer_that_exceeds_the_limits_is_refused() {
        let response = |nodes: usize| Response {
            me: peer(0).id().clone(),
            answer: Answer::Nodes((0..nodes).map(peer).collect()),
        };
        let most = response(MAX_NODES);
        assert_eq!(Response::decode(&most.encode().unwrap()), Some(most));
        assert_eq!(response(MAX_NODES + 1).encode(), None);
        let giant = encode(&response(MAX_NODES + 1)).unwrap();
        assert_eq!(Response::decode(&giant), None);
        let longer = Frame::new(KAD, [giant.data(), &[0_u8; MAX_MESSAGE][..]].concat());
        assert_eq!(Response::decode(&longer), None);
    }

    #[test]
    fn another_version_and_trailing_bytes_are_refused() {
        let frame = Request { from: peer(1), question: Question::Ping }.encode().unwrap();
        let mut data = frame.data().to_vec();
        data.push(0);
        assert_eq!(Request::decode(&Frame::new(KAD, data.clone())), None);
        data.pop();
        assert!(Request::decode(&Frame::new(KAD, data.clone())).is_some());
        data[0] = 2;
        assert_eq!(Request::decode(&Frame::new(KAD, data)), None);
    }

    #[test]
    fn an_answer_has_as_many_records_as_fit() {
        let records: Vec<_> = (0..60).map(|_| record(4_000)).collect();
        let (records, nodes) = Answer::of(records, (0..90).map(peer).collect()).into_parts();
        assert_eq!((records.len(), nodes.len()), (14, MAX_NODES));
        let me = peer(0).id().clone();
        assert!(Response { me, answer: Answer::of(records, nodes) }.encode().is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut data = vec![VERSION];
            data.extend(bytes);
            let frame = Frame::new(KAD, data);
            if let Some(request) = Request::decode(&frame) {
                prop_assert_eq!(Request::decode(&request.encode().unwrap()), Some(request));
            }
            if let Some(response) = Response::decode(&frame) {
                prop_assert_eq!(Response::decode(&response.encode().unwrap()), Some(response));
            }
        }
    }
}
