//! The results, as text and as JSON.

use std::{net::SocketAddr, time::Duration};

use actix_peer::{Peer, overlay::Address};
use serde::Serialize;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    bare, drive,
    memory::resident,
    work::{Done, HandlerKind, Job, Mode},
};

/// The interval between two samples of memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// One side of a comparison.
#[derive(Debug, Default, Serialize)]
struct Side {
    /// The median of the rounds, in the unit of the mode.
    rate: f64,
    /// Medians of the rounds, in microseconds.
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    #[serde(skip)]
    rounds: Vec<(f64, Option<f64>, Option<f64>)>,
}

/// Resident memory in bytes: the minimum and the maximum while this crate works.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Memory {
    driver: Option<(u64, u64)>,
    server: Option<(u64, u64)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    job: Job,
    links: Side,
    bare: Side,
    /// The median of the ratios of all rounds: of latencies for one request at a time, else of
    /// rates.
    pub(crate) ratio: f64,
    memory: Memory,
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn span(seen: Option<(u64, u64)>, now: Option<u64>) -> Option<(u64, u64)> {
    match (seen, now) {
        (Some((least, most)), Some(now)) => Some((least.min(now), most.max(now))),
        (seen, now) => seen.or(now.zip(now)),
    }
}

impl Memory {
    fn join(self, other: Self) -> Self {
        let join = |a, b: Option<(u64, u64)>| span(span(a, b.map(|b| b.0)), b.map(|b| b.1));
        Self { driver: join(self.driver, other.driver), server: join(self.server, other.server) }
    }

    async fn watch(peer: Peer, to: Address, mut stop: oneshot::Receiver<()>) -> Self {
        let mut memory = Self::default();
        while stop.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            memory.driver = span(memory.driver, resident());
            memory.server = span(memory.server, drive::resident(&peer, &to).await.ok());
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
        memory
    }
}

/// A task that samples memory until the sender is dropped.
type Watch = (JoinHandle<Memory>, oneshot::Sender<()>);

impl Side {
    fn add(&mut self, job: &Job, done: &Done) {
        self.rounds.push((done.rate(job), done.percentile(50), done.percentile(99)));
        self.rate = median(self.rounds.iter().map(|round| round.0)).unwrap_or(0.0);
        self.p50_us = median(self.rounds.iter().filter_map(|round| round.1));
        self.p99_us = median(self.rounds.iter().filter_map(|round| round.2));
    }

    fn line(&self, job: &Job, name: &str) -> String {
        let rate = match job.mode {
            Mode::Stream => format!("{:>9.0} MB/s", self.rate / 1e6),
            mode => format!("{:>9.0} {}", self.rate, mode.unit()),
        };
        let latency = |name: &str, latency: Option<f64>| {
            latency.map_or_else(String::new, |latency| format!("   {name} {latency:>7.1} us"))
        };
        format!("  {name:<12} {rate}{}{}", latency("p50", self.p50_us), latency("p99", self.p99_us))
    }
}

impl Report {
    /// Runs a job in each round over a link to the node `to`, and then with the bare server.
    ///
    /// # Errors
    /// A server cannot be reached, or does not handle every message.
    pub(crate) async fn measure(
        peer: &Peer,
        (to, server): (&Address, SocketAddr),
        job: Job,
        rounds: u16,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (links, bare, memory) = Default::default();
        let mut report = Self { job, links, bare, ratio: f64::NAN, memory };
        for _ in 0..rounds {
            let watch = report.watch(peer, to);
            let links = drive::drive(peer, to, &report.job).await?;
            report.watched(watch).await;
            let bare = bare::drive(server, &report.job).await;
            let bare = bare.map_err(|error| format!("the bare server {server}: {error}"))?;
            report.round(&links, &bare);
        }
        Ok(report)
    }

    /// Starts to sample memory, in the modes that report it.
    fn watch(&self, peer: &Peer, to: &Address) -> Option<Watch> {
        let sleepy = self.job.mode == Mode::Notify && self.job.handler == HandlerKind::Sleepy;
        (sleepy || self.job.mode == Mode::Stream).then(|| {
            let (stop, stopped) = oneshot::channel();
            (actix_rt::spawn(Memory::watch(peer.clone(), to.clone(), stopped)), stop)
        })
    }

    async fn watched(&mut self, watch: Option<Watch>) {
        if let Some((watch, stop)) = watch {
            drop(stop);
            if let Ok(memory) = watch.await {
                self.memory = self.memory.join(memory);
            }
        }
    }

    fn round(&mut self, links: &Done, bare: &Done) {
        self.links.add(&self.job, links);
        self.bare.add(&self.job, bare);
        let latency = self.job.mode == Mode::Request;
        let rounds = self.links.rounds.iter().zip(&self.bare.rounds);
        let ratios = rounds.filter_map(|(links, bare)| {
            if latency { Some(links.1? / bare.1?) } else { Some(links.0 / bare.0) }
        });
        self.ratio = median(ratios).unwrap_or(f64::NAN);
    }

    /// Prints it as text, or as JSON.
    pub(crate) fn print(&self, json: bool) -> serde_json::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let Job { mode, handler, size, count, outstanding, flush } = &self.job;
        let what = match mode {
            Mode::Notify => format!("{count} one-way messages of {size} bytes ({handler:?})"),
            Mode::Request => format!("{count} requests of {size} bytes, one at a time"),
            Mode::Pipeline => {
                format!("{count} requests of {size} bytes, {outstanding} outstanding ({flush:?})")
            }
            Mode::Classic => {
                format!(
                    "{count} connections with one request of {size} bytes, {outstanding} at once"
                )
            }
            Mode::Stream => format!("one body of {count} bytes"),
        };
        println!("{what}; median of {} rounds", self.links.rounds.len());
        println!("{}", self.links.line(&self.job, "actix-peer"));
        println!("{}", self.bare.line(&self.job, "bare tokio"));
        let of = if *mode == Mode::Request { "p50" } else { "rate" };
        println!("  ratio        {:>9.2} ({of})", self.ratio);
        for (name, seen) in [("driver", self.memory.driver), ("server", self.memory.server)] {
            if let Some((least, most)) = seen {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                println!("  resident     {:>9.1} to {:.1} MiB ({name})", mib(least), mib(most));
            }
        }
        Ok(())
    }
}
