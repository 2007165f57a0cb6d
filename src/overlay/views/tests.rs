//! Networks of views, under faults drawn from a seed.

pub(in crate::overlay) mod network;

use self::network::{MS, Network, Node, SECOND, joined};
use super::*;
use crate::overlay::dice::Dice;

#[test]
fn no_node_is_alone_after_all_have_joined_by_one_contact() {
    for count in [2, 3, 12, 50, 160] {
        for active in [4, 8] {
            for at_once in [false, true] {
                let config = ViewsConfig::default().with_active(active);
                let mut network = joined(config, count, at_once, u64::from(count));
                network.run(5 * SECOND);
                network.assert_whole(&format!("{count} nodes, {active}, at once: {at_once}"));
            }
        }
    }
}

/// Whatever happens to networks of joined nodes, they are whole after it.
fn whole_after(seeds: u64, (count, at_once): (Node, bool), happens: impl Fn(&mut Network)) {
    for seed in 0..seeds {
        let mut network = joined(ViewsConfig::default(), count, at_once, seed);
        happens(&mut network);
        network.assert_whole(&format!("seed {seed}"));
    }
}

#[test]
fn the_network_is_whole_however_many_nodes_leave_while_others_join() {
    whole_after(20, (30, true), |network| {
        for node in 1..20 {
            network.run(50 * MS);
            network.leave(node);
        }
        network.run(10 * SECOND);
    });
}

#[test]
fn the_survivors_of_four_fifths_are_one_network_within_two_seconds() {
    whole_after(5, (150, false), |network| {
        network.run(60 * SECOND);
        (1..120).for_each(|node| network.end(node));
        network.run(2 * SECOND);
    });
}

#[test]
fn the_halves_of_a_partition_are_one_network_ten_seconds_after_its_end_without_an_event_storm() {
    for seed in 0..5 {
        let mut network = joined(ViewsConfig::default(), 60, false, seed);
        network.run(30 * SECOND);
        network.partition((0..30).collect());
        let before = network.events;
        network.run(60 * SECOND);
        network.side.clear();
        network.run(10 * SECOND);
        network.assert_whole(&format!("seed {seed}"));
        network.run(60 * SECOND);
        let each = (network.events - before) / 60;
        assert!(each <= 40, "seed {seed}: {each} events for each node");
    }
}

#[test]
fn whatever_happens_no_node_is_alone_twenty_seconds_after_the_last_fault() {
    for seed in 0..30 {
        let mut dice = Dice::new(seed);
        let count = 3 + Node::try_from(dice.below(30)).unwrap();
        let config = ViewsConfig::default().with_active(4 + dice.below(5));
        let mut network = joined(config, count, dice.below(2) == 0, seed);
        network.run(10 * SECOND);
        for _ in 0..40 {
            let node = |dice: &mut Dice| Node::try_from(dice.below(count as usize)).unwrap();
            match dice.below(8) {
                0 | 1 => network.cut(node(&mut dice), node(&mut dice), MS),
                2 => network.end(1 + node(&mut dice)),
                3 | 4 => network.start(node(&mut dice)),
                5 => network.leave(1 + node(&mut dice)),
                6 => {
                    let side = (0..count).filter(|_| dice.below(2) == 0).collect();
                    network.partition(side);
                    network.run(SECOND * u32::try_from(1 + dice.below(8)).unwrap());
                    network.side.clear();
                }
                _ => network.run(SECOND * u32::try_from(dice.below(10)).unwrap()),
            }
            network.run(MS * u32::try_from(dice.below(500)).unwrap());
        }
        network.run(20 * SECOND);
        network.assert_whole(&format!("seed {seed}"));
    }
}

#[test]
fn messages_of_strangers_change_no_neighbours_and_fill_no_memory() {
    let now = crate::time::now();
    let mut views: Views<Node> = Views::new(0, ViewsConfig::default(), 1, now);
    let mut dice = Dice::new(3);
    for n in 0..20_000_u32 {
        let from = 1_000 + n % 50;
        let peers: Vec<_> =
            (0..100).map(|_| 10_000 + Node::try_from(dice.below(100_000)).unwrap()).collect();
        let (origin, token, walk) = (from, u64::from(n), 200);
        let message = match dice.below(6) {
            0 => ViewsMessage::ForwardJoin { joiner: 10_000 + n, walk },
            1 => ViewsMessage::Accept { peers },
            2 => ViewsMessage::Refuse { peers },
            3 => ViewsMessage::Disconnect { peers },
            4 => ViewsMessage::Shuffle { origin, token, walk, peers },
            _ => ViewsMessage::ShuffleReply { token, peers },
        };
        views.receive(&from, message, now);
        while views.poll().is_some() {}
    }
    let config = ViewsConfig::default();
    assert!(views.active().count() <= config.active_limit);
    assert!(views.passive().count() <= config.passive_limit);
    assert!(views.asked.len() <= 2 * config.active_limit);
}

#[test]
fn peers_of_one_group_take_a_quarter_of_each_view() {
    let now = crate::time::now();
    let group = |peer: &Node| (*peer >= 100).then_some(1);
    let config = ViewsConfig::default();
    let mut views = Views::new(0, config, 1, now).with_groups(group);
    for peer in (1..=6).chain(100..200) {
        views.receive(&peer, ViewsMessage::Join, now);
        views.receive(&peer, ViewsMessage::Refuse { peers: Vec::new() }, now);
    }
    let crowd = |peers: Vec<Node>| peers.into_iter().filter(|peer| *peer >= 100).count();
    assert!(crowd(views.active().copied().collect()) <= 2);
    assert_eq!(views.active().filter(|peer| **peer < 100).count(), 6, "none made room for them");
    for peer in 200..300 {
        views.add_passive(peer);
    }
    assert!(crowd(views.passive().copied().collect()) <= 32);
}

/// The messages that a node sends to a peer, without their samples.
fn answers(views: &mut Views<Node>, peer: Node) -> Vec<ViewsMessage<Node>> {
    let mut answers = Vec::new();
    while let Some(output) = views.poll() {
        if let ViewsOutput::Send { to, mut message } = output
            && to == peer
        {
            if let ViewsMessage::Accept { peers }
            | ViewsMessage::Refuse { peers }
            | ViewsMessage::Disconnect { peers } = &mut message
            {
                peers.clear();
            }
            answers.push(message);
        }
    }
    answers
}

#[test]
fn a_full_node_takes_in_who_joins_or_has_few_neighbours_and_refuses_the_others() {
    let now = crate::time::now();
    let full = || {
        let mut views = Views::new(0, ViewsConfig::default(), 1, now);
        (1..=8).for_each(|peer| views.receive(&peer, ViewsMessage::Join, now));
        while views.poll().is_some() {}
        views
    };
    let accepts = ViewsMessage::Accept { peers: Vec::new() };
    let refuses = ViewsMessage::Refuse { peers: Vec::new() };
    for (message, answer, is_neighbor) in [
        (ViewsMessage::Join, &accepts, true),
        (ViewsMessage::Neighbor { priority: Priority::High }, &accepts, true),
        (ViewsMessage::Neighbor { priority: Priority::Low }, &refuses, false),
    ] {
        let mut views = full();
        views.receive(&9, message.clone(), now);
        assert_eq!(answers(&mut views, 9), std::slice::from_ref(answer), "{message:?}");
        assert_eq!(views.is_neighbor(&9), is_neighbor, "{message:?}");
        assert_eq!(views.active().count(), 8);
        // The neighbour that made room, or the node that was refused, may be asked later.
        assert_eq!(views.passive().count(), 1);
    }
}

#[test]
fn a_lost_neighbour_is_asked_again_with_growing_pauses() {
    let mut now = crate::time::now();
    let mut views = Views::new(0, ViewsConfig::default(), 1, now);
    (1..=8).for_each(|peer| views.receive(&peer, ViewsMessage::Join, now));
    views.unreachable(&5, now);
    while views.poll().is_some() {}
    let (begun, mut asked) = (now, Vec::new());
    while asked.len() < 6 {
        now = views.next_tick(now).unwrap().max(now);
        views.tick(now);
        let high = ViewsMessage::Neighbor { priority: Priority::High };
        if answers(&mut views, 5).contains(&high) {
            asked.push((now - begun).as_secs_f64());
            views.unreachable(&5, now);
        }
        assert!(now - begun < 60 * SECOND, "{asked:?}");
    }
    let pauses: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!((0.8..=1.2).contains(&asked[0]), "{asked:?}");
    assert!(pauses.iter().all(|pause| (0.8..=4.8).contains(pause)), "{pauses:?}");
    assert!(pauses.last().unwrap() > &3.0, "{pauses:?}");
}

#[test]
fn a_dropped_contact_is_asked_again_when_its_time_is_over_and_a_forgotten_one_never() {
    for forgets in [false, true] {
        let now = crate::time::now();
        let mut views = Views::new(0, ViewsConfig::default(), 1, now);
        views.join(1, now);
        views.receive(&1, ViewsMessage::Accept { peers: Vec::new() }, now);
        if forgets {
            views.forget_contacts(|contact| *contact == 1);
        }
        views.drop_peer(&1, 10 * SECOND, now);
        let joins = |views: &mut Views<Node>| {
            answers(views, 1).into_iter().filter(|sent| *sent == ViewsMessage::Join).count()
        };
        joins(&mut views);
        let asked = (1..12).filter(|second| {
            views.tick(now + *second * SECOND);
            joins(&mut views) > 0
        });
        let expected: &[u32] = if forgets { &[] } else { &[10] };
        assert_eq!(asked.collect::<Vec<u32>>(), expected);
    }
}

#[test]
fn a_neighbour_may_send_256_walks_at_once_and_then_64_a_second() {
    let now = crate::time::now();
    let mut views = Views::new(0, ViewsConfig::default(), 1, now);
    (1..=2).for_each(|peer| views.receive(&peer, ViewsMessage::Join, now));
    while views.poll().is_some() {}
    let mut passed_on = |now| {
        for joiner in 100..1_000 {
            views.receive(&1, ViewsMessage::ForwardJoin { joiner, walk: 6 }, now);
        }
        answers(&mut views, 2).len()
    };
    assert_eq!([passed_on(now), passed_on(now + SECOND)], [256, 64]);
}
