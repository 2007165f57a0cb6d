//! The hostile peers, in a process of their own, so that the nodes are measured alone.
//!
//! The process prints the address of the proxy and waits for a line. Then it prints a line of JSON
//! every second, with the number of each action. It ends when its standard input is closed.

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

use crate::{ends::Ends, proxy};

/// The maximum number of nodes that peers run at once. They share the limits of one source.
const MAX_MEMBERS: usize = 48;

/// The options that the run passes to this process.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// The nodes under test.
    #[arg(long, required = true, num_args = 1..)]
    pub(crate) to: Vec<SocketAddr>,
    /// The destination of the proxy.
    #[arg(long)]
    pub(crate) proxy: SocketAddr,
    #[arg(long)]
    pub(crate) peers: u16,
    #[arg(long)]
    pub(crate) rate: u32,
    #[arg(long)]
    pub(crate) break_every: u32,
    #[arg(long)]
    pub(crate) seed: u64,
}

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Joins as a node, sends requests, and leaves.
    Member,
    /// Joins as a node, sends requests, and crashes.
    Killed,
    /// Opens many connections at once and resets some of them.
    Flood,
    /// Sends invalid frames.
    Broken,
    /// Requests a long answer and never reads it.
    SlowReader,
    /// Connects and stays silent.
    Silent,
    /// Adds peers to tables that do not exist, and removes some again.
    Joiner,
    /// Sends more to a slow handler than the window allows.
    Greedy,
}

impl Action {
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

/// The number of each action.
type Done = Rc<RefCell<BTreeMap<Action, u64>>>;

/// One hostile peer.
struct HostilePeer {
    to: Vec<SocketAddr>,
    number: u16,
    rng: fastrand::Rng,
    /// The longest pause between two actions.
    pause: Duration,
    members: Rc<Semaphore>,
    done: Done,
}

impl HostilePeer {
    /// Its source address, unless it runs a node.
    fn source(&self) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(127, 1, high, low)
    }

    async fn run(mut self) {
        loop {
            tokio::time::sleep(self.pause.mul_f64(self.rng.f64())).await;
            let action = self.rng.choice(Action::ALL).unwrap_or(Action::Silent);
            let Some(to) = self.rng.choice(self.to.iter().copied()) else { return };
            *self.done.borrow_mut().entry(action).or_default() += 1;
            // The nodes count the outcome, so errors are ignored here.
            match action {
                Action::Member | Action::Killed => {
                    let members = Rc::clone(&self.members);
                    let Ok(_permit) = members.acquire().await else { return };
                    member::run(to, action == Action::Member, &mut self.rng).await.ok();
                }
                _ => {
                    let source = self.source();
                    raw::act(action, source, to, &mut self.rng).await.ok();
                }
            }
        }
    }
}

/// The commands of the run: a line to begin, and the end of standard input.
struct Commands(BufReader<tokio::io::Stdin>);

impl Commands {
    async fn begin(&mut self) -> bool {
        self.0.read_line(&mut String::new()).await.is_ok_and(|read| read > 0)
    }

    async fn end(&mut self) {
        self.0.read_to_end(&mut Vec::new()).await.ok();
    }
}

async fn report(done: Done) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let line = serde_json::to_string(&*done.borrow());
        println!("{}", line.unwrap_or_default());
    }
}

pub(crate) async fn run(options: Options) -> ExitCode {
    // The signals of the terminal are for the run, which then ends this process.
    let mut ends = match Ends::new() {
        Ok(ends) => ends,
        Err(error) => {
            eprintln!("cannot handle signals: {error}");
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
            eprintln!("the proxy cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Ok(at) = listener {
        println!("{at}");
    }
    let every = Duration::from_secs(options.break_every.into());
    actix_rt::spawn(proxy::run(here, options.proxy, every, options.seed));
    let mut commands = Commands(BufReader::new(tokio::io::stdin()));
    if commands.begin().await {
        let (done, members) = (Done::default(), Rc::new(Semaphore::new(MAX_MEMBERS)));
        for number in 1..=options.peers {
            let peer = HostilePeer {
                to: options.to.clone(),
                number,
                rng: fastrand::Rng::with_seed(options.seed.rotate_left(16) ^ u64::from(number)),
                // The average pause is half of it; in that time, each peer begins one action.
                pause: Duration::from_secs(2) * u32::from(options.peers) / options.rate,
                members: Rc::clone(&members),
                done: Rc::clone(&done),
            };
            actix_rt::spawn(peer.run());
        }
        actix_rt::spawn(report(done));
        commands.end().await;
    }
    // The process ends like in a crash: the nodes of peers do not leave.
    std::process::exit(0)
}
