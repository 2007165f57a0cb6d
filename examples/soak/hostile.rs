//! The peers, in a process of their own, so that their memory and descriptors are not the nodes'.
//!
//! The process ends when its standard input does. It prints where the wire is, waits for a line, and
//! prints a line of JSON each second: how often each thing was done.

mod member;
mod raw;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    sync::Semaphore,
};

use crate::{ends::Ends, wire};

/// Nodes that peers run at once: all from one address, so that they share what one source may have.
const MAX_MEMBERS: usize = 48;

/// What the run tells this process.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// The nodes under test.
    #[arg(long, required = true, num_args = 1..)]
    pub(crate) to: Vec<SocketAddr>,
    /// Where the wire leads.
    #[arg(long)]
    pub(crate) wire: SocketAddr,
    #[arg(long)]
    pub(crate) peers: u16,
    #[arg(long)]
    pub(crate) rate: u32,
    #[arg(long)]
    pub(crate) cut_every: u32,
    #[arg(long)]
    pub(crate) seed: u64,
}

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    /// Joins as a node, asks, and leaves politely.
    Member,
    /// Joins as a node, asks, and is dead without a word.
    Killed,
    /// Many connections at once, some of them reset.
    Flood,
    /// Frames that are none.
    Broken,
    /// Asks for much and never reads.
    SlowReader,
    /// Connects and says nothing.
    Silent,
    /// Puts peers into tables that are not there, and takes some out again.
    Joiner,
    /// Sends a slow handler more than is taken.
    Greedy,
}

impl Deed {
    const ALL: [Self; 8] = [
        Self::Member,
        Self::Killed,
        Self::Flood,
        Self::Broken,
        Self::SlowReader,
        Self::Silent,
        Self::Joiner,
        Self::Greedy,
    ];
}

/// How often each was begun, and how often it failed: was refused, cut, or found nobody.
type Done = Rc<RefCell<BTreeMap<Deed, u64>>>;

/// One peer.
struct Villain {
    to: Vec<SocketAddr>,
    number: u16,
    rng: fastrand::Rng,
    /// The longest rest between two deeds.
    rest: Duration,
    members: Rc<Semaphore>,
    done: Done,
}

impl Villain {
    /// The address that it comes from when it runs no node.
    fn source(&self) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(127, 1, high, low)
    }

    async fn live(mut self) {
        loop {
            tokio::time::sleep(self.rest.mul_f64(self.rng.f64())).await;
            let deed = self.rng.choice(Deed::ALL).unwrap_or(Deed::Silent);
            let Some(to) = self.rng.choice(self.to.iter().copied()) else { return };
            *self.done.borrow_mut().entry(deed).or_default() += 1;
            // What comes of it is the nodes' to count.
            match deed {
                Deed::Member | Deed::Killed => {
                    let members = Rc::clone(&self.members);
                    let Ok(_place) = members.acquire().await else { return };
                    member::live(to, deed == Deed::Member, &mut self.rng).await.ok();
                }
                _ => {
                    let source = self.source();
                    raw::act(deed, source, to, &mut self.rng).await.ok();
                }
            }
        }
    }
}

/// Waits for the word to begin, and for the end of standard input.
struct Orders(BufReader<tokio::io::Stdin>);

impl Orders {
    async fn begin(&mut self) -> bool {
        self.0.read_line(&mut String::new()).await.is_ok_and(|read| read > 0)
    }

    async fn end(&mut self) {
        self.0.read_to_end(&mut Vec::new()).await.ok();
    }
}

async fn tell(done: Done) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let line = serde_json::to_string(&*done.borrow());
        println!("{}", line.unwrap_or_default());
    }
}

pub(crate) async fn run(options: Options) -> ExitCode {
    // Ctrl-C in the terminal, and the end of it, are for the run, which ends this process.
    let mut ends = match Ends::new() {
        Ok(ends) => ends,
        Err(error) => {
            eprintln!("cannot hear signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    actix_rt::spawn(async move {
        loop {
            ends.next().await;
        }
    });
    let (listener, here) = match TcpListener::bind("127.0.0.1:0").await {
        Ok(listener) => (listener.local_addr(), listener),
        Err(error) => {
            eprintln!("the wire cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Ok(at) = listener {
        println!("{at}");
    }
    let every = Duration::from_secs(options.cut_every.into());
    actix_rt::spawn(wire::run(here, options.wire, every, options.seed));
    let mut orders = Orders(BufReader::new(tokio::io::stdin()));
    if orders.begin().await {
        let (done, members) = (Done::default(), Rc::new(Semaphore::new(MAX_MEMBERS)));
        for number in 1..=options.peers {
            let villain = Villain {
                to: options.to.clone(),
                number,
                rng: fastrand::Rng::with_seed(options.seed.rotate_left(16) ^ u64::from(number)),
                // On average half of it, in which each of them begins one.
                rest: Duration::from_secs(2) * u32::from(options.peers) / options.rate,
                members: Rc::clone(&members),
                done: Rc::clone(&done),
            };
            actix_rt::spawn(villain.live());
        }
        actix_rt::spawn(tell(done));
        orders.end().await;
    }
    // As a crash: nothing is said to anybody.
    std::process::exit(0)
}
