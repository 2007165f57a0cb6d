//! Neighbours that do what no node of this crate does: the others hear every broadcast once all the
//! same, and a neighbour that goes on doing it is dropped.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use actix::prelude::*;
use actix_peer::{
    Builder, Incoming, Peer, PeerInfo, Reply,
    frame::{Frame, TypeCode},
    handler,
    link::LinkEvent,
    message::Via,
    overlay::{
        trees::{BCP, MessageId, Span, TreesMessage},
        views::{NBR, ViewsMessage},
    },
    sim::{SimError, SimNetwork},
};

use crate::{common::SECOND, fake::Fake};

/// What a hostile neighbour does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// It accepts, and passes nothing on.
    Silent,
    /// It sends each message back, twice.
    Twice,
    /// It fetches again and again what it has.
    Grafts,
    /// It announces messages that no node has published.
    Promises,
}

/// A node that becomes a neighbour and lives by its habit.
struct Hostile {
    fake: Fake,
    name: String,
    habit: Habit,
    ids: Vec<MessageId<PeerInfo>>,
}

impl Hostile {
    async fn live(mut self) {
        self.send(&ViewsMessage::Join.encode("").unwrap());
        self.fake.flush().await;
        while let Some(events) = self.fake.events().await {
            for event in events {
                let LinkEvent::Message { exchange, code, data, request, cost, .. } = event else {
                    continue;
                };
                self.fake.link.consumed(cost);
                if request {
                    // It is who it says.
                    let name = self.name.clone();
                    self.fake
                        .link
                        .reply(exchange, TypeCode::REPL, name.as_bytes(), false, true)
                        .ok();
                } else {
                    self.on_message(&Frame::new(code, data));
                }
            }
            self.fake.flush().await;
        }
    }

    fn send(&mut self, frame: &Frame) {
        // Without credit the message is lost, which harms only its sender.
        self.fake.link.one_way(frame.code(), frame.data()).ok();
    }

    fn on_message(&mut self, frame: &Frame) {
        if frame.code() == NBR {
            if let Some((_, ViewsMessage::Neighbor { .. })) = ViewsMessage::decode(frame) {
                self.send(&ViewsMessage::Accept { peers: Vec::new() }.encode("").unwrap());
            }
            return;
        }
        if frame.code() != BCP {
            return;
        }
        let Some((_, TreesMessage::Payload { id, .. })) = TreesMessage::decode(frame) else {
            return;
        };
        match self.habit {
            Habit::Silent => {}
            Habit::Twice => (0..2).for_each(|_| self.send(frame)),
            // Once for each new message: what it fetches comes as a message again.
            Habit::Grafts if self.ids.contains(&id) => {}
            Habit::Grafts => {
                self.ids.push(id);
                let spans = self.ids.iter().map(|id| Span { first: id.clone(), count: 1 });
                let graft = TreesMessage::Graft { spans: spans.collect() };
                for _ in 0..8 {
                    graft.encode("").iter().for_each(|frame| self.send(frame));
                }
            }
            Habit::Promises => {
                let first = MessageId { incarnation: 1, sequence: id.sequence * 100, ..id };
                let span = Span { first, count: 50 };
                let announced = vec![actix_peer::overlay::trees::Announced { span, hops: 1 }];
                let have = TreesMessage::IHave { announced };
                have.encode("").iter().for_each(|frame| self.send(frame));
            }
        }
    }
}

type Heard = Rc<RefCell<BTreeMap<usize, Vec<u32>>>>;

fn hears(
    n: usize,
    builder: Builder,
    heard: &Heard,
) -> Result<Builder, actix_peer::peer::RegisterError> {
    let heard = Rc::clone(heard);
    let hear = handler::from_fn(async move |msg: Incoming| {
        if let Via::Broadcast { .. } = msg.sender().via() {
            let number = msg.frame.as_str().unwrap().parse().unwrap();
            heard.borrow_mut().entry(n).or_default().push(number);
        }
        Reply::none()
    });
    let builder = builder.handle("NEWS", hear.start())?.well_known();
    Ok(if n == 0 { builder } else { builder.contacts(["n0:9000"]) })
}

/// The hostile nodes among the neighbours of a node.
fn hostile_at(peer: &Peer) -> usize {
    peer.active_neighbors().iter().filter(|of| of.id().as_str().starts_with('m')).count()
}

#[test]
fn hostile_neighbours_keep_no_broadcast_from_the_others_and_go_if_they_do_harm() {
    for habit in [Habit::Silent, Habit::Twice, Habit::Grafts, Habit::Promises] {
        let heard = Heard::default();
        let all = Rc::clone(&heard);
        let run = SimNetwork::new(1).run(async move |net| {
            net.wires().latency(SECOND / 1_000..SECOND / 50);
            let peers = net.start_many(12, move |n, builder| hears(n, builder, &all)).await?;
            net.advance(SECOND * 5).await;
            for n in 0..4 {
                let name = format!("m{n}");
                let fake = Fake::dial(net.wires(), &name, "n0").await;
                actix_rt::spawn(Hostile { fake, name, habit, ids: Vec::new() }.live());
            }
            net.advance(SECOND * 2).await;
            let before = hostile_at(&peers[0]);
            assert!(before > 0, "{habit:?}: none became a neighbour");
            for number in 0..150_u32 {
                peers[5].broadcast(Frame::text("NEWS", number.to_string())).unwrap();
                net.advance(SECOND / 10).await;
            }
            net.advance(SECOND * 2).await;
            let after = hostile_at(&peers[0]);
            match habit {
                Habit::Silent => {}
                _ => assert_eq!(after, 0, "{habit:?}: {before} before"),
            }
            Ok::<_, SimError>(())
        });
        run.unwrap();
        let heard = heard.borrow();
        for n in (0..12).filter(|n| *n != 5) {
            assert_eq!(heard.get(&n), Some(&(0..150).collect()), "{habit:?}: {n}");
        }
    }
}
