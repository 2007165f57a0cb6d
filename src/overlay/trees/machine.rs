//! The state of a tree at one node.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use indexmap::IndexMap;

use crate::overlay::{
    trees::{
        MessageId, Offence, PublishError, TreesConfig, TreesEvent, TreesMessage, TreesOutput,
        author::Authors,
        kept::{Kept, KeptMessage},
        missing::MissingMessages,
        neighbor::Neighbor,
        order::Order,
    },
    views::PeerKey,
};

/// One tree at one node.
///
/// The driver passes in each change of the neighbours ([`neighbor_up`](Self::neighbor_up),
/// [`neighbor_down`](Self::neighbor_down)), each message ([`receive`](Self::receive)) and the time
/// ([`tick`](Self::tick), not later than [`next_tick`](Self::next_tick)), and after each call takes
/// all outputs with [`poll`](Self::poll). Where authors sign, it verifies the proof of a payload
/// before it passes the message in, and drops the message if the proof is wrong.
///
/// The messages of a neighbour are passed in after those of the views that made it a neighbour.
/// Control messages and payloads may overtake each other.
///
/// ```
/// use std::time::Instant;
///
/// use actix_peer::overlay::trees::{Trees, TreesConfig, TreesOutput};
/// use bytes::Bytes;
///
/// let now = Instant::now();
/// let mut ada = Trees::new("ada", 1, TreesConfig::default(), now);
/// let mut bob = Trees::new("bob", 1, TreesConfig::default(), now);
/// ada.neighbor_up("bob", now);
/// bob.neighbor_up("ada", now);
/// let id = ada.publish(Bytes::from_static(b"news"), |_, _| Bytes::new(), now)?;
/// while let Some(output) = ada.poll() {
///     if let TreesOutput::Send { message, .. } = output {
///         bob.receive(&"ada", message, now);
///     }
/// }
/// let delivered = std::iter::from_fn(|| bob.poll()).find_map(|output| match output {
///     TreesOutput::Deliver(delivery) => Some(delivery),
///     _ => None,
/// });
/// let delivered = delivered.expect("bob is a neighbour of ada");
/// assert_eq!((delivered.id, &delivered.payload[..]), (id, &b"news"[..]));
/// # Ok::<(), actix_peer::overlay::trees::PublishError>(())
/// ```
#[derive(Debug)]
pub struct Trees<P> {
    pub(super) me: P,
    pub(super) incarnation: u64,
    pub(super) config: TreesConfig,
    /// The sequence number of the next own message. `None` if all are used.
    pub(super) sequence: Option<u64>,
    pub(super) neighbors: IndexMap<P, Neighbor<P>>,
    pub(super) authors: Authors<P>,
    pub(super) kept: Kept<P>,
    pub(super) missing: MissingMessages<P>,
    pub(super) order: Order<P>,
    pub(super) lazy_due: Option<Instant>,
    /// The author whose messages shape the tree, and when it was last heard.
    pub(super) shaper: Option<(P, Instant)>,
    /// When a path was last replaced with a shorter one.
    pub(super) switched: Option<Instant>,
    /// When the contributions of the neighbours were last looked at.
    pub(super) reviewed: Instant,
    pub(super) outputs: VecDeque<TreesOutput<P>>,
}

/// What a tree holds at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreesSize {
    /// The number of authors whose ids are remembered.
    pub authors: usize,
    /// The number of messages that are kept for grafts.
    pub kept: usize,
    /// Their payloads and proofs, in bytes.
    pub kept_bytes: usize,
    /// The number of announced messages that have not come.
    pub missing: usize,
    /// The number of messages that wait for an earlier one.
    pub waiting: usize,
    /// Their payloads, in bytes.
    pub waiting_bytes: usize,
}

impl<P: PeerKey> Trees<P> {
    /// The tree of a node without neighbours.
    ///
    /// `incarnation` differs from that of each other run of this node in the last minutes, for
    /// example the time at its start. Other nodes take messages with the same number for repeated
    /// ones.
    #[must_use]
    pub fn new(me: P, incarnation: u64, config: TreesConfig, now: Instant) -> Self {
        Self {
            me,
            incarnation,
            sequence: Some(0),
            neighbors: IndexMap::new(),
            authors: Authors::new(&config),
            kept: Kept::new(&config),
            missing: MissingMessages::new(),
            order: Order::new(),
            config,
            lazy_due: None,
            shaper: None,
            switched: None,
            reviewed: now,
            outputs: VecDeque::new(),
        }
    }

    /// Goes on with a run of this node: its incarnation and the number of its next message, as
    /// [`next_id`](Self::next_id) returned them.
    #[must_use]
    pub const fn going_on(mut self, incarnation: u64, sequence: u64) -> Self {
        (self.incarnation, self.sequence) = (incarnation, Some(sequence));
        self
    }

    /// The incarnation, and the number of the next message of this node. `None` if all numbers are
    /// used.
    #[must_use]
    pub const fn next_id(&self) -> Option<(u64, u64)> {
        match self.sequence {
            Some(sequence) => Some((self.incarnation, sequence)),
            None => None,
        }
    }

    /// Changes how many messages are kept for longer, and for how long.
    pub fn set_history(&mut self, count: usize, bytes: usize, time: Duration) {
        self.config.history_count = count;
        self.config.history_bytes = bytes;
        self.config.history_for = time;
        self.kept.set_history(&self.config);
    }

    /// Notes that the driver had no room for a payload to this neighbour. The neighbour gets its id,
    /// and fetches it later.
    pub fn not_sent(&mut self, to: &P, id: &MessageId<P>, now: Instant) {
        if let Some(hops) = self.kept.get(id).map(|kept| kept.hops.saturating_add(1)) {
            self.announce(to, id, hops, now);
        }
    }

    /// The id of this node.
    pub const fn me(&self) -> &P {
        &self.me
    }

    /// The neighbours that get payloads at once.
    pub fn eager(&self) -> impl Iterator<Item = &P> {
        self.neighbors.iter().filter(|(_, neighbor)| neighbor.eager).map(|(peer, _)| peer)
    }

    /// The neighbours that get only ids.
    pub fn lazy(&self) -> impl Iterator<Item = &P> {
        self.neighbors.iter().filter(|(_, neighbor)| !neighbor.eager).map(|(peer, _)| peer)
    }

    /// Whether the message needs no verification of its proof, because the node has it already or
    /// drops it. It is passed in nevertheless: duplicates shape the tree.
    #[must_use]
    pub fn is_known(&self, id: &MessageId<P>) -> bool {
        id.author == self.me || self.authors.knows(id)
    }

    /// The neighbour that brought a message first. `None` if the message is not kept any more, or is
    /// this node's own.
    #[must_use]
    pub fn source(&self, id: &MessageId<P>) -> Option<&P> {
        self.kept.get(id)?.first.as_ref()
    }

    /// What the tree holds at present.
    #[must_use]
    pub fn size(&self) -> TreesSize {
        let ((kept, kept_bytes), (waiting, waiting_bytes)) = (self.kept.size(), self.order.size());
        let (authors, missing) = (self.authors.len(), self.missing.len());
        TreesSize { authors, kept, kept_bytes, missing, waiting, waiting_bytes }
    }

    /// The next thing to do. `None` if there is none.
    pub fn poll(&mut self) -> Option<TreesOutput<P>> {
        self.outputs.pop_front()
    }

    /// Publishes a message to all nodes of the tree. It is not delivered to this node.
    ///
    /// `prove` makes the proof, for example a signature of the id and the payload. Without proofs,
    /// it returns no bytes.
    ///
    /// # Errors
    /// - [`PublishError::PayloadTooLong`], [`PublishError::ProofTooLong`]: it exceeds the limit.
    ///   Nothing was sent, and the sequence number is free.
    /// - [`PublishError::NoSequence`]: this incarnation has no sequence number left.
    pub fn publish(
        &mut self,
        payload: Bytes,
        prove: impl FnOnce(&MessageId<P>, &Bytes) -> Bytes,
        now: Instant,
    ) -> Result<MessageId<P>, PublishError> {
        let (len, limit) = (payload.len(), self.config.payload_limit);
        if len > limit {
            return Err(PublishError::PayloadTooLong { len, limit });
        }
        let sequence = self.sequence.ok_or(PublishError::NoSequence)?;
        let (author, incarnation) = (self.me.clone(), self.incarnation);
        let id = MessageId { author, incarnation, sequence };
        let proof = prove(&id, &payload);
        let (len, limit) = (proof.len(), self.config.proof_limit);
        if len > limit {
            return Err(PublishError::ProofTooLong { len, limit });
        }
        self.sequence = sequence.checked_add(1);
        self.shapes(&id.author, now);
        let message = KeptMessage {
            payload,
            proof,
            hops: 0,
            from: None,
            first: None,
            grafted: false,
            age: 0,
            came: now,
        };
        self.pass_on(&id, &message, &[], true, now);
        self.kept.insert(id.clone(), message);
        Ok(id)
    }

    /// Notes a new neighbour. It is eager, and is told what this node keeps.
    pub fn neighbor_up(&mut self, peer: P, now: Instant) {
        if peer == self.me || self.neighbors.contains_key(&peer) {
            return;
        }
        self.neighbors.insert(peer.clone(), Neighbor::new(now));
        self.kept.expire(now);
        self.catch_up(&peer);
    }

    /// Notes that a neighbour is gone. What was asked of it is asked of others at once. If it was in
    /// the tree, a lazy neighbour takes its place.
    pub fn neighbor_down(&mut self, peer: &P, now: Instant) {
        if let Some(gone) = self.neighbors.shift_remove(peer) {
            self.forget_announcer(peer, now);
            if gone.eager && gone.brought.is_some() {
                self.replace_source(now);
            }
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        if self.lazy_due.is_some_and(|due| due <= now) {
            self.send_all_announcements();
        }
        self.graft_due(now);
        self.release_due(now);
        self.kept.expire(now);
        self.authors.forget(now);
    }

    /// The time of the next [`tick`](Self::tick). `None` if nothing is planned.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let due = [
            self.lazy_due,
            self.missing.next_due(),
            self.order.next_due(),
            self.kept.next_expiry(),
            self.authors.next_expiry(),
        ];
        due.into_iter().flatten().min()
    }

    /// Sends a message to the eager neighbours, and if `wide` to all, and announces it to the others.
    /// Those in `except` have it.
    pub(super) fn pass_on(
        &mut self,
        id: &MessageId<P>,
        message: &KeptMessage<P>,
        except: &[&P],
        wide: bool,
        now: Instant,
    ) {
        let hops = message.hops.saturating_add(1);
        for at in 0..self.neighbors.len() {
            let Some((peer, neighbor)) = self.neighbors.get_index(at) else { break };
            if except.contains(&peer) {
                continue;
            }
            let (peer, eager) = (peer.clone(), neighbor.eager);
            if eager || wide {
                self.send(peer, message.to_message(id, hops, now));
            } else {
                self.announce(&peer, id, hops, now);
            }
        }
    }

    pub(super) fn send(&mut self, to: P, message: TreesMessage<P>) {
        self.outputs.push_back(TreesOutput::Send { to, message });
    }

    pub(super) fn event(&mut self, event: TreesEvent<P>) {
        self.outputs.push_back(TreesOutput::Event(event));
    }

    /// Notes an offence of a neighbour. It is reported if there are too many.
    pub(super) fn offence(&mut self, peer: &P, offence: Offence, now: Instant) {
        let config = self.config;
        if let Some(neighbor) = self.neighbors.get_mut(peer)
            && neighbor.offends(offence, &config, now)
        {
            self.event(TreesEvent::Misbehaves { peer: peer.clone(), offence });
        }
    }
}
