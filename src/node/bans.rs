//! The points and bans of a node, shared by its listener and its connections.

use std::{
    pin::pin,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use futures::future::select;

use crate::{
    fault_points::{Sometimes, reached},
    limits::{
        Ban, Misbehavior, Offender, Source,
        score::{PeerScores, ScoreConfig},
    },
    node::{Node, OnBan, config::Config, event::PeerEvent},
    overlay::{Address, PeerId},
    sync::{
        Mutex, Notify,
        atomic::{AtomicUsize, Ordering},
    },
    time::now,
};

/// The time after which points for misbehavior are halved. One point per second never adds up to
/// the 100 points of a ban, so that the rare errors of an honest peer do not ban it.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// The peer with this id is banned.
#[derive(Debug)]
pub(crate) struct Banned(pub(crate) PeerId);

/// The banned offenders, and the points of those that are not banned yet.
#[derive(Debug)]
pub(crate) struct Bans {
    scores: Mutex<PeerScores>,
    /// The number of bans in force: without any, no lock is taken.
    some: AtomicUsize,
    /// Notified when another ban may be the next to end.
    changed: Notify,
}

impl Bans {
    pub(crate) fn new(config: &Config) -> Self {
        let scores = PeerScores::new(ScoreConfig {
            at: config.ban_at,
            half_life: HALF_LIFE,
            first: config.ban_time,
            longest: config.longest_ban(),
        });
        Self { scores: Mutex::new(scores), some: AtomicUsize::new(0), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, PeerScores> {
        self.scores.lock()
    }

    fn change<R>(&self, change: impl FnOnce(&mut PeerScores) -> R) -> R {
        let mut scores = self.lock();
        let result = change(&mut scores);
        self.some.store(scores.bans(now()).len(), Ordering::Release);
        drop(scores);
        self.changed.notify_one();
        result
    }

    fn holds(&self, whom: impl FnOnce() -> Offender) -> bool {
        self.some.load(Ordering::Acquire) > 0 && self.lock().is_banned(&whom(), now())
    }

    /// Whether connections from `address` are banned.
    pub(crate) fn refuses(&self, address: &Address) -> bool {
        self.holds(|| address.into())
    }

    /// Whether a peer that has proved `id` is banned.
    pub(crate) fn refuses_id(&self, id: &PeerId) -> bool {
        self.holds(|| id.clone().into())
    }

    /// Checks that messages may be sent to the peer with that id.
    pub(crate) fn allows(&self, id: Option<&PeerId>) -> Result<(), Banned> {
        match id {
            Some(id) if self.refuses_id(id) => Err(Banned(id.clone())),
            _ => Ok(()),
        }
    }

    /// The bans in force.
    pub(crate) fn all(&self) -> Vec<Ban> {
        self.lock().bans(now())
    }
}

impl Node {
    /// Counts misbehavior against the source and the proven id. Begins a ban if the points reach
    /// the limit.
    pub(crate) fn offended(&self, from: &Address, proven: Option<&PeerId>, what: Misbehavior) {
        let source = Source::of(from);
        if !source.is_limited(self.config.limit_loopback) {
            return;
        }
        let id = proven.cloned().map(Offender::Id);
        for whom in [Some(Offender::Source(source)), id].into_iter().flatten() {
            let begins = self.bans.lock().offend(&whom, what, now());
            if let Some(time) = begins {
                self.banned(whom, what, time);
            }
        }
    }

    /// Bans an offender for `time`. False if there are too many bans.
    pub(crate) fn ban(&self, whom: Offender, time: Duration) -> bool {
        let begins = self.bans.lock().ban(&whom, time, now());
        if begins {
            self.banned(whom, Misbehavior::ByHand, time);
        }
        begins
    }

    pub(crate) fn unban(&self, whom: Offender) -> bool {
        let ended = self.bans.change(|scores| scores.unban(&whom));
        ended.inspect(|why| self.emit(&PeerEvent::BanEnded { whom, why: *why })).is_some()
    }

    /// Handles the start of a ban: closes links and emits the event.
    fn banned(&self, whom: Offender, why: Misbehavior, time: Duration) {
        self.bans.change(|_| {});
        reached(Sometimes::Banned);
        self.counters.bans.one();
        tracing::debug!(%whom, ?why, ?time, "banned");
        if let Some(OnBan(on_ban)) = self.on_ban.get() {
            on_ban(&whom);
        }
        self.emit(&PeerEvent::Banned { whom, why, time });
    }
}

/// Emits the events of bans that end, until the node drains.
pub(crate) async fn watch_bans(node: Arc<Node>) {
    let watch = async {
        loop {
            let next = node.bans.lock().next_end();
            let end = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            select(pin!(end), pin!(node.bans.changed.notified())).await;
            if next.is_some_and(|next| next <= now()) {
                for (whom, why) in node.bans.change(|scores| scores.end(now())) {
                    reached(Sometimes::BanEnded);
                    tracing::debug!(%whom, "ban ended");
                    node.emit(&PeerEvent::BanEnded { whom, why });
                }
            }
        }
    };
    node.drain.run_until_cancelled(watch).await;
}
