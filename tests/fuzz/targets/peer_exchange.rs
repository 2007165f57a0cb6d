//! Answers of the peer exchange, and the entries that the stabilizer accepts.

use actix_peer::{
    PeerInfo, Stabilizer,
    frame::Frame,
    overlay::{
        MAX_HINTS, PeerExchange, PeerList, PeersSeen, StabilizerAction, StabilizerEvent, View,
    },
};

/// Reads the bytes as they are, and as the lines behind a valid version.
pub(crate) fn run(bytes: &[u8]) {
    let me: PeerInfo = "me 192.0.2.1 9000".parse().unwrap();
    let by: PeerInfo = "by 192.0.2.2 9000".parse().unwrap();
    let peers = PeerList::new(me.id().clone(), 8);
    let view = View { me: &me, peers: &peers, now: tokio::time::Instant::now().into_std() };
    for bytes in [bytes.to_vec(), [b"1\n", bytes].concat()] {
        let frame = Frame::new("@PEX", bytes);
        if let Some(told) = PeersSeen::decode(&frame) {
            assert_eq!(PeersSeen::decode(&told.encode()), Some(told.clone()));
            assert!(told.into_iter().count() <= MAX_HINTS);
        }
        let answered = StabilizerEvent::Answered { peer: by.clone(), replies: vec![frame] };
        let actions = PeerExchange::new().seed(1).step(answered, &view);
        assert!(actions.len() <= 4);
        assert!(actions.iter().all(|action| matches!(
            action,
            StabilizerAction::Consider { peer, .. } if peer.id() != me.id()
        )));
    }
}
