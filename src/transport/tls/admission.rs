//! The admission of peers: a policy that may change while nodes run.

#![expect(clippy::disallowed_types, reason = "each node has one receiver")]

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, MutexGuard, Weak},
};

use indexmap::IndexMap;
use tokio::sync::watch;

use crate::{overlay::PeerId, sync::Mutex};

/// Which peers a node admits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Every peer that proves an id.
    Open,
    /// Only the peers on the list, so no peer without a proven id.
    AllowList(BTreeSet<PeerId>),
    /// Every peer that proves an id that is not on the list. A new id costs nothing, so this keeps
    /// out misconfigured peers, not hostile ones.
    BanList(BTreeSet<PeerId>),
}

impl Policy {
    /// Whether it admits the node with this id.
    #[must_use]
    pub fn admits(&self, id: &PeerId) -> bool {
        match self {
            Self::Open => true,
            Self::AllowList(list) => list.contains(id),
            Self::BanList(list) => !list.contains(id),
        }
    }

    fn admits_open(&self, id: Option<&PeerId>) -> bool {
        id.map_or_else(|| self.admits_unproven(), |id| self.admits(id))
    }

    /// Whether it admits a node without a proven id, if plain connections are served.
    #[must_use]
    pub const fn admits_unproven(&self) -> bool {
        match self {
            Self::Open | Self::BanList(_) => true,
            Self::AllowList(_) => false,
        }
    }
}

/// Decides, for both directions, which peers a node communicates with. It is a handle that is cheap
/// to clone, can be used from any thread, and may be shared by several nodes.
///
/// A change takes effect at once. The connections and links of peers that are no longer admitted
/// are closed, their handshakes are refused from then on, and nodes remove them from their peer
/// tables. A node always admits itself.
///
/// # Examples
///
/// ```
/// use actix_peer::transport::tls::{Admission, NodeIdentity};
///
/// let (ada, bob) = (NodeIdentity::generate()?, NodeIdentity::generate()?);
/// let admission = Admission::allow_list([ada.id().clone()]);
/// assert!(admission.admits(ada.id()) && !admission.admits(bob.id()));
///
/// admission.allow(bob.id());
/// admission.ban(ada.id());
/// assert!(admission.admits(bob.id()) && !admission.admits(ada.id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Admission(Arc<Mutex<AdmissionState>>);

struct AdmissionState {
    policy: Policy,
    /// The open connections, so that they can be closed.
    open: IndexMap<u64, Open>,
    next: u64,
    /// Notified of every change.
    changes: watch::Sender<()>,
}

struct Open {
    /// `None` if the peer has proved no id.
    id: Option<PeerId>,
    connection: Weak<dyn Revoke>,
}

/// A connection that is closed when its peer is no longer admitted.
pub(super) trait Revoke: Send + Sync {
    fn revoke(&self);
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admission").field(&self.lock().policy).finish()
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(Policy::Open)
    }
}

impl Admission {
    /// An admission with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(Mutex::new(AdmissionState {
            policy,
            open: IndexMap::new(),
            next: 0,
            changes: watch::Sender::new(()),
        })))
    }

    /// Admits every peer that proves an id. This is the default.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Admits only these peers.
    #[must_use]
    pub fn allow_list(ids: impl IntoIterator<Item = PeerId>) -> Self {
        Self::new(Policy::AllowList(ids.into_iter().collect()))
    }

    /// Admits all peers except these.
    #[must_use]
    pub fn ban_list(ids: impl IntoIterator<Item = PeerId>) -> Self {
        Self::new(Policy::BanList(ids.into_iter().collect()))
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.lock().changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionState> {
        self.0.lock()
    }

    /// The current policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.lock().policy.clone()
    }

    /// Whether the node with this id is admitted now.
    #[must_use]
    pub fn admits(&self, id: &PeerId) -> bool {
        self.lock().policy.admits(id)
    }

    /// Whether a peer without a proven id is admitted now, if plain connections are served.
    #[must_use]
    pub fn admits_unproven(&self) -> bool {
        self.lock().policy.admits_unproven()
    }

    /// Replaces the policy. Returns the number of connections that were closed.
    pub fn set(&self, policy: Policy) -> usize {
        self.change(|now| *now = policy)
    }

    /// Admits this node from now on: adds it to an allow-list, or removes it from a ban-list.
    pub fn allow(&self, id: &PeerId) {
        self.change(|policy| match policy {
            Policy::Open => {}
            Policy::AllowList(list) => {
                list.insert(id.clone());
            }
            Policy::BanList(list) => {
                list.remove(id);
            }
        });
    }

    /// No longer admits this node: removes it from an allow-list, adds it to a ban-list, or
    /// replaces an open policy by a ban-list. Returns the number of connections that were closed.
    pub fn ban(&self, id: &PeerId) -> usize {
        self.change(|policy| match policy {
            Policy::Open => *policy = Policy::BanList([id.clone()].into()),
            Policy::AllowList(list) => {
                list.remove(id);
            }
            Policy::BanList(list) => {
                list.insert(id.clone());
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Policy)) -> usize {
        let mut state = self.lock();
        let AdmissionState { policy, open, .. } = &mut *state;
        change(policy);
        let mut gone = Vec::new();
        open.retain(|_, open| {
            let stays = policy.admits_open(open.id.as_ref());
            if !stays {
                gone.push(Weak::clone(&open.connection));
            }
            stays
        });
        state.changes.send_replace(());
        drop(state);
        // Not under the lock: closing wakes other tasks and drops their values.
        let open = gone.iter().filter_map(Weak::upgrade);
        open.inspect(|connection| connection.revoke()).count()
    }

    /// Registers an open connection while the ticket lives. `None` if its peer is no longer
    /// admitted.
    pub(super) fn enter(
        &self,
        id: Option<&PeerId>,
        connection: Weak<dyn Revoke>,
    ) -> Option<Ticket> {
        let mut state = self.lock();
        if !state.policy.admits_open(id) {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Open { id: id.cloned(), connection });
        drop(state);
        Some(Ticket { admission: self.clone(), number })
    }
}

/// The registration of an open connection in an [`Admission`].
pub(super) struct Ticket {
    admission: Admission,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.lock().open.swap_remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Connection(AtomicBool);

    impl Revoke for Connection {
        fn revoke(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn enter(admission: &Admission, who: &str) -> (Arc<Connection>, Option<Ticket>) {
        let connection = Arc::new(Connection::default());
        let weak: Weak<Connection> = Arc::downgrade(&connection);
        (Arc::clone(&connection), admission.enter(Some(&id(who)), weak))
    }

    #[test]
    fn each_policy_admits_the_peers_that_it_names() {
        let open = Admission::open();
        assert!(open.admits(&id("a")) && open.admits_unproven());
        let some = Admission::allow_list([id("a")]);
        assert!(some.admits(&id("a")) && !some.admits(&id("b")) && !some.admits_unproven());
        let most = Admission::ban_list([id("a")]);
        assert!(!most.admits(&id("a")) && most.admits(&id("b")) && most.admits_unproven());
    }

    #[test]
    fn allowing_and_banning_do_the_same_whatever_the_policy() {
        for admission in
            [Admission::open(), Admission::allow_list([id("a")]), Admission::ban_list([id("b")])]
        {
            admission.ban(&id("a"));
            admission.allow(&id("b"));
            assert!(!admission.admits(&id("a")) && admission.admits(&id("b")), "{admission:?}");
            admission.set(Policy::Open);
            assert!(admission.admits(&id("a")));
        }
    }

    #[test]
    fn a_change_closes_exactly_the_connections_that_are_no_longer_admitted() {
        let admission = Admission::open();
        let ((a, in_a), (b, in_b)) = (enter(&admission, "a"), enter(&admission, "b"));
        assert_eq!(admission.ban(&id("a")), 1);
        assert!(a.0.load(Ordering::Relaxed) && !b.0.load(Ordering::Relaxed));
        assert_eq!(admission.ban(&id("a")), 0);
        assert!(enter(&admission, "a").1.is_none(), "not admitted any more");
        drop((in_a, in_b));
        assert_eq!(admission.set(Policy::AllowList(BTreeSet::new())), 0, "nothing is open");
        assert!(admission.lock().open.is_empty());
    }
}
