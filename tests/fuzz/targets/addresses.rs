//! Ids, hosts, addresses and `id host port`, as `JOIN`, `QUIT` and the replies to `LIST` carry
//! them, and the peer table that stores them.

use std::{fmt::Display, str::FromStr};

use actix_peer::{
    frame::TypeCode,
    overlay::{Added, Address, Host, Learned, PeerId, PeerInfo, PeerList},
};

const LIMIT: usize = 4;

/// A parsed value has the same meaning after it is written and read again. It contains no separator
/// of lines or fields.
fn read<T: FromStr + Display + PartialEq>(text: &str, fields: usize) -> Option<T> {
    let value: T = text.parse().ok()?;
    let written = value.to_string();
    assert!(!written.contains(char::is_control), "{written:?}");
    assert_eq!(written.split_whitespace().count(), fields, "{written:?}");
    assert!(written.parse::<T>().is_ok_and(|again| again == value), "{text:?} and {written:?}");
    Some(value)
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(code) = text.parse::<TypeCode>() {
        assert_eq!(code.as_bytes(), bytes);
    }
    if let Some(id) = read::<PeerId>(text, 1) {
        assert!((1..=64).contains(&id.as_str().len()));
    }
    read::<Host>(text, 1);
    read::<Address>(text, 1);
    let me: PeerId = "me".parse().unwrap();
    let mut peers = PeerList::new(me.clone(), LIMIT);
    #[expect(clippy::disallowed_methods, reason = "nobody looks at it")]
    let now = std::time::Instant::now();
    for line in text.split('\n') {
        let Some(info) = read::<PeerInfo>(line, 3) else { continue };
        assert_ne!(info.port(), 0);
        let (id, known) = (info.id().clone(), peers.contains(info.id()));
        let full = peers.is_full();
        match peers.add(info, Learned::Joined, now) {
            Added::Added => assert!(!known && !full && id != me && peers.contains(&id)),
            Added::AlreadyKnown => assert!(known),
            Added::Own => assert_eq!(id, me),
            _ => assert!(full),
        }
        assert!(peers.len() <= LIMIT && !peers.contains(&me));
        if line.len() % 7 == 0 {
            peers.remove(&id);
        }
    }
}
