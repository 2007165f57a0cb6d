//! Messages of the membership (`@SWM`).

use std::time::Duration;

use actix_peer::{
    PeerInfo,
    overlay::swim::{Membership, SwimConfig},
};

pub(crate) fn run(bytes: &[u8]) {
    #[expect(clippy::disallowed_methods, reason = "nobody looks at it")]
    let mut now = std::time::Instant::now();
    let info = |n: u8| -> PeerInfo { format!("n{n} 10.0.0.{} 9000", n + 1).parse().unwrap() };
    let config = SwimConfig::fast().max_members(4);
    let mut nodes = [0, 1].map(|n| Membership::new(info(n), 1_000, config.clone(), 1, now));
    nodes[1].set_contacts([info(0)]);
    for _ in 0..3 {
        for (n, other) in [(0_usize, 1_usize), (1, 0)] {
            nodes[n].tick(now);
            while let Some((_, data)) = nodes[n].next_send() {
                let from = info(u8::try_from(n).unwrap());
                nodes[other].receive(from.id(), &data, now).unwrap();
            }
        }
        now += Duration::from_millis(10);
    }
    let [node, _] = &mut nodes;
    assert_eq!(node.members().len(), 1);
    for from in [1, 2] {
        node.receive(info(from).id(), bytes, now).ok();
        node.receive(info(from).id(), &[&[1], bytes].concat(), now).ok();
    }
    for _ in 0..10 {
        now += Duration::from_millis(300);
        node.tick(now);
        while node.next_send().is_some() {}
    }
    assert!(node.members().len() <= 4);
}
