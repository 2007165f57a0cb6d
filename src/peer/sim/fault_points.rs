//! The fault points of the nodes of a [`SimNetwork`], and the rare situations that it has seen.

use std::collections::BTreeMap;

use super::{FaultLevel, FaultPoint, SimNetwork, Sometimes};
use crate::fault_points::Level;

impl SimNetwork {
    /// Sets how often the nodes take an unusual but legal way: a timer fires at its latest, a queue
    /// is full early, a batch has one message. Which [`FaultPoint`] fires when is drawn from the
    /// seed. No promise of [`delivery`](crate::delivery) is broken.
    ///
    /// Each run draws which of the points can fire at all: a third of them with
    /// [`FaultLevel::Light`], two thirds with [`FaultLevel::Heavy`]. Default: none. It applies inside [`run`](Self::run), to nodes on its thread.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use actix_peer::{frame::Frame, sim::{FaultLevel, SimNetwork, Sometimes}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let net = SimNetwork::new(42);
    /// net.fault_points(FaultLevel::Heavy);
    /// let reached = net.run(async |net| {
    ///     let (ada, _bob) = (net.start("ada").await?, net.start("bob").await?);
    ///     net.crash("bob").await?;
    ///     assert!(ada.request("bob:9000", Frame::empty("PING")).await.is_err());
    ///     net.restart("bob").await?;
    ///     let answers = async || ada.request("bob:9000", Frame::empty("PING")).await.is_ok();
    ///     net.wait_until(Duration::from_secs(60), "bob answers again", answers).await?;
    ///     Ok::<_, Box<dyn std::error::Error>>(net.reached())
    /// })?;
    /// assert!(reached[&Sometimes::DialRetried] > 0);
    /// let never = reached.iter().filter(|(_, times)| **times == 0);
    /// println!("never reached: {:?}", never.map(|(what, _)| what.name()).collect::<Vec<_>>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn fault_points(&self, level: FaultLevel) {
        self.0.fault_points.set_level(match level {
            FaultLevel::None => Level::Off,
            FaultLevel::Light => Level::Light,
            FaultLevel::Heavy => Level::Heavy,
        });
    }

    /// How often each [`FaultPoint`] has fired.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<FaultPoint, u64> {
        self.0.fault_points.fired()
    }

    /// How often each rare situation has occurred in the nodes inside [`run`](Self::run). Those
    /// that never occurred have 0.
    #[must_use]
    pub fn reached(&self) -> BTreeMap<Sometimes, u64> {
        self.0.fault_points.reached()
    }
}
