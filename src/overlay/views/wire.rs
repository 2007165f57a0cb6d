//! The frames of the views: `@NBR` ([protocol](crate::protocol#neighbours)).

use crate::{
    frame::{Frame, TypeCode},
    overlay::{
        PeerInfo, versioned,
        views::{MAX_SAMPLE, MAX_SHUFFLE, ViewsMessage},
    },
};

/// The code of all messages.
pub const NBR: TypeCode = TypeCode::new(b"@NBR");

/// The version of the messages: the first byte.
const VERSION: u8 = 1;

/// The maximum length of a message, in bytes: the peers of a shuffle, each with the longest id and
/// host.
pub const MAX_MESSAGE: usize = 8 << 10;

/// The maximum length of the name of a topic, in bytes.
pub const MAX_TOPIC: usize = 64;

impl ViewsMessage<PeerInfo> {
    /// Encodes it as a frame about the neighbours of a topic; an empty name stands for the network
    /// itself. `None` if it exceeds the limits of a message.
    #[must_use]
    pub fn encode(&self, topic: &str) -> Option<Frame> {
        if topic.len() > MAX_TOPIC || !self.is_bounded() {
            return None;
        }
        let data = versioned::encode(VERSION, &(topic, self), MAX_MESSAGE)?;
        Some(Frame::new(NBR, data))
    }

    /// Decodes a message and the name of its topic; `None` if the frame is not a message of this
    /// version, or exceeds the limits of a message.
    #[must_use]
    pub fn decode(frame: &Frame) -> Option<(&str, Self)> {
        if frame.code() != NBR {
            return None;
        }
        let (topic, message): (&str, Self) = versioned::decode(VERSION, frame.data(), MAX_MESSAGE)?;
        (topic.len() <= MAX_TOPIC && message.is_bounded()).then_some((topic, message))
    }

    fn is_bounded(&self) -> bool {
        match self {
            Self::Accept { peers } | Self::Refuse { peers } | Self::Disconnect { peers } => {
                peers.len() <= MAX_SAMPLE
            }
            Self::Shuffle { peers, .. } | Self::ShuffleReply { peers, .. } => {
                peers.len() <= MAX_SHUFFLE
            }
            Self::Join | Self::ForwardJoin { .. } | Self::Neighbor { .. } | Self::Leave => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::views::Priority;

    fn peers(n: usize) -> Vec<PeerInfo> {
        (0..n).map(|n| format!("p{n} 192.0.2.1 {}", 9_000 + n).parse().unwrap()).collect()
    }

    #[test]
    fn a_message_is_the_same_after_it_was_encoded_and_decoded() {
        let [peer] = <[PeerInfo; 1]>::try_from(peers(1)).unwrap();
        let longest = format!("{} {} 65535", "i".repeat(64), vec!["h".repeat(62); 4].join("."));
        let longest: PeerInfo = longest.parse().unwrap();
        for message in [
            ViewsMessage::Join,
            ViewsMessage::ForwardJoin { joiner: peer.clone(), walk: 6 },
            ViewsMessage::Neighbor { priority: Priority::High },
            ViewsMessage::Accept { peers: peers(MAX_SAMPLE) },
            ViewsMessage::Refuse { peers: Vec::new() },
            ViewsMessage::Disconnect { peers: peers(1) },
            ViewsMessage::Leave,
            ViewsMessage::Shuffle {
                origin: peer,
                token: u64::MAX,
                walk: 6,
                peers: vec![longest; MAX_SHUFFLE],
            },
            ViewsMessage::ShuffleReply { token: 0, peers: peers(MAX_SHUFFLE) },
        ] {
            for topic in ["", "news"] {
                let frame = message.encode(topic).unwrap();
                assert_eq!(ViewsMessage::decode(&frame), Some((topic, message.clone())));
            }
        }
    }

    #[test]
    fn a_message_with_too_many_peers_another_version_or_further_bytes_is_refused() {
        let long = ViewsMessage::Accept { peers: peers(MAX_SAMPLE + 1) };
        let name = "t".repeat(MAX_TOPIC + 1);
        assert_eq!(long.encode(""), None);
        assert_eq!(ViewsMessage::Join.encode(&name), None);
        for data in [
            versioned::encode(VERSION, &("", &long), MAX_MESSAGE).unwrap(),
            versioned::encode(VERSION, &(name, ViewsMessage::<PeerInfo>::Join), MAX_MESSAGE)
                .unwrap(),
        ] {
            assert_eq!(ViewsMessage::decode(&Frame::new(NBR, data)), None);
        }
        let join = ViewsMessage::Join.encode("").unwrap();
        assert_eq!(join.data().as_ref(), [1, 0, 0]);
        for data in [&[][..], &[1], &[1, 0], &[2, 0, 0], &[1, 0, 0, 0], &[1, 0, 9], &[1, 0, 3, 200]]
        {
            assert_eq!(ViewsMessage::decode(&Frame::new(NBR, data.to_vec())), None, "{data:?}");
        }
    }
}
