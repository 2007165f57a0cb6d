//! The machines of the network, or of one topic.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    node::watch,
    overlay::{
        PeerInfo,
        trees::{Trees, TreesOutput},
        views::{Views, ViewsEvent, ViewsMessage, ViewsOutput},
    },
    sync::Mutex,
    time::now,
};

/// The pure machines: who the neighbours are, and what is broadcast over them.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) views: Views<PeerInfo>,
    pub(crate) trees: Trees<PeerInfo>,
    /// What they ask for, in order.
    outputs: VecDeque<Output>,
}

/// What one of the machines asks for.
#[derive(Debug)]
pub(super) enum Output {
    Views(ViewsOutput<PeerInfo>),
    Trees(TreesOutput<PeerInfo>),
}

impl Machines {
    pub(super) const fn new(views: Views<PeerInfo>, trees: Trees<PeerInfo>) -> Self {
        Self { views, trees, outputs: VecDeque::new() }
    }

    /// Collects what the machines ask for. The trees learn of neighbours before any further message
    /// of them is handled.
    fn collect(&mut self) {
        while let Some(output) = self.views.poll() {
            match &output {
                ViewsOutput::Event(ViewsEvent::NeighborUp(peer)) => {
                    self.trees.neighbor_up(peer.clone(), now());
                }
                ViewsOutput::Event(ViewsEvent::NeighborDown(peer, _)) => {
                    self.trees.neighbor_down(peer, now());
                }
                ViewsOutput::Event(_) | ViewsOutput::Send { .. } => {}
            }
            self.outputs.push_back(Output::Views(output));
        }
        self.outputs.extend(std::iter::from_fn(|| self.trees.poll()).map(Output::Trees));
    }
}

/// The neighbours and the tree of the network, or of one topic.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// The name of the topic. Empty for the network.
    pub(super) name: Arc<str>,
    machines: Mutex<Machines>,
    /// The neighbours, for those who wait for a change.
    pub(super) current: watch::Sender<Vec<PeerInfo>>,
}

impl Overlay {
    pub(super) fn new(name: Arc<str>, machines: Machines) -> Self {
        Self { name, machines: Mutex::new(machines), current: watch::Sender::new(Vec::new()) }
    }

    pub(super) fn is_network(&self) -> bool {
        self.name.is_empty()
    }

    /// Runs `work` on the machines.
    pub(super) fn on<R>(&self, work: impl FnOnce(&mut Machines) -> R) -> R {
        let mut machines = self.machines.lock();
        let result = work(&mut machines);
        machines.collect();
        result
    }

    /// Looks for neighbours again, if the node has left. The tree remembers what it has had, so that
    /// nothing is delivered again, and goes on counting its own messages.
    pub(super) fn begin_again(&self, views: impl FnOnce() -> Views<PeerInfo>) -> bool {
        let mut machines = self.machines.lock();
        let left = machines.views.has_left();
        if left {
            machines.views = views();
        }
        left
    }

    /// Leaves. Returns the messages that tell the neighbours; all else that follows is left to the
    /// maintenance.
    pub(super) fn leave(&self) -> Vec<(PeerInfo, ViewsMessage<PeerInfo>)> {
        self.on(|of| of.views.leave(now()));
        let mut machines = self.machines.lock();
        let (mut told, mut rest) = (Vec::new(), VecDeque::new());
        for output in std::mem::take(&mut machines.outputs) {
            match output {
                Output::Views(ViewsOutput::Send { to, message }) => told.push((to, message)),
                other => rest.push_back(other),
            }
        }
        machines.outputs = rest;
        drop(machines);
        self.changed();
        told
    }

    /// Whether the node takes part: it has not left.
    pub(super) fn is_in(&self) -> bool {
        !self.on(|of| of.views.has_left())
    }

    pub(super) fn pop(&self) -> Option<Output> {
        self.on(|of| of.outputs.pop_front())
    }

    pub(super) fn has(&self, peer: &PeerInfo) -> bool {
        self.on(|of| of.views.is_neighbor(peer))
    }

    /// The neighbours, as the machines have them.
    pub(super) fn active(&self) -> Vec<PeerInfo> {
        self.on(|of| of.views.active().cloned().collect())
    }

    /// Tells those who wait of the neighbours of now.
    pub(super) fn changed(&self) {
        // Under the lock, so that an older list replaces no newer one.
        let machines = self.machines.lock();
        self.current.send_replace(machines.views.active().cloned().collect());
        drop(machines);
    }
}
