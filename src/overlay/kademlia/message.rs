//! What nodes say to each other in frames `@KAD` ([protocol](crate::protocol#kademlia)).
//!
//! # Wire
//!
//! Request and answer are one frame each, with the code `@KAD`. Its data is a version byte (1), then postcard:
//!
//! | what | fields in order |
//! |---|---|
//! | request | the asker as text `id host port`; the question |
//! | question | 0 = is anybody there; 1 = the nodes nearest to a key (32 bytes); 2 = the records of a key (32 bytes); 3 = keep a record |
//! | record | key (32 bytes), publisher as text, sequence (varint), seconds that it is still good for (varint), value (bytes) |
//! | answer | the id of the one that answers, as text; what it answers |
//! | what | 0 = here I am; 1 = nodes (texts); 2 = records, then nodes; 3 = it is kept; 4 = it is not, and why (varint) |
//!
//! Texts and bytes have their length before them, as postcard has it. Nothing may follow. A message of another version is
//! not understood, and its asker gets no answer. There is no clock that nodes share: a record says for how much longer it
//! is good.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        PeerId, PeerInfo,
        kademlia::{Key, Record},
    },
};

/// The code of all messages.
pub const KAD: TypeCode = TypeCode::new(b"@KAD");

/// The version of the messages.
const VERSION: u8 = 1;

/// The most nodes in an answer.
pub const MAX_NODES: usize = 64;

/// The most records in an answer.
pub const MAX_RECORDS: usize = 64;

/// The most bytes of a message; an answer says less rather than more.
pub const MAX_MESSAGE: usize = 128 << 10;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Question {
    /// Whether the node is there. Answered with [`Answer::Here`].
    Ping,
    /// For the nodes nearest to a key. Answered with [`Answer::Nodes`].
    FindNode(Key),
    /// For the records of a key. Answered with [`Answer::Records`].
    FindValue(Key),
    /// To keep a record. Answered with [`Answer::Kept`] or [`Answer::Refused`].
    Store(Record),
}

/// A question, and who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks, by its own word: the place at which it listens.
    pub from: PeerInfo,
    /// What.
    pub question: Question,
}

/// Why a record is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum StoreRefusal {
    /// Its value is too long.
    #[error("the value is too long")]
    TooLong,
    /// It was over when it came; or it says that a node provides something that did not answer the
    /// one that refuses, and does not come from that node.
    #[error("the record is over")]
    Over,
    /// The node has as many records, or bytes of them, as it keeps.
    #[error("the node keeps no more")]
    Full,
    /// The node has as many from this source as it keeps.
    #[error("the node keeps no more from this source")]
    TooManyOfSource,
    /// The node has records of as many publishers under this key as it keeps.
    #[error("the node keeps no more for this key")]
    TooManyOfKey,
    /// The node has a newer one of the publisher, or one that came from the publisher itself.
    #[error("the node has a better one")]
    Outdated,
    /// The node knows many that are nearer to the key.
    #[error("the node is too far from the key")]
    TooFar,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// The node is there.
    Here,
    /// The nodes nearest to the key that it knows, the nearest first.
    Nodes(Vec<PeerInfo>),
    /// What it keeps for the key, and the nodes nearest to it.
    Records(Vec<Record>, Vec<PeerInfo>),
    /// The record is kept.
    Kept,
    /// The record is not kept.
    Refused(StoreRefusal),
}

/// An answer, and who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Who answers, by its own word.
    pub me: PeerId,
    /// What.
    pub answer: Answer,
}

fn encode(message: &impl Serialize) -> Option<Frame> {
    let data = postcard::to_extend(message, vec![VERSION]).ok()?;
    (data.len() <= MAX_MESSAGE).then(|| Frame::new(KAD, data))
}

fn decode<'a, T: Deserialize<'a>>(frame: &'a Frame) -> Option<T> {
    let data: &Bytes = frame.data();
    if frame.code() != KAD || data.len() > MAX_MESSAGE {
        return None;
    }
    let (version, rest) = data.split_first()?;
    let (message, rest) = postcard::take_from_bytes(rest).ok().filter(|_| *version == VERSION)?;
    rest.is_empty().then_some(message)
}

impl Request {
    /// As a frame. None when it is longer than [`MAX_MESSAGE`].
    #[must_use]
    pub fn encode(&self) -> Option<Frame> {
        encode(self)
    }

    /// The request in a frame; none when it is not one of this version.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<Self> {
        decode(frame)
    }
}

impl Response {
    /// As a frame. None when it says more than an answer may.
    #[must_use]
    pub fn encode(&self) -> Option<Frame> {
        self.answer.is_bounded().then(|| encode(self)).flatten()
    }

    /// The answer in a frame; none when it is not one of this version, or says more than an answer may.
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

    /// The records and nodes in an answer to a question for a key, of which the nearest `k` nodes and as many records as
    /// there is room for beside them are said.
    #[must_use]
    pub fn of(mut records: Vec<Record>, mut nodes: Vec<PeerInfo>) -> Self {
        // Each field of a record but the value has less than this.
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

    /// The nodes in it.
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
    fn an_answer_that_says_too_much_is_none() {
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
    fn another_version_and_what_follows_are_not_understood() {
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
    fn an_answer_has_as_many_records_as_there_is_room_for() {
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
