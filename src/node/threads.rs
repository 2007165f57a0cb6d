//! The threads of a node: the one where it was started, and its workers.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use actix_rt::Arbiter;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::CancellationToken;

/// Where connections and links run: in turn on each worker, or where the node was started when it
/// has none.
#[derive(Debug)]
pub(crate) struct Threads {
    home: Handle,
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
            ended: CancellationToken::new(),
            workers: Vec::new(),
            next: AtomicUsize::new(0),
        };
        for _ in 0..workers {
            #[expect(clippy::disallowed_methods, reason = "asked for by the application")]
            let arbiter = Arbiter::new();
            let (tell, runtime) = oneshot::channel();
            // Without a listener the node is not started.
            arbiter.spawn_fn(move || drop(tell.send(Handle::current())));
            if let Ok(runtime) = runtime.await {
                threads.workers.push((arbiter, runtime));
            }
        }
        threads
    }

    /// The runtime where the node was started.
    pub(crate) const fn home(&self) -> &Handle {
        &self.home
    }

    /// Whether the runtime of the node has ended before the node.
    pub(crate) fn have_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Does `work` in the call, whichever executor or thread that is on, with the timers and sockets
    /// of the node's runtime. `None` if that has ended.
    pub(crate) async fn inside<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let here = poll_fn(|cx| {
            let _here = self.home.enter();
            work.as_mut().poll(cx)
        });
        self.ended.run_until_cancelled(here).await
    }

    /// When the runtime of the node ends before `cut`, the node drains and is cut: what waits for it
    /// hears so, and no timer of that runtime is used any more.
    pub(crate) fn follow_home(&self, drain: &CancellationToken, cut: &CancellationToken) {
        let guards = [&self.ended, drain, cut].map(|token| token.clone().drop_guard());
        let cut = cut.clone();
        self.home.spawn(async move {
            cut.cancelled().await;
            guards.into_iter().for_each(|guard| drop(guard.disarm()));
        });
    }

    fn worker(&self) -> Option<&(Arbiter, Handle)> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers.get(next.checked_rem(self.workers.len())?)
    }

    /// The runtime whose turn it is.
    pub(crate) fn runtime(&self) -> &Handle {
        self.worker().map_or(&self.home, |(_, runtime)| runtime)
    }

    /// Runs `work` on the arbiter whose turn it is. To be called on the node's own.
    pub(crate) fn spawn_on_arbiter(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self.worker() {
            // It takes work until the node is gone.
            Some((arbiter, _)) => drop(arbiter.spawn(work)),
            None => drop(actix_rt::spawn(work)),
        }
    }

    /// Runs `work` on this arbiter, the node's own, and on that of every worker.
    pub(crate) fn spawn_on_each<F>(&self, work: impl Fn() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(actix_rt::spawn(work()));
        for (arbiter, _) in &self.workers {
            // It takes work until the node is gone.
            let _taken = arbiter.spawn(work());
        }
    }
}

impl Threads {
    /// Ends the workers, with all that runs on them.
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
