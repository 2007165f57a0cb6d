//! The way to a link: the open one, a dial that others wait for as well, or none.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    link::{LinkId, Reason, Role, Way},
    message::RequestError,
    overlay::{Address, PeerId},
    session::{Endpoint, Pool, open, shared::Session},
    time::{Later, now},
    transport::IdentityFault,
};

/// A pause between two dials up to this is waited out by those who ask for a link meanwhile; in a
/// longer one they are told at once.
const SHORT_PAUSE: Duration = Duration::from_millis(500);

/// What a dial came to, for everybody who waits for it.
pub(crate) type Reached = Result<Arc<Session>, Unreached>;

/// Why there is no link.
#[derive(Clone, Debug)]
pub(crate) enum Unreached {
    /// The peer speaks none. A mute one took the connection and said nothing at all: it may be one
    /// that does not run just now.
    Classic { mute: bool },
    /// All are in use.
    NoRoom,
    /// The peer takes no connections now.
    Busy,
    /// It cannot be reached.
    Failed { kind: io::ErrorKind, text: String },
    /// Somebody else is there, or it is not admitted, or does not admit this node.
    Identity(IdentityFault),
    /// This node has banned who is there.
    Banned(PeerId),
    /// It said hello and goodbye at once.
    Left,
    /// This node stops.
    Stopped,
}

impl Unreached {
    pub(crate) fn failed(error: &io::Error) -> Self {
        Self::Failed { kind: error.kind(), text: error.to_string() }
    }

    fn without_a_word() -> Self {
        Self::failed(&io::Error::other("the dial was cut short"))
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

/// What a caller has to do to get a link.
enum Step {
    Done(Reached),
    Wait(watch::Receiver<Option<Reached>>),
    Pause(Instant),
    Again,
}

fn step(endpoint: &Arc<Endpoint>, to: &Address, whom: Option<&PeerId>) -> Step {
    let mut pool = endpoint.links.lock();
    pool.look_at_lines();
    let (way, after) = pool.book.way(to, now());
    let leaves = after.and_then(|id| pool.sessions.get(&id).cloned());
    let mut dial = None;
    let step = match way {
        Way::Link(id) => match pool.sessions.get(&id) {
            Some(session) if session.is_open() && session.is_to(whom) => {
                Step::Done(Ok(Arc::clone(session)))
            }
            // Whoever opened it says that it is reached there, and is not who is looked for.
            Some(session) if session.is_open() && session.role == Role::Acceptor => {
                let session = Arc::clone(session);
                pool.book.closed(id);
                drop(pool);
                endpoint.links.unlist(&session);
                return Step::Again;
            }
            Some(session) if session.is_open() => Step::Done(Err(session.wrong_peer(to, whom))),
            Some(_) => {
                pool.book.leaves(id);
                Step::Again
            }
            None => {
                pool.book.closed(id);
                Step::Again
            }
        },
        Way::Classic => Step::Done(Err(Unreached::Classic { mute: false })),
        Way::NoRoom => Step::Done(Err(Unreached::NoRoom)),
        Way::NotBefore(until) => Step::Pause(until.into()),
        Way::Dial => {
            let (tell, reached) = watch::channel(None);
            pool.dials.insert(to.clone(), reached.clone());
            let dialling =
                Dialling { endpoint: Arc::clone(endpoint), to: to.clone(), tell: Some(tell) };
            dial = Some(dialling.dial(whom.cloned(), after));
            Step::Wait(reached)
        }
        Way::Wait => match pool.dials.get(to) {
            Some(reached) if reached.has_changed().is_ok() => Step::Wait(reached.clone()),
            // Not possible: a dial says how it ended.
            _ => {
                pool.dials.remove(to);
                pool.book.failed(to, now());
                Step::Done(Err(Unreached::without_a_word()))
            }
        },
    };
    drop(pool);
    if let Some(idle) = leaves {
        endpoint.links.unlist(&idle);
        idle.bye();
    }
    // Without the lock: where the runtime has ended, it is dropped here.
    if let Some(dial) = dial {
        endpoint.spawn(dial);
    }
    step
}

/// A dial for all who wait for it. However it ends, they hear of it, and the book does.
struct Dialling {
    endpoint: Arc<Endpoint>,
    to: Address,
    tell: Option<watch::Sender<Option<Reached>>>,
}

impl Dialling {
    /// Dials, when the link `after` has made room. A node that stops gives it up.
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
        let Some(tell) = self.tell.take() else { return };
        let mut pool = self.endpoint.links.lock();
        match &reached {
            Ok(_) => {}
            Err(Unreached::Classic { mute: true }) => pool.book.is_mute(&self.to, now()),
            Err(Unreached::Classic { mute: false }) => pool.book.is_classic(&self.to, now()),
            Err(Unreached::Failed { .. } | Unreached::Busy | Unreached::Left) => {
                pool.book.failed(&self.to, now());
            }
            // Another peer may be asked for there the next time, or be admitted.
            Err(
                Unreached::NoRoom
                | Unreached::Stopped
                | Unreached::Identity(_)
                | Unreached::Banned(_),
            ) => pool.book.gave_up(&self.to),
        }
        pool.dials.remove(&self.to);
        drop(pool);
        tell.send_replace(Some(reached));
    }
}

impl Drop for Dialling {
    /// It panicked, or its task was dropped with its runtime.
    fn drop(&mut self) {
        self.end(Err(Unreached::without_a_word()));
    }
}

impl Pool {
    /// Tells the book which links are in use, and since when they are not.
    pub(crate) fn look_at_lines(&mut self) {
        for session in self.sessions.values() {
            let state = session.lock();
            let open = usize::from(!session.is_idle(&state));
            self.book.busy(session.id, open, state.used.0.into_std());
        }
    }
}

impl Session {
    /// This one leads to another peer than the one that is looked for.
    fn wrong_peer(&self, at: &Address, whom: Option<&PeerId>) -> Unreached {
        let found = self.peer.id();
        let expected = whom.unwrap_or(found);
        let fault = self.endpoint.found_another(at, (expected, found));
        let unproven = self.sender.proven().is_none() && self.endpoint.is_proven_only(expected);
        Unreached::Identity(if unproven { IdentityFault::NotTls { at: at.clone() } } else { fault })
    }
}

/// Whether a dial that was for another peer than `whom` says nothing about `whom`.
fn says_nothing(why: &Unreached, whom: Option<&PeerId>) -> bool {
    match why {
        Unreached::Identity(IdentityFault::WrongPeer { expected, .. }) => whom != Some(expected),
        Unreached::Banned(id) => whom.is_some_and(|whom| whom != id),
        _ => false,
    }
}

/// Whether the node at `to` speaks links, as far as can be told; opens one when there is none.
pub(crate) async fn speaks_links(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    whom: Option<&PeerId>,
) -> bool {
    let possible = endpoint.config.links && to != endpoint.me.address();
    possible && !matches!(reach(endpoint, to, whom).await, Err(Unreached::Classic { .. }))
}

/// A link to `to`, where `whom` is: the open one, or the one that a dial brings for which others may
/// wait as well. Dropping the future does not end the dial.
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
            // A dial has time limits of its own.
            Step::Wait(mut reached) => {
                if let Ok(reached) = reached.wait_for(Option::is_some).await
                    && let Some(reached) = reached.clone()
                {
                    match reached {
                        // It was dialled for somebody else.
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
