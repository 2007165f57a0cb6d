//! Lets the faults of a plan happen.

use std::{num::NonZeroU64, time::Duration};

use tokio::time::sleep;

use super::Life;
use crate::{
    overlay::Host,
    peer::sim::plan::{Fault, Mood, Restart},
    transport::memory::{Chaos, ClockOffset, Latency, StreamDirection},
};

/// The longest latency. A connection keeps its latency after the fault, and has at most 64 KiB in
/// transit: with a longer one, what waits to be sent would take minutes.
const LONGEST_LATENCY: Duration = Duration::from_millis(300);

impl Life {
    /// Lets a fault happen, and ends it after its time. A node that does not run has no fault.
    pub(super) async fn inject(&self, fault: Fault) {
        *self.0.faults.borrow_mut().entry(fault.kind()).or_default() += 1;
        self.0.net.note("fault", &format!("{fault:?}"));
        let net = &self.0.net;
        let wires = net.wires();
        match fault {
            Fault::Cut(a, b) => {
                if let (Some(a), Some(b)) = (self.host(a), self.host(b)) {
                    wires.break_links_between(&a, &b);
                }
            }
            Fault::CutAfter { bytes, to_listener } => {
                let direction = if to_listener {
                    StreamDirection::ToListener
                } else {
                    StreamDirection::ToDialler
                };
                wires.break_after(direction, bytes);
            }
            Fault::Partition { side, bridge, time } => {
                self.part(&side, bridge);
                sleep(time).await;
                net.heal();
            }
            Fault::Islands { time } => {
                let all: Vec<_> = (0..self.0.nodes.len()).filter_map(|n| self.host(n)).collect();
                for (n, host) in all.iter().enumerate() {
                    let others = all.get(n + 1..).unwrap_or_default();
                    wires.partition(std::slice::from_ref(host), others);
                }
                sleep(time).await;
                net.heal();
            }
            Fault::Flapping { side, times, time } => {
                for _ in 0..times {
                    self.part(&side, None);
                    sleep(time).await;
                    net.heal();
                    sleep(time).await;
                }
            }
            Fault::OneWay { from, to, time } => {
                if let (Some(from), Some(to)) = (self.host(from), self.host(to)) {
                    wires.partition_one_way(&[from], &[to]);
                    sleep(time).await;
                    net.heal();
                }
            }
            Fault::Stall { node, time } => {
                net.stall(&self.name(node), time).ok();
            }
            Fault::Latency { median, time } => {
                wires.latency(Latency::log_normal(median, 0.8, LONGEST_LATENCY));
                sleep(time).await;
                wires.latency(Self::usual_latency());
            }
            Fault::Bandwidth { node, bytes, time } => {
                if let Some(host) = self.host(node) {
                    wires.bandwidth_of(&host, NonZeroU64::new(bytes));
                    sleep(time).await;
                    wires.bandwidth_of(&host, None);
                    wires.has_sent(&host).await;
                }
            }
            Fault::Crash { node, with_host, away, restart } => {
                let name = self.name(node);
                if net.peer(&name).is_ok() {
                    self.0.traffic.end(&name);
                    if with_host {
                        net.power_off(&name).await.ok();
                    } else {
                        net.crash(&name).await.ok();
                    }
                    self.again(node, away, restart).await;
                }
            }
            Fault::Stop { node, away, restart } => {
                let name = self.name(node);
                if net.peer(&name).is_ok() {
                    self.0.traffic.end(&name);
                    net.stop(&name).await.ok();
                    self.again(node, away, restart).await;
                }
            }
            Fault::Clock { node, seconds } => {
                if let Some(host) = self.host(node) {
                    wires.set_clock_offset(&host, ClockOffset::seconds(seconds));
                }
            }
            Fault::Impostor { of, time } => self.impostor(of, time).await,
            Fault::SlowDisk { node, write, time } => {
                let disk = self.0.nodes.get(node).and_then(|node| node.options.disk.clone());
                if let Some(disk) = disk {
                    disk.set_write_time(write);
                    sleep(time).await;
                    disk.set_write_time(Duration::ZERO);
                }
            }
            Fault::Handlers { node, mood, time } => {
                let name = self.name(node);
                self.0.traffic.set_mood(&name, mood);
                sleep(time).await;
                self.0.traffic.set_mood(&name, Mood::Prompt);
            }
            Fault::Ban { node, whom, time } => {
                let whom = net.peer(&self.name(whom)).map(|whom| whom.info().address().clone());
                if let (Ok(peer), Ok(whom)) = (net.peer(&self.name(node)), whom) {
                    peer.ban(&whom, time);
                }
            }
            Fault::Chaos { time } => {
                wires.chaos(Chaos::heavy());
                sleep(time).await;
                wires.chaos(Chaos::none());
            }
        }
    }

    /// The latency while no fault changes it.
    pub(in super::super) fn usual_latency() -> Latency {
        Latency::uniform(Duration::from_millis(1)..Duration::from_millis(40))
    }

    fn host(&self, n: usize) -> Option<Host> {
        let node = self.0.nodes.get(n)?;
        node.host.borrow().parse().ok()
    }

    /// Separates these nodes from the others, except for the bridge.
    fn part(&self, side: &[usize], bridge: Option<usize>) {
        let hosts = |in_side: bool| -> Vec<Host> {
            (0..self.0.nodes.len())
                .filter(|n| Some(*n) != bridge && side.contains(n) == in_side)
                .filter_map(|n| self.host(n))
                .collect()
        };
        self.0.net.wires().partition(&hosts(true), &hosts(false));
    }

    /// Starts a node again.
    async fn again(&self, n: usize, away: Duration, restart: Restart) {
        let Some(node) = self.0.nodes.get(n) else { return };
        let number = self.now().as_millis();
        if !restart.keeps_disk
            && let Some(disk) = &node.options.disk
        {
            disk.clear();
        }
        sleep(away).await;
        if restart.moves {
            *node.host.borrow_mut() = format!("{}-at-{number}", node.name);
        }
        if restart.renamed {
            *node.id.borrow_mut() = format!("{}-as-{number}", node.name);
        }
        if let Some(host) = self.host(n) {
            self.0.net.wires().revive(&host);
        }
        if let Err(violation) = self.up(n).await {
            self.0.violation.borrow_mut().get_or_insert(violation);
        }
    }

    /// A node on a host of its own that claims the id of another one.
    async fn impostor(&self, of: usize, time: Duration) {
        let Some(node) = self.0.nodes.get(of) else { return };
        let number = self.0.impostors.get();
        self.0.impostors.set(number + 1);
        let (name, id) = (format!("impostor{number}"), node.id.borrow().clone());
        let traffic = self.0.traffic.clone();
        let builder = self.0.net.node(&name).map(|builder| builder.id(id));
        let Ok(Ok(builder)) = builder.map(|builder| {
            let builder = builder.stabilizer(crate::overlay::PingSweep::new());
            traffic.serve(&name, builder)
        }) else {
            return;
        };
        let Ok(peer) = builder.start().await else { return };
        self.0.traffic.begin(&name, &peer, false);
        let mut others = (0..self.0.nodes.len()).filter(|n| *n != of);
        let contact = others.find_map(|n| self.address_of(n));
        if let Some(contact) = contact {
            peer.join(&contact.to_string()).await.ok();
        }
        sleep(time).await;
        self.0.traffic.end(&name);
        if self.0.plan.seed.is_multiple_of(2) {
            peer.stop().await;
        } else {
            peer.abort().await;
        }
    }
}
