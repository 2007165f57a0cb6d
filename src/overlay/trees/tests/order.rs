//! The order in which the messages of an author are delivered.

use super::*;

/// What the application sees: a message, a late message, or a gap with its length.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(u64),
    Late(u64),
    Gap(u64, u64),
}
use Seen::{Gap as Lost, Late, Message};

fn seen(trees: &mut Trees<Node>) -> Vec<Seen> {
    let seen = outputs(trees).into_iter().filter_map(|output| match output {
        TreesOutput::Deliver(delivery) if delivery.late => Some(Late(delivery.id.sequence)),
        TreesOutput::Deliver(delivery) => Some(Message(delivery.id.sequence)),
        TreesOutput::Gap(gap) => Some(Lost(gap.first.sequence, gap.count)),
        _ => None,
    });
    seen.collect()
}

fn receive(trees: &mut Trees<Node>, numbers: &[u64], now: Instant) -> Vec<Seen> {
    numbers.iter().for_each(|n| trees.receive(&1, payload(9, *n, 1), now));
    seen(trees)
}

#[test]
fn messages_that_overtake_each_other_are_delivered_in_order() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    assert_eq!(receive(&mut trees, &[0, 3, 2], now), [Message(0)]);
    assert_eq!(receive(&mut trees, &[1, 4], now + MS), [1, 2, 3, 4].map(Message));
    assert_eq!((trees.size().waiting, trees.size().waiting_bytes), (0, 0));
}

#[test]
fn what_does_not_come_in_time_is_reported_as_a_gap_and_is_late_if_it_comes_after_all() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    assert_eq!(receive(&mut trees, &[0, 3, 4, 6], now), [Message(0)]);
    let due = std::iter::from_fn(|| trees.next_tick()).next().unwrap();
    trees.tick(due);
    assert!(due <= now + SECOND);
    trees.tick(now + SECOND);
    assert_eq!(seen(&mut trees), [Lost(1, 2), Message(3), Message(4), Lost(5, 1), Message(6)]);
    assert_eq!(receive(&mut trees, &[2, 7, 2], now + 2 * SECOND), [Late(2), Message(7)]);
}

#[test]
fn a_node_that_comes_later_is_told_no_gap_and_orders_what_was_announced_to_it() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    trees.receive(&1, ihave(9, 500, 3, 1), now);
    assert_eq!(receive(&mut trees, &[503], now), []);
    assert_eq!(receive(&mut trees, &[500, 502, 501], now), [500, 501, 502, 503].map(Message));
    assert_eq!(receive(&mut trees, &[499], now), [Late(499)]);
}

#[test]
fn a_forged_far_number_neither_hides_nor_delays_the_messages_of_the_author() {
    let now = crate::time::now();
    for far in [u64::MAX, 1 << 60, 1_000_000] {
        let mut trees = node(1, now);
        assert_eq!(receive(&mut trees, &[0, 1, far], now), [Message(0), Message(1), Late(far)]);
        assert_eq!(receive(&mut trees, &[2, 3], now), [Message(2), Message(3)]);
    }
}

#[test]
fn the_order_goes_on_after_a_long_absence() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    receive(&mut trees, &[0], now);
    let later = now + 60 * SECOND;
    let far = 1_000_000;
    assert_eq!(
        receive(&mut trees, &[far, far + 1, far + 2], later),
        [Late(far), Lost(1, far), Message(far + 1), Message(far + 2)]
    );
}

#[test]
fn the_runs_of_an_author_do_not_wait_for_each_other_and_the_later_may_have_the_lower_number() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    let run = |incarnation, sequence| {
        let TreesMessage::Payload { hops, payload, proof, .. } = payload(9, 0, 1) else { panic!() };
        let id = MessageId { author: 9, incarnation, sequence };
        TreesMessage::Payload { id, hops, age: 0, payload, proof }
    };
    for (incarnation, sequence) in [(2, 0), (2, 3), (1, 0), (2, 1), (1, 1), (1, 0)] {
        trees.receive(&1, run(incarnation, sequence), now);
    }
    assert_eq!(seen(&mut trees), [Message(0), Message(0), Message(1), Message(1)]);
    trees.tick(now + SECOND);
    assert_eq!(seen(&mut trees), [Lost(2, 1), Message(3)]);
}

#[test]
fn without_waiting_a_gap_is_reported_at_once() {
    let now = crate::time::now();
    let config = TreesConfig { order_wait: Duration::ZERO, ..TreesConfig::default() };
    let mut trees = Trees::new(0, 1, config, now);
    trees.neighbor_up(1, now);
    assert_eq!(receive(&mut trees, &[0, 2, 1], now), [Message(0), Lost(1, 1), Message(2), Late(1)]);
}

#[test]
fn what_waits_is_bounded_by_count_and_bytes() {
    let now = crate::time::now();
    let limits = [(10, 1 << 20), (1_000, 100)];
    for (order_count, order_bytes) in limits {
        let config = TreesConfig { order_count, order_bytes, ..TreesConfig::default() };
        let mut trees = Trees::new(0, 1, config, now);
        trees.neighbor_up(1, now);
        let mut messages = 0;
        for author in 10..50 {
            for n in (0..40).step_by(2) {
                trees.receive(&1, payload(author, n, 1), now);
                let size = trees.size();
                assert!(size.waiting <= order_count && size.waiting_bytes <= order_bytes);
                let seen = seen(&mut trees);
                messages += seen.iter().filter(|seen| matches!(seen, Message(_))).count();
            }
        }
        assert_eq!(messages + trees.size().waiting, 40 * 20, "each is delivered in order");
    }
}
