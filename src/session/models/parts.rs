//! The queue of the parts of an exchange.

use std::{future::poll_fn, sync::Arc};

use crate::{
    link::Reason,
    session::{
        models::network::CODE,
        queue::{ExchangeBroken, InPart, NextPart, PartQueue},
        tick::Ticks,
    },
    sync::model::{explore, join, run, thread},
};

/// More ticks than there are.
const LIMIT: Ticks = Ticks::new(2);

fn part(n: u8) -> InPart {
    InPart { code: CODE, data: vec![n].into(), last: false, cost: 1 }
}

#[test]
fn a_reader_gets_every_part_in_order_and_then_the_end() {
    explore(300, || {
        let queue = Arc::new(PartQueue::default());
        let from = Arc::clone(&queue);
        let reads = run(async move {
            let mut read = Vec::new();
            loop {
                match poll_fn(|cx| from.poll_next(cx)).await {
                    NextPart::Part(part) => read.push(part.data[0]),
                    NextPart::End(end) => break (read, end.is_err()),
                    // The limit of the ticks is high.
                    NextPart::Late => unreachable!(),
                }
            }
        });
        let writer = Arc::clone(&queue);
        let ticks = thread(move || queue.tick(LIMIT));
        let writes = thread(move || {
            (0..3).for_each(|n| assert!(writer.push(part(n)).is_none()));
            writer.end(Err(ExchangeBroken { reason: Reason::LOST, sent: true, link: true }));
            // It ends only once.
            writer.end(Ok(()));
        });
        join([writes]);
        join([ticks]);
        assert_eq!(reads.join().unwrap(), (vec![0, 1, 2], true));
    });
}

#[test]
fn the_credit_of_parts_is_returned_once_when_their_reader_is_dropped() {
    explore(300, || {
        let queue = Arc::new(PartQueue::default());
        let writer = Arc::clone(&queue);
        let writes = thread(move || {
            let refused = (0..3).filter_map(|n| writer.push(part(n)));
            refused.map(|part| part.cost).sum::<u32>()
        });
        let drops = thread(move || queue.abandon().0);
        assert_eq!(join([writes, drops]).iter().sum::<u32>(), 3);
    });
}
