//! Two nodes that dial each other, in every order of events: the rules of links (`PeerDirectory`,
//! `Link`) without a network. Each node uses them like a `Peer`.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use actix_peer::{
    frame::{Frame, FrameCodec, Part, TypeCode},
    link::{
        ClassicSign, ExchangeKind, Hello, Link, LinkConfig, LinkEvent, LinkPhase, PeerDirectory,
        PeerDirectoryConfig, Reach, Role,
    },
    overlay::PeerInfo,
};
use bytes::BytesMut;
use tokio_util::codec::Decoder;

const CODE: TypeCode = TypeCode::new(b"TEST");

/// A possible next event. A connection has the number of the node that dials it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A node has a message for the other one.
    Want { node: usize },
    /// A message that waits for a dial is sent over the link that the other node has opened.
    Look { node: usize },
    /// A node reads this many frames of a connection at once.
    Read { node: usize, connection: usize, frames: usize },
    /// A connection is cut. The frames in flight are lost.
    Cut { connection: usize },
    /// A node learns that the connection was cut.
    Lost { node: usize, connection: usize },
}

/// The fate of a node's message, as far as the node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    None,
    Waits,
    Asked { connection: usize },
    Replied,
    Reported,
}

struct Node {
    me: usize,
    directory: PeerDirectory,
    ends: [Option<Link>; 2],
    /// Whether its dial has not ended yet.
    dialling: bool,
    fate: Fate,
    /// How often it received the message of the other node.
    taken: usize,
}

struct World {
    now: Instant,
    nodes: [Node; 2],
    /// Frames in flight, by connection and by the node that receives them.
    wires: [[VecDeque<Frame>; 2]; 2],
    cut: Option<usize>,
}

/// The node with the smaller id is the first.
fn info(node: usize) -> PeerInfo {
    ["ada 127.0.0.1 9001", "bob 127.0.0.1 9002"][node].parse().unwrap()
}

fn link(node: usize, role: Role, now: Instant) -> Link {
    let hello = Hello {
        info: info(node),
        window: 1 << 20,
        max_message: 1 << 16,
        max_open: 8,
        incarnation: 1,
        features: vec![],
        lengths: vec![],
    };
    Link::new(role, LinkConfig { hello, keep_alive: Duration::from_secs(5) }, now)
}

/// Ends the connection of a finished link. No message is refused here, so that nothing follows.
fn end_connection(link: &mut Link) {
    if link.is_finished() {
        link.connection_lost();
    }
}

impl Node {
    fn new(me: usize) -> Self {
        let config = PeerDirectoryConfig { max_links: 8, classic_for: Duration::from_secs(600) };
        let directory = PeerDirectory::new(info(me).id().clone(), config);
        let ends = [None, None];
        Self { me, directory, ends, dialling: false, fate: Fate::None, taken: 0 }
    }

    fn other(&self) -> PeerInfo {
        info(1 - self.me)
    }

    /// Sends the message over the link that the directory names, if there is one.
    fn send(&mut self, now: Instant) {
        match self.directory.reach(self.other().address(), now).0 {
            Reach::Link(id) => {
                let connection = usize::try_from(id).unwrap();
                let link = self.ends[connection].as_mut().unwrap();
                link.begin(CODE, b"", ExchangeKind::Request, false)
                    .expect("a link in the directory accepts a message");
                self.fate = Fate::Asked { connection };
            }
            Reach::Dial => {
                self.ends[self.me] = Some(link(self.me, Role::Dialler, now));
                self.dialling = true;
            }
            Reach::Wait => {}
            Reach::NotBefore(_) | Reach::Classic => self.fate = Fate::Reported,
            Reach::NoRoom => panic!("the directory has room for a link"),
        }
    }

    fn read(&mut self, connection: usize, frames: Vec<Frame>, now: Instant) {
        let role = if connection == self.me { Role::Dialler } else { Role::Acceptor };
        let me = self.me;
        let end = self.ends[connection].get_or_insert_with(|| link(me, role, now));
        let greeting = end.phase() == LinkPhase::Greeting;
        frames.into_iter().for_each(|frame| end.handle(frame, now));
        end_connection(end);
        if greeting && end.phase() == LinkPhase::Closed {
            // A goodbye arrived together with the hello, so the link is not opened.
            end.events();
            return self.dialled(now);
        }
        if greeting {
            let (to, id) = (self.other().address().clone(), self.other().id().clone());
            if let Some(loses) = self.directory.opened(connection as u64, &to, &id, role, now) {
                self.directory.closed(loses);
                self.ends[usize::try_from(loses).unwrap()].as_mut().unwrap().bye();
            }
        }
        self.handle();
        if greeting && role == Role::Dialler {
            self.dialled(now);
        }
    }

    /// Its dial has ended. A waiting message uses the link that is open now.
    fn dialled(&mut self, now: Instant) {
        self.dialling = false;
        if self.fate == Fate::Waits {
            match self.directory.reach(self.other().address(), now).0 {
                Reach::Link(_) => self.send(now),
                _ => self.fate = Fate::Reported,
            }
        }
    }

    /// Handles all events of its links.
    fn handle(&mut self) {
        for connection in 0..2 {
            let Some(link) = &mut self.ends[connection] else { continue };
            let mut events: VecDeque<_> = link.events().collect();
            while let Some(event) = events.pop_front() {
                let asked = self.fate == Fate::Asked { connection };
                match event {
                    LinkEvent::Opened => {}
                    LinkEvent::Message { exchange, cost, .. } => {
                        self.taken += 1;
                        link.consumed(cost);
                        link.reply(exchange, TypeCode::REPL, b"", false, true).unwrap();
                        end_connection(link);
                        events.extend(link.events());
                    }
                    LinkEvent::Reply { .. } if asked => self.fate = Fate::Replied,
                    LinkEvent::Ended { .. } | LinkEvent::Granted { .. } => {}
                    LinkEvent::Leaving => self.directory.closed(connection as u64),
                    LinkEvent::Closed { .. } => {
                        self.directory.closed(connection as u64);
                        if asked {
                            self.fate = Fate::Reported;
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn lost(&mut self, connection: usize, now: Instant) {
        let link = self.ends[connection].as_mut().unwrap();
        let greeting = link.phase() == LinkPhase::Greeting;
        link.connection_lost();
        self.handle();
        if greeting {
            self.directory.mark_classic(self.other().address(), ClassicSign::Answer, now);
            self.dialled(now);
        }
    }

    fn has(&self, connection: usize) -> bool {
        self.ends[connection].as_ref().is_some_and(|link| link.phase() != LinkPhase::Closed)
    }
}

impl World {
    fn after(path: &[Step], now: Instant) -> Self {
        let nodes = [Node::new(0), Node::new(1)];
        let mut world = Self { now, nodes, wires: Default::default(), cut: None };
        path.iter().for_each(|step| world.take(*step));
        world
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        let node = match step {
            Step::Cut { connection } => {
                self.cut = Some(connection);
                self.wires[connection].iter_mut().for_each(VecDeque::clear);
                return;
            }
            Step::Want { node }
            | Step::Look { node }
            | Step::Read { node, .. }
            | Step::Lost { node, .. } => &mut self.nodes[node],
        };
        match step {
            Step::Want { .. } => {
                node.fate = Fate::Waits;
                node.send(now);
            }
            Step::Look { .. } => node.send(now),
            Step::Read { connection, frames, .. } => {
                let come = self.wires[connection][node.me].drain(..frames).collect();
                node.read(connection, come, now);
            }
            Step::Lost { connection, .. } => node.lost(connection, now),
            Step::Cut { .. } => {}
        }
        for connection in 0..2 {
            let Some(link) = &mut node.ends[connection] else { continue };
            let mut bytes = BytesMut::new();
            link.take_output(&mut bytes);
            while let Some(Part::Frame(frame)) = FrameCodec::new().decode(&mut bytes).unwrap() {
                if self.cut != Some(connection) {
                    self.wires[connection][1 - node.me].push_back(frame);
                }
            }
        }
    }

    /// The possible next events, apart from a cut.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if node.fate == Fate::None {
                steps.push(Step::Want { node: number });
            }
            let accepted = node.ends[1 - number].as_ref().map(Link::phase);
            if node.fate == Fate::Waits && node.dialling && accepted == Some(LinkPhase::Open) {
                steps.push(Step::Look { node: number });
            }
            for connection in 0..2 {
                let waiting = self.wires[connection][number].len();
                let read = |frames| Step::Read { node: number, connection, frames };
                steps.extend((1..=waiting).map(read));
                if self.cut == Some(connection) && node.has(connection) {
                    steps.push(Step::Lost { node: number, connection });
                }
            }
        }
        steps
    }

    /// Checks the end: no event is possible any more.
    fn check(&self, path: &[Step]) {
        let open = |node: &Node| (0..2).filter(|connection| node.has(*connection)).collect();
        let open: [Vec<usize>; 2] = self.nodes.each_ref().map(open);
        assert_eq!(open[0], open[1], "{path:?}");
        assert_eq!(self.nodes.each_ref().map(|node| node.directory.links()), [open[0].len(); 2]);
        let ends = self.nodes.each_ref().map(|node| node.ends.each_ref().map(Option::is_some));
        if self.cut.is_none() {
            // The dial of the node with the smaller id, if there was one.
            assert_eq!(open[0], [usize::from(!ends[0][0])], "{path:?}");
        }
        assert!(open[0].len() <= 1, "{path:?}");
        for (node, other) in [(0, 1), (1, 0)].map(|(a, b)| (&self.nodes[a], &self.nodes[b])) {
            match node.fate {
                Fate::Replied => assert_eq!(other.taken, 1, "{path:?}"),
                Fate::Reported => assert!(self.cut.is_some() && other.taken <= 1, "{path:?}"),
                _ => panic!("{:?}: {path:?}", node.fate),
            }
        }
    }
}

/// The events at one node do not depend on those at the other one. Two orders that differ only in
/// how the events of the two nodes interleave have the same result. The moment of a cut matters
/// only by the frames that were read before it.
fn histories(path: &[Step]) -> ([Vec<Step>; 2], Option<Step>) {
    let (mut histories, mut cut) = ([vec![], vec![]], None);
    for step in path {
        match *step {
            Step::Cut { .. } => cut = Some(*step),
            Step::Want { node }
            | Step::Look { node }
            | Step::Read { node, .. }
            | Step::Lost { node, .. } => histories[node].push(*step),
        }
    }
    (histories, cut)
}

/// Explores every order. Returns the number of complete orders, without those that no node could
/// distinguish, and how many of them had two links.
fn explore(with_cut: bool) -> (usize, usize) {
    let now = tokio::time::Instant::now().into_std();
    let (mut seen, mut todo) = (BTreeSet::new(), vec![vec![]]);
    let (mut ends, mut crossings) = (0, 0);
    while let Some(path) = todo.pop() {
        if !seen.insert(histories(&path)) {
            continue;
        }
        let world = World::after(&path, now);
        let mut steps = world.steps();
        if steps.is_empty() {
            world.check(&path);
            ends += 1;
            crossings += usize::from(world.nodes[0].ends.iter().all(Option::is_some));
        }
        if with_cut && world.cut.is_none() {
            let dialled = (0..2).filter(|n| world.nodes[*n].ends[*n].is_some());
            steps.extend(dialled.map(|connection| Step::Cut { connection }));
        }
        todo.extend(steps.into_iter().map(|step| [&path[..], &[step]].concat()));
    }
    (ends, crossings)
}

#[test]
fn in_every_order_one_of_two_links_stays_and_every_message_is_delivered_once() {
    let (ends, crossings) = explore(false);
    assert!(crossings > 10 && ends > crossings, "{ends} {crossings}");
}

#[test]
fn in_every_order_with_a_cut_no_message_is_delivered_twice_or_lost_unreported() {
    let (ends, crossings) = explore(true);
    assert!(crossings > 100 && ends > crossings, "{ends} {crossings}");
}
