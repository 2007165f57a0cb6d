//! The machines of the network, or of one topic.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    node::watch,
    overlay::{
        PeerInfo,
        trees::{Trees, TreesOutput},
        views::{Views, ViewsEvent, ViewsOutput},
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

    pub(super) fn take_outputs(&mut self) -> VecDeque<Output> {
        std::mem::take(&mut self.outputs)
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

    /// Looks for neighbours again, after the node has left. The tree remembers what it has had, so
    /// that nothing is delivered again, and goes on counting its own messages.
    pub(super) fn begin_again(&self, views: Views<PeerInfo>) {
        self.machines.lock().views = views;
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
        self.current.send_replace(self.active());
    }
}
