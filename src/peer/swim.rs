//! The I/O of SWIM in a node: messages over links, events, timers.

use std::{
    sync::{Arc, MutexGuard, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use indexmap::{IndexMap, IndexSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    dispatch::{AtOnce, Take},
    frame::{Frame, TypeCode},
    message::{Identity, Incoming, Outgoing, Over, Via},
    node::{PeerEvent, Refusal, membership::Shared},
    overlay::{
        PeerId, PeerInfo,
        options::{ConfigError, Options as _},
        swim::{MemberEvent, Membership, SwimConfig, SwimRefused},
    },
    peer::maintenance::{Maintenance, NodeContext},
    session,
    session::Endpoint,
    sync::Mutex,
    time::Later,
};

/// The number of messages that wait for a link to one member. Further messages are dropped and
/// counted.
const WAITING_PER_MEMBER: usize = 8;

/// The total number of messages that wait for a link.
const WAITING: usize = 1_024;

/// How long a message waits for its link.
const WAIT: Duration = Duration::from_secs(5);

/// How often the peer table is checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time for a stopping node to announce that it leaves.
const LEAVE: Duration = Duration::from_millis(200);

pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Membership> {
    shared.machine.lock()
}

/// Runs `work` on the membership, and emits the resulting events.
pub(super) fn with<R>(
    node: &Endpoint,
    shared: &Shared,
    work: impl FnOnce(&mut Membership) -> R,
) -> R {
    let mut machine = lock(shared);
    let before = machine.counts().refused;
    let result = work(&mut machine);
    node.counters.membership_refused.add(machine.counts().refused.saturating_sub(before));
    while let Some(event) = machine.next_event() {
        let event = match event {
            MemberEvent::Up(peer) => PeerEvent::MemberUp { peer },
            MemberEvent::Down(peer) => PeerEvent::MemberDown { peer },
            MemberEvent::Rejoined(peer) => PeerEvent::MemberRejoined { peer },
            MemberEvent::Changed(peer) => PeerEvent::MemberChanged { peer },
        };
        node.emit(&event);
    }
    result
}

/// Serves `@SWM` synchronously, so that no message is queued.
#[derive(Debug)]
struct Gossip {
    node: Weak<Endpoint>,
}

impl Take for Gossip {
    fn take(&self, incoming: &Incoming) -> Result<(), Refusal> {
        let node = self.node.upgrade().ok_or(Refusal::HandlerGone)?;
        let shared = node.membership.get().ok_or(Refusal::HandlerGone)?;
        let sender = incoming.sender();
        let from = match sender.identity() {
            Identity::Claimed(id) | Identity::Proven(id) if *sender.via() == Via::Link => id,
            _ => return Err(Refusal::BadMessage),
        };
        let data = incoming.frame.data();
        let taken = with(&node, shared, |machine| machine.receive(from, data, now()));
        shared.wake.notify_one();
        match taken {
            Err(SwimRefused::Malformed) => Err(Refusal::BadMessage),
            Err(SwimRefused::NotTheSender) => Err(Refusal::NotYourId),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The maintenance that the option of the builder adds: sends what the membership has to send.
#[derive(Debug)]
pub(crate) struct Swim {
    pub(crate) config: SwimConfig,
    pub(crate) metadata: Vec<u8>,
}

impl Maintenance for Swim {
    fn name(&self) -> &'static str {
        "swim"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.config.validate_all()
    }

    fn prepare(&self, context: &NodeContext) {
        let node = &context.node;
        // If it is below that of an earlier run, the members report it.
        let incarnation = node.links.incarnation;
        let seed = node.me.id().seed(incarnation);
        let mut machine =
            Membership::new(node.me.clone(), incarnation, self.config.clone(), seed, now());
        // The builder has checked its length.
        machine.set_metadata(&self.metadata, now()).ok();
        let shared = Shared { machine: Mutex::new(machine), wake: tokio::sync::Notify::new() };
        node.membership.set(shared).ok();
        context.serve(TypeCode::SWM, Arc::new(AtOnce(Gossip { node: Arc::downgrade(node) })));
    }

    fn run<'a>(&'a self, NodeContext { node, peers }: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(shared) = node.membership.get() else { return };
            let mut postman = Postman::default();
            let mut look_at = Instant::now();
            loop {
                if look_at <= Instant::now() {
                    look_at = Instant::now().later(LOOK_EVERY);
                    let Ok(list) = peers.list_to_maintain().await else { return };
                    let known: Vec<_> = list.iter().map(|entry| entry.info().clone()).collect();
                    postman.known = known.iter().map(|info| info.id().clone()).collect();
                    lock(shared).set_contacts(known);
                }
                with(node, shared, |machine| machine.tick(now()));
                let (next, sends) = outgoing(shared);
                let next = next.map_or(look_at, Instant::from_std);
                sends.into_iter().for_each(|(to, data)| postman.send(node, to, data));
                timeout_at(next.min(look_at), shared.wake.notified()).await.ok();
            }
        })
    }
}

/// When the machine has something to do next, and the messages to send now.
fn outgoing(shared: &Shared) -> (Option<std::time::Instant>, Vec<(PeerInfo, Bytes)>) {
    let mut machine = lock(shared);
    let sends = std::iter::from_fn(|| machine.next_send()).collect();
    (machine.next_deadline(), sends)
}

/// Messages that are waiting for a link.
#[derive(Debug, Default)]
struct Postman {
    waiting: Arc<Mutex<IndexMap<PeerId, usize>>>,
    /// The peers in the peer table, which may be dialled without a limit.
    known: IndexSet<PeerId>,
}

impl Postman {
    fn send(&self, node: &Arc<Endpoint>, to: PeerInfo, data: Bytes) {
        let mut waiting = self.waiting.lock();
        let all: usize = waiting.values().sum();
        let of_it = waiting.entry(to.id().clone()).or_default();
        if *of_it >= WAITING_PER_MEMBER || all >= WAITING {
            node.counters.membership_dropped.one();
            return;
        }
        *of_it += 1;
        drop(waiting);
        let (shared, waiting) = (Arc::clone(node), Arc::clone(&self.waiting));
        let is_known = self.known.contains(to.id());
        node.spawn(async move {
            let send = send(&shared, &to, data, is_known);
            let sent = shared.drain.run_until_cancelled(timeout(WAIT, send)).await;
            if !matches!(sent, Some(Ok(true))) {
                shared.counters.membership_dropped.one();
            }
            let mut waiting = waiting.lock();
            if let Some(of_it) = waiting.get_mut(to.id()) {
                *of_it = of_it.saturating_sub(1);
                if *of_it == 0 {
                    waiting.swap_remove(to.id());
                }
            }
        });
    }
}

async fn send(node: &Arc<Endpoint>, to: &PeerInfo, data: Bytes, is_known: bool) -> bool {
    let open = session::is_open(node, (to.address(), Some(to.id())));
    // Dials to a node that is known only from other nodes are rate-limited.
    if !open && !is_known && !node.may_dial(to.address()).await {
        return false;
    }
    let message = Outgoing::from(Frame::new(TypeCode::SWM, data));
    let message = message.over(Over::Link).only_to(to.id());
    let sent = session::notify(node, to.address(), message).await.is_ok();
    if sent && !open && !is_known {
        node.answered(to.address());
    }
    sent
}

/// Tells the members that this node leaves, over the open links.
pub(crate) async fn leave(node: &Arc<Endpoint>) {
    let Some(shared) = node.membership.get() else { return };
    let sends: Vec<_> = {
        let mut machine = lock(shared);
        machine.leave(now());
        std::iter::from_fn(|| machine.next_send()).collect()
    };
    let told = sends.into_iter().map(|(to, data)| async move {
        if session::is_open(node, (to.address(), Some(to.id()))) {
            send(node, &to, data, true).await;
        }
    });
    timeout(LEAVE, futures::future::join_all(told)).await.ok();
}
