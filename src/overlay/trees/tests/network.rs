//! Networks of views and trees, under faults drawn from a seed.

use std::collections::BTreeMap;

use super::{MS, MessageId, Node, SECOND, TreesMessage};
use crate::overlay::{
    dice::Dice,
    views::{
        ViewsConfig,
        tests::network::{Hostile, Network, joined},
    },
};

/// The published messages, with the time.
type Published = Vec<(MessageId<Node>, std::time::Instant)>;

/// A network of joined nodes whose links have become a tree.
fn settled(count: Node, seed: u64) -> Network {
    let mut network = joined(ViewsConfig::default(), count, false, seed);
    network.run(5 * SECOND);
    network.publish(1, "first");
    network.run(5 * SECOND);
    network
}

/// Each honest node that ran since a message was published has it, if any running node has.
fn assert_complete(network: &Network, published: &Published, what: &str) {
    let honest = || network.nodes.iter().filter(|(node, _)| !network.hostile.contains_key(node));
    for (id, at) in published {
        if honest().any(|(_, host)| host.has(id)) {
            for (node, host) in honest().filter(|(_, host)| host.since <= *at) {
                assert!(host.has(id), "{what}: {node} misses {id:?}");
            }
        }
    }
    honest().for_each(|(_, host)| assert_ordered(&host.delivered, &host.gaps, what));
}

/// The messages that are not late and the gaps are consecutive for each run of an author.
fn assert_ordered(delivered: &[super::Delivery<Node>], gaps: &[super::Gap<Node>], what: &str) {
    let mut next: BTreeMap<(Node, u64), u64> = BTreeMap::new();
    for id in delivered.iter().filter(|delivery| !delivery.late).map(|delivery| &delivery.id) {
        let of = next.entry((id.author, id.incarnation)).or_insert(id.sequence);
        while let Some(gap) = gaps.iter().find(|gap| {
            (gap.first.author, gap.first.incarnation, gap.first.sequence)
                == (id.author, id.incarnation, *of)
        }) {
            *of += gap.count;
        }
        assert_eq!(*of, id.sequence, "{what}: out of order at {id:?}");
        *of += 1;
    }
}

fn payloads(network: &Network) -> usize {
    network.nodes.values().map(|host| host.payloads).sum()
}

#[test]
fn a_settled_tree_brings_each_message_to_each_node_with_few_duplicates() {
    for seed in 0..3 {
        let mut network = settled(50, seed);
        let before = payloads(&network);
        for n in 0..50 {
            network.publish(n, "news");
            network.run(300 * MS);
        }
        let each = 50 * 49;
        let more = payloads(&network) - before - each;
        // Each author sends its message to all its neighbours, so that it enters the tree at
        // several places. In a network of this size that counts.
        assert!(more * 4 <= each * 3, "seed {seed}: {more} duplicates of {each}");
        let before = payloads(&network);
        (0..50).for_each(|_| {
            network.publish(0, "news");
            network.run(300 * MS);
        });
        let more = payloads(&network) - before - each;
        assert!(more * 20 <= each, "seed {seed}: {more} duplicates of {each} of one author");
        assert!(network.nodes.values().all(|host| host.delivered.len() >= 49));
    }
}

#[test]
fn messages_of_all_nodes_at_once_reach_all_nodes() {
    for seed in 0..3 {
        let mut network = joined(ViewsConfig::default(), 40, false, seed);
        let mut published = Published::new();
        for _ in 0..5 {
            published.extend((0..40).map(|node| (network.publish(node, "news"), network.now)));
            network.run(500 * MS);
        }
        network.run(2 * SECOND);
        assert_complete(&network, &published, &format!("seed {seed}"));
        assert!(
            network.nodes.values().all(|host| host.gaps.is_empty() && host.offences.is_empty())
        );
    }
}

#[test]
fn what_one_survivor_of_four_fifths_has_reaches_all_survivors() {
    for seed in 0..5 {
        let mut network = settled(60, seed);
        let mut published = Published::new();
        for n in 0..10 {
            published.push((network.publish(50 + n, "news"), network.now));
            network.run(5 * MS);
        }
        (1..48).for_each(|node| network.end(node));
        network.run(3 * SECOND);
        assert_complete(&network, &published, &format!("seed {seed}"));
    }
}

#[test]
fn what_was_published_in_a_partition_reaches_the_other_half_after_it() {
    for seed in 0..3 {
        let mut network = settled(40, seed);
        network.partition((0..20).collect());
        let mut published = Published::new();
        for n in 0..40 {
            published.push((network.publish(n, "news"), network.now));
            network.run(250 * MS);
        }
        network.side.clear();
        network.run(15 * SECOND);
        assert_complete(&network, &published, &format!("seed {seed}"));
    }
}

#[test]
fn neighbours_that_forward_nothing_cut_nobody_off() {
    for seed in 0..3 {
        let mut network = settled(40, seed);
        let published = with_hostile(&mut network, |_| Vec::new());
        assert_complete(&network, &published, &format!("seed {seed}"));
    }
}

#[test]
fn neighbours_that_send_everything_back_or_ask_for_everything_harm_no_other() {
    for seed in 0..3 {
        let mut network = settled(40, seed);
        let published = with_hostile(&mut network, |message| match message {
            TreesMessage::Payload { id, .. } => {
                let span = super::Span { first: id, count: 512 };
                vec![TreesMessage::Graft { spans: vec![span] }, TreesMessage::Prune]
            }
            TreesMessage::IHave { announced } => vec![TreesMessage::IHave { announced }],
            other => vec![other],
        });
        assert_complete(&network, &published, &format!("seed {seed}"));
    }
}

/// Ten of the nodes turn hostile, and the others publish.
fn with_hostile(network: &mut Network, does: Hostile) -> Published {
    network.hostile.extend((30..40).map(|node| (node, does)));
    let mut published = Published::new();
    for n in 0..60 {
        published.push((network.publish(n % 30, "news"), network.now));
        network.run(100 * MS);
    }
    network.run(3 * SECOND);
    published
}

#[test]
fn whatever_happens_each_message_comes_once_in_order_and_to_all_that_live() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let count = 5 + Node::try_from(dice.below(20)).unwrap();
        let mut network = settled(count, seed);
        let mut published = Published::new();
        for _ in 0..60 {
            let node = |dice: &mut Dice| Node::try_from(dice.below(count as usize)).unwrap();
            match dice.below(12) {
                0 | 1 => network.cut(node(&mut dice), node(&mut dice), MS),
                2 => network.end(1 + node(&mut dice)),
                3 => network.start(node(&mut dice)),
                4 => network.leave(1 + node(&mut dice)),
                5 => {
                    let side = (0..count).filter(|_| dice.below(2) == 0).collect();
                    network.partition(side);
                    network.run(SECOND * u32::try_from(1 + dice.below(4)).unwrap());
                    network.side.clear();
                }
                _ => {
                    let author = node(&mut dice);
                    if network.nodes.contains_key(&author) {
                        published.push((network.publish(author, "news"), network.now));
                    }
                }
            }
            network.run(MS * u32::try_from(dice.below(300)).unwrap());
        }
        network.run(20 * SECOND);
        let end = network.now;
        // What is older than the memory of payloads may have been lost in a partition.
        published.retain(|(_, at)| end - *at <= 45 * SECOND);
        assert_complete(&network, &published, &format!("seed {seed}"));
    }
}
