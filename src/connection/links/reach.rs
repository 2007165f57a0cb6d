//! The way to a link: the open one, a dial that others wait for as well, or none.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    connection::{
        Node, RequestError,
        links::{Line, Pool, dial},
        now,
    },
    link::{Reason, Role, Way},
    overlay::later::Later,
    overlay::{Address, PeerId},
    transport::IdentityFault,
};

/// A pause between two dials up to this is waited out by those who ask for a link meanwhile; in a
/// longer one they are told at once.
const SHORT_PAUSE: Duration = Duration::from_millis(500);

/// What a dial came to, for everybody who waits for it.
pub(super) type Reached = Result<Arc<Line>, Unreached>;

/// Why there is no link.
#[derive(Clone, Debug)]
pub(crate) enum Unreached {
    /// The peer speaks none.
    Classic,
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
    pub(super) fn failed(error: &io::Error) -> Self {
        Self::Failed { kind: error.kind(), text: error.to_string() }
    }

    pub(super) fn into_error(self, to: &Address) -> RequestError {
        match self {
            Self::Classic => RequestError::NoLink(to.clone()),
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

fn step(node: &Arc<Node>, to: &Address, whom: Option<&PeerId>) -> Step {
    let mut pool = node.links.lock();
    pool.look_at_lines();
    let (way, evicted) = pool.book.way(to, now());
    let evicted = evicted.and_then(|id| pool.lines.get(&id).cloned());
    let step = match way {
        Way::Link(id) => match pool.lines.get(&id) {
            Some(line) if line.is_open() && line.is_to(whom) => Step::Done(Ok(Arc::clone(line))),
            // Whoever opened it says that it is reached there, and is not who is looked for.
            Some(line) if line.is_open() && line.role == Role::Acceptor => {
                let line = Arc::clone(line);
                pool.book.closed(id);
                drop(pool);
                node.links.unlist(&line);
                return Step::Again;
            }
            Some(line) if line.is_open() => Step::Done(Err(line.wrong_peer(to, whom))),
            _ => {
                pool.book.closed(id);
                Step::Again
            }
        },
        Way::Classic => Step::Done(Err(Unreached::Classic)),
        Way::NoRoom => Step::Done(Err(Unreached::NoRoom)),
        Way::NotBefore(until) => Step::Pause(until.into()),
        Way::Dial => {
            let (tell, reached) = watch::channel(None);
            pool.dials.insert(to.clone(), reached.clone());
            let (shared, to, whom) = (Arc::clone(node), to.clone(), whom.cloned());
            node.threads.runtime().spawn(async move {
                let reached = dial::dial(&shared, &to, whom.as_ref()).await;
                shared.links.lock().dials.remove(&to);
                tell.send_replace(Some(reached));
            });
            Step::Wait(reached)
        }
        Way::Wait => match pool.dials.get(to) {
            Some(reached) if reached.has_changed().is_ok() => Step::Wait(reached.clone()),
            _ => {
                // The dial ended without a word.
                pool.dials.remove(to);
                pool.book.gave_up(to);
                Step::Again
            }
        },
    };
    drop(pool);
    if let Some(idle) = evicted {
        node.links.unlist(&idle);
        idle.bye();
    }
    step
}

impl Pool {
    /// Tells the book which links are in use, and since when they are not.
    pub(super) fn look_at_lines(&mut self) {
        for line in self.lines.values() {
            let state = line.lock();
            let open = usize::from(!line.is_idle(&state));
            self.book.busy(line.id, open, state.used.0.into_std());
        }
    }
}

impl Line {
    /// This one leads to another peer than the one that is looked for.
    fn wrong_peer(&self, at: &Address, whom: Option<&PeerId>) -> Unreached {
        let (at, found) = (at.clone(), self.peer.id().clone());
        let expected = whom.unwrap_or(&found).clone();
        Unreached::Identity(match self.sender.proven() {
            Some(_) => IdentityFault::WrongPeer { at, expected, found },
            None => IdentityFault::NotTls { at },
        })
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
pub(crate) async fn speaks_links(node: &Arc<Node>, to: &Address, whom: Option<&PeerId>) -> bool {
    let possible = node.config.links && to != node.me.address();
    possible && !matches!(reach(node, to, whom).await, Err(Unreached::Classic))
}

/// A link to `to`, where `whom` is: the open one, or the one that a dial brings for which others may
/// wait as well. Dropping the future does not end the dial.
pub(super) async fn reach(node: &Arc<Node>, to: &Address, whom: Option<&PeerId>) -> Reached {
    loop {
        if node.drain.is_cancelled() {
            return Err(Unreached::Stopped);
        }
        match step(node, to, whom) {
            Step::Done(reached) => return reached,
            Step::Pause(pause) if pause > Instant::now().later(SHORT_PAUSE) => {
                let text = "the last dials failed; not dialled again yet".to_owned();
                return Err(Unreached::Failed { kind: io::ErrorKind::NotConnected, text });
            }
            Step::Pause(pause) => sleep_until(pause).await,
            Step::Again => {}
            // A dial has time limits of its own. One that was dropped is looked for again.
            Step::Wait(mut reached) => {
                if let Ok(reached) = reached.wait_for(Option::is_some).await
                    && let Some(reached) = reached.clone()
                {
                    match reached {
                        // It was dialled for somebody else.
                        Err(why) if says_nothing(&why, whom) => {}
                        Ok(line) if !line.is_to(whom) => return Err(line.wrong_peer(to, whom)),
                        reached => return reached,
                    }
                }
            }
        }
    }
}
