//! Finds a link to a peer: the open one, or a dial that callers share.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    link::{LinkId, Reach, Role},
    node::watch,
    overlay::{Address, PeerId},
    session::{
        Endpoint, open,
        state::Session,
        unreached::{Reached, Unreached},
    },
    time::{Later, now},
    transport::IdentityFault,
};

/// The longest back-off between two dials for which a caller waits. In a longer one a caller gets
/// an error at once.
const SHORT_PAUSE: Duration = Duration::from_millis(500);

/// The result of a dial that ended without one.
fn without_result() -> Unreached {
    Unreached::failed(&io::Error::other("the dial was cut short"))
}

/// The next step of a caller that needs a link.
pub(super) enum DialStep {
    Done(Reached),
    Wait(watch::Receiver<Option<Reached>>),
    Pause(Instant),
    Again,
}

fn step(endpoint: &Arc<Endpoint>, to: &Address, whom: Option<&PeerId>) -> DialStep {
    let (step, dial) = decide(endpoint, to, whom);
    // Not under the lock: if the runtime has ended, the dial is dropped here and takes the lock.
    if let Some(dial) = dial {
        endpoint.spawn(dial);
    }
    step
}

/// The next step, and the dial to run if this caller begins one.
pub(super) fn decide(
    endpoint: &Arc<Endpoint>,
    to: &Address,
    whom: Option<&PeerId>,
) -> (DialStep, Option<impl Future<Output = ()> + Send + use<>>) {
    let mut pool = endpoint.links.lock();
    pool.update_directory();
    let (reach, after) = pool.directory.reach(to, now());
    let leaves = after.and_then(|id| pool.sessions.get(&id).cloned());
    let mut dial = None;
    let step = match reach {
        Reach::Link(id) => match pool.sessions.get(&id) {
            Some(session) if session.is_open() && session.is_to(whom) => {
                DialStep::Done(Ok(Arc::clone(session)))
            }
            // A peer with another id has opened this link and claims to be reached at the address.
            Some(session) if session.is_open() && session.role == Role::Acceptor => {
                let session = Arc::clone(session);
                pool.directory.closed(id);
                drop(pool);
                endpoint.links.unlist(&session);
                return (DialStep::Again, None);
            }
            Some(session) if session.is_open() => DialStep::Done(Err(session.wrong_peer(to, whom))),
            Some(_) => {
                pool.directory.leaves(id);
                DialStep::Again
            }
            None => {
                pool.directory.closed(id);
                DialStep::Again
            }
        },
        Reach::Classic => DialStep::Done(Err(Unreached::Classic { sign: None })),
        Reach::NoRoom => DialStep::Done(Err(Unreached::NoRoom)),
        Reach::NotBefore(until) => DialStep::Pause(until.into()),
        Reach::Dial => {
            let (result, reached) = watch::channel(None);
            pool.dials.insert(to.clone(), reached.clone());
            let dialling =
                Dialling { endpoint: Arc::clone(endpoint), to: to.clone(), result: Some(result) };
            dial = Some(dialling.dial(whom.cloned(), after));
            DialStep::Wait(reached)
        }
        Reach::Wait => match pool.dials.get(to) {
            Some(reached) if !reached.is_closed() => DialStep::Wait(reached.clone()),
            // Not reached: a dial always reports its result.
            _ => {
                pool.dials.swap_remove(to);
                pool.directory.dial_failed(to, now());
                DialStep::Done(Err(without_result()))
            }
        },
    };
    drop(pool);
    if let Some(idle) = leaves {
        endpoint.links.unlist(&idle);
        idle.bye();
    }
    (step, dial)
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
                    timeout(endpoint.config.connect_timeout, endpoint.links.wait_for_end(link))
                        .await;
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
            // The other side has closed what was dialled, because it has opened this link.
            Ok(session) if session.role == Role::Acceptor => {
                pool.directory.dial_cancelled(&self.to);
            }
            Ok(_) => {}
            Err(Unreached::Classic { sign: Some(sign) }) => {
                pool.directory.mark_classic(&self.to, *sign, now());
            }
            Err(Unreached::Failed { .. } | Unreached::Busy | Unreached::Left) => {
                pool.directory.dial_failed(&self.to, now());
            }
            // The next dial may be for another peer, or the peer may be admitted then.
            Err(
                Unreached::NoRoom
                | Unreached::Stopped
                | Unreached::Classic { sign: None }
                | Unreached::Identity(_)
                | Unreached::Banned(_),
            ) => pool.directory.dial_cancelled(&self.to),
        }
        pool.dials.swap_remove(&self.to);
        drop(pool);
        result.send_replace(Some(reached));
    }
}

impl Drop for Dialling {
    /// Reports a dial that panicked, or whose task was dropped with its runtime.
    fn drop(&mut self) {
        self.end(Err(without_result()));
    }
}

impl Session {
    /// The error for a link to another peer than `whom`.
    fn wrong_peer(&self, at: &Address, whom: Option<&PeerId>) -> Unreached {
        let found = self.peer.id();
        let expected = whom.unwrap_or(found);
        let fault = self.node.found_another(at, (expected, found));
        let unproven = self.sender.proven().is_none() && self.node.is_proven_only(expected);
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
            DialStep::Done(reached) => return reached,
            DialStep::Pause(pause) if pause > Instant::now().later(SHORT_PAUSE) => {
                let text = "the last dials failed; not dialled again yet".to_owned();
                return Err(Unreached::Failed { kind: io::ErrorKind::NotConnected, text });
            }
            DialStep::Pause(pause) => {
                // Only the end of the wait matters: the next step finds out why.
                let _passed = endpoint.drain.run_until_cancelled(sleep_until(pause)).await;
            }
            DialStep::Again => {}
            // A dial has time-outs of its own.
            DialStep::Wait(mut reached) => {
                if let Ok(Some(reached)) = reached.wait_for(Option::is_some).await {
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
