//! The run: starts nodes and peers, and takes samples.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::SocketAddr,
    process::Stdio,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use actix_peer::overlay::Address;
use futures::future::join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{Soak, ends::Ends, gauge::Sample, honest::Talk, nodes::Nodes, report::Report};

type Broken = Box<dyn std::error::Error>;

/// The maximum number of samples.
const MAX_SAMPLES: f64 = 3_600.0;

/// The interval of progress lines on standard error.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// The time for the honest nodes to open their connections before the peers start.
const SETTLE: Duration = Duration::from_secs(1);

/// The maximum time after the end of the peers until their descriptors are closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// The number of panics.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// The process of the hostile peers.
struct Peers {
    child: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    proxy: Address,
}

impl Peers {
    async fn start(options: &Soak, nodes: &Nodes) -> Result<Self, Broken> {
        let to = nodes.all().map(|node| node.info().address().to_string());
        let [peers, rate, every, seed] = [
            options.peers.to_string(),
            options.rate.to_string(),
            options.break_every.to_string(),
            options.seed.to_string(),
        ];
        let mut child = Command::new(std::env::current_exe()?)
            .arg("hostile")
            .arg("--to")
            .args(&to)
            .args(["--proxy", &nodes.carol.info().address().to_string()])
            .args(["--peers", &peers, "--rate", &rate, "--break-every", &every, "--seed", &seed])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (commands, out) = pipes.ok_or("the process of the peers has no pipes")?;
        let mut lines = BufReader::new(out).lines();
        let first = lines.next_line().await?.ok_or("the process of the peers ended at once")?;
        let proxy: SocketAddr = first.parse()?;
        Ok(Self { child, commands, lines, proxy: proxy.into() })
    }

    async fn end(self) {
        let Self { mut child, commands, .. } = self;
        drop(commands);
        child.wait().await.ok();
    }
}

/// Runs until the time is up or ctrl-C.
pub(crate) async fn run(options: Soak) -> Result<Report, Broken> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
    let mut ends = Ends::new()?;
    let nodes = Nodes::start().await?;
    let mut peers = Peers::start(&options, &nodes).await?;

    let (stop, begun) = (Rc::new(Cell::new(false)), Instant::now());
    let talks = nodes.lanes.iter().map(|(lane, ledger)| {
        let (bob, proxy) = (nodes.bob.info().address(), &peers.proxy);
        let talk = Talk {
            lane: *lane,
            from: nodes.ada.clone(),
            to: if lane.uses_proxy() { proxy } else { bob }.clone(),
            ledger: ledger.clone(),
            tally: Default::default(),
            rng: fastrand::Rng::with_seed(options.seed),
        };
        actix_rt::spawn(talk.run(Rc::clone(&stop)))
    });
    let talks: Vec<_> = talks.collect();
    tokio::time::sleep(SETTLE).await;

    let before = Sample::now(begun);
    peers.commands.write_all(b"begin\n").await?;
    let Soak { peers: number, minutes, .. } = &options;
    eprintln!("{number} hostile peers for {minutes} minutes; ctrl-C ends the run earlier");
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let every = Duration::from_secs_f64((options.minutes * 60.0 / MAX_SAMPLES).max(0.5));
    let mut samples = Vec::new();
    let (mut actions, mut printed) = (BTreeMap::new(), Instant::now());
    let mut ticks = tokio::time::interval(every);
    let mut end = std::pin::pin!(tokio::time::sleep(length));
    let interrupted = loop {
        tokio::select! {
            _ = ticks.tick() => {
                samples.extend(Sample::now(begun));
                if let Some(sample) = samples.last().filter(|_| printed.elapsed() >= PROGRESS_EVERY) {
                    printed = Instant::now();
                    print_progress(sample);
                }
            }
            line = peers.lines.next_line() => match line? {
                Some(line) => actions = serde_json::from_str(&line)?,
                None => return Err("the process of the peers ended unexpectedly".into()),
            },
            () = &mut end => break false,
            () = ends.next() => break true,
        }
    };
    stop.set(true);
    let lanes = join_all(talks).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let counts = join_all(nodes.all().map(|node| async {
        let status = node.status().await;
        (status.id, status.counts, status.restarts)
    }));
    let counts = counts.await;
    let ended = begun.elapsed();
    peers.end().await;
    let (after, back) = settle(begun, before).await;
    let report = Report {
        options,
        lasted: ended,
        interrupted,
        lanes,
        actions,
        counts,
        before,
        samples,
        after,
        back,
        panics: PANICS.load(Ordering::Relaxed),
    };
    join_all(nodes.all().map(|node| node.stop())).await;
    Ok(report)
}

fn print_progress(sample: &Sample) {
    let mib = sample.resident as f64 / f64::from(1 << 20);
    eprintln!("{:>6.0} s   {mib:>6.1} MiB   {:>4} descriptors", sample.at, sample.descriptors);
}

/// Waits until no more descriptors are open than before the peers started. Returns the time of
/// that.
async fn settle(begun: Instant, before: Option<Sample>) -> (Option<Sample>, Option<Duration>) {
    let ended = Instant::now();
    loop {
        let now = Sample::now(begun);
        if now.zip(before).is_none_or(|(now, before)| now.descriptors <= before.descriptors) {
            return (now, now.map(|_| ended.elapsed()));
        }
        if ended.elapsed() > CLOSED_WITHIN {
            return (now, None);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
