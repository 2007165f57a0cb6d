//! What a neighbour may send without harm.

use super::*;
use crate::overlay::dice::Dice;

fn offences(trees: &mut Trees<Node>) -> Vec<Offence> {
    let offences = outputs(trees).into_iter().filter_map(|output| match output {
        TreesOutput::Event(TreesEvent::Misbehaves { offence, .. }) => Some(offence),
        _ => None,
    });
    offences.collect()
}

#[test]
fn a_payload_over_the_limit_is_an_error_at_the_author_and_is_dropped_elsewhere() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    let long = Bytes::from(vec![0; 65_537]);
    let error = trees.publish(long.clone(), |_, _| Bytes::new(), now);
    let expected = PublishError::PayloadTooLong { len: 65_537, limit: 65_536 };
    assert_eq!(error, Err(expected));
    let error = trees.publish(Bytes::new(), |_, _| Bytes::from(vec![0; 257]), now);
    assert_eq!(error, Err(PublishError::ProofTooLong { len: 257, limit: 256 }));
    let good = trees.publish(long.slice(1..), |id, _| Bytes::from(id.sequence.to_string()), now);
    assert_eq!(good, Ok(id(0, 0)));
    sent(&mut trees);
    for (payload, proof) in [(long.clone(), Bytes::new()), (Bytes::new(), long.slice(..300))] {
        trees.receive(
            &1,
            TreesMessage::Payload { id: id(9, 0), hops: 1, age: 0, payload, proof },
            now,
        );
    }
    assert_eq!((outputs(&mut trees).len(), trees.size().kept), (0, 1));
}

#[test]
fn the_proof_is_passed_on_unchanged() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    let (payload, proof) = (Bytes::from_static(b"news"), Bytes::from_static(b"signature"));
    let message = |hops| TreesMessage::Payload {
        id: id(9, 0),
        hops,
        age: 0,
        payload: payload.clone(),
        proof: proof.clone(),
    };
    trees.receive(&1, message(1), now);
    assert_eq!(sent(&mut trees), [(2, message(2))]);
}

#[test]
fn whatever_neighbours_send_the_memory_stays_bounded() {
    let mut now = crate::time::now();
    let config = TreesConfig {
        authors: 100,
        kept_count: 50,
        kept_bytes: 10_000,
        missing_limit: 200,
        order_count: 20,
        ..TreesConfig::default()
    };
    let mut trees = Trees::new(0, 1, config, now);
    (1..=4).for_each(|peer| trees.neighbor_up(peer, now));
    let mut dice = Dice::new(5);
    for _ in 0..50_000 {
        let from = 1 + Node::try_from(dice.below(5)).unwrap();
        let author = Node::try_from(dice.below(1_000)).unwrap();
        let sequence = if dice.below(2) == 0 { dice.next() } else { dice.below(100) as u64 };
        let first = MessageId { author, incarnation: dice.below(3) as u64, sequence };
        let span =
            Span { first: first.clone(), count: u32::try_from(dice.below(5)).unwrap().pow(13) };
        let hops = u8::try_from(dice.below(256)).unwrap();
        let message = match dice.below(6) {
            0 | 1 => {
                let payload = Bytes::from(vec![0; dice.below(1_000)]);
                TreesMessage::Payload { id: first, hops, age: 0, payload, proof: Bytes::new() }
            }
            2 => TreesMessage::IHave { announced: vec![Announced { span, hops }; 3] },
            3 => TreesMessage::Graft { spans: vec![span; 3] },
            4 => TreesMessage::Refuse { spans: vec![span; 3] },
            _ => TreesMessage::Prune,
        };
        trees.receive(&from, message, now);
        if trees.next_tick().is_some_and(|at| at <= now) {
            trees.tick(now);
            assert!(trees.next_tick().is_none_or(|at| at > now));
        }
        now += MS;
        outputs(&mut trees);
        let size = trees.size();
        assert!(size.authors <= 100 && size.kept <= 50 && size.kept_bytes <= 10_000, "{size:?}");
        assert!(size.missing <= 200 && size.waiting <= 20, "{size:?}");
        assert!(trees.neighbors.values().all(|of| of.missing <= 100 && of.asked <= 128));
    }
    (1..=4).for_each(|peer| trees.neighbor_down(&peer, now));
    trees.tick(now + 400 * SECOND);
    assert_eq!(trees.size(), TreesSize::default(), "in the end all is forgotten");
}

#[test]
fn the_share_of_one_neighbour_leaves_room_for_what_others_announce() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    for n in 0..100 {
        trees.receive(&1, ihave(9, n * 1_000, 512, 1), now);
    }
    assert_eq!(trees.size().missing, 4_096);
    trees.receive(&2, ihave(8, 0, 1, 1), now);
    assert_eq!(trees.size().missing, 4_097);
}

#[test]
fn a_neighbour_that_sends_each_payload_twice_is_reported() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    for n in 0..40 {
        trees.receive(&1, payload(9, n, 1), now);
        trees.receive(&1, payload(9, n, 1), now);
    }
    assert_eq!(offences(&mut trees), [Offence::Duplicates]);
    assert_eq!(trees.lazy().count(), 0, "it is the only source");
}

#[test]
fn a_neighbour_that_ignores_prunes_is_reported() {
    let mut now = crate::time::now();
    let mut trees = node(3, now);
    for n in 0..200 {
        trees.receive(&1, payload(9, n, 2), now);
        trees.receive(&2, payload(9, n, 2), now);
        now += 100 * MS;
    }
    let outputs = outputs(&mut trees);
    let prune = |out: &&TreesOutput<Node>| {
        matches!(out, TreesOutput::Send { message: TreesMessage::Prune, .. })
    };
    assert!(outputs.iter().filter(prune).count() <= 11, "one in two seconds");
    let reported = TreesEvent::Misbehaves { peer: 2, offence: Offence::Duplicates };
    assert!(outputs.contains(&TreesOutput::Event(reported)));
}

#[test]
fn a_neighbour_that_announces_and_never_sends_is_reported() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    for n in 0..100 {
        trees.receive(&1, ihave(9, n * 2, 1, 1), now);
    }
    while let Some(due) = trees.next_tick() {
        trees.tick(due);
    }
    assert!(offences(&mut trees).contains(&Offence::EmptyPromises));
}

#[test]
fn a_neighbour_that_grafts_everything_gets_no_more_than_its_rate() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    (0..500).for_each(|n| trees.receive(&1, payload(9, n, 1), now));
    sent(&mut trees);
    let mut grafted = |now| {
        for _ in 0..100 {
            trees.receive(&2, graft(9, 0, 500), now);
        }
        let outputs = outputs(&mut trees);
        let payloads = outputs.iter().filter(|output| {
            matches!(output, TreesOutput::Send { message: TreesMessage::Payload { .. }, .. })
        });
        (payloads.count(), outputs.iter().any(|out| matches!(out, TreesOutput::Event(_))))
    };
    assert_eq!(grafted(now), (4_096, true));
    assert_eq!(grafted(now + SECOND), (256, true));
}

#[test]
fn forged_incarnations_neither_block_their_author_nor_fill_the_memory() {
    let now = crate::time::now();
    let mut trees = node(1, now);
    let of = |incarnation| MessageId { author: 9, incarnation, sequence: 0 };
    for incarnation in (0..10_000).map(|n| u64::MAX - n).chain([1]) {
        let (id, payload, proof) = (of(incarnation), Bytes::new(), Bytes::new());
        assert!(!trees.is_known(&id), "{incarnation}");
        trees.receive(&1, TreesMessage::Payload { id, hops: 1, age: 0, payload, proof }, now);
    }
    assert!(trees.is_known(&of(1)));
    assert_eq!(trees.size().authors, 1);
    let known = (0..10_000).filter(|n| trees.is_known(&of(u64::MAX - n))).count();
    assert_eq!(known, 3);
}

#[test]
fn own_messages_are_not_delivered_whoever_sends_them() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    for (incarnation, sequence) in [(1, 0), (1, u64::MAX), (0, 0), (2, 0)] {
        let id = MessageId { author: 0, incarnation, sequence };
        let (payload, proof) = (Bytes::new(), Bytes::new());
        trees.receive(&1, TreesMessage::Payload { id, hops: 1, age: 0, payload, proof }, now);
        trees.receive(&1, ihave(0, sequence, 5, 1), now);
    }
    assert_eq!((outputs(&mut trees), trees.size()), (Vec::new(), TreesSize::default()));
}

/// A tree that keeps a history of a day, and remembers ids for an hour more.
fn with_history(me: Node, count: usize, now: Instant) -> Trees<Node> {
    let config = TreesConfig {
        history_count: count,
        history_bytes: 1 << 20,
        history_for: 86_400 * SECOND,
        remember_for: 90_000 * SECOND,
        ..TreesConfig::default()
    };
    Trees::new(me, 1, config, now)
}

/// Passes the messages of one tree to another one. Returns how many it delivered itself.
fn pass(from: &mut Trees<Node>, to: &mut Trees<Node>, now: Instant) -> usize {
    from.tick(now);
    let mut delivered = 0;
    for output in outputs(from) {
        match output {
            TreesOutput::Send { message, .. } => to.receive(from.me(), message, now),
            TreesOutput::Deliver(_) => delivered += 1,
            _ => {}
        }
    }
    delivered
}

/// Passes all messages between two trees that are neighbours.
fn pass_all(a: &mut Trees<Node>, b: &mut Trees<Node>, now: Instant) -> usize {
    let at = |round: u32| now + round * 300 * MS;
    (0..8).map(|round| pass(a, b, at(round)) + pass(b, a, at(round))).sum()
}

#[test]
fn a_message_is_in_a_history_for_a_day_however_many_nodes_have_passed_it_on() {
    let begun = crate::time::now();
    let hour = 3_600 * SECOND;
    let mut author = with_history(1, 10, begun);
    let (mut early, mut late) = (with_history(2, 10, begun), with_history(3, 10, begun));
    let mut reader = with_history(4, 0, begun);
    author.neighbor_up(2, begun);
    early.neighbor_up(1, begun);
    author.publish(Bytes::from_static(b"news"), |_, _| Bytes::new(), begun).unwrap();
    assert_eq!(pass_all(&mut author, &mut early, begun), 1);
    // After ten hours another node gets it, and keeps it.
    let now = begun + 10 * hour;
    early.neighbor_up(3, now);
    late.neighbor_up(2, now);
    assert_eq!(pass_all(&mut early, &mut late, now), 1);
    // After 23 hours it still hands it out, and after 25 no longer.
    let now = begun + 23 * hour;
    late.neighbor_up(4, now);
    reader.neighbor_up(3, now);
    assert_eq!(pass_all(&mut late, &mut reader, now), 1);
    reader.neighbor_down(&3, now);
    late.neighbor_down(&4, now);
    let now = begun + 25 * hour;
    let mut newcomer = with_history(5, 10, now);
    newcomer.neighbor_up(3, now);
    late.neighbor_up(5, now);
    assert_eq!(pass_all(&mut late, &mut newcomer, now), 0);
    assert_eq!(late.size().kept, 0);
}

#[test]
fn a_neighbour_without_room_gets_the_id_of_a_message_and_fetches_it() {
    let now = crate::time::now();
    let mut trees = node(2, now);
    let id = trees.publish(Bytes::from_static(b"news"), |_, _| Bytes::new(), now).unwrap();
    outputs(&mut trees);
    trees.not_sent(&1, &id, now);
    trees.tick(now + SECOND);
    let sent = sent(&mut trees);
    let [(1, TreesMessage::IHave { announced })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((announced[0].span.first.clone(), announced[0].hops), (id, 1));
}
