//! Maintenance: the one mechanism for everything that a node does beside its messages.
//!
//! [`Maintenance`] is one piece of it: a name, and work that ends with the node. Periodic work is a
//! loop with a pause in it. `PeerActor` starts a [`StabilizerActor`] for each piece, supervises it,
//! and shows its restarts. To add a piece, implement the trait and add it to the builder.

pub(crate) mod admission;
pub(crate) mod bans;
pub(crate) mod watchdog;

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream};

use crate::{
    dispatch::{Route, Serve},
    fault_points::{FaultPoint, fault_point},
    frame::TypeCode,
    overlay::options::ConfigError,
    peer::{NodeDown, Peers, route::application_route, supervision::Guard},
    session::Endpoint,
    time::{doubled, part},
};

/// The parts of a node that a piece of maintenance uses.
#[derive(Clone, Debug)]
pub(crate) struct NodeContext {
    pub(crate) node: Arc<Endpoint>,
    pub(crate) peers: Peers,
}

impl NodeContext {
    /// Serves a code of the framework.
    pub(crate) fn serve(&self, code: TypeCode, serve: Arc<dyn Serve>) {
        let route = application_route(&self.node, code, serve, false);
        self.node.routes.insert(code, Route { internal: true, ..route });
    }
}

/// One piece of maintenance.
pub(crate) trait Maintenance {
    /// The name for events and logs.
    fn name(&self) -> &str;

    /// Checks that its options are within their bounds.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Prepares the piece once, before the node is reachable: [serves](NodeContext::serve) its
    /// codes, for example.
    fn prepare(&self, _: &NodeContext) {}

    /// The work. It is dropped when the node drains. It is called again, after a pause, if it
    /// panics or returns before that.
    fn run<'a>(&'a self, context: &'a NodeContext) -> LocalBoxFuture<'a, ()>;
}

/// Runs one piece of maintenance: a stabilizer, a closure of
/// [`Builder::every`](crate::Builder::every), or a part of the node such as its membership.
///
/// The `PeerActor` starts one actor for each piece, so a slow piece does not delay the others. A
/// panic of the piece ends its actor, and the `PeerActor` starts a successor, with back-off. The
/// actor ends when the node drains.
pub struct StabilizerActor {
    piece: Rc<dyn Maintenance>,
    context: NodeContext,
    _guard: Guard,
}

impl fmt::Debug for StabilizerActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StabilizerActor").field(&self.piece.name()).finish()
    }
}

impl StabilizerActor {
    pub(crate) const fn new(
        piece: Rc<dyn Maintenance>,
        context: NodeContext,
        guard: Guard,
    ) -> Self {
        Self { piece, context, _guard: guard }
    }
}

impl Actor for StabilizerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (piece, context) = (Rc::clone(&self.piece), self.context.clone());
        let run = async move { context.node.drain.run_until_cancelled(piece.run(&context)).await };
        ctx.spawn(run.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

/// The pause before a try: the first one, doubled with each of `tries`, at most the longest one, and
/// jitter of up to the same length. It differs from node to node, and is the same for the same node,
/// so that simulations are reproducible.
pub(crate) fn back_off(
    node: &Endpoint,
    tries: u32,
    (first, longest): (Duration, Duration),
) -> Duration {
    let pause = doubled(first, tries, longest);
    let mut hasher = DefaultHasher::new();
    (node.me.id(), tries).hash(&mut hasher);
    let mut more = u32::try_from(hasher.finish() % 1_000).unwrap_or(0);
    if fault_point(FaultPoint::JoinPauseLongest) {
        more = 1_000;
    }
    pause.saturating_add(part(pause.saturating_mul(more), 1_000))
}

/// Runs the jobs that `next` returns side by side, until `next` fails. A job that panics, for
/// example in the transport of the application, ends alone.
pub(crate) async fn run_jobs<J, N, F>(next: impl Fn() -> N, run: impl Fn(J::Item) -> F)
where
    J: IntoIterator,
    N: Future<Output = Result<J, NodeDown>>,
    F: Future,
{
    let jobs = stream::unfold(next, |next| async move {
        let jobs = next().await.ok()?;
        Some((stream::iter(jobs), next))
    });
    let run = |job| AssertUnwindSafe(run(job)).catch_unwind().map(drop);
    jobs.flatten().for_each_concurrent(None, run).await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_ends_alone_and_jobs_run_until_no_more_come() {
        let (left, done) = (RefCell::new(vec![vec![3, 4], vec![], vec![1, 2]]), RefCell::default());
        let next = || async { left.borrow_mut().pop().ok_or(NodeDown) };
        let run = |job: i32| {
            let done = &done;
            async move {
                assert_ne!(job, 2, "the second job panics");
                RefCell::<Vec<i32>>::borrow_mut(done).push(job);
            }
        };
        run_jobs(next, run).await;
        assert_eq!(*done.borrow(), [1, 3, 4]);
    }

    #[cfg(feature = "test-utils")]
    #[actix::test]
    async fn of_two_pieces_with_the_same_name_the_one_that_died_is_restarted() {
        use std::{cell::Cell, time::Duration};

        use crate::{overlay::Host, peer::Peer, transport::memory::MemoryNetwork};

        tokio::time::pause();
        let second = Duration::from_secs(1);
        let (steady, brittle) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (steady_runs, brittle_runs) = (Rc::clone(&steady), Rc::clone(&brittle));
        let transport = MemoryNetwork::new(1).transport("node".parse::<Host>().unwrap());
        let builder = Peer::builder().transport(transport).listen("node:9000");
        let builder = builder.every(second, "twin", async move |_| steady.set(steady.get() + 1));
        let builder = builder.every(second, "twin", async move |_| {
            brittle.set(brittle.get() + 1);
            assert_ne!(brittle.get(), 2, "the second run panics");
        });
        let node = builder.start().await.unwrap();
        tokio::time::sleep(second * 10).await;
        assert_eq!(node.status().await.restarts, [("stabilizer twin".to_owned(), 1)].into());
        for runs in [steady_runs, brittle_runs] {
            assert!((10..=12).contains(&runs.get()), "{} runs", runs.get());
        }
    }
}
