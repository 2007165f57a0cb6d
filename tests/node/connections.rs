//! Every open connection is an actor that tells its state and closes on request.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use actix::prelude::Actor;
use actix_peer::{
    Config, Incoming, Outgoing, Over, Peer, Reply, RequestError,
    connection::{Close, ConnectionActor, GetStatus, OpenConnection, Protocol},
    frame::{Frame, TypeCode},
    handler,
    link::Reason,
    messages::GetConnections,
    node::Direction,
    transport::memory::MemoryNetwork,
};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};

/// Two nodes. The handler of the second for the code `WAIT` answers when it gets a permit.
struct Two {
    ada: Peer,
    bob: Peer,
    /// A permit for each request that the handler has received.
    received: Arc<Semaphore>,
    /// A permit for each answer that the handler may give.
    answers: Arc<Semaphore>,
}

async fn two() -> Two {
    let wires = MemoryNetwork::new(1);
    let [received, answers] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let permits = (Arc::clone(&received), Arc::clone(&answers));
    let wait = handler::from_fn(move |_: Incoming| {
        let (received, answers) = permits.clone();
        async move {
            received.add_permits(1);
            answers.acquire().await.unwrap().forget();
            Reply::one(Frame::text("REPL", "done"))
        }
    });
    let on = |name: &str| {
        let host = name.parse::<actix_peer::overlay::Host>().unwrap();
        Peer::builder().transport(wires.transport(host)).listen(format!("{name}:9000")).id(name)
    };
    let bob = on("bob").well_known().handle("WAIT", wait.start()).unwrap();
    let (ada, bob) = (on("ada").start().await.unwrap(), bob.start().await.unwrap());
    Two { ada, bob, received, answers }
}

impl Two {
    /// A request that bob's handler has received and not answered.
    async fn open(&self, over: Over) -> JoinHandle<Result<Vec<Frame>, RequestError>> {
        let (ada, to) = (self.ada.clone(), self.bob.info().clone());
        let request = actix::spawn(async move {
            let message = Outgoing::from(Frame::empty("WAIT")).over(over);
            ada.request(&to, message).await?.collect().await
        });
        self.received.acquire().await.unwrap().forget();
        request
    }
}

/// The only connection of a node.
fn only(peer: &Peer) -> OpenConnection {
    let [connection] = peer.connections().try_into().unwrap();
    connection
}

async fn ended(actor: &Addr<ConnectionActor>) {
    let end = async {
        while actor.connected() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), end).await.unwrap();
}

#[actix::test]
async fn each_side_of_a_link_and_of_a_classic_exchange_is_an_actor_that_tells_its_state() {
    let code = TypeCode::new(b"WAIT");
    for over in [Over::Link, Over::Classic] {
        let two = two().await;
        let request = two.open(over).await;
        let sides = [(&two.ada, &two.bob, Direction::Out), (&two.bob, &two.ada, Direction::In)];
        for (peer, other, direction) in sides {
            let open = only(peer);
            assert_eq!(open.status.direction, direction);
            assert_eq!(open.status.address.host(), other.info().host());
            let exchanges = peer.status().await.exchanges;
            match (&open.status.protocol, over) {
                (Protocol::Classic(found), Over::Classic) => {
                    assert_eq!(*found, code);
                    assert_eq!(exchanges[0].number, open.status.number);
                }
                (Protocol::Link(link), Over::Link) => {
                    assert_eq!((link.peer.clone(), link.open), (other.id().clone(), 1));
                    assert!(exchanges.is_empty());
                }
                (protocol, _) => panic!("{protocol:?} {over:?}"),
            }
            let status = open.actor.send(GetStatus).await.unwrap();
            assert_eq!(status.number, open.status.number);
            let listed = peer.addr().send(GetConnections {}).await.unwrap().unwrap();
            assert_eq!(listed[0].status.number, open.status.number);
        }
        two.answers.add_permits(1);
        assert_eq!(request.await.unwrap().unwrap(), [Frame::text("REPL", "done")]);
    }
}

#[actix::test]
async fn the_actor_of_a_classic_exchange_ends_with_the_exchange_on_both_sides() {
    let two = two().await;
    let request = two.open(Over::Classic).await;
    let [ada, bob] = [&two.ada, &two.bob].map(|peer| only(peer).actor);
    // It ends with its exchange anyway.
    ada.send(Close::AfterExchanges).await.unwrap();
    bob.send(Close::AfterExchanges).await.unwrap();
    two.answers.add_permits(1);
    assert!(request.await.unwrap().is_ok());
    ended(&ada).await;
    ended(&bob).await;
    assert!(two.ada.connections().is_empty() && two.bob.connections().is_empty());
}

#[actix::test]
async fn a_link_that_is_closed_after_its_exchanges_answers_them_and_takes_no_new_ones() {
    for closer in 0..2 {
        let two = two().await;
        let request = two.open(Over::Link).await;
        let old = [&two.ada, &two.bob].map(|peer| only(peer).actor);
        old[closer].send(Close::AfterExchanges).await.unwrap();
        // A second request opens another link.
        let second = two.open(Over::Link).await;
        two.answers.add_permits(2);
        assert!(request.await.unwrap().is_ok());
        assert!(second.await.unwrap().is_ok());
        for old in &old {
            ended(old).await;
        }
        assert_eq!((two.ada.connections().len(), two.bob.connections().len()), (1, 1));
    }
}

#[actix::test]
async fn a_link_that_is_closed_now_ends_its_exchanges_with_a_reason() {
    for closer in 0..2 {
        let two = two().await;
        let request = two.open(Over::Link).await;
        let actors = [&two.ada, &two.bob].map(|peer| only(peer).actor);
        actors[closer].send(Close::Now).await.unwrap();
        let error = request.await.unwrap().unwrap_err();
        let expected = matches!(
            &error,
            RequestError::Reset { reason: Reason::GOING_AWAY | Reason::LOST, sent: true }
        );
        assert!(expected, "{error:?}");
        for actor in &actors {
            ended(actor).await;
        }
    }
}

#[actix::test]
async fn a_classic_exchange_that_is_closed_now_is_an_error_for_its_caller() {
    for closer in 0..2 {
        let two = two().await;
        let request = two.open(Over::Classic).await;
        let actors = [&two.ada, &two.bob].map(|peer| only(peer).actor);
        actors[closer].send(Close::Now).await.unwrap();
        let answer = timeout(Duration::from_secs(5), request).await.unwrap().unwrap();
        // The end of a classic connection without a byte is an empty answer.
        let refused = if closer == 0 {
            answer.is_err()
        } else {
            matches!(&answer, Ok(frames) if frames.is_empty())
        };
        assert!(refused, "{closer}: {answer:?}");
        // The callee notices the end of a classic connection when it answers.
        two.answers.add_permits(1);
        for actor in &actors {
            ended(actor).await;
        }
    }
}

#[actix::test]
async fn no_connection_is_left_when_a_node_has_stopped_or_was_aborted() {
    for politely in [true, false] {
        for over in [Over::Link, Over::Classic] {
            let two = two().await;
            let request = two.open(over).await;
            let actors = [&two.ada, &two.bob].map(|peer| only(peer).actor);
            if politely {
                two.answers.add_permits(1);
                assert!(two.ada.stop().await.is_clean());
                assert!(request.await.unwrap().is_ok());
            } else {
                two.ada.abort().await;
                assert!(request.await.unwrap().is_err());
                two.answers.add_permits(1);
            }
            for actor in &actors {
                ended(actor).await;
            }
            assert!(two.ada.connections().is_empty() && two.bob.connections().is_empty());
        }
    }
}

#[actix::test]
async fn a_node_with_worker_threads_runs_its_connections_there() {
    let bob = Peer::builder().id("bob").well_known().workers(2).start().await.unwrap();
    let ada = Peer::builder().workers(2).config(Config::default()).start().await.unwrap();
    for over in [Over::Classic, Over::Link] {
        let message = Outgoing::from(Frame::empty("NAME")).over(over);
        ada.request(bob.info(), message).await.unwrap().collect().await.unwrap();
    }
    let link = ada.connections().into_iter().find(
        |open| matches!(&open.status.protocol, Protocol::Link(link) if link.peer.as_str() == "bob"),
    );
    link.unwrap().actor.send(Close::Now).await.unwrap();
    assert!(ada.stop().await.is_clean());
    assert!(bob.stop().await.is_clean());
}
