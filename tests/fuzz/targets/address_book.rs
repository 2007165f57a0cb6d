//! The file of the address book.

use std::time::Duration;

use actix_peer::overlay::AddressBook;

const NOW: u64 = 1_700_000_000;

fn book() -> AddressBook {
    AddressBook::new(4, Duration::from_secs(3_600))
}

/// Reads the bytes as they are, and as the lines behind a valid header.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    let sum = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let lines = body.split_terminator('\n').count();
    let right = format!("actix-peer-address-book 1 {lines} {sum:016x}\n{body}");
    for text in [&*text, &right] {
        let mut read = book();
        match read.load(text, NOW) {
            Ok(added) => assert!(added == read.len() && added <= 4),
            Err(_) => assert!(read.is_empty()),
        }
        let mut again = book();
        assert_eq!(again.load(&read.to_text(), NOW), Ok(read.len()));
        assert!(read.iter().all(|entry| again.get(entry.info().id()) == Some(entry)));
        // A peer that failed three times in a row is no anchor.
        let reliable = read.iter().filter(|entry| entry.failures() < 3);
        assert_eq!(again.anchors(4).len(), reliable.count());
        assert_eq!(again.pick_old(4, &[], 1).len(), read.len());
    }
}
