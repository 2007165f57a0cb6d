//! Routed messages (`@FWD`) and reports of failed routing (`@FWE`).

use actix_peer::{
    frame::{Frame, TypeCode},
    overlay::{Envelope, Hop, Learned, PeerId, PeerList, RouteFault, router},
};

pub(crate) fn run(bytes: &[u8]) {
    let frame = Frame::new(TypeCode::FWD, bytes.to_vec());
    if let Some(fault) = RouteFault::from_frame(&Frame::new(TypeCode::FWE, bytes.to_vec())) {
        assert_eq!(RouteFault::from_frame(&fault.to_frame()), Some(fault));
    }
    let Some(envelope) = Envelope::decode(&frame) else { return };
    assert!(!envelope.frame().code().is_reserved(), "the framework's own codes are not routed");
    assert_eq!(Envelope::decode(&envelope.encode().unwrap()), Some(envelope.clone()));

    let me: PeerId = "b".parse().unwrap();
    let mut peers = PeerList::new(me.clone(), 0);
    #[expect(clippy::disallowed_methods, reason = "nobody looks at it")]
    let now = std::time::Instant::now();
    peers.add("c 10.0.0.1 9000".parse().unwrap(), Learned::Manual, now);
    // A router that always forwards, in a circle if there is one.
    let mut way = router::from_fn(|_, peers| peers.get_at(0).map(|entry| entry.info().clone()));
    let mut hops = 0;
    let mut at = envelope.clone();
    loop {
        match at.step(&me, &mut way, &peers) {
            Hop::Here(arrived) => {
                assert_eq!((arrived.to(), hops), (&me, 0));
                break;
            }
            Hop::Next(_, next) => {
                hops += 1;
                assert!(hops == 1, "the second visit is a loop");
                assert_eq!(next.frame(), envelope.frame());
                at = next;
            }
            Hop::Fail(fault) => {
                assert!(!fault.may_have_been_handled(), "the message was not forwarded");
                break;
            }
            hop => panic!("{hop:?}"),
        }
    }
}
