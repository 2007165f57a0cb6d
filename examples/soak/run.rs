//! The run: nodes, peers, and what is seen meanwhile.

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

use crate::{Soak, ends::Ends, gauge::Look, honest::Talk, nodes::Nodes, report::Report};

type Broken = Box<dyn std::error::Error>;

/// The most looks at memory that are kept.
const MAX_LOOKS: f64 = 3_600.0;

/// How often it says on standard error how it goes.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// For the honest ones to open what they need before the others come.
const SETTLE: Duration = Duration::from_secs(1);

/// How soon descriptors are to be back when the peers are gone.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// Panics that were not caught before they were told.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// The process of the peers.
struct Peers {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    wire: Address,
}

impl Peers {
    async fn start(options: &Soak, nodes: &Nodes) -> Result<Self, Broken> {
        let to = nodes.all().map(|node| node.info().address().to_string());
        let [peers, rate, cut, seed] = [
            options.peers.to_string(),
            options.rate.to_string(),
            options.cut_every.to_string(),
            options.seed.to_string(),
        ];
        let mut child = Command::new(std::env::current_exe()?)
            .arg("hostile")
            .arg("--to")
            .args(&to)
            .args(["--wire", &nodes.carol.info().address().to_string()])
            .args(["--peers", &peers, "--rate", &rate, "--cut-every", &cut, "--seed", &seed])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (orders, out) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipe")?;
        let mut lines = BufReader::new(out).lines();
        let first = lines.next_line().await?.ok_or("the process of the peers ended at once")?;
        let wire: SocketAddr = first.parse()?;
        Ok(Self { child, orders, lines, wire: wire.into() })
    }

    async fn end(self) {
        let Self { mut child, orders, .. } = self;
        drop(orders);
        child.wait().await.ok();
    }
}

/// One run, to its end or to ctrl-C.
pub(crate) async fn run(options: Soak) -> Result<Report, Broken> {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let mut ends = Ends::new()?;
    let nodes = Nodes::start().await?;
    let mut peers = Peers::start(&options, &nodes).await?;

    let (stop, begun) = (Rc::new(Cell::new(false)), Instant::now());
    let talks = nodes.lanes.iter().map(|(lane, ledger)| {
        let (bob, wire) = (nodes.bob.info().address(), &peers.wire);
        let talk = Talk {
            lane: *lane,
            from: nodes.ada.clone(),
            to: if lane.is_aborted() { wire } else { bob }.clone(),
            ledger: ledger.clone(),
            tally: Default::default(),
            rng: fastrand::Rng::with_seed(options.seed),
        };
        actix_rt::spawn(talk.talk(Rc::clone(&stop)))
    });
    let talks: Vec<_> = talks.collect();
    tokio::time::sleep(SETTLE).await;

    let before = Look::now(begun);
    peers.orders.write_all(b"begin\n").await?;
    let Soak { peers: number, minutes, .. } = &options;
    eprintln!("{number} peers come, for {minutes} minutes; ctrl-C ends it before");
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let every = Duration::from_secs_f64((options.minutes * 60.0 / MAX_LOOKS).max(0.5));
    let mut looks = Vec::new();
    let (mut deeds, mut said) = (BTreeMap::new(), Instant::now());
    let mut look = tokio::time::interval(every);
    let mut end = std::pin::pin!(tokio::time::sleep(length));
    let interrupted = loop {
        tokio::select! {
            _ = look.tick() => {
                looks.extend(Look::now(begun));
                if let Some(look) = looks.last().filter(|_| said.elapsed() >= SAY_EVERY) {
                    said = Instant::now();
                    say(look);
                }
            }
            line = peers.lines.next_line() => match line? {
                Some(line) => deeds = serde_json::from_str(&line)?,
                None => return Err("the process of the peers ended before its time".into()),
            },
            () = &mut end => break false,
            () = ends.next() => break true,
        }
    };
    stop.set(true);
    let talked = join_all(talks).await.into_iter().collect::<Result<Vec<_>, _>>()?;
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
        talked,
        deeds,
        counts,
        before,
        looks,
        after,
        back,
        panics: PANICS.load(Ordering::Relaxed),
    };
    join_all(nodes.all().map(|node| node.stop())).await;
    Ok(report)
}

fn say(look: &Look) {
    let mib = look.resident as f64 / f64::from(1 << 20);
    eprintln!("{:>6.0} s   {mib:>6.1} MiB   {:>4} descriptors", look.at, look.descriptors);
}

/// Waits for the descriptors to be as few as before the peers came: how long that took.
async fn settle(begun: Instant, before: Option<Look>) -> (Option<Look>, Option<Duration>) {
    let gone = Instant::now();
    loop {
        let now = Look::now(begun);
        if now.zip(before).is_none_or(|(now, before)| now.descriptors <= before.descriptors) {
            return (now, now.map(|_| gone.elapsed()));
        }
        if gone.elapsed() > BACK_WITHIN {
            return (now, None);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
