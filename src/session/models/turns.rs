//! The order of messages for a handler.

use std::sync::{Arc, Mutex};

use crate::{
    session::turns::{Turn, Turns},
    sync::model::{explore, join, run, thread},
};

#[test]
fn a_message_gets_its_turn_however_those_before_it_end() {
    explore(400, || {
        let mut turns = Turns::default();
        let [first, second, third, fourth] = [(); 4].map(|()| turns.take("handler"));
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |turn: Turn, number: usize| {
            let order = Arc::clone(&order);
            run(async move {
                turn.wait().await;
                order.lock().unwrap().push(number);
            })
        };
        let (two, four) = (wait(second, 2), wait(fourth, 4));
        // Neither waits: the first has its turn, and the third is cancelled.
        let others = [thread(move || drop(first)), thread(move || drop(third))];
        join(others);
        join([two, four]);
        assert_eq!(*order.lock().unwrap(), [2, 4]);
        assert!(!turns.is_waiting(&"handler"));
    });
}
