//! The lengths of the messages of `overlay::kademlia::message`: a header, a version, then postcard.

use actix_peer::{PeerId, PeerInfo, frame::HEADER_LEN};

/// Bytes of the version and of the kind of message.
const TAGS: usize = 2;

/// Bytes of a key.
const KEY: usize = 32;

/// Bytes of a number in postcard: seven bits per byte.
fn number(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

fn text(len: usize) -> usize {
    number(len) + len
}

/// Bytes of a node in a message.
pub(crate) fn node(info: &PeerInfo) -> usize {
    text(info.to_string().len())
}

/// Bytes of an id in a message.
pub(crate) fn id(id: &PeerId) -> usize {
    text(id.as_str().len())
}

/// A ping. `asker`: the bytes of the asking node.
pub(crate) const fn ping(asker: usize) -> usize {
    HEADER_LEN + TAGS + asker
}

/// The answer to a ping. `id`: the bytes of the id.
pub(crate) const fn here(id: usize) -> usize {
    HEADER_LEN + TAGS + id
}

/// A question for the nodes nearest to a key.
pub(crate) const fn find(asker: usize) -> usize {
    HEADER_LEN + TAGS + asker + KEY
}

/// The answer to it, with `count` nodes of `bytes` bytes in all.
pub(crate) fn nodes(id: usize, count: usize, bytes: usize) -> usize {
    HEADER_LEN + TAGS + id + number(count) + bytes
}

#[cfg(test)]
mod tests {
    use actix_peer::{
        frame::Frame,
        overlay::kademlia::{
            Key,
            message::{Answer, Question, Request, Response},
        },
    };

    use super::*;

    fn asked(from: &PeerInfo, question: Question) -> usize {
        length(&Request { from: from.clone(), question }.encode())
    }

    fn answered(me: &PeerId, answer: Answer) -> usize {
        length(&Response { me: me.clone(), answer }.encode())
    }

    fn length(frame: &Option<Frame>) -> usize {
        HEADER_LEN + frame.as_ref().unwrap().data().len()
    }

    #[test]
    fn every_message_is_as_long_as_it_is_when_it_is_encoded() {
        let peer = |n: usize| format!("{} 10.0.0.{n} 9000", "a".repeat(60 + n)).parse().unwrap();
        let me: PeerInfo = peer(4);
        let (own, own_id) = (node(&me), id(me.id()));
        assert_eq!(ping(own), asked(&me, Question::Ping));
        assert_eq!(find(own), asked(&me, Question::FindNode(Key::new([0xff; KEY]))));
        assert_eq!(here(own_id), answered(me.id(), Answer::Here));
        for count in [0, 1, 20, 64] {
            let all: Vec<PeerInfo> = (0..count).map(|n| peer(n % 4)).collect();
            let bytes = all.iter().map(node).sum();
            assert_eq!(nodes(own_id, count, bytes), answered(me.id(), Answer::Nodes(all)));
        }
    }
}
