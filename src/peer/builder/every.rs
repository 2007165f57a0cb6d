//! The option of the builder for maintenance as a closure.

use std::{rc::Rc, time::Duration};

use futures::future::LocalBoxFuture;

use crate::{
    overlay::options::{ConfigError, Options, Setting, TIME, settings},
    peer::{
        Builder, Peer, WeakPeer,
        maintenance::{Maintenance, NodeContext},
    },
};

/// The pause between two runs.
#[derive(Clone)]
pub(super) struct Pause {
    pub(super) every: Duration,
}

/// A closure with its name and its pause.
pub(super) struct Closure {
    pause: Pause,
    name: String,
    run: Rc<dyn Fn(Peer) -> LocalBoxFuture<'static, ()>>,
}

impl Options for Pause {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        settings! { "Builder::every", "", &mut self.every, TIME; }
    }
}

impl Closure {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.pause.validate_all()
    }

    /// The closure as a piece of maintenance of this node.
    pub(super) fn of(self, peer: WeakPeer) -> Rc<dyn Maintenance> {
        Rc::new(Every { closure: self, peer })
    }
}

struct Every {
    closure: Closure,
    peer: WeakPeer,
}

impl Maintenance for Every {
    fn name(&self) -> &str {
        &self.closure.name
    }

    fn run<'a>(&'a self, _: &'a NodeContext) -> LocalBoxFuture<'a, ()> {
        Box::pin(async {
            while let Some(peer) = self.peer.upgrade() {
                (self.closure.run)(peer).await;
                tokio::time::sleep(self.closure.pause.every).await;
            }
        })
    }
}

impl Builder {
    /// Adds maintenance as an async closure. It runs at the start, and then again after a pause of
    /// `every` since the end of the last run. The pause is 1 ms to 365 days. If it panics, it runs
    /// again after a pause, as a [`stabilizer`](Self::stabilizer) does.
    pub fn every(
        mut self,
        every: Duration,
        name: impl Into<String>,
        run: impl AsyncFn(Peer) + 'static,
    ) -> Self {
        let run = Rc::new(run);
        let run: Rc<dyn Fn(Peer) -> LocalBoxFuture<'static, ()>> = Rc::new(move |peer| {
            let run = Rc::clone(&run);
            Box::pin(async move { run(peer).await })
        });
        self.closures.push(Closure { pause: Pause { every }, name: name.into(), run });
        self
    }
}
