//! Nodes on the hosts of a test network.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use actix::prelude::*;
use actix_peer::{
    Incoming, Outgoing, Over, Peer, PeerEvent, PingSweep, Reply, RequestError, frame::Frame,
    handler,
};
use futures::StreamExt;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    common::{SECOND, handlers},
    net::Network,
};

/// Records the received messages and the events of a node.
#[derive(Clone, Default)]
pub(crate) struct Diary {
    notes: Arc<Mutex<Vec<String>>>,
    events: Arc<Mutex<Vec<(Instant, PeerEvent)>>>,
}

impl Diary {
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    /// The times of the events that satisfy `such`.
    pub(crate) fn times(&self, such: impl Fn(&PeerEvent) -> bool) -> Vec<Instant> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|(_, event)| such(event)).map(|(at, _)| *at).collect()
    }

    pub(crate) fn closed(&self) -> Vec<Instant> {
        self.times(|event| matches!(event, PeerEvent::LinkClosed { .. }))
    }

    pub(crate) fn opened(&self) -> usize {
        self.times(|event| matches!(event, PeerEvent::LinkOpened { .. })).len()
    }
}

/// Starts a node on this thread's host. `WAIT` answers after the requested number of milliseconds.
pub(crate) async fn node(host: usize, diary: &Diary) -> Peer {
    let wait = handler::from_fn(async |msg: Incoming| {
        let millis = msg.frame.as_str().unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Reply::one(msg.frame)
    });
    let notes = Arc::clone(&diary.notes);
    let note = handler::from_fn(async move |msg: Incoming| {
        notes.lock().unwrap().push(msg.frame.as_str().unwrap().to_owned());
        Reply::none()
    });
    let builder = Peer::builder().listen(address(host)).id(format!("host{host}")).well_known();
    let builder = builder.handle("ECHO", handlers::echo()).unwrap();
    let builder = builder.handle("WAIT", wait.start()).unwrap();
    let builder = builder.handle("NOTE", note.start()).unwrap();
    let peer = builder.stabilizer(PingSweep::new()).start().await.unwrap();
    let (events, seen) = (peer.events(), Arc::clone(&diary.events));
    actix_rt::spawn(events.for_each(move |event| {
        seen.lock().unwrap().push((Instant::now(), event));
        std::future::ready(())
    }));
    peer
}

pub(crate) fn address(host: usize) -> String {
    format!("10.7.0.{host}:9000")
}

/// A node that serves on a host until it is ended.
pub(crate) struct Served {
    pub(crate) diary: Diary,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn start(network: &Network, host: usize) -> Self {
        let diary = Diary::default();
        let ((end, ended), (up, is_up)) = (oneshot::channel(), mpsc::channel());
        let written = diary.clone();
        let thread = network.run(host, async move || {
            let peer = node(host, &written).await;
            up.send(()).unwrap();
            ended.await.ok();
            peer.abort().await;
        });
        is_up.recv().expect("a node");
        Self { diary, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Sends a request over a link.
pub(crate) async fn ask(
    peer: &Peer,
    host: usize,
    code: &'static str,
    text: &str,
) -> Result<(), RequestError> {
    let asked = Outgoing::from(Frame::text(code, text)).over(Over::Link);
    let replies = peer.request(address(host).as_str(), asked).await?.collect().await?;
    assert_eq!(replies, [Frame::text(code, text)]);
    Ok(())
}

/// Repeats a request until it is answered. Returns the time and the number of errors. Each error
/// must say that nothing was handled.
pub(crate) async fn ask_until_answered(peer: &Peer, host: usize) -> (Duration, usize) {
    let (begun, mut errors) = (Instant::now(), 0);
    while let Err(error) = ask(peer, host, "ECHO", "again").await {
        assert!(begun.elapsed() < 60 * SECOND, "{error}");
        println!("  while it recovers, after {:.1?}: {error}", begun.elapsed());
        errors += 1;
        tokio::time::sleep(SECOND / 10).await;
    }
    (begun.elapsed(), errors)
}

/// Lets time pass on this thread, which runs nothing else.
pub(crate) fn pass(time: Duration) {
    let (_never, wait) = mpsc::channel::<()>();
    wait.recv_timeout(time).unwrap_err();
}
