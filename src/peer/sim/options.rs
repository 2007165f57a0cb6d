//! The options of the nodes of a life, drawn from its seed.

use super::{
    SimDisk,
    plan::{FaultLevel, Plan, secs},
};
use crate::{
    node::Config,
    overlay::{Dice, PingSweep},
    peer::Builder,
};

/// What a node of a life is.
#[derive(Clone, Debug)]
pub(super) struct NodeOptions {
    pub(super) config: Config,
    pub(super) disk: Option<SimDisk>,
    #[cfg(feature = "kademlia")]
    pub(super) kademlia: bool,
    #[cfg(feature = "swim")]
    pub(super) swim: bool,
}

/// Shorter times than the defaults, so that a life need not wait for minutes at its end.
fn times() -> Config {
    Config::default()
        .handler_timeout(secs(8))
        .reply_timeout(secs(10))
        .stall_timeout(secs(8))
        .body_timeout(secs(10))
        .exchange_timeout(secs(40))
        .reliable_timeout(secs(40))
}

impl NodeOptions {
    /// The options of node `n` of the plan.
    pub(super) fn new(plan: &Plan, n: usize) -> Self {
        let number = u64::try_from(n).unwrap_or(0);
        let mut dice = Dice::new(plan.seed.rotate_left(40) ^ number.wrapping_mul(0x9e37_79b9));
        let mut draw = |of: usize| plan.level == FaultLevel::Heavy && dice.below(of) == 0;
        let mut config = times();
        // Node 0 is the contact of the others.
        if n > 0 && draw(8) {
            config = config.links(false);
        }
        if n > 0 && draw(6) {
            config = config.max_requests_per_code(1 + n % 4).max_requests(2 + n % 5);
        }
        if n > 0 && draw(6) {
            config =
                config.max_frame_len(64 << 10).link_window(128 << 10).max_partial_bytes(1 << 20);
        }
        if n > 0 && draw(6) {
            config = config.reliable_messages(4).max_link_requests(2);
        }
        if n > 0 && draw(8) {
            config = config.max_links(1 + n % 3);
        }
        if n > 0 && draw(8) {
            config = config.max_peers(1 + n % 3);
        }
        if n > 0 && draw(8) {
            config = config.max_outgoing(4);
        }
        if draw(4) {
            config = config.keep_alive(secs(1)).link_idle_timeout(secs(3));
        }
        let disk = draw(3).then(SimDisk::default);
        #[cfg(feature = "kademlia")]
        let kademlia = plan.seed.is_multiple_of(3);
        #[cfg(feature = "swim")]
        let swim = plan.seed % 4 == 1;
        Self {
            config,
            disk,
            #[cfg(feature = "kademlia")]
            kademlia,
            #[cfg(feature = "swim")]
            swim,
        }
    }

    pub(super) fn apply(&self, builder: Builder) -> Builder {
        let mut builder = builder.config(self.config.clone()).stabilizer(PingSweep::new());
        if let Some(disk) = &self.disk {
            builder = builder.outbox(disk.clone());
        }
        #[cfg(feature = "kademlia")]
        if self.kademlia {
            builder = builder.kademlia(crate::peer::KademliaConfig::default());
        }
        builder
    }

    /// The parts that may refuse to be added.
    #[cfg(feature = "swim")]
    pub(super) fn apply_swim(
        &self,
        builder: Builder,
    ) -> Result<Builder, crate::peer::RegisterError> {
        if !self.swim {
            return Ok(builder);
        }
        builder.swim(crate::overlay::swim::SwimConfig::lan(8), "")
    }
}
