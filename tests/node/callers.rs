//! A handle works on any thread and under any executor, even one without timers.

use std::{
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake},
    thread,
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Builder, Incoming, Outgoing, Over, Peer, Reply, RequestError, StartError, Target,
    frame::Frame,
    handler,
    link::AckLevel,
    reliable::{Reliability, ReliableError},
};
use futures::{StreamExt, TryStreamExt, channel::oneshot};

use crate::common::handlers;

/// The simplest executor: a thread without a runtime.
fn block_on<F: Future>(work: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

const LONG: u32 = 3 << 20;

fn builder(id: &str) -> Builder {
    let long = handler::from_fn(async |msg: Incoming| {
        let mut body = msg.into_body();
        while body.try_next().await.ok().flatten().is_some() {}
        Reply::one(Frame::text("LONG", body.received().to_string()))
    });
    let builder = Peer::builder().id(id).well_known();
    #[cfg(feature = "kademlia")]
    let builder = builder.kademlia(actix_peer::peer::KademliaConfig::default());
    #[cfg(feature = "swim")]
    let builder =
        builder.swim(actix_peer::overlay::swim::SwimConfig::lan(2), "").expect("short metadata");
    let builder = builder.handle("ECHO", handlers::echo()).unwrap();
    builder.handle_stream("LONG", long.start()).unwrap()
}

fn echo(over: Over) -> Outgoing {
    Outgoing::from(Frame::text("ECHO", "hello")).over(over)
}

/// Sends messages of every kind by every verb.
async fn send_everything(peer: &Peer, other: &Peer) {
    let how = Reliability::from(AckLevel::Handled).across_restarts();
    for over in [Over::Classic, Over::Any, Over::Link] {
        let long = || Outgoing::body("LONG", LONG, tokio::io::repeat(7)).over(over);
        let long_frame = || Outgoing::from(Frame::new("LONG", vec![7; LONG as usize])).over(over);
        for message in [echo(over), long(), long_frame()] {
            let mut replies = peer.request(other.info(), message).await.unwrap();
            assert!(replies.next().await.unwrap().is_ok());
            assert!(replies.next().await.is_none());
        }
        let mut replies = peer.request(other.info(), echo(over)).await.unwrap();
        let body = replies.next_body().await.unwrap().unwrap();
        assert_eq!(body.map_ok(|piece| piece.len()).try_collect::<Vec<_>>().await.unwrap(), [5]);
        peer.notify(other.info(), echo(over)).await.unwrap();
        peer.notify(other.info(), long()).await.unwrap();
        peer.notify_acked(other.info(), echo(over), AckLevel::Handled).await.unwrap();
    }
    let ticks = (0..100).map(|n| Frame::text("ECHO", n.to_string()));
    assert_eq!(peer.notify_all(other.info(), ticks).await.unwrap(), 100);
    peer.send_reliable(other.info(), Frame::text("ECHO", "1"), how).await.unwrap();
    let taken = peer.try_send_reliable(other.info(), Frame::text("ECHO", "2"), how).await;
    taken.unwrap().await.unwrap();
}

/// Makes the calls of the overlays that are compiled in.
#[cfg_attr(
    not(any(feature = "kademlia", feature = "swim")),
    expect(unused_variables, clippy::unused_async, reason = "there is no overlay")
)]
async fn use_overlays(peer: &Peer, other: &Peer) {
    #[cfg(feature = "kademlia")]
    {
        let key = actix_peer::overlay::kademlia::Key::of(other.id());
        peer.join_kademlia(&other.info().address().to_string()).await.unwrap();
        assert!(!peer.lookup(key).await.unwrap().is_empty());
        assert_eq!(peer.find(other.id()).await.unwrap().as_ref(), Some(other.info()));
        peer.put(key, "value", Duration::from_secs(60)).await.unwrap();
        assert_eq!(peer.get(key).await.unwrap().unwrap(), b"value");
        peer.provide("print").await.unwrap();
        assert!(!peer.providers("print").await.unwrap().is_empty());
        peer.withdraw("print").unwrap();
    }
    #[cfg(feature = "swim")]
    {
        peer.set_metadata(b"roles").unwrap();
        assert!(peer.members().len() <= 1);
        peer.leave_members().await;
    }
}

/// Makes every call of a handle to a node that answers.
async fn call_everything(peer: &Peer, other: &Peer) {
    let mut events = peer.events();
    send_everything(peer, other).await;
    let contact = other.info().address().to_string();
    assert_eq!(peer.join(&contact).await.unwrap().added().len(), 1);
    assert!(peer.status().await.joined);
    assert_eq!(peer.peers().list().await.unwrap().len(), 1);
    let routed = peer.request(Target::routed(other.id().clone()), echo(Over::Any)).await.unwrap();
    assert_eq!(routed.collect().await.unwrap().len(), 1);
    peer.route(other.id(), echo(Over::Any)).await.unwrap().collect().await.unwrap();
    use_overlays(peer, other).await;
    assert_eq!(peer.leave().await.unwrap(), 1);
    peer.peers().add(other.info().clone()).await.unwrap();
    assert!(peer.peers().remove(other.id()).await.unwrap().is_some());
    let address: IpAddr = [192, 0, 2, 7].into();
    assert!(peer.ban(address, Duration::MAX) && peer.bans().len() == 1 && peer.unban(address));
    peer.pause();
    peer.resume();
    assert!(events.next().await.is_some());
    // A port without a listener.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(peer.request(nobody, echo(Over::Any)).await.is_err());
    let stopped = peer.stop().await;
    assert!(stopped.is_clean(), "{stopped:?}");
    let late = peer.request(other.info(), echo(Over::Any)).await.unwrap_err();
    assert!(matches!(late, RequestError::Stopped { .. }), "{late}");
}

/// Runs `call` on a thread of its own, and waits for it without blocking the thread of the node.
async fn elsewhere(call: impl FnOnce() + Send + 'static) {
    let (done, ended) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        call();
    });
    ended.await.unwrap_err();
    thread.join().unwrap();
}

#[actix::test]
async fn every_call_works_on_a_thread_without_a_runtime() {
    for workers in [0, 2] {
        let peer = builder("ada").workers(workers).start().await.unwrap();
        let other = builder("bob").start().await.unwrap();
        let bob = other.clone();
        elsewhere(move || block_on(call_everything(&peer, &bob))).await;
        other.stop().await;
    }
}

#[actix::test]
async fn every_call_works_in_another_runtime_and_continues_in_the_next_one() {
    let other = builder("bob").start().await.unwrap();
    let peer = builder("ada").start().await.unwrap();
    for _ in 0..2 {
        // The runtime of these calls ends with them, and has neither timers nor sockets.
        let (ada, bob) = (peer.clone(), other.clone());
        elsewhere(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for over in [Over::Classic, Over::Link] {
                    let replies = ada.request(bob.info(), echo(over)).await.unwrap();
                    assert_eq!(replies.collect().await.unwrap().len(), 1);
                    ada.notify_acked(bob.info(), echo(over), AckLevel::Handled).await.unwrap();
                }
            });
        })
        .await;
    }
    let bob = other.clone();
    elsewhere(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(call_everything(&peer, &bob));
    })
    .await;
    other.stop().await;
}

#[test]
fn a_call_on_a_node_whose_system_has_ended_is_an_error_and_not_a_panic() {
    let (peer, other) = thread::spawn(|| {
        System::new().block_on(async {
            let peer = builder("ada").start().await.unwrap();
            let other = builder("bob").start().await.unwrap();
            let replies = peer.request(other.info(), echo(Over::Link)).await.unwrap();
            assert_eq!(replies.collect().await.unwrap().len(), 1);
            (peer, other)
        })
    })
    .join()
    .unwrap();
    block_on(async {
        let stopped = |error: &RequestError| matches!(error, RequestError::Stopped { .. });
        for over in [Over::Any, Over::Link, Over::Classic] {
            let error = peer.request(other.info(), echo(over)).await.err().unwrap();
            assert!(stopped(&error), "{over:?}: {error}");
            let error = peer.notify(other.info(), echo(over)).await.unwrap_err();
            assert!(stopped(&error), "{over:?}: {error}");
            let acked = peer.notify_acked(other.info(), echo(over), AckLevel::Handled).await;
            assert!(stopped(acked.as_ref().unwrap_err()), "{over:?}: {acked:?}");
        }
        let how = Reliability::from(AckLevel::Handled).across_restarts();
        let sent = peer.send_reliable(other.info(), Frame::text("ECHO", "1"), how).await;
        assert!(matches!(sent, Err(ReliableError::NotSent(_))), "{sent:?}");
        assert!(peer.join(&other.info().address().to_string()).await.is_err());
        assert!(peer.leave().await.is_err());
        assert!(peer.peers().list().await.is_err());
        peer.status().await;
        peer.stop().await;
    });
}

#[test]
fn a_node_in_a_plain_local_set_is_refused_without_a_panic() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let thread = thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().id() == thread {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    for workers in [0, 2] {
        let error = local.block_on(&runtime, Peer::builder().workers(workers).start()).unwrap_err();
        assert!(matches!(error, StartError::NoArbiter), "{error}");
        let error = runtime.block_on(Peer::builder().workers(workers).start()).unwrap_err();
        assert!(matches!(error, StartError::NoArbiter), "{error}");
        let error = block_on(Peer::builder().workers(workers).start()).unwrap_err();
        assert!(matches!(error, StartError::NoArbiter), "{error}");
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
