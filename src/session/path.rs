//! Finds a link to a peer: the open one, or a dial that callers share.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    link::{LinkId, Reach, Reason, Role},
    message::RequestError,
    overlay::{Address, PeerId},
    session::{Endpoint, Pool, open, shared::Session},
    time::{Later, now},
    transport::IdentityFault,
};

/// The longest back-off between two dials for which a caller waits. In a longer one a caller gets
/// an error at once.
const SHORT_PAUSE: Duration = Duration::from_millis(500);

/// The result of a dial, for all callers that wait for it.
pub(crate) type Reached = Result<Arc<Session>, Unreached>;

/// Why there is no link.
#[derive(Clone, Debug)]
pub(crate) enum Unreached {
    /// The peer speaks no links. A mute one accepted the connection and sent nothing: its process
    /// may be suspended.
    Classic { mute: bool },
    /// All links are in use.
    NoRoom,
    /// The peer accepts no connections now.
    Busy,
    /// The peer cannot be reached.
    Failed { kind: io::ErrorKind, text: String },
    /// Another peer is at the address, or the peer is not admitted, or does not admit this node.
    Identity(IdentityFault),
    /// This node has banned the peer.
    Banned(PeerId),
    /// The peer sent its hello and closed the link at once.
    Left,
    /// This node stops.
    Stopped,
}

impl Unreached {
    pub(crate) fn failed(error: &io::Error) -> Self {
        Self::Failed { kind: error.kind(), text: error.to_string() }
    }

    fn without_a_word() -> Self {
        Self::failed(&io::Error::other("the dial was aborted"))
    }

    pub(crate) fn into_error(self, to: &Address) -> RequestError {
        match self {
            Self::Classic { .. } => RequestError::NoLink(to.clone()),
            Self::NoRoom => RequestError::Busy,
            Self::Busy => RequestError::Reset { reason: Reason::BUSY, sent: false },
            Self::Failed { kind, text } => {
                RequestError::Connect { to: to.clone(), source: io::Error::new(kind, text) }
            }
            Self::Identity(fault) => RequestError::Identity(fault),
            Self::Banned(id) => RequestError::Banned(id),
            Self::Left => RequestError::Reset { reason: Reason::GOING_AWAY, sent: false },
            Self::Stopped => RequestError::Stopped { sent: false },
        }
    }
}

/// The next step of a caller that needs a link.
enum Step {
    Done(Reached),
    Wait(watch::Receiver<Option<Reached>>),
    Pause(Instant),
    Again,
}

fn step(endpoint: &Arc<Endpoint>, to: &Address, whom: Option<&PeerId>) -> Step {
    let mut pool = endpoint.links.lock();
    pool.look_at_sessions();
    let (reach, after) = pool.directory.reach(to, now());
    let leaves = after.and_then(|id| pool.sessions.get(&id).cloned());
    let mut dial = None;
    let step = match reach {
        Reach::Link(id) => match pool.sessions.get(&id) {
            Some(session) if session.is_open() && session.is_to(whom) => {
                Step::Done(Ok(Arc::clone(session)))
            }
            // A peer with another id has opened this link and claims to be reached at the address.
            Some(session) if session.is_open() && session.role == Role::Acceptor => {
                let session = Arc::clone(session);
                pool.directory.closed(id);
                drop(pool);
                endpoint.links.unlist(&session);
                return Step::Again;
            }
            Some(session) if session.is_open() => Step::Done(Err(session.wrong_peer(to, whom))),
            Some(_) => {
                pool.directory.leaves(id);
                Step::Again
            }
            None => {
                pool.directory.closed(id);
                Step::Again
            }
        },
        Reach::Classic => Step::Done(Err(Unreached::Classic { mute: false })),
        Reach::NoRoom => Step::Done(Err(Unreached::NoRoom)),
        Reach::NotBefore(until) => Step::Pause(until.into()),
        Reach::Dial => {
            let (result, reached) = watch::channel(None);
            pool.dials.insert(to.clone(), reached.clone());
            let dialling =
                Dialling { endpoint: Arc::clone(endpoint), to: to.clone(), result: Some(result) };
            dial = Some(dialling.dial(whom.cloned(), after));
            Step::Wait(reached)
        }
        Reach::Wait => match pool.dials.get(to) {
            Some(reached) if reached.has_changed().is_ok() => Step::Wait(reached.clone()),
            // Not reached: a dial always reports its result.
            _ => {
                pool.dials.remove(to);
                pool.directory.dial_failed(to, now());
                Step::Done(Err(Unreached::without_a_word()))
            }
        },
    };
    drop(pool);
    if let Some(idle) = leaves {
        endpoint.links.unlist(&idle);
        idle.bye();
    }
    // Not under the lock: if the runtime has ended, the dial is dropped here and takes the lock.
    if let Some(dial) = dial {
        endpoint.spawn(dial);
    }
    step
}

/// A dial that callers share. However it ends, the callers and the directory get its result.
struct Dialling {
    endpoint: Arc<Endpoint>,
    to: Address,
    result: Option<watch::Sender<Option<Reached>>>,
}

impl Dialling {
    /// Dials after the link `after` has ended. The dial ends when the node begins to stop.
    async fn dial(mut self, whom: Option<PeerId>, after: Option<LinkId>) {
        let Self { endpoint, to, .. } = &self;
        let dial = async {
            if let Some(link) = after {
                let room =
                    timeout(endpoint.config.connect_timeout, endpoint.links.is_over(link)).await;
                room.map_err(|_| Unreached::NoRoom)?;
            }
            open::dial(endpoint, to, whom.as_ref()).await
        };
        let reached = endpoint.drain.run_until_cancelled(dial).await;
        self.end(reached.unwrap_or(Err(Unreached::Stopped)));
    }

    fn end(&mut self, reached: Reached) {
        let Some(result) = self.result.take() else { return };
        let mut pool = self.endpoint.links.lock();
        match &reached {
            Ok(_) => {}
            Err(Unreached::Classic { mute: true }) => pool.directory.mark_mute(&self.to, now()),
            Err(Unreached::Classic { mute: false }) => pool.directory.mark_classic(&self.to, now()),
            Err(Unreached::Failed { .. } | Unreached::Busy | Unreached::Left) => {
                pool.directory.dial_failed(&self.to, now());
            }
            // The next dial may be for another peer, or the peer may be admitted then.
            Err(
                Unreached::NoRoom
                | Unreached::Stopped
                | Unreached::Identity(_)
                | Unreached::Banned(_),
            ) => pool.directory.dial_cancelled(&self.to),
        }
        pool.dials.remove(&self.to);
        drop(pool);
        result.send_replace(Some(reached));
    }
}

impl Drop for Dialling {
    /// Reports a dial that panicked, or whose task was dropped with its runtime.
    fn drop(&mut self) {
        self.end(Err(Unreached::without_a_word()));
    }
}

impl Pool {
    /// Updates the directory: which links are in use, and since when the others are idle.
    pub(crate) fn look_at_sessions(&mut self) {
        for session in self.sessions.values() {
            let state = session.lock();
            let open = usize::from(!session.is_idle(&state));
            self.directory.busy(session.id, open, state.used.0.into_std());
        }
    }
}

impl Session {
    /// The error for a link to another peer than `whom`.
    fn wrong_peer(&self, at: &Address, whom: Option<&PeerId>) -> Unreached {
        let found = self.peer.id();
        let expected = whom.unwrap_or(found);
        let fault = self.endpoint.found_another(at, (expected, found));
        let unproven = self.sender.proven().is_none() && self.endpoint.is_proven_only(expected);
        Unreached::Identity(if unproven { IdentityFault::NotTls { at: at.clone() } } else { fault })
    }
}

/// Whether the failure of a dial for another peer says nothing about `whom`.
fn says_nothing(why: &Unreached, whom: Option<&PeerId>) -> bool {
    match why {
        Unreached::Identity(IdentityFault::WrongPeer { expected, .. }) => whom != Some(expected),
        Unreached::Banned(id) => whom.is_some_and(|whom| whom != id),
        _ => false,
    }
}

/// Whether the node at `to` speaks links, as far as this is known. Opens a link if there is none.
pub(crate) async fn speaks_links(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    whom: Option<&PeerId>,
) -> bool {
    let possible = endpoint.config.links && to != endpoint.me.address();
    possible && !matches!(reach(endpoint, to, whom).await, Err(Unreached::Classic { .. }))
}

/// A link to the peer `whom` at `to`: the open one, or the result of a dial that callers share.
/// Dropping the future does not end the dial.
pub(crate) async fn reach(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    whom: Option<&PeerId>,
) -> Reached {
    loop {
        if endpoint.drain.is_cancelled() {
            return Err(Unreached::Stopped);
        }
        match step(endpoint, to, whom) {
            Step::Done(reached) => return reached,
            Step::Pause(pause) if pause > Instant::now().later(SHORT_PAUSE) => {
                let text = "the last dials failed; not dialled again yet".to_owned();
                return Err(Unreached::Failed { kind: io::ErrorKind::NotConnected, text });
            }
            Step::Pause(pause) => sleep_until(pause).await,
            Step::Again => {}
            // A dial has time-outs of its own.
            Step::Wait(mut reached) => {
                if let Ok(reached) = reached.wait_for(Option::is_some).await
                    && let Some(reached) = reached.clone()
                {
                    match reached {
                        // It was dialled for another peer.
                        Err(why) if says_nothing(&why, whom) => {}
                        Ok(session) if !session.is_to(whom) => {
                            return Err(session.wrong_peer(to, whom));
                        }
                        reached => return reached,
                    }
                }
            }
        }
    }
}
