//! The frames of the trees: `@BCP` and `@BCC` ([protocol](crate::protocol#broadcast)).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        PeerInfo,
        trees::{Announced, MessageId, Span, TreesMessage},
        versioned,
        views::MAX_TOPIC,
    },
};

/// The code of payloads.
pub const BCP: TypeCode = TypeCode::new(b"@BCP");

/// The code of all other messages.
pub const BCC: TypeCode = TypeCode::new(b"@BCC");

/// The version of the messages: the first byte.
const VERSION: u8 = 1;

/// The maximum length of what is in front of a payload, in bytes.
const MAX_HEADER: usize = 2 << 10;

/// The maximum length of a payload, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// The maximum length of the data of a frame, in bytes.
pub const MAX_FRAME: usize = MAX_HEADER + MAX_PAYLOAD;

/// The maximum length of a proof, in bytes.
const MAX_PROOF: usize = 256;

/// The maximum number of spans of ids in a message.
const MAX_SPANS: usize = 64;

/// What is in front of a payload.
#[derive(Debug, Serialize, Deserialize)]
struct Header<'a> {
    topic: &'a str,
    id: MessageId<PeerInfo>,
    hops: u8,
    age: u32,
    proof: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
enum Control {
    IHave(Vec<Announced<PeerInfo>>),
    Graft(Vec<Span<PeerInfo>>),
    Refuse(Vec<Span<PeerInfo>>),
    Prune,
}

impl Control {
    fn is_bounded(&self) -> bool {
        match self {
            Self::IHave(announced) => announced.len() <= MAX_SPANS,
            Self::Graft(spans) | Self::Refuse(spans) => spans.len() <= MAX_SPANS,
            Self::Prune => true,
        }
    }
}

/// A list in parts that each fit into one message.
fn in_parts<T: Clone>(list: &[T]) -> impl Iterator<Item = Vec<T>> {
    list.chunks(MAX_SPANS).map(<[T]>::to_vec)
}

impl TreesMessage<PeerInfo> {
    /// Encodes it as frames of the tree of a topic; an empty name stands for the broadcast to all
    /// nodes. A long list of ids becomes several frames. Empty if it exceeds the limits of a
    /// message.
    #[must_use]
    pub fn encode(&self, topic: &str) -> Vec<Frame> {
        if topic.len() > MAX_TOPIC {
            return Vec::new();
        }
        let control = |control: Control| {
            let data = versioned::encode(VERSION, &(topic, control), MAX_FRAME)?;
            Some(Frame::new(BCC, data))
        };
        match self {
            Self::Payload { id, hops, age, payload, proof } => {
                let header = Header { topic, id: id.clone(), hops: *hops, age: *age, proof };
                let header = versioned::encode(VERSION, &header, MAX_HEADER);
                let fits = payload.len() <= MAX_PAYLOAD && proof.len() <= MAX_PROOF;
                let frame = header.filter(|_| fits).map(|mut data| {
                    data.extend_from_slice(payload);
                    Frame::new(BCP, data)
                });
                frame.into_iter().collect()
            }
            Self::IHave { announced } => {
                in_parts(announced).filter_map(|part| control(Control::IHave(part))).collect()
            }
            Self::Graft { spans } if spans.is_empty() => {
                control(Control::Graft(Vec::new())).into_iter().collect()
            }
            Self::Graft { spans } => {
                in_parts(spans).filter_map(|part| control(Control::Graft(part))).collect()
            }
            Self::Refuse { spans } => {
                in_parts(spans).filter_map(|part| control(Control::Refuse(part))).collect()
            }
            Self::Prune => control(Control::Prune).into_iter().collect(),
        }
    }

    /// Decodes a message and the name of its topic; `None` if the frame is not a message of this
    /// version, or exceeds the limits of a message.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<(&str, Self)> {
        let data: &Bytes = frame.data();
        if frame.code() == BCP {
            return Self::decode_payload(data);
        }
        if frame.code() != BCC {
            return None;
        }
        let (topic, control): (&str, Control) = versioned::decode(VERSION, data, MAX_FRAME)?;
        if topic.len() > MAX_TOPIC || !control.is_bounded() {
            return None;
        }
        let message = match control {
            Control::IHave(announced) => Self::IHave { announced },
            Control::Graft(spans) => Self::Graft { spans },
            Control::Refuse(spans) => Self::Refuse { spans },
            Control::Prune => Self::Prune,
        };
        Some((topic, message))
    }

    fn decode_payload(data: &Bytes) -> Option<(&str, Self)> {
        let (header, rest): (Header<'_>, usize) = versioned::decode_front(VERSION, data)?;
        let Header { topic, id, hops, age, proof } = header;
        let fits = topic.len() <= MAX_TOPIC
            && proof.len() <= MAX_PROOF
            && rest <= MAX_PAYLOAD
            && data.len().saturating_sub(rest) <= MAX_HEADER;
        let payload = fits.then(|| data.slice(data.len().saturating_sub(rest)..))?;
        let proof = data.slice_ref(proof);
        Some((topic, Self::Payload { id, hops, age, payload, proof }))
    }
}

/// What an author signs: the topic, the id and the payload.
#[must_use]
pub(crate) fn signed(topic: &str, id: &MessageId<PeerInfo>, payload: &[u8]) -> Vec<u8> {
    let front = ("actix-peer broadcast 1", topic, id);
    let mut data = postcard::to_stdvec(&front).unwrap_or_default();
    data.extend_from_slice(payload);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> MessageId<PeerInfo> {
        let author = "ada 192.0.2.1 9000".parse().unwrap();
        MessageId { author, incarnation: 7, sequence }
    }

    fn span(first: u64, count: u32) -> Span<PeerInfo> {
        Span { first: id(first), count }
    }

    #[test]
    fn a_message_is_the_same_after_it_was_encoded_and_decoded() {
        for message in [
            TreesMessage::Payload {
                id: id(u64::MAX),
                hops: 3,
                age: 86_400,
                payload: Bytes::from_static(b"news"),
                proof: Bytes::from_static(b"signature"),
            },
            TreesMessage::Payload {
                id: id(0),
                hops: 0,
                age: 0,
                payload: Bytes::from(vec![1; MAX_PAYLOAD]),
                proof: Bytes::new(),
            },
            TreesMessage::IHave { announced: vec![Announced { span: span(1, 5), hops: 2 }] },
            TreesMessage::Graft { spans: Vec::new() },
            TreesMessage::Graft { spans: vec![span(1, 1); MAX_SPANS] },
            TreesMessage::Refuse { spans: vec![span(9, 1)] },
            TreesMessage::Prune,
        ] {
            for topic in ["", "news"] {
                let frames = message.encode(topic);
                assert_eq!(frames.len(), 1);
                assert_eq!(TreesMessage::decode(&frames[0]), Some((topic, message.clone())));
            }
        }
    }

    #[test]
    fn a_long_list_of_ids_is_sent_in_several_frames() {
        let all = vec![span(1, 1); 2 * MAX_SPANS + 1];
        let frames = TreesMessage::Graft { spans: all.clone() }.encode("");
        let mut back = Vec::new();
        for frame in &frames {
            let Some(("", TreesMessage::Graft { spans })) = TreesMessage::decode(frame) else {
                panic!("{frame:?}");
            };
            back.extend(spans);
        }
        assert_eq!((frames.len(), back), (3, all));
    }

    #[test]
    fn a_message_beyond_a_limit_is_neither_encoded_nor_decoded() {
        let message = |payload: usize, proof: usize| TreesMessage::Payload {
            id: id(1),
            hops: 1,
            age: 0,
            payload: Bytes::from(vec![0; payload]),
            proof: Bytes::from(vec![0; proof]),
        };
        assert!(message(MAX_PAYLOAD + 1, 0).encode("").is_empty());
        assert!(message(0, MAX_PROOF + 1).encode("").is_empty());
        assert!(TreesMessage::Prune.encode(&"t".repeat(MAX_TOPIC + 1)).is_empty());
        let longest = message(MAX_PAYLOAD, 0).encode("").remove(0);
        let data = [longest.data(), &[0_u8][..]].concat();
        assert_eq!(TreesMessage::decode(&Frame::new(BCP, data)), None);
        let spans = Control::Graft(vec![span(1, 1); MAX_SPANS + 1]);
        let data = versioned::encode(VERSION, &("", spans), MAX_FRAME).unwrap();
        assert_eq!(TreesMessage::decode(&Frame::new(BCC, data)), None);
        for code in [BCP, BCC] {
            for data in [&[][..], &[1], &[2, 0, 3], &[1, 0, 9]] {
                assert_eq!(
                    TreesMessage::decode(&Frame::new(code, data.to_vec())),
                    None,
                    "{data:?}"
                );
            }
        }
    }
}
