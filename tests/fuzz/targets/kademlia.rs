//! Questions and answers of Kademlia (`@KAD`), and the records in them.

use std::time::Duration;

use actix_peer::{
    frame::Frame,
    overlay::{
        Host,
        kademlia::{
            RecordStore, StoreLimits,
            message::{KAD, MAX_NODES, MAX_RECORDS, Question, Request, Response},
        },
    },
};

pub(crate) fn run(bytes: &[u8]) {
    let frame = Frame::new(KAD, bytes.to_vec());
    if let Some(response) = Response::decode(&frame) {
        assert_eq!(Response::decode(&response.encode().unwrap()), Some(response.clone()));
        let (records, nodes) = response.answer.into_parts();
        assert!(records.len() <= MAX_RECORDS && nodes.len() <= MAX_NODES);
    }
    let Some(request) = Request::decode(&frame) else { return };
    assert_eq!(Request::decode(&request.encode().unwrap()), Some(request.clone()));
    let Question::Store(record) = request.question else { return };
    let mut store = RecordStore::new(StoreLimits::default());
    #[expect(clippy::disallowed_methods, reason = "nobody looks at it")]
    let now = std::time::Instant::now();
    let source: Host = "h".parse().unwrap();
    if store.keep(record.clone(), source, false, now).is_ok() {
        assert!(store.bytes() <= 1_024);
        let kept = store.get(record.key(), now);
        assert!(kept.iter().all(|kept| kept.time_left() <= Duration::from_secs(24 * 3_600)));
    }
}
