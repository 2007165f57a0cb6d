//! Wall clocks that are ahead or behind.

use super::*;
use crate::transport::Simulated;

impl MemoryNetwork {
    /// What a node on that host knows of the simulation.
    fn start_node(&self, name: &str) -> Simulated {
        self.transport(host(name)).simulated().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_node_sees_a_jump_of_the_clock_of_its_host_alone() {
    let network = MemoryNetwork::new(1);
    let (ada, bob) = (network.start_node("ada"), network.start_node("bob"));
    let date = bob.since_1970();
    assert_eq!(ada.since_1970(), date);
    network.set_clock_offset(&host("Ada"), ClockOffset::seconds(90));
    assert_eq!((ada.since_1970(), bob.since_1970()), (date + ms(90_000), date));
    sleep(ms(5)).await;
    assert_eq!(ClockOffset::seconds(-1), ClockOffset::Behind(ms(1_000)));
    network.set_clock_offset(&host("ada"), ClockOffset::Behind(ms(3)));
    assert_eq!((ada.since_1970(), bob.since_1970()), (date + ms(2), date + ms(5)));
    // A node that starts later has the clock of its host.
    assert_eq!(network.start_node("ada").since_1970(), date + ms(2));
    network.set_clock_offset(&host("ada"), ClockOffset::Ahead(Duration::ZERO));
    assert_eq!(ada.since_1970(), bob.since_1970());
}

#[tokio::test(start_paused = true)]
async fn no_offset_is_too_large() {
    let network = MemoryNetwork::new(1);
    let ada = network.start_node("ada");
    network.set_clock_offset(&host("ada"), ClockOffset::Behind(Duration::MAX));
    assert_eq!(ada.since_1970(), Duration::ZERO);
    let now = ada.since_1970();
    network.set_clock_offset(&host("ada"), ClockOffset::Ahead(Duration::MAX));
    assert!(ada.since_1970() >= now);
}
