//! The threads of a node: the thread on which it was started, and its workers.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use actix_rt::{Arbiter, ArbiterHandle};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::CancellationToken;

/// The threads on which connections and links run: the workers, round robin, or the thread on which
/// the node was started if it has no workers.
#[derive(Debug)]
pub(crate) struct Threads {
    home: Handle,
    /// The arbiter of that thread.
    arbiter: Option<ArbiterHandle>,
    /// Cancelled when the runtime of the node has ended before the node.
    ended: CancellationToken,
    workers: Vec<(Arbiter, Handle)>,
    next: AtomicUsize,
}

impl Threads {
    /// Starts `workers` threads, each with an arbiter.
    pub(crate) async fn start(workers: usize) -> Self {
        let mut threads = Self {
            home: Handle::current(),
            arbiter: Arbiter::try_current(),
            ended: CancellationToken::new(),
            workers: Vec::new(),
            next: AtomicUsize::new(0),
        };
        for _ in 0..workers {
            #[expect(clippy::disallowed_methods, reason = "asked for by the application")]
            let arbiter = Arbiter::new();
            let (sender, runtime) = oneshot::channel();
            // The send fails only if the start of the node was dropped.
            arbiter.spawn_fn(move || drop(sender.send(Handle::current())));
            if let Ok(runtime) = runtime.await {
                threads.workers.push((arbiter, runtime));
            }
        }
        threads
    }

    /// The runtime on which the node was started.
    pub(crate) const fn home(&self) -> &Handle {
        &self.home
    }

    /// Whether the runtime of the node has ended before the node.
    pub(crate) fn have_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Polls `work` in place, on any executor or thread, with the timers and sockets of the node's
    /// runtime. `None` if that runtime has ended.
    pub(crate) async fn inside<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let here = poll_fn(|cx| {
            // The coroutines of a model are inside already, and leave in any order.
            #[cfg(test)]
            if crate::sync::model::is_running() {
                return work.as_mut().poll(cx);
            }
            let _here = self.home.enter();
            work.as_mut().poll(cx)
        });
        self.ended.run_until_cancelled(here).await
    }

    /// Cancels `drain` and `abort` if the runtime of the node ends before `abort` is cancelled.
    /// Futures that wait for the node end, and the timers of that runtime are no longer used.
    pub(crate) fn follow_home(&self, drain: &CancellationToken, abort: &CancellationToken) {
        let guards = [&self.ended, drain, abort].map(|token| token.clone().drop_guard());
        let abort = abort.clone();
        self.home.spawn(async move {
            abort.cancelled().await;
            guards.into_iter().for_each(|guard| drop(guard.disarm()));
        });
    }

    fn worker(&self) -> Option<&(Arbiter, Handle)> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers.get(next.checked_rem(self.workers.len())?)
    }

    /// The next runtime, round robin.
    pub(crate) fn runtime(&self) -> &Handle {
        self.worker().map_or(&self.home, |(_, runtime)| runtime)
    }

    /// Runs `work` on the next arbiter, round robin. Must be called on the node's own arbiter.
    pub(crate) fn spawn_on_arbiter(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self.worker() {
            // The arbiter accepts work until the node is gone.
            Some((arbiter, _)) => drop(arbiter.spawn(work)),
            None => drop(actix_rt::spawn(work)),
        }
    }

    /// As [`spawn_on_arbiter`](Self::spawn_on_arbiter), from any thread. Drops `work` if the arbiter
    /// has ended.
    pub(crate) fn send_to_arbiter(&self, work: impl Future<Output = ()> + Send + 'static) {
        // The result only says whether the arbiter still runs.
        let _taken = match (self.worker(), &self.arbiter) {
            (Some((arbiter, _)), _) => arbiter.spawn(work),
            (None, Some(arbiter)) => arbiter.spawn(work),
            (None, None) => false,
        };
    }

    /// Runs `work` on this arbiter, which is the node's own, and on that of every worker.
    pub(crate) fn spawn_on_each<F>(&self, work: impl Fn() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(actix_rt::spawn(work()));
        for (arbiter, _) in &self.workers {
            // The arbiter accepts work until the node is gone.
            let _taken = arbiter.spawn(work());
        }
    }
}

impl Threads {
    /// Stops the workers and everything that runs on them.
    pub(crate) fn stop(&self) {
        for (arbiter, _) in &self.workers {
            arbiter.stop();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}
