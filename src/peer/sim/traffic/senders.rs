//! The tasks that send.

use std::{pin::pin, rc::Rc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{Either, select};
use tokio::time::sleep;

use super::{
    Inner,
    handlers::{CODES, NONE, NUMBER, STREAM},
    ledger::{Destination, LifeNumber, Outcome, Sending, Verb},
};
use crate::{
    frame::{Frame, TypeCode},
    link::AckLevel,
    message::{Outgoing, Over, RequestError},
    overlay::{Dice, PeerInfo},
    peer::{IntoTarget, Peer, Target},
    reliable::{Reliability, ReliableError},
};

/// The tasks of a node.
const TASKS: usize = 3;

/// The longest data that goes in one part, so that its place in the order is certain.
const ONE_PART: usize = 4_000;

/// What each call may add to its limits: the dials before it, and the time of the machine that the
/// limits do not count.
const SLACK: Duration = Duration::from_secs(10);

pub(super) fn start(inner: &Rc<Inner>, life: LifeNumber, peer: &Peer, stores: bool) {
    for task in 0..TASKS {
        let number = u64::try_from(life * TASKS + task).unwrap_or(0);
        let dice = Dice::new(inner.seed.rotate_left(17) ^ number);
        let peer = peer.clone();
        let sender = SenderTask { inner: Rc::clone(inner), life, task, peer, stores, dice };
        actix_rt::spawn(sender.run());
    }
}

struct SenderTask {
    inner: Rc<Inner>,
    life: LifeNumber,
    task: usize,
    peer: Peer,
    stores: bool,
    dice: Dice,
}

/// A message with its number.
fn message(code: &'static str, number: usize, len: usize) -> Frame {
    Frame::new(code, data(number, len))
}

fn data(number: usize, len: usize) -> Bytes {
    let mut data = BytesMut::zeroed(len.max(NUMBER));
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    if let Some(mut at) = data.get_mut(..NUMBER) {
        at.put_u64(number);
    }
    data.freeze()
}

fn of_request<T>(result: &Result<T, RequestError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) if error.may_have_been_handled() => Outcome::Unsure(error.to_string()),
        Err(error) => Outcome::NotHandled(error.to_string()),
    }
}

/// The outcome of a request. A reply of other code than that of the handlers is an error in a
/// classic exchange, which does not say whether the message was handled.
fn of_replies(result: &Result<Vec<Frame>, RequestError>) -> Outcome {
    let Ok(replies) = result else { return of_request(result) };
    match replies.first() {
        Some(reply) if reply.code() == TypeCode::REPL => Outcome::Done,
        reply => Outcome::Unsure(format!("{reply:?}")),
    }
}

fn of_reliable(result: &Result<(), ReliableError>, stored: bool) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        // It stays in the outbox, and the next run sends it.
        Err(error @ ReliableError::NotSent(RequestError::Stopped { .. })) if stored => {
            Outcome::Unsure(error.to_string())
        }
        Err(error) if error.may_have_been_handled() => Outcome::Unsure(error.to_string()),
        Err(error) => Outcome::NotHandled(error.to_string()),
    }
}

impl SenderTask {
    fn is_over(&self) -> bool {
        self.inner.stopped.get() || self.inner.ledger.borrow().has_ended(self.life)
    }

    async fn run(mut self) {
        while !self.is_over() {
            let twice = u64::try_from(self.inner.pause.get().as_millis()).unwrap_or(1) * 2;
            let pause = Duration::from_millis(self.dice.next() % twice.max(1));
            sleep(pause).await;
            // A burst now and then.
            let times = if self.dice.below(8) == 0 { 1 + self.dice.below(12) } else { 1 };
            for _ in 0..times {
                if self.is_over() {
                    return;
                }
                let Some(to) = self.choose() else { break };
                self.send(to).await;
            }
        }
    }

    /// One of the other nodes. Now and then one whose run has ended.
    fn choose(&mut self) -> Option<PeerInfo> {
        let past = self.inner.past.borrow();
        if self.dice.below(16) == 0 && !past.is_empty() {
            return past.get(self.dice.below(past.len())).cloned();
        }
        let nodes = self.inner.nodes.borrow();
        let others: Vec<_> = nodes.values().filter(|(life, _)| *life != self.life).collect();
        others.get(self.dice.below(others.len())).map(|(_, info)| info.clone())
    }

    fn len(&mut self) -> usize {
        match self.dice.below(20) {
            0 | 1 => ONE_PART + self.dice.below(100_000),
            2 => self.dice.below(1_200_000),
            _ => self.dice.below(ONE_PART),
        }
    }

    fn destination(&mut self, info: &PeerInfo) -> Destination {
        match self.dice.below(8) {
            0 | 1 => Destination::Id(info.id().clone()),
            2 => Destination::Address(info.address().clone()),
            _ => Destination::Peer(info.id().clone(), info.address().clone()),
        }
    }

    /// Notes a message. Returns its number.
    fn note(&self, verb: Verb, to: &Destination, len: usize) -> usize {
        let config = self.peer.config();
        let open = config.connect_timeout.saturating_mul(2).saturating_add(config.header_timeout);
        let limit = match verb {
            Verb::NotifyAcked { .. } => config.reply_timeout,
            Verb::Reliable { .. } => config.reliable_timeout,
            Verb::Notify | Verb::NotifyAll | Verb::Request | Verb::Stream | Verb::Routed => {
                config.exchange_timeout.saturating_add(config.stall_timeout)
            }
        };
        let sending = Sending {
            from: self.life,
            task: self.task,
            verb,
            to: to.clone(),
            is_ordered: len <= ONE_PART,
            limit: limit.saturating_add(open).saturating_add(SLACK),
            is_stored: self.stores && matches!(verb, Verb::Reliable { .. }),
        };
        self.inner.ledger.borrow_mut().send(self.inner.began.elapsed(), sending)
    }

    fn tell(inner: &Inner, number: usize, outcome: Outcome) {
        inner.ledger.borrow_mut().tell(inner.began.elapsed(), number, outcome);
    }

    async fn send(&mut self, info: PeerInfo) {
        let (to, len) = (self.destination(&info), self.len());
        let code = if self.dice.below(2) == 0 { CODES[0] } else { CODES[1] };
        match self.dice.below(12) {
            0..3 => {
                let code = match self.dice.below(16) {
                    0 => NONE,
                    1..5 => STREAM,
                    _ => code,
                };
                self.notify(&to, code, len).await;
            }
            3 => self.notify_all(&to, code).await,
            4..7 => self.request(&to, Verb::Request, code, len).await,
            7 => self.request(&to, Verb::Stream, STREAM, len).await,
            8 => {
                let to = Destination::Id(info.id().clone());
                self.request(&to, Verb::Routed, code, len.min(ONE_PART)).await;
            }
            9 => self.notify_acked(&to, code, len).await,
            _ => self.reliable(&to, code, len).await,
        }
    }

    async fn notify(&mut self, to: &Destination, code: &'static str, len: usize) {
        let number = self.note(Verb::Notify, to, len);
        // A refusal is reported only over a link.
        let over = if code == NONE { Over::Link } else { self.over() };
        let frame = Outgoing::from(message(code, number, len)).over(over);
        let result = self.peer.notify(to.clone(), frame).await;
        Self::tell(&self.inner, number, of_request(&result));
    }

    async fn notify_all(&mut self, to: &Destination, code: &'static str) {
        let count = 2 + self.dice.below(20);
        let len = self.dice.below(ONE_PART);
        let numbers: Vec<_> = (0..count).map(|_| self.note(Verb::NotifyAll, to, len)).collect();
        let frames: Vec<_> = numbers.iter().map(|number| message(code, *number, len)).collect();
        let result = self.peer.notify_all(to.clone(), frames).await;
        for (at, number) in numbers.into_iter().enumerate() {
            let outcome = match &result {
                Ok(_) => Outcome::Done,
                Err(error) if at < usize::try_from(error.sent).unwrap_or(usize::MAX) => {
                    Outcome::Done
                }
                Err(error)
                    if u64::try_from(at) == Ok(error.sent)
                        && error.source.may_have_been_handled() =>
                {
                    Outcome::Unsure(error.source.to_string())
                }
                Err(error) => Outcome::NotHandled(error.source.to_string()),
            };
            Self::tell(&self.inner, number, outcome);
        }
    }

    fn over(&mut self) -> Over {
        match self.dice.below(10) {
            0 => Over::Classic,
            1 => Over::Link,
            _ => Over::Any,
        }
    }

    /// Sends a request, and reads its replies in a task of its own. Now and then it is dropped
    /// after a time.
    async fn request(&mut self, to: &Destination, verb: Verb, code: &'static str, len: usize) {
        let len = len.max(NUMBER);
        let number = self.note(verb, to, len);
        let over = self.over();
        let is_body = verb == Verb::Stream && self.dice.below(2) == 0;
        let outgoing = if is_body {
            let mut source = data(number, len);
            if self.dice.below(8) == 0 {
                // It ends too early.
                source.truncate(NUMBER.max(len / 2));
            }
            let source = std::io::Cursor::new(source);
            Outgoing::body(code, u32::try_from(len).unwrap_or(u32::MAX), source)
        } else {
            Outgoing::from(message(code, number, len)).over(over)
        };
        let patience = (self.dice.below(10) == 0).then(|| self.dice.next() % 3_000);
        let asked = match (verb, to) {
            (Verb::Routed, Destination::Id(id)) => {
                self.peer.request(Target::Routed(id.clone()), outgoing).await
            }
            _ => self.peer.request(to.clone(), outgoing).await,
        };
        let inner = Rc::clone(&self.inner);
        let replies = match asked {
            Ok(replies) => replies,
            Err(error) => {
                return Self::tell(&inner, number, of_request(&Err::<(), _>(error)));
            }
        };
        actix_rt::spawn(async move {
            let Some(patience) = patience else {
                let result = replies.collect().await;
                return Self::tell(&inner, number, of_replies(&result));
            };
            let patience = pin!(sleep(Duration::from_millis(patience)));
            let outcome = match select(pin!(replies.collect()), patience).await {
                Either::Left((result, _)) => of_replies(&result),
                Either::Right(_) => Outcome::Cancelled,
            };
            Self::tell(&inner, number, outcome);
        });
    }

    async fn notify_acked(&mut self, to: &Destination, code: &'static str, len: usize) {
        let over_link = self.dice.below(2) == 0;
        let number = self.note(Verb::NotifyAcked { over_link }, to, len);
        let (level, over) = (self.level(), if over_link { Over::Link } else { Over::Any });
        let outgoing = Outgoing::from(message(code, number, len)).over(over);
        let result = self.peer.notify_acked(to.clone(), outgoing, level).await;
        Self::tell(&self.inner, number, of_request(&result));
    }

    fn level(&mut self) -> AckLevel {
        if self.dice.below(2) == 0 { AckLevel::Delivered } else { AckLevel::Handled }
    }

    async fn reliable(&mut self, to: &Destination, code: &'static str, len: usize) {
        let across_restarts = self.dice.below(3) == 0;
        let number = self.note(Verb::Reliable { across_restarts }, to, len);
        let mut how = Reliability::from(self.level());
        if across_restarts {
            how = how.across_restarts();
        }
        let frame = message(code, number, len);
        let stored = self.stores;
        if self.dice.below(8) == 0 {
            let result = self.peer.send_reliable(to.clone(), frame, how).await;
            return Self::tell(&self.inner, number, of_reliable(&result, stored));
        }
        let inner = Rc::clone(&self.inner);
        match self.peer.try_send_reliable(to.clone(), frame, how).await {
            Ok(receipt) => drop(actix_rt::spawn(async move {
                let result = receipt.await;
                Self::tell(&inner, number, of_reliable(&result, stored));
            })),
            Err(error) => Self::tell(&inner, number, of_reliable(&Err(error), stored)),
        }
    }
}

impl IntoTarget for Destination {
    fn into_target(self) -> Result<Target, crate::overlay::InvalidAddress> {
        Ok(match self {
            Self::Peer(_, address) | Self::Address(address) => Target::Address(address),
            Self::Id(id) => Target::Peer(id),
        })
    }

    fn as_id(&self) -> Option<&crate::overlay::PeerId> {
        match self {
            Self::Peer(id, _) => Some(id),
            Self::Id(_) | Self::Address(_) => None,
        }
    }

    fn as_address(&self) -> Option<&crate::overlay::Address> {
        match self {
            Self::Peer(_, address) | Self::Address(address) => Some(address),
            Self::Id(_) => None,
        }
    }
}
