//! Faults of the nodes of a [`SimNetwork`] and of the network between them.

use std::{rc::Rc, time::Duration};

use super::{SimError, SimNetwork, host};
use crate::{
    overlay::Host,
    peer::{Peer, StopReport},
};

impl SimNetwork {
    fn take(&self, name: &str) -> Result<Peer, SimError> {
        let mut nodes = self.0.nodes.borrow_mut();
        let peer = nodes.get_mut(name).and_then(|node| node.peer.take());
        peer.ok_or_else(|| SimError::NotRunning(name.to_owned()))
    }

    /// Kills a node, as when its process dies: it sends nothing more. Its connections break, and
    /// dials to its host are refused.
    ///
    /// # Errors
    /// [`SimError::NotRunning`].
    pub async fn crash(&self, name: &str) -> Result<(), SimError> {
        let (host, peer) = (self.host_of(name)?, self.take(name)?);
        self.note(name, "crashed");
        self.0.wires.crash(&host).refuse();
        peer.abort().await;
        Ok(())
    }

    /// Kills a node together with its host, as a power failure does: dials to it are never
    /// answered.
    ///
    /// # Errors
    /// [`SimError::NotRunning`].
    pub async fn power_off(&self, name: &str) -> Result<(), SimError> {
        let (host, peer) = (self.host_of(name)?, self.take(name)?);
        self.note(name, "powered off");
        drop(self.0.wires.crash(&host));
        peer.abort().await;
        Ok(())
    }

    /// Ends a node gracefully ([`Peer::stop`]).
    ///
    /// # Errors
    /// [`SimError::NotRunning`].
    pub async fn stop(&self, name: &str) -> Result<StopReport, SimError> {
        let peer = self.take(name)?;
        self.note(name, "is stopped");
        Ok(peer.stop().await)
    }

    /// Starts a node again by its recipe, without anything that it had in memory. A running node is
    /// crashed first.
    ///
    /// # Errors
    /// [`SimError::NotRunning`] for a node that was never started; otherwise as
    /// [`start_with`](Self::start_with).
    pub async fn restart(&self, name: &str) -> Result<Peer, SimError> {
        let host = self.host_of(name)?;
        self.relaunch(name, (&host, name)).await
    }

    /// Starts a node again as [`restart`](Self::restart), on this host and with this id. It keeps
    /// its name in the simulation.
    ///
    /// # Errors
    /// As [`restart`](Self::restart).
    pub async fn restart_at(&self, name: &str, on: &str, id: &str) -> Result<Peer, SimError> {
        self.relaunch(name, (&host(on)?, id)).await
    }

    async fn relaunch(&self, name: &str, at: (&Host, &str)) -> Result<Peer, SimError> {
        if self.peer(name).is_ok() {
            self.crash(name).await?;
        }
        let recipe = self.0.nodes.borrow().get(name).map(|node| Rc::clone(&node.recipe));
        let recipe = recipe.ok_or_else(|| SimError::NotRunning(name.to_owned()))?;
        self.0.wires.revive(at.0);
        self.launch(name, at, recipe).await
    }

    /// Stops a node's traffic for a time
    /// ([`MemoryNetwork::stall`](crate::transport::memory::MemoryNetwork::stall)).
    ///
    /// # Errors
    /// [`SimError::InvalidName`].
    pub fn stall(&self, name: &str, time: Duration) -> Result<(), SimError> {
        self.0.wires.stall(&self.host_of(name)?, time);
        self.note(name, "stalls");
        Ok(())
    }

    /// Separates nodes from others
    /// ([`MemoryNetwork::partition`](crate::transport::memory::MemoryNetwork::partition)) until
    /// [`heal`](Self::heal).
    ///
    /// # Errors
    /// [`SimError::InvalidName`].
    pub fn partition(&self, these: &[&str], those: &[&str]) -> Result<(), SimError> {
        self.0.wires.partition(&self.hosts(these)?, &self.hosts(those)?);
        self.note("network", "parts");
        Ok(())
    }

    /// Drops everything that `from` sends to `to`
    /// ([`MemoryNetwork::partition_one_way`](crate::transport::memory::MemoryNetwork::partition_one_way)) until
    /// [`heal`](Self::heal).
    ///
    /// # Errors
    /// [`SimError::InvalidName`].
    pub fn partition_one_way(&self, from: &str, to: &str) -> Result<(), SimError> {
        self.0.wires.partition_one_way(&self.hosts(&[from])?, &self.hosts(&[to])?);
        self.note("network", "parts one way");
        Ok(())
    }

    /// Ends all partitions, including those of one direction.
    pub fn heal(&self) {
        self.0.wires.heal();
        self.note("network", "heals");
    }

    fn hosts(&self, names: &[&str]) -> Result<Vec<Host>, SimError> {
        names.iter().map(|name| self.host_of(name)).collect()
    }
}
