//! Messages that are acknowledged: kept until then, and sent again on the next link.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    connection::{
        Node, ReadError, RequestError,
        links::{Unreached, inflow::Broken, reach},
    },
    frame::Frame,
    link::{AckLevel, Outbox, Reason},
    overlay::{Address, PeerId},
};

/// After a dial that failed, while messages wait.
const RETRY: Duration = Duration::from_millis(50);

/// After a dial that found somebody else, or was not admitted.
const RETRY_IDENTITY: Duration = Duration::from_secs(1);

type Answer = Result<(), RequestError>;

/// What waits to be acknowledged, by peer.
#[derive(Default)]
pub(super) struct Mailbags {
    bags: HashMap<PeerId, Arc<Mailbag>>,
    /// The highest number that one of those that are gone has given.
    last_sequence: u64,
}

impl Mailbags {
    pub(super) fn of(&mut self, peer: &PeerId, incarnation: u64) -> Arc<Mailbag> {
        let last = &mut self.last_sequence;
        self.bags.retain(|_, bag| {
            let keep = Arc::strong_count(bag) > 1 || !bag.is_empty();
            *last = (*last).max(if keep { 0 } else { bag.lock().outbox.last_sequence() });
            keep
        });
        let new = || Arc::new(Mailbag::new(peer.clone(), Outbox::new(incarnation, *last)));
        Arc::clone(self.bags.entry(peer.clone()).or_insert_with(new))
    }
}

/// What waits to be acknowledged by one peer.
pub(super) struct Mailbag {
    peer: PeerId,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    outbox: Outbox,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    running: bool,
}

impl Mailbag {
    fn new(peer: PeerId, outbox: Outbox) -> Self {
        let state = Mutex::new(State { outbox, waiting: HashMap::new(), running: false });
        Self { peer, state, changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.outbox.is_empty() && !state.running
    }

    /// Adds a message, when there is room for one.
    fn post(
        &self,
        frame: &Frame,
        level: AckLevel,
    ) -> Option<(Posted<'_>, oneshot::Receiver<Answer>)> {
        let mut state = self.lock();
        let sequence = state.outbox.push(frame.clone(), level).ok()?;
        let (tell, answer) = oneshot::channel();
        state.waiting.insert(sequence, tell);
        let first = !std::mem::replace(&mut state.running, true);
        Some((Posted { bag: self, sequence, first }, answer))
    }

    /// The message does not wait any more.
    fn done(&self, sequence: u64, answer: Answer) {
        let mut state = self.lock();
        state.outbox.done(sequence);
        let waiting = state.waiting.remove(&sequence);
        drop(state);
        if let Some(waiting) = waiting {
            // Nobody listens when the caller has given up.
            waiting.send(answer).ok();
        }
        self.changed.notify_waiters();
    }
}

/// One numbered message on its way.
pub(super) struct Acked {
    bag: Arc<Mailbag>,
    sequence: u64,
}

impl Acked {
    pub(super) fn end(self, end: Result<(), Broken>) {
        match end {
            Ok(()) => self.bag.done(self.sequence, Ok(())),
            // It is sent again on the next link.
            Err(Broken { link: true, .. }) => self.bag.changed.notify_waiters(),
            Err(Broken { reason, sent, .. }) => {
                self.bag.done(self.sequence, Err(RequestError::Reset { reason, sent }));
            }
        }
    }
}

/// Sends `frame` and waits until it is acknowledged at `level`.
pub(super) async fn send(
    node: &Arc<Node>,
    to: &Address,
    bag: &Arc<Mailbag>,
    frame: Frame,
    level: AckLevel,
) -> Answer {
    let limit = node.config.reply_timeout;
    let until = Instant::now() + limit;
    let (posted, answer) = loop {
        let changed = bag.changed.notified();
        if let Some(posted) = bag.post(&frame, level) {
            break posted;
        }
        timeout_at(until, changed).await.map_err(|_| RequestError::NoCredit(limit))?;
    };
    if posted.first {
        node.tasks.spawn(pump(Arc::clone(node), to.clone(), Arc::clone(bag)));
    }
    bag.changed.notify_waiters();
    match timeout_at(until, answer).await {
        Ok(answer) => answer.unwrap_or(Err(RequestError::Stopped { sent: true })),
        Err(_) => Err(RequestError::Reply(ReadError::Late(limit))),
    }
}

/// A message that waits to be acknowledged, as long as somebody waits for that.
struct Posted<'a> {
    bag: &'a Mailbag,
    sequence: u64,
    /// Nobody sends what waits yet.
    first: bool,
}

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        self.bag.done(self.sequence, Ok(()));
    }
}

/// Sends what waits, in order, as long as something does.
async fn pump(node: Arc<Node>, to: Address, bag: Arc<Mailbag>) {
    let stopped = node.cut.clone();
    let run = async {
        loop {
            if one_link(&node, &to, &bag).await {
                return;
            }
        }
    };
    let ended = stopped.run_until_cancelled(run).await;
    if ended.is_none() {
        let mut state = bag.lock();
        state.running = false;
        state.waiting.clear();
    }
}

/// Sends what waits over one link until that is over. True when nothing waits any more.
async fn one_link(node: &Arc<Node>, to: &Address, bag: &Arc<Mailbag>) -> bool {
    let reached = reach(node, to, Some(&bag.peer)).await;
    let line = match reached {
        Ok(line) if *line.peer.id() == bag.peer => line,
        // Somebody else there gets nothing of it.
        reached => {
            let identity = matches!(reached, Err(Unreached::Identity(_)));
            tokio::time::sleep(if identity { RETRY_IDENTITY } else { RETRY }).await;
            let mut state = bag.lock();
            state.running = !state.outbox.is_empty();
            return !state.running;
        }
    };
    let unknown = bag.lock().outbox.opened(line.incarnation);
    for sequence in unknown {
        let error = RequestError::Reset { reason: Reason::LOST, sent: true };
        bag.done(sequence, Err(error));
    }
    loop {
        let changed = bag.changed.notified();
        let next = {
            let mut state = bag.lock();
            if state.outbox.is_empty() {
                state.running = false;
                return true;
            }
            state.outbox.next_unsent()
        };
        match next {
            Some((numbered, frame)) => {
                let acked = Acked { bag: Arc::clone(bag), sequence: numbered.sequence };
                if line.ask_numbered(&frame, numbered, acked).await.is_err() {
                    return false;
                }
            }
            None if !line.is_open() => return false,
            None => changed.await,
        }
    }
}
