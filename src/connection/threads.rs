//! The threads of a node: the one where it was started, and its workers.

use std::sync::atomic::{AtomicUsize, Ordering};

use actix_rt::Arbiter;
use tokio::{runtime::Handle, sync::oneshot};

/// Where connections and links run: in turn on each worker, or where the node was started when it
/// has none.
#[derive(Debug)]
pub(crate) struct Threads {
    home: Handle,
    workers: Vec<(Arbiter, Handle)>,
    next: AtomicUsize,
}

impl Threads {
    /// Starts `workers` threads, each with an arbiter.
    pub(crate) async fn start(workers: usize) -> Self {
        let mut threads =
            Self { home: Handle::current(), workers: Vec::new(), next: AtomicUsize::new(0) };
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
