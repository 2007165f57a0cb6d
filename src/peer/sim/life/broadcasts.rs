//! Broadcasts in a life: no node handles one twice, those of an author come in order, and in the end
//! they reach all nodes of a network. No node is alone.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::Actor;
use tokio::time::{Instant, sleep};

use super::Life;
use crate::{
    dispatch::handler,
    frame::{Frame, TypeCode},
    message::{Incoming, Reply, Via},
    node::Config,
    peer::{Builder, Peer, RegisterError, sim::Violation},
};

const CODE: TypeCode = TypeCode::new(b"TRBC");

/// After the last fault, within this time no node is alone.
const NEIGHBORS_WITHIN: Duration = Duration::from_secs(20);

/// Within this time a broadcast in a network at rest reaches all its nodes.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// A run of a node, as an author or as one that hears.
type Run = (String, u32);

/// What the nodes of a life have broadcast and heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Broadcasts(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The runs of each node that have begun.
    runs: BTreeMap<String, u32>,
    /// The number of broadcasts of each run.
    said: BTreeMap<Run, u64>,
    /// By who has heard, then by author: the numbers, each with whether it was late.
    heard: BTreeMap<(Run, Run), Vec<(u64, bool)>>,
}

impl Inner {
    fn run_of(&self, name: &str) -> Run {
        (name.to_owned(), self.runs.get(name).copied().unwrap_or(0))
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
            of.run_of(name)
        };
        let hear = handler::from_fn(async move |msg: Incoming| {
            let text = msg.frame.as_str().unwrap_or_default().to_owned();
            let mut words = text.split(' ');
            let (author, run, number) = (words.next(), words.next(), words.next());
            let numbers = run.and_then(|run| run.parse().ok()).zip(number);
            if let Some((author, (run, number))) = author.zip(numbers)
                && let (Ok(number), Via::Broadcast { late, .. }) =
                    (number.parse(), msg.sender().via())
            {
                let heard = (me.clone(), (author.to_owned(), run));
                of.borrow_mut().heard.entry(heard).or_default().push((number, *late));
            }
            Reply::none()
        });
        builder.handle(CODE, hear.start())
    }

    /// Lets a node broadcast its next number.
    fn say(&self, name: &str, peer: &Peer) -> Option<(Run, u64)> {
        let mut of = self.0.borrow_mut();
        let run = of.run_of(name);
        let number = of.said.entry(run.clone()).or_default();
        let said = *number;
        *number = number.saturating_add(1);
        drop(of);
        let text = format!("{} {} {said}", run.0, run.1);
        peer.broadcast(Frame::text(CODE, text)).ok()?;
        Some((run, said))
    }

    /// What was heard twice, or not in order.
    fn wrong(&self) -> Option<String> {
        for ((by, author), numbers) in &self.0.borrow().heard {
            let mut seen = numbers.clone();
            seen.sort_unstable();
            seen.dedup_by_key(|(number, _)| *number);
            let in_order = || {
                let timely = numbers.iter().filter(|(_, late)| !late).map(|(number, _)| *number);
                timely.is_sorted()
            };
            if seen.len() != numbers.len() || !in_order() {
                return Some(format!("{by:?} heard of {author:?}: {numbers:?}"));
            }
        }
        None
    }

    fn has_heard(&self, name: &str, (author, number): &(Run, u64)) -> bool {
        let of = self.0.borrow();
        let heard = of.heard.get(&(of.run_of(name), author.clone()));
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
            self.0.broadcasts.say(&node.name, &peer);
        }
    }

    /// No node hears a broadcast twice, and those of an author come in order.
    pub(super) fn check_broadcasts(&self) -> Result<(), Violation> {
        let invariant = "a broadcast is handled once, and in the order of its author";
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

    /// At rest, what each node says reaches all nodes of its network.
    pub(super) async fn all_hear_all(&self) -> Result<(), Violation> {
        let networks = self.networks(keeps_neighbors).await;
        let mut awaited = Vec::new();
        for node in &self.0.nodes {
            let Ok(peer) = self.0.net.peer(&node.name) else { continue };
            let Some(number) = networks.get(peer.info()) else { continue };
            let Some(said) = self.0.broadcasts.say(&node.name, &peer) else { continue };
            for other in self.0.nodes.iter().filter(|other| other.name != node.name) {
                let there = self.0.net.peer(&other.name).ok();
                if there.is_some_and(|there| networks.get(there.info()) == Some(number)) {
                    awaited.push((other.name.clone(), said.clone()));
                }
            }
        }
        let begun = Instant::now();
        loop {
            awaited.retain(|(name, said)| !self.0.broadcasts.has_heard(name, said));
            if awaited.is_empty() {
                return self.check_broadcasts();
            }
            if begun.elapsed() > HEARD_WITHIN {
                let invariant = "liveness: a broadcast reaches all nodes of the network";
                let neighbors = self.running().into_iter().map(|peer| {
                    let ids = peer.active_neighbors().into_iter().map(|of| of.id().to_string());
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
