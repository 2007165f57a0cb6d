//! The longest messages by code.

use super::*;

#[test]
fn lengths_by_code_are_sent_in_the_hello_and_when_they_change() {
    let lower = TypeCode::new(b"test");
    let now = start();
    let side = |id, role, lengths: &[(TypeCode, u32)]| {
        let mut hello = hello(id, 10_000, 4);
        hello.lengths = lengths.to_vec();
        Link::new(role, LinkConfig { hello, keep_alive: KEEP_ALIVE }, now)
    };
    let mut ada = side("ada", Role::Dialler, &[]);
    let mut bob = side("bob", Role::Acceptor, &[(CODE, 5), (TypeCode::new(b"LONG"), u32::MAX)]);
    pass(&mut ada, &mut bob, now);
    pass(&mut bob, &mut ada, now);
    let limit = |ada: &Link, code, numbered| match ada.check_length(code, 5 << 30, numbered) {
        Err(crate::frame::FrameError::TooLong { limit, length, code: of }) => {
            assert_eq!((of, length), (code, 5 << 30));
            limit
        }
        other => panic!("{other:?}"),
    };
    // The code is found as the other side finds it, and the others take what the hello says.
    for code in [CODE, lower] {
        assert_eq!((ada.check_length(code, 5, false).is_ok(), limit(&ada, code, false)), (true, 5));
        assert!(ada.allows(code, 5) && !ada.allows(code, 6));
    }
    assert_eq!(limit(&ada, TypeCode::new(b"NEWS"), false), 1 << 20);
    // An acknowledged message is sent whole.
    let long = TypeCode::new(b"LONG");
    assert_eq!((limit(&ada, long, false), limit(&ada, long, true)), (u32::MAX.into(), 1 << 20));
    // Only what has changed is told: here one length, and one that is the usual one again.
    bob.send_lengths(&[(CODE, 5), (lower, 7)]);
    let told = output(&mut bob);
    let expected =
        [frame(b"@LEN", 0, 0, b"LONG\0\x10\0\0"), frame(b"@LEN", 0, 0, b"test\0\0\0\x07")];
    assert_eq!(told, expected);
    told.into_iter().for_each(|frame| ada.handle(frame, now));
    assert_eq!((limit(&ada, CODE, false), limit(&ada, lower, false)), (5, 7));
    assert_eq!(limit(&ada, long, false), 1 << 20);
    // Of more codes than are kept nothing is known.
    for n in 0..=MAX_LENGTHS {
        let code = u32::try_from(n).unwrap().to_be_bytes();
        ada.handle(frame(b"@LEN", 0, 0, &[&code[..], &[0, 0, 0, 1]].concat()), now);
    }
    assert!(ada.check_length(CODE, 6, false).is_ok() && ada.allows(CODE, 6));
    assert!(ada.phase() == LinkPhase::Open);
    for payload in [&b"TEST\0\0\0"[..], b"TEST\0\0\0\0\0"] {
        assert_eq!(reason(&[frame(b"@LEN", 0, 0, payload)]), Some(Reason::PROTOCOL));
        assert_eq!(reason(&[frame(b"@GOT", 0, 0, payload)]), Some(Reason::PROTOCOL));
    }
}
