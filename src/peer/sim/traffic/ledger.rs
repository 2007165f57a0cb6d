//! The model of the delivery rules: what was sent, what handlers received, what senders were told.
//!
//! The rules are those of [`delivery`](crate::delivery). Each is checked when something happens, so
//! that a violation has the time of its cause.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    overlay::{Address, PeerId, PeerInfo},
    peer::sim::Violation,
};

/// One run of a node, from its start to its end.
pub(super) type LifeNumber = usize;

/// The verb of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Notify,
    NotifyAll,
    Request,
    /// A request with a streamed body.
    Stream,
    Routed,
    NotifyAcked {
        /// Over a link only. In a classic exchange the end of the connection acknowledges it, which
        /// proves nothing.
        over_link: bool,
    },
    /// `send_reliable` or `try_send_reliable`.
    Reliable {
        /// Sent again to the next incarnation.
        across_restarts: bool,
    },
}

impl Verb {
    /// Whether the receiver numbers it.
    const fn is_numbered(self) -> bool {
        matches!(self, Self::NotifyAcked { .. } | Self::Reliable { .. })
    }

    /// Whether `Ok` means that a handler received it.
    const fn ok_is_delivered(self) -> bool {
        !matches!(self, Self::Notify | Self::NotifyAll | Self::NotifyAcked { over_link: false })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::NotifyAll => "notify_all",
            Self::Request => "request",
            Self::Stream => "request with a body",
            Self::Routed => "route",
            Self::NotifyAcked { .. } => "notify_acked",
            Self::Reliable { .. } => "send_reliable",
        }
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    /// The node with this id at this address.
    Peer(PeerId, Address),
    /// The node with this id.
    Id(PeerId),
    /// Whichever node is there.
    Address(Address),
}

/// What the sender of a message was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It was certainly not handled.
    NotHandled(String),
    /// It may have been handled.
    Unsure(String),
    /// The sender dropped the call.
    Cancelled,
}

/// A message that is being sent.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) from: LifeNumber,
    /// The task of the sender, which sends one message after the other.
    pub(super) task: usize,
    pub(super) verb: Verb,
    pub(super) to: Destination,
    /// Whether it takes its place in the order with its only part.
    pub(super) is_ordered: bool,
    /// The latest end of the call after its beginning.
    pub(super) limit: Duration,
    /// Whether the sender stores it, so that its next run sends it again.
    pub(super) is_stored: bool,
}

struct Sent {
    sending: Sending,
    begun: Duration,
    outcome: Option<(Duration, Outcome)>,
    /// How often each run of a node has handled it.
    handled: Vec<(LifeNumber, u32)>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sending, begun, outcome, handled } = self;
        let Sending { from, task, verb, to, .. } = sending;
        write!(f, "{} by task {task} of run {from} to {to:?} at {begun:?}", verb.name())?;
        write!(f, ", handled by {handled:?}, told {outcome:?}")
    }
}

/// A run of a node.
struct Life {
    name: String,
    info: Option<PeerInfo>,
    ended: bool,
}

/// Messages of one row arrive in the order of the calls.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    from: LifeNumber,
    task: usize,
    at: LifeNumber,
    actor: &'static str,
    way: Way,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// One link of the receiver.
    Link(u64),
    /// The numbered messages of one link.
    NumberedOn(u64),
    /// Numbered messages to one destination, over any links.
    Numbered(Destination),
}

/// How a message reached a handler.
pub(super) struct Arrival {
    pub(super) at: LifeNumber,
    pub(super) actor: &'static str,
    /// The link of the receiver. `None` for a classic exchange and a routed message.
    pub(super) link: Option<u64>,
    /// Whether it came in a classic exchange, or over another node, where no id is verified.
    pub(super) is_unverified: bool,
    /// Whether the receiver had it in its order. Not so for streamed bodies.
    pub(super) is_ordered: bool,
}

#[derive(Default)]
pub(super) struct Ledger {
    lives: Vec<Life>,
    messages: Vec<Sent>,
    last: BTreeMap<Row, usize>,
    /// One-way messages of each sender that the receiver reported as refused.
    refused: BTreeMap<LifeNumber, u64>,
    violations: Vec<Violation>,
    /// The first message whose call may not have ended.
    first_open: usize,
    handled: u64,
}

impl Ledger {
    pub(super) fn start(&mut self, name: &str) -> LifeNumber {
        self.lives.push(Life { name: name.to_owned(), info: None, ended: false });
        self.lives.len() - 1
    }

    pub(super) fn set_info(&mut self, life: LifeNumber, info: PeerInfo) {
        if let Some(life) = self.lives.get_mut(life) {
            life.info = Some(info);
        }
    }

    pub(super) fn end(&mut self, life: LifeNumber) {
        if let Some(life) = self.lives.get_mut(life) {
            life.ended = true;
        }
    }

    pub(super) fn has_ended(&self, life: LifeNumber) -> bool {
        self.lives.get(life).is_none_or(|life| life.ended)
    }

    pub(super) const fn handled_in_all(&self) -> u64 {
        self.handled
    }

    pub(super) fn sent_in_all(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX)
    }

    fn violation(&mut self, at: Duration, invariant: &'static str, detail: String) {
        self.violations.push(Violation::new(invariant, detail, at));
    }

    pub(super) fn first_violation(&self) -> Option<Violation> {
        self.violations.first().cloned()
    }

    /// A message is about to be sent. Returns its number.
    pub(super) fn send(&mut self, at: Duration, sending: Sending) -> usize {
        self.messages.push(Sent { sending, begun: at, outcome: None, handled: Vec::new() });
        self.messages.len() - 1
    }

    /// The sender of a message was told this.
    pub(super) fn tell(&mut self, at: Duration, number: usize, outcome: Outcome) {
        let Some(sent) = self.messages.get_mut(number) else { return };
        let replaced = sent.outcome.replace((at, outcome.clone()));
        let count = sent.handled.len();
        let text = format!("message {number}: {sent}");
        // The message may wait in the mailbox of its handler: see `finish`.
        let may_follow = sent.sending.verb.is_numbered();
        let needs = sent.sending.verb.ok_is_delivered() && !may_follow;
        if replaced.is_some() {
            self.violation(at, "rule 3: a call has one outcome", text);
        } else if matches!(outcome, Outcome::NotHandled(_)) && count > 0 {
            self.violation(at, "rule 3: what was not handled is handled by none", text);
        } else if outcome == Outcome::Done && needs && count == 0 {
            self.violation(at, "rule 3: what succeeded was handled", text);
        }
    }

    /// A handler received a message.
    pub(super) fn handle(&mut self, at: Duration, number: usize, arrival: &Arrival) {
        self.handled += 1;
        let Some(sent) = self.messages.get_mut(number) else {
            let text = format!("message {number} was never sent");
            return self.violation(at, "rule 2: a handler gets what was sent", text);
        };
        match sent.handled.iter_mut().find(|(life, _)| *life == arrival.at) {
            Some((_, times)) => *times += 1,
            None => sent.handled.push((arrival.at, 1)),
        }
        let text = format!("message {number}: {sent}");
        let (sending, outcome) = (sent.sending.clone(), sent.outcome.clone());
        let handled = sent.handled.clone();
        if let Some(invariant) = self.repeated(&sending, &handled) {
            self.violation(at, invariant, text.clone());
        }
        if let Some((_, Outcome::NotHandled(_))) = outcome {
            self.violation(at, "rule 3: what was not handled is handled by none", text.clone());
        }
        if self.is_misdelivered(&sending, arrival) {
            let there = self.lives.get(arrival.at).and_then(|life| life.info.as_ref());
            let text = format!("{text}, but the node there is {there:?}");
            self.violation(at, "rule 22: a message for an id reaches no other node", text);
        }
        self.check_order(at, number, &sending, arrival, &text);
    }

    /// The rule that more handling than this breaks.
    fn repeated(&self, sending: &Sending, handled: &[(LifeNumber, u32)]) -> Option<&'static str> {
        let all: u32 = handled.iter().map(|(_, times)| *times).sum();
        let most_at_one = handled.iter().map(|(_, times)| *times).max().unwrap_or(0);
        // The next run of the sender sends it under a new number.
        if sending.is_stored && self.has_ended(sending.from) {
            return None;
        }
        match sending.verb {
            Verb::Reliable { across_restarts: true } if most_at_one > 1 => {
                Some("rule 14: while both nodes live a message is handled once")
            }
            Verb::Reliable { across_restarts: true } => None,
            Verb::Reliable { .. } | Verb::NotifyAcked { .. } if all > 1 => {
                Some("rule 14: a message is handled once")
            }
            Verb::Notify | Verb::NotifyAll if all > 1 => Some("rule 6: at most once"),
            Verb::Routed if all > 1 => Some("rule 26: a routed message is handled at most once"),
            Verb::Request | Verb::Stream if all > 1 => {
                Some("rule 2: a request is handled at most once")
            }
            _ => None,
        }
    }

    /// Whether a message reached another node than the one that it is for.
    fn is_misdelivered(&self, sending: &Sending, arrival: &Arrival) -> bool {
        let there = self.lives.get(arrival.at).and_then(|life| life.info.as_ref());
        let Some(there) = there else { return false };
        match &sending.to {
            Destination::Peer(id, address) => {
                // An id that is only claimed is not verified in a classic exchange.
                let is_it = there.id() == id || arrival.is_unverified;
                !is_it || there.address() != address
            }
            Destination::Id(id) => there.id() != id && !arrival.is_unverified,
            Destination::Address(address) => there.address() != address,
        }
    }

    fn check_order(
        &mut self,
        at: Duration,
        number: usize,
        sending: &Sending,
        arrival: &Arrival,
        text: &str,
    ) {
        if !sending.is_ordered || !arrival.is_ordered || self.has_ended(sending.from) {
            return;
        }
        let way = match (sending.verb, arrival.link) {
            (verb, Some(_)) if verb.is_numbered() => Way::Numbered(sending.to.clone()),
            (_, Some(link)) => Way::Link(link),
            (_, None) => return,
        };
        let numbered = matches!(way, Way::Numbered(_));
        let (from, task) = (sending.from, sending.task);
        if let Some(link) = arrival.link {
            let way = Way::NumberedOn(link);
            let row = Row { from, task, at: arrival.at, actor: arrival.actor, way };
            if numbered {
                self.last.insert(row, number);
            } else if let Some(last) = self.last.get(&row).filter(|last| **last > number) {
                let text = format!("{text}, after the numbered message {last}");
                let invariant = "rule 7: a numbered message overtakes no earlier message";
                self.violation(at, invariant, text);
            }
        }
        let row = Row { from, task, at: arrival.at, actor: arrival.actor, way };
        let last = self.last.insert(row, number);
        if let Some(last) = last.filter(|last| *last > number) {
            let text = format!("{text}, after message {last}");
            let invariant = if numbered {
                "rule 14: numbered messages are delivered in their order"
            } else {
                "rule 7: messages of one task over one link are delivered in order"
            };
            self.violation(at, invariant, text);
        }
    }

    pub(super) fn refuse(&mut self, life: LifeNumber, messages: u32) {
        *self.refused.entry(life).or_default() += u64::from(messages);
    }

    /// Checks that each call ends within its limit.
    pub(super) fn check_limits(&mut self, now: Duration) {
        let late = self.messages.iter().enumerate().skip(self.first_open).find(|(_, sent)| {
            sent.outcome.is_none()
                && now > sent.begun.saturating_add(sent.sending.limit)
                && !self.has_ended(sent.sending.from)
        });
        let late = late.map(|(number, sent)| format!("message {number}: {sent}"));
        if let Some(text) = late {
            self.violation(now, "liveness: each call ends within its limit", text);
        }
        let rest = self.messages.iter().skip(self.first_open);
        let closed = |sent: &&Sent| sent.outcome.is_some() || self.has_ended(sent.sending.from);
        self.first_open += rest.take_while(closed).count();
    }

    /// The number of calls of running nodes that have not ended.
    pub(super) fn open_calls(&self) -> usize {
        let open = self.messages.iter().skip(self.first_open);
        open.filter(|sent| sent.outcome.is_none() && !self.has_ended(sent.sending.from)).count()
    }

    /// Checks what can only be checked when all calls have ended and nothing is under way.
    /// `no_faults`: nothing may be lost.
    pub(super) fn finish(&mut self, now: Duration, no_faults: bool) {
        let mut lost: BTreeMap<LifeNumber, Vec<usize>> = BTreeMap::new();
        let mut missing = Vec::new();
        for (number, sent) in self.messages.iter().enumerate() {
            let Some((_, Outcome::Done)) = sent.outcome else { continue };
            if !sent.handled.is_empty() {
                continue;
            }
            if sent.sending.verb.ok_is_delivered() {
                missing.push((number, sent.to_string()));
            } else if matches!(sent.sending.verb, Verb::Notify | Verb::NotifyAll) {
                lost.entry(sent.sending.from).or_default().push(number);
            }
        }
        for (number, text) in missing {
            let text = format!("message {number}: {text}");
            self.violation(now, "rule 14: what was acknowledged was delivered", text);
        }
        if no_faults {
            for (life, numbers) in lost {
                let refused = self.refused.get(&life).copied().unwrap_or(0);
                if u64::try_from(numbers.len()).unwrap_or(u64::MAX) != refused {
                    let name = self.lives.get(life).map_or("?", |life| &life.name);
                    let text = format!("{name} sent {numbers:?}, and {refused} were refused");
                    self.violation(now, "rule 8: without a fault no message is lost", text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str) -> PeerInfo {
        format!("{id} {id} 9000").parse().unwrap()
    }

    /// Two runs: `ada`, who sends, and `bob`.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for name in ["ada", "bob", "eve"] {
            let life = ledger.start(name);
            ledger.set_info(life, info(name));
        }
        ledger
    }

    fn sending(verb: Verb) -> Sending {
        let bob = info("bob");
        Sending {
            from: 0,
            task: 0,
            verb,
            to: Destination::Peer(bob.id().clone(), bob.address().clone()),
            is_ordered: true,
            limit: Duration::from_secs(10),
            is_stored: false,
        }
    }

    fn arrival(at: LifeNumber) -> Arrival {
        Arrival { at, actor: "a", link: Some(1), is_unverified: false, is_ordered: true }
    }

    const NOW: Duration = Duration::ZERO;

    fn invariant(ledger: &Ledger) -> Option<String> {
        ledger.first_violation().map(|violation| violation.invariant().to_owned())
    }

    #[test]
    fn each_rule_of_delivery_is_seen_when_it_is_broken() {
        type Case = (&'static str, fn(&mut Ledger));
        let cases: [Case; 10] = [
            ("rule 2", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Request));
                ledger.handle(NOW, number, &arrival(1));
                ledger.handle(NOW, number, &arrival(1));
            }),
            ("rule 6", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Notify));
                ledger.handle(NOW, number, &arrival(1));
                ledger.handle(NOW, number, &arrival(1));
            }),
            ("rule 3", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Request));
                ledger.tell(NOW, number, Outcome::NotHandled(String::new()));
                ledger.handle(NOW, number, &arrival(1));
            }),
            ("rule 3", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Request));
                ledger.handle(NOW, number, &arrival(1));
                ledger.tell(NOW, number, Outcome::NotHandled(String::new()));
            }),
            ("rule 3", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Request));
                ledger.tell(NOW, number, Outcome::Done);
            }),
            ("rule 7", |ledger| {
                let first = ledger.send(NOW, sending(Verb::Notify));
                let second = ledger.send(NOW, sending(Verb::Request));
                ledger.handle(NOW, second, &arrival(1));
                ledger.handle(NOW, first, &arrival(1));
            }),
            ("rule 8", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Notify));
                ledger.tell(NOW, number, Outcome::Done);
                ledger.finish(NOW, true);
            }),
            ("rule 14", |ledger| {
                let verb = Verb::Reliable { across_restarts: false };
                let numbers = [(); 2].map(|()| ledger.send(NOW, sending(verb)));
                for (link, number) in [(2, 1), (3, 0)] {
                    let over = Arrival { link: Some(link), ..arrival(1) };
                    ledger.handle(NOW, numbers[number], &over);
                }
            }),
            ("rule 22", |ledger| {
                let number = ledger.send(NOW, sending(Verb::Notify));
                ledger.handle(NOW, number, &arrival(2));
            }),
            ("liveness", |ledger| {
                ledger.send(NOW, sending(Verb::Notify));
                ledger.check_limits(Duration::from_secs(11));
            }),
        ];
        for (rule, breaks) in cases {
            let mut ledger = ledger();
            breaks(&mut ledger);
            let broken = invariant(&ledger);
            assert!(
                broken.as_ref().is_some_and(|text| text.starts_with(rule)),
                "{rule}: {broken:?}"
            );
        }
    }

    #[test]
    fn what_the_rules_allow_is_no_violation() {
        let mut ledger = ledger();
        let verb = Verb::Reliable { across_restarts: true };
        let again = ledger.send(NOW, sending(verb));
        ledger.handle(NOW, again, &arrival(1));
        // The next run of the same node.
        let next = ledger.start("bob");
        ledger.set_info(next, info("bob"));
        ledger.handle(NOW, again, &arrival(next));
        ledger.tell(NOW, again, Outcome::Done);
        let unsure = ledger.send(NOW, sending(Verb::Request));
        ledger.tell(NOW, unsure, Outcome::Unsure(String::new()));
        ledger.handle(NOW, unsure, &arrival(1));
        // Two links have no order.
        let numbers = [(); 2].map(|()| ledger.send(NOW, sending(Verb::Notify)));
        ledger.handle(NOW, numbers[1], &Arrival { link: Some(7), ..arrival(1) });
        ledger.handle(NOW, numbers[0], &Arrival { link: Some(8), ..arrival(1) });
        ledger.end(0);
        ledger.check_limits(Duration::from_secs(100));
        ledger.finish(NOW, false);
        assert_eq!(invariant(&ledger), None);
    }
}
