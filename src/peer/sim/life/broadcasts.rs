//! Broadcasts in a life, and a topic in which every other node takes part: no node gets a message
//! twice, those of an author come in order, and in the end they reach all that they are for. No node
//! is alone.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::{Actor, Context, Handler};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::Life;
use crate::{
    dispatch::handler,
    frame::{TypeCode, Wire},
    message::{Incoming, Reply, Via},
    node::Config,
    peer::{
        Builder, Peer, RegisterError,
        sim::Violation,
        topics::{Topic, TopicConfig, TopicEvent},
    },
};

const CODE: TypeCode = TypeCode::new(b"TRBC");

/// After the last fault, within this time no node is alone.
const NEIGHBORS_WITHIN: Duration = Duration::from_secs(20);

/// Within this time a message in a network at rest reaches all that it is for.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// The topic, and the number of messages that its nodes keep for new ones.
const TOPIC: (&str, usize) = ("torture", 20);

/// A run of a node, as an author or as one that hears.
type Run = (String, u32);

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    All,
    Topic,
}

/// What the nodes of a life have broadcast and heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Broadcasts(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The runs of each node that have begun.
    runs: BTreeMap<String, u32>,
    /// The topic, by the name of the node that takes part.
    topics: BTreeMap<String, Topic<Said>>,
    /// The number of messages of each run.
    said: BTreeMap<(Scope, Run), u64>,
    /// By who has heard, then by author: the numbers, each with whether it was late.
    heard: BTreeMap<(Scope, Run, Run), Vec<(u64, bool)>>,
}

impl Inner {
    fn run_of(&self, name: &str) -> Run {
        (name.to_owned(), self.runs.get(name).copied().unwrap_or(0))
    }

    fn hear(&mut self, scope: Scope, by: &Run, said: Said, late: bool) {
        let Said { author, run, number } = said;
        let numbers = self.heard.entry((scope, by.clone(), (author, run))).or_default();
        numbers.push((number, late));
    }
}

/// A message.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    author: String,
    run: u32,
    number: u64,
}

impl Wire for Said {
    const CODE: TypeCode = CODE;
}

/// Subscribes to the topic.
struct Reader {
    me: Run,
    of: Rc<RefCell<Inner>>,
}

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Handler<TopicEvent<Said>> for Reader {
    type Result = ();

    fn handle(&mut self, event: TopicEvent<Said>, _: &mut Self::Context) {
        if let TopicEvent::Message(said) = event {
            self.of.borrow_mut().hear(Scope::Topic, &self.me, said.message, said.late);
        }
    }
}

impl Broadcasts {
    /// Adds the handler to a node that is about to start.
    pub(super) fn serve(&self, name: &str, builder: Builder) -> Result<Builder, RegisterError> {
        let of = Rc::clone(&self.0);
        let me = {
            let mut of = of.borrow_mut();
            let run = of.runs.entry(name.to_owned()).or_default();
            *run = run.saturating_add(1);
            of.topics.remove(name);
            of.run_of(name)
        };
        let hear = handler::from_fn(async move |msg: Incoming| {
            if let Ok(said) = Said::from_frame(&msg.frame)
                && let Via::Broadcast { late, .. } = msg.sender().via()
            {
                of.borrow_mut().hear(Scope::All, &me, said, *late);
            }
            Reply::none()
        });
        builder.handle(CODE, hear.start())
    }

    /// Lets a node that has started take part in the topic, if its limits have room for one.
    pub(super) fn begin(&self, name: &str, peer: &Peer) {
        let config = TopicConfig::default().history(TOPIC.1);
        let Ok(topic) = peer.topic_with::<Said>(TOPIC.0, config) else { return };
        let me = self.0.borrow().run_of(name);
        let reader = Reader { me, of: Rc::clone(&self.0) }.start();
        if let Ok(subscription) = topic.subscribe(reader.recipient()) {
            subscription.detach();
        }
        self.0.borrow_mut().topics.insert(name.to_owned(), topic);
    }

    /// Lets a node say its next number.
    fn say(&self, scope: Scope, name: &str, peer: &Peer) -> Option<(Run, u64)> {
        let mut of = self.0.borrow_mut();
        let run = of.run_of(name);
        let number = of.said.entry((scope, run.clone())).or_default();
        let said = *number;
        *number = number.saturating_add(1);
        let topic = of.topics.get(name).cloned();
        drop(of);
        let message = Said { author: run.0.clone(), run: run.1, number: said };
        match scope {
            Scope::All => peer.broadcast(message.to_frame().ok()?).ok()?,
            Scope::Topic => topic?.publish(&message).ok()?,
        };
        Some((run, said))
    }

    /// Whether a node takes part in the topic.
    fn takes_part(&self, scope: Scope, name: &str) -> bool {
        scope == Scope::All || self.0.borrow().topics.contains_key(name)
    }

    /// What was heard twice, or not in order.
    fn wrong(&self) -> Option<String> {
        for ((scope, by, author), numbers) in &self.0.borrow().heard {
            let mut seen = numbers.clone();
            seen.sort_unstable();
            seen.dedup_by_key(|(number, _)| *number);
            let in_order = || {
                let timely = numbers.iter().filter(|(_, late)| !late).map(|(number, _)| *number);
                timely.is_sorted()
            };
            if seen.len() != numbers.len() || !in_order() {
                return Some(format!("{scope:?}: {by:?} heard of {author:?}: {numbers:?}"));
            }
        }
        None
    }

    fn has_heard(&self, scope: Scope, name: &str, (author, number): &(Run, u64)) -> bool {
        let of = self.0.borrow();
        let heard = of.heard.get(&(scope, of.run_of(name), author.clone()));
        heard.is_some_and(|numbers| numbers.iter().any(|(heard, _)| heard == number))
    }
}

/// Whether a node keeps neighbours as others do: small limits may leave it none.
fn keeps_neighbors(peer: &Peer) -> bool {
    let (config, usual) = (peer.config(), Config::default());
    config.links && config.max_links >= usual.max_links && config.max_peers >= usual.max_peers
}

impl Life {
    /// Lets one node broadcast, each in its turn.
    pub(super) fn broadcast(&self) {
        let turn = usize::try_from(self.now().as_secs()).unwrap_or(0);
        let node = self.0.nodes.get(turn % self.0.nodes.len().max(1));
        if let Some(node) = node
            && let Ok(peer) = self.0.net.peer(&node.name)
        {
            for scope in [Scope::All, Scope::Topic] {
                self.0.broadcasts.say(scope, &node.name, &peer);
            }
        }
    }

    /// No node hears a broadcast twice, and those of an author come in order.
    pub(super) fn check_broadcasts(&self) -> Result<(), Violation> {
        let invariant = "a broadcast is handled once, and in the order of its author; so is a message to a topic";
        match self.0.broadcasts.wrong() {
            Some(detail) => Err(self.violation(invariant, detail)),
            None => Ok(()),
        }
    }

    /// Every node that others know has a neighbour.
    pub(super) async fn none_is_alone(&self, calm: Instant) -> Result<(), Violation> {
        while let Some(detail) = self.alone().await {
            if calm.elapsed() > NEIGHBORS_WITHIN {
                return Err(self.violation("liveness: no node is alone", detail));
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn alone(&self) -> Option<String> {
        let networks = self.networks(keeps_neighbors).await;
        for peer in self.running() {
            let number = networks.get(peer.info());
            let has_others = number.is_some()
                && networks.iter().any(|(other, of)| other != peer.info() && Some(of) == number);
            if has_others && peer.active_neighbors().is_empty() {
                return Some(format!("{} has no neighbour", peer.info()));
            }
        }
        None
    }

    /// At rest, what each node says reaches all nodes of its network, and all of the topic.
    pub(super) async fn all_hear_all(&self) -> Result<(), Violation> {
        let networks = self.networks(keeps_neighbors).await;
        for scope in [Scope::All, Scope::Topic] {
            let broadcasts = &self.0.broadcasts;
            let takes_part = |name: &str| broadcasts.takes_part(scope, name);
            let mut awaited = Vec::new();
            for node in self.0.nodes.iter().filter(|node| takes_part(&node.name)) {
                let Ok(peer) = self.0.net.peer(&node.name) else { continue };
                let Some(number) = networks.get(peer.info()) else { continue };
                let Some(said) = broadcasts.say(scope, &node.name, &peer) else { continue };
                let others = self.0.nodes.iter().filter(|other| other.name != node.name);
                for other in others.filter(|other| takes_part(&other.name)) {
                    let there = self.0.net.peer(&other.name).ok();
                    if there.is_some_and(|there| networks.get(there.info()) == Some(number)) {
                        awaited.push((other.name.clone(), said.clone()));
                    }
                }
            }
            self.until_heard(scope, awaited).await?;
        }
        Ok(())
    }

    async fn until_heard(
        &self,
        scope: Scope,
        mut awaited: Vec<(String, (Run, u64))>,
    ) -> Result<(), Violation> {
        let begun = Instant::now();
        loop {
            awaited.retain(|(name, said)| !self.0.broadcasts.has_heard(scope, name, said));
            if awaited.is_empty() {
                return self.check_broadcasts();
            }
            if begun.elapsed() > HEARD_WITHIN {
                let invariant = match scope {
                    Scope::All => "liveness: a broadcast reaches all nodes of the network",
                    Scope::Topic => "liveness: a message to a topic reaches all its nodes",
                };
                let neighbors = self.running().into_iter().map(|peer| {
                    let neighbors = match scope {
                        Scope::All => peer.active_neighbors(),
                        Scope::Topic => {
                            peer.topics().into_iter().flat_map(|topic| topic.neighbors).collect()
                        }
                    };
                    let ids = neighbors.into_iter().map(|of| of.id().to_string());
                    (peer.id().to_string(), ids.collect::<Vec<_>>())
                });
                let neighbors: Vec<_> = neighbors.collect();
                let detail = format!("not heard: {awaited:?}, neighbours: {neighbors:?}");
                return Err(self.violation(invariant, detail));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}
