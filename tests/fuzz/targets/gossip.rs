//! What neighbours say (`@NBR`, `@TPC`), and their broadcasts (`@BCP`, `@BCC`), message after message.

use actix_peer::{
    PeerInfo,
    frame::Frame,
    overlay::{
        topics::{TPC, TopicsMessage},
        trees::{BCC, BCP, Trees, TreesConfig, TreesMessage},
        views::{NBR, Views, ViewsConfig, ViewsMessage},
    },
};

use super::input::Input;

fn peer(n: u8) -> PeerInfo {
    format!("p{n} 192.0.2.{n} 9000").parse().unwrap()
}

pub(crate) fn run(bytes: &[u8]) {
    #[expect(clippy::disallowed_methods, reason = "nobody looks at it")]
    let now = std::time::Instant::now();
    let (views_config, trees_config) = (ViewsConfig::default(), TreesConfig::default());
    let mut views = Views::new(peer(0), views_config, 1, now);
    let mut trees = Trees::new(peer(0), 1, trees_config, now);
    trees.neighbor_up(peer(1), now);
    let mut input = Input::new(bytes);
    while !input.is_empty() {
        let (code, from) = (input.byte(), peer(1 + input.byte() % 4));
        let code = [NBR, BCP, BCC, TPC][usize::from(code % 4)];
        let len = input.short();
        let frame = Frame::new(code, input.take(len).to_vec());
        if let Some(message) = TopicsMessage::decode(&frame) {
            let again = message.encode().unwrap();
            assert_eq!(TopicsMessage::decode(&again), Some(message));
        }
        if let Some((topic, message)) = ViewsMessage::decode(&frame) {
            let again = message.encode(topic).unwrap();
            assert_eq!(ViewsMessage::decode(&again), Some((topic, message.clone())));
            views.receive(&from, message, now);
        }
        if let Some((topic, message)) = TreesMessage::decode(&frame) {
            for again in message.encode(topic) {
                assert_eq!(TreesMessage::decode(&again), Some((topic, message.clone())));
            }
            trees.receive(&from, message, now);
        }
        while views.poll().is_some() {}
        while trees.poll().is_some() {}
        assert!(views.active().count() <= views_config.active_limit);
        assert!(views.passive().count() <= views_config.passive_limit);
        let size = trees.size();
        assert!(size.kept <= trees_config.kept_count && size.kept_bytes <= trees_config.kept_bytes);
        assert!(size.missing <= trees_config.missing_limit);
        assert!(size.waiting <= trees_config.order_count);
    }
    views.tick(now);
    trees.tick(now);
}
