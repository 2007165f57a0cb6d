//! One tree machine, and pairs of them, message by message.

mod bounds;
mod network;
mod order;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Node = u32;

fn id(author: Node, sequence: u64) -> MessageId<Node> {
    MessageId { author, incarnation: 1, sequence }
}

fn payload(author: Node, sequence: u64, hops: u8) -> TreesMessage<Node> {
    let (payload, proof) = (Bytes::from_static(b"news"), Bytes::new());
    TreesMessage::Payload { id: id(author, sequence), hops, age: 0, payload, proof }
}

fn span(author: Node, first: u64, count: u32) -> Span<Node> {
    Span { first: id(author, first), count }
}

fn ihave(author: Node, first: u64, count: u32, hops: u8) -> TreesMessage<Node> {
    TreesMessage::IHave { announced: vec![Announced { span: span(author, first, count), hops }] }
}

fn graft(author: Node, first: u64, count: u32) -> TreesMessage<Node> {
    TreesMessage::Graft { spans: vec![span(author, first, count)] }
}

/// Node 0 with the neighbours 1 to `neighbors`.
fn node(neighbors: Node, now: Instant) -> Trees<Node> {
    let mut trees = Trees::new(0, 1, TreesConfig::default(), now);
    (1..=neighbors).for_each(|peer| trees.neighbor_up(peer, now));
    outputs(&mut trees);
    trees
}

fn outputs(trees: &mut Trees<Node>) -> Vec<TreesOutput<Node>> {
    std::iter::from_fn(|| trees.poll()).collect()
}

/// What is sent, without the rest.
fn sent(trees: &mut Trees<Node>) -> Vec<(Node, TreesMessage<Node>)> {
    let sent = outputs(trees).into_iter().filter_map(|output| match output {
        TreesOutput::Send { to, message } => Some((to, message)),
        _ => None,
    });
    sent.collect()
}

fn receivers(sent: &[(Node, TreesMessage<Node>)], control: bool) -> Vec<Node> {
    let of = sent.iter().filter(|(_, message)| message.is_control() == control);
    of.map(|(to, _)| *to).collect()
}

/// Passes messages between two nodes until there are none.
fn exchange(a: &mut Trees<Node>, b: &mut Trees<Node>, now: Instant) -> usize {
    let mut passed = 0;
    loop {
        let (from_a, from_b) = (sent(a), sent(b));
        if from_a.is_empty() && from_b.is_empty() {
            return passed;
        }
        passed += from_a.len() + from_b.len();
        assert!(passed < 1_000, "they never stop");
        for (to, message) in from_a {
            if to == *b.me() {
                b.receive(a.me(), message, now);
            }
        }
        for (to, message) in from_b {
            if to == *a.me() {
                a.receive(b.me(), message, now);
            }
        }
    }
}

#[test]
fn a_message_is_passed_on_at_once_to_eager_neighbours_and_later_announced_to_lazy_ones() {
    let now = crate::time::now();
    let mut trees = node(4, now);
    trees.receive(&4, TreesMessage::Prune, now);
    trees.receive(&1, payload(9, 0, 3), now);
    let at_once = sent(&mut trees);
    assert_eq!(at_once, [(2, payload(9, 0, 4)), (3, payload(9, 0, 4))]);
    trees.tick(trees.next_tick().unwrap());
    assert_eq!(sent(&mut trees), [(4, ihave(9, 0, 1, 4))]);
}

#[test]
fn announcements_of_a_short_time_share_one_message() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    trees.receive(&2, TreesMessage::Prune, now);
    for n in 0..100 {
        trees.receive(&1, payload(9, n, 1), now + MS);
    }
    trees.tick(trees.next_tick().unwrap());
    assert_eq!(sent(&mut trees), [(2, ihave(9, 0, 100, 2))]);
}

#[test]
fn a_second_copy_prunes_its_sender() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    trees.receive(&1, payload(9, 0, 1), now);
    trees.receive(&2, payload(9, 0, 1), now);
    assert!(sent(&mut trees).contains(&(2, TreesMessage::Prune)));
    assert_eq!(trees.lazy().collect::<Vec<_>>(), [&2]);
}

#[test]
fn equal_payloads_are_two_messages() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    for n in 0..2 {
        trees.receive(&1, payload(9, n, 1), now);
    }
    let delivered = outputs(&mut trees);
    let count = delivered.iter().filter(|out| matches!(out, TreesOutput::Deliver(_))).count();
    assert_eq!((count, trees.lazy().count()), (2, 0));
}

#[test]
fn an_announced_message_that_does_not_come_is_grafted_from_one_announcer_after_the_other() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    for peer in [1, 2, 3] {
        trees.receive(&peer, ihave(9, 0, 1, 2), now);
    }
    let mut asked = Vec::new();
    for _ in 0..4 {
        let Some(due) = trees.next_tick() else { break };
        trees.tick(due);
        asked.extend(sent(&mut trees));
    }
    assert_eq!(asked, [1, 2, 3].map(|peer| (peer, graft(9, 0, 1))));
    assert_eq!(trees.size().missing, 0, "there is no source left");
    trees.receive(&2, payload(9, 0, 2), now + SECOND);
    assert_eq!(trees.size().kept, 1, "it is accepted however late it comes");
}

#[test]
fn what_was_asked_of_a_neighbour_that_goes_or_refuses_is_asked_of_the_next_one_at_once() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    for peer in [1, 2, 3] {
        trees.receive(&peer, ihave(9, 0, 5, 2), now);
    }
    let then = trees.next_tick().unwrap();
    trees.tick(then);
    assert_eq!(sent(&mut trees), [(1, graft(9, 0, 5))]);
    trees.neighbor_down(&1, then);
    assert_eq!(sent(&mut trees), [(2, graft(9, 0, 5))]);
    trees.receive(&2, TreesMessage::Refuse { spans: vec![span(9, 0, 5)] }, then);
    assert_eq!(sent(&mut trees), [(3, graft(9, 0, 5))]);
}

#[test]
fn a_graft_makes_the_link_eager_and_is_answered_with_a_payload_or_a_refusal() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    trees.receive(&1, payload(9, 0, 1), now);
    trees.receive(&2, TreesMessage::Prune, now);
    sent(&mut trees);
    trees.receive(&2, graft(9, 0, 3), now);
    let refused = TreesMessage::Refuse { spans: vec![span(9, 1, 2)] };
    assert_eq!(sent(&mut trees), [(2, payload(9, 0, 2)), (2, refused)]);
    assert_eq!(trees.lazy().count(), 0);
}

#[test]
fn a_new_neighbour_is_told_what_is_kept() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    for n in 0..7 {
        trees.receive(&1, payload(9, n, 1), now);
    }
    sent(&mut trees);
    trees.neighbor_up(2, now);
    assert_eq!(sent(&mut trees), [(2, ihave(9, 0, 7, 2))]);
}

#[test]
fn a_prune_and_a_graft_that_cross_strand_neither_node() {
    let begin = crate::time::now();
    // Each of the two may have sent the prune, and either may have the news.
    for (pruner, news) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut now = begin;
        let mut nodes = [0, 1].map(|me| {
            let mut trees = Trees::new(me, 1, TreesConfig::default(), now);
            trees.neighbor_up(1 - me, now);
            trees
        });
        let other = 1 - pruner;
        nodes[pruner as usize].prune(&other, now);
        nodes[pruner as usize].receive(&other, TreesMessage::Graft { spans: Vec::new() }, now);
        nodes[other as usize].receive(&pruner, TreesMessage::Prune, now);
        nodes.iter_mut().for_each(|trees| drop(sent(trees)));
        let [a, b] = &mut nodes;
        for n in 0..5 {
            let author = if news == 0 { &mut *a } else { &mut *b };
            author.publish(Bytes::from_static(b"news"), |_, _| Bytes::new(), now).unwrap();
            for _ in 0..10 {
                exchange(a, b, now);
                now += 100 * MS;
                a.tick(now);
                b.tick(now);
            }
            let has = if news == 0 { b.size().kept } else { a.size().kept };
            assert_eq!(has, n + 1, "pruner {pruner}, news {news}");
        }
    }
}

#[test]
fn a_node_that_all_its_neighbours_have_pruned_still_gets_each_message() {
    let mut now = crate::time::now();
    let mut nodes = [0, 1, 2].map(|me| {
        let mut trees = Trees::new(me, 1, TreesConfig::default(), now);
        (0..3).filter(|peer| *peer != me).for_each(|peer| trees.neighbor_up(peer, now));
        trees
    });
    // A cycle of three nodes is cut at each of its links.
    for (node, other) in [(0, 1), (1, 2), (2, 0)] {
        nodes[node].prune(&Node::try_from(other).unwrap(), now);
        nodes[other].receive(&Node::try_from(node).unwrap(), TreesMessage::Prune, now);
    }
    nodes.iter_mut().for_each(|trees| drop(sent(trees)));
    for author in [0, 1, 2, 0, 1, 2] {
        nodes[author].publish(Bytes::from_static(b"news"), |_, _| Bytes::new(), now).unwrap();
        // Its own messages go to all neighbours, so that of another node is what counts.
        nodes[0].receive(&9, payload(9, nodes[0].size().kept as u64, 2), now);
        for _ in 0..20 {
            for node in 0..3 {
                for (to, message) in sent(&mut nodes[node]) {
                    let from = Node::try_from(node).unwrap();
                    nodes[to as usize].receive(&from, message, now);
                }
            }
            now += 50 * MS;
            nodes.iter_mut().for_each(|trees| trees.tick(now));
        }
        let kept = nodes.each_ref().map(|trees| trees.size().kept);
        assert!(kept.iter().all(|of| *of == kept[0]), "{kept:?}");
    }
}

#[test]
fn a_much_shorter_path_replaces_the_one_by_which_a_message_came() {
    let now = crate::time::now();
    for (hops, replaces) in [(6, true), (7, false)] {
        let mut trees = node(2, now);
        trees.receive(&2, TreesMessage::Prune, now);
        trees.receive(&1, payload(9, 0, 10), now);
        sent(&mut trees);
        trees.receive(&2, ihave(9, 0, 1, hops), now);
        let changes = [(2, TreesMessage::Graft { spans: Vec::new() }), (1, TreesMessage::Prune)];
        assert_eq!(sent(&mut trees), if replaces { &changes[..] } else { &[] });
        assert_eq!(trees.eager().eq([&2]), replaces);
    }
}

#[test]
fn a_lazy_neighbour_takes_the_place_of_a_lost_one_that_brought_messages() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    trees.receive(&1, payload(9, 0, 2), now);
    trees.receive(&2, payload(9, 0, 2), now);
    let later = now + 3 * SECOND;
    trees.receive(&2, ihave(9, 0, 1, 2), later);
    sent(&mut trees);
    trees.neighbor_down(&3, later);
    assert_eq!(sent(&mut trees), []);
    trees.neighbor_down(&1, later);
    assert_eq!(sent(&mut trees), [(2, TreesMessage::Graft { spans: Vec::new() })]);
}

#[test]
fn only_the_lowest_author_heard_lately_shapes_the_tree() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    trees.receive(&1, payload(5, 0, 1), now);
    trees.receive(&1, payload(9, 0, 1), now);
    trees.receive(&2, payload(9, 0, 1), now);
    assert_eq!(trees.lazy().count(), 0, "author 5 shapes it");
    let later = now + 10 * SECOND;
    trees.receive(&1, payload(9, 1, 1), later);
    trees.receive(&2, payload(9, 1, 1), later);
    assert!(trees.lazy().eq([&2]), "author 5 is silent");
}

#[test]
fn a_neighbour_is_useful_while_it_brings_messages_first() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    let useful = |trees: &mut Trees<Node>| -> Vec<(Node, bool)> {
        let events = outputs(trees).into_iter().filter_map(|output| match output {
            TreesOutput::Event(TreesEvent::Useful { peer, useful }) => Some((peer, useful)),
            _ => None,
        });
        events.collect()
    };
    trees.receive(&1, payload(9, 0, 1), now);
    trees.receive(&2, payload(8, 0, 1), now);
    trees.receive(&3, ihave(9, 0, 1, 2), now);
    assert_eq!(useful(&mut trees), [(1, true), (2, true)]);
    let later = now + 40 * SECOND;
    trees.tick(later);
    assert_eq!(useful(&mut trees), [], "there was nothing to contribute to");
    trees.receive(&1, payload(9, 1, 1), later);
    assert_eq!(useful(&mut trees), [(2, false)]);
}

#[test]
fn a_burst_of_payloads_delays_no_prune() {
    let now = crate::time::now();
    let mut trees = node(3, now);
    for n in 0..100 {
        trees.receive(&1, payload(9, n, 1), now);
        trees.receive(&2, payload(9, n, 1), now);
    }
    let sent = sent(&mut trees);
    // They are marked, so that the driver can send them on their own stream, and there are few.
    assert_eq!(receivers(&sent, true), [2]);
    assert_eq!(receivers(&sent, false).iter().filter(|to| **to == 3).count(), 100);
}
