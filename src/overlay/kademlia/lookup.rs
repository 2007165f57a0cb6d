//! The iterative look-up (section 2.3 of the paper).

use crate::overlay::{
    PeerId, PeerInfo,
    kademlia::key::{Distance, Key},
};

/// The parameters of a [`Lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupConfig {
    /// The number of nodes to find, and to take from one answer: 20, as in the paper; at least 1.
    pub k: usize,
    /// The number of concurrent questions: 3, as in the paper; at least 1.
    pub alpha: usize,
    /// The total number of questions of one look-up: 128. It bounds what lying nodes can cause.
    pub max_questions: usize,
}

impl Default for LookupConfig {
    fn default() -> Self {
        Self { k: 20, alpha: 3, max_questions: 128 }
    }
}

impl LookupConfig {
    /// Sets the number of nodes to find.
    #[must_use]
    pub const fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Sets the number of concurrent questions.
    #[must_use]
    pub const fn alpha(mut self, alpha: usize) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the total number of questions.
    #[must_use]
    pub const fn max_questions(mut self, max_questions: usize) -> Self {
        self.max_questions = max_questions;
        self
    }
}

/// The number of candidates that are kept for each node to find, because some will not answer.
const SPARE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CandidateState {
    Heard,
    Asked,
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: Distance,
    info: PeerInfo,
    state: CandidateState,
}

/// A search for the nodes nearest to a key.
///
/// It asks the nearest candidates that have not been asked, `alpha` at once. It is done when the
/// `k` nearest nodes that answer have all been asked. Addresses in answers are hints: a node counts
/// only when it has answered itself.
#[derive(Clone, Debug)]
pub struct Lookup {
    own: Key,
    target: Key,
    config: LookupConfig,
    /// Nearest first.
    candidates: Vec<Candidate>,
    under_way: usize,
    questions: usize,
}

impl Lookup {
    /// Makes a search by the node at `own` that begins with the nodes that its table knows.
    #[must_use]
    pub fn new(
        own: Key,
        target: Key,
        known: impl IntoIterator<Item = PeerInfo>,
        config: LookupConfig,
    ) -> Self {
        let LookupConfig { k, alpha, max_questions } = config;
        let config = LookupConfig { k: k.max(1), alpha: alpha.max(1), max_questions };
        let (candidates, under_way, questions) = (Vec::new(), 0, 0);
        let mut lookup = Self { own, target, config, candidates, under_way, questions };
        lookup.hear(known);
        lookup
    }

    /// The key that is looked up.
    #[must_use]
    pub const fn target(&self) -> Key {
        self.target
    }

    /// The number of questions asked so far.
    #[must_use]
    pub const fn questions(&self) -> usize {
        self.questions
    }

    fn hear(&mut self, peers: impl IntoIterator<Item = PeerInfo>) {
        for info in peers {
            let key = Key::of(info.id());
            let distance = key.distance(self.target);
            if key == self.own {
                continue;
            }
            // The first address of an id is kept, unless no node answered there. Other nodes cannot
            // replace it, and a lying node costs one question.
            let fresh = Candidate { distance, info, state: CandidateState::Heard };
            match self.candidates.binary_search_by_key(&distance, |other| other.distance) {
                Err(at) => self.candidates.insert(at, fresh),
                Ok(at) => {
                    if let Some(other) = self.candidates.get_mut(at)
                        && other.state == CandidateState::Failed
                        && other.info != fresh.info
                    {
                        *other = fresh;
                    }
                }
            }
        }
        let most = self.config.k.saturating_mul(SPARE);
        if self.candidates.len() > most {
            // Candidates that are being asked stay, because their answers are pending. Failed ones
            // stay, because other nodes would name them again.
            let mut over = self.candidates.len() - most;
            let mut at = self.candidates.len();
            while over > 0 && at > 0 {
                at -= 1;
                if self.candidates.get(at).is_some_and(|other| other.state == CandidateState::Heard)
                {
                    self.candidates.remove(at);
                    over -= 1;
                }
            }
        }
    }

    /// The next node to ask for the nodes nearest to the target; `None` if the search waits for
    /// answers or is done.
    #[expect(clippy::should_implement_trait, reason = "`None` is not the end of the search")]
    pub fn next(&mut self) -> Option<PeerInfo> {
        if self.under_way >= self.config.alpha || self.questions >= self.config.max_questions {
            return None;
        }
        let alive =
            self.candidates.iter_mut().filter(|other| other.state != CandidateState::Failed);
        let next = alive.take(self.config.k).find(|other| other.state == CandidateState::Heard)?;
        next.state = CandidateState::Asked;
        self.under_way += 1;
        self.questions += 1;
        Some(next.info.clone())
    }

    fn end(&mut self, id: &PeerId, state: CandidateState) -> bool {
        let distance = Key::of(id).distance(self.target);
        let asked = self.candidates.binary_search_by_key(&distance, |other| other.distance).ok();
        let asked = asked.and_then(|at| self.candidates.get_mut(at));
        let Some(asked) = asked.filter(|asked| asked.state == CandidateState::Asked) else {
            return false;
        };
        asked.state = state;
        self.under_way -= 1;
        true
    }

    /// Records that a node has answered with nodes that it knows. At most `k` of them are taken.
    /// The searching node itself, and an answer without a question, are ignored.
    pub fn answered(&mut self, id: &PeerId, peers: impl IntoIterator<Item = PeerInfo>) {
        if self.end(id, CandidateState::Answered) {
            self.hear(peers.into_iter().take(self.config.k));
        }
    }

    /// Records that a node that was asked has not answered.
    pub fn failed(&mut self, id: &PeerId) {
        self.end(id, CandidateState::Failed);
    }

    /// Whether nothing is left to ask or to wait for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let alive = self.candidates.iter().filter(|other| other.state != CandidateState::Failed);
        let mut nearest = alive.take(self.config.k);
        self.under_way == 0
            && (self.questions >= self.config.max_questions
                || nearest.all(|other| other.state == CandidateState::Answered))
    }

    /// The nearest `k` nodes that have answered, nearest first.
    #[must_use]
    pub fn closest(&self) -> Vec<PeerInfo> {
        let answered =
            self.candidates.iter().filter(|other| other.state == CandidateState::Answered);
        answered.take(self.config.k).map(|other| other.info.clone()).collect()
    }

    /// Whether the node with this id has answered: it is alive, at its address in
    /// [`closest`](Self::closest).
    #[must_use]
    pub fn has_found(&self, id: &PeerId) -> bool {
        let distance = Key::of(id).distance(self.target);
        let found = self.candidates.binary_search_by_key(&distance, |other| other.distance);
        found.is_ok_and(|at| {
            self.candidates.get(at).is_some_and(|other| other.state == CandidateState::Answered)
        })
    }
}
