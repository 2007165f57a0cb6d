//! Wall clocks that are ahead or behind.

use super::*;
use crate::node::Ambient;

#[tokio::test(start_paused = true)]
async fn a_running_node_sees_a_jump_of_the_clock_of_its_host_alone() {
    let network = MemoryNetwork::new(1);
    let node = |name: &str| Ambient::simulated(network.transport(host(name)).simulated().unwrap());
    let (ada, bob) = (node("ada"), node("bob"));
    let date = bob.unix_time();
    assert_eq!(ada.unix_time(), date);
    network.set_clock_offset(&host("Ada"), ClockOffset::Ahead(ms(90_000)));
    assert_eq!((ada.unix_time(), bob.unix_time()), (date + ms(90_000), date));
    sleep(ms(5)).await;
    network.set_clock_offset(&host("ada"), ClockOffset::Behind(ms(3)));
    assert_eq!((ada.unix_time(), bob.unix_time()), (date + ms(2), date + ms(5)));
    // A node that starts later has the clock of its host.
    assert_eq!(node("ada").unix_time(), date + ms(2));
    network.set_clock_offset(&host("ada"), ClockOffset::Ahead(Duration::ZERO));
    assert_eq!(ada.unix_time(), bob.unix_time());
}

#[tokio::test(start_paused = true)]
async fn no_offset_is_too_large() {
    let network = MemoryNetwork::new(1);
    let transport = network.transport(host("ada"));
    let ada = Ambient::simulated(transport.simulated().unwrap());
    network.set_clock_offset(&host("ada"), ClockOffset::Behind(Duration::MAX));
    assert_eq!(ada.unix_time(), Duration::ZERO);
    let now = ada.unix_time();
    network.set_clock_offset(&host("ada"), ClockOffset::Ahead(Duration::MAX));
    assert!(ada.unix_time() >= now);
}
