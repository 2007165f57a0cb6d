//! Hosts in separate network namespaces, with a switch between them: real network stacks whose
//! packets stay on this machine. Needs root and `ip`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::AsFd,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces of these tests have this prefix, followed by the id of the process that made them.
const PREFIX: &str = "actix-peer";

static NETWORKS: AtomicU32 = AtomicU32::new(0);

fn ip(line: &str) -> Result<String, String> {
    let output = Command::new("ip").args(line.split_whitespace()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Removes the namespaces of killed tests.
fn sweep() {
    for line in ip("netns list").unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            ip(&format!("netns del {name}")).ok();
        }
    }
}

/// A namespace; removed when dropped.
struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Result<Self, String> {
        ip(&format!("netns add {name}"))?;
        Ok(Self(name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&format!("netns del {}", self.0)) {
            eprintln!("{error}");
        }
    }
}

/// Hosts `10.7.0.1`, `10.7.0.2` and so on, each with a cable to one switch.
pub(crate) struct Network {
    hosts: Vec<Namespace>,
    switch: Namespace,
}

impl Network {
    /// `None`, with a line that says why, where namespaces cannot be made.
    pub(crate) fn of(hosts: usize) -> Option<Self> {
        sweep();
        match Self::new(hosts) {
            Ok(network) => Some(network),
            Err(why) => {
                println!("skipped: {why}");
                None
            }
        }
    }

    fn new(count: usize) -> Result<Self, String> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = |host: &str| format!("{PREFIX}-{}-{number}-{host}", std::process::id());
        let network = Self {
            switch: Namespace::new(name("switch"))?,
            hosts: (1..=count)
                .map(|n| Namespace::new(name(&n.to_string())))
                .collect::<Result<_, _>>()?,
        };
        let switch = &network.switch.0;
        for bridge in ["one", "two"] {
            ip(&format!("-n {switch} link add {bridge} type bridge"))?;
            ip(&format!("-n {switch} link set {bridge} up"))?;
        }
        for (host, n) in network.hosts.iter().map(|host| &host.0).zip(1..) {
            ip(&format!("-n {switch} link add port{n} type veth peer name eth0 netns {host}"))?;
            ip(&format!("-n {switch} link set port{n} master one up"))?;
            ip(&format!("-n {host} addr add 10.7.0.{n}/24 dev eth0"))?;
            ip(&format!("-n {host} link set lo up"))?;
            ip(&format!("-n {host} link set eth0 up"))?;
        }
        Ok(network)
    }

    fn on_switch(&self, line: &str) {
        ip(&format!("-n {} {line}", self.switch.0)).unwrap();
    }

    fn on_host(&self, host: usize, line: &str) {
        ip(&format!("-n {} {line}", self.hosts[host - 1].0)).unwrap();
    }

    /// Unplugs the cable of a host from the switch.
    pub(crate) fn cut(&self, host: usize) {
        self.on_switch(&format!("link set port{host} down"));
    }

    pub(crate) fn plug(&self, host: usize) {
        self.on_switch(&format!("link set port{host} up"));
    }

    /// Moves a host to the other half of a split switch. No host sees its cable move.
    pub(crate) fn part(&self, host: usize) {
        self.on_switch(&format!("link set port{host} master two"));
    }

    pub(crate) fn unite(&self, host: usize) {
        self.on_switch(&format!("link set port{host} master one"));
    }

    /// Drops all packets from `from` to `to`: they go to a station that does not exist.
    pub(crate) fn deafen(&self, from: usize, to: usize) {
        let line =
            format!("neigh replace 10.7.0.{to} lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
        self.on_host(from, &line);
    }

    pub(crate) fn hear(&self, from: usize, to: usize) {
        self.on_host(from, &format!("neigh del 10.7.0.{to} dev eth0"));
    }

    pub(crate) fn take_address(&self, host: usize) {
        self.on_host(host, &format!("addr del 10.7.0.{host}/24 dev eth0"));
    }

    pub(crate) fn give_address(&self, host: usize) {
        self.on_host(host, &format!("addr add 10.7.0.{host}/24 dev eth0"));
    }

    /// Runs `work` on a host: in a thread whose sockets belong to that host.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        host: usize,
        work: impl AsyncFnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(Path::new("/run/netns").join(&self.hosts[host - 1].0)).unwrap();
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            actix::System::new().block_on(work())
        })
    }

    /// Starts a program on a host.
    pub(crate) fn start(&self, host: usize, program: &Path, options: &[&str]) -> Program {
        let exec = ["netns", "exec", &self.hosts[host - 1].0];
        let mut command = Command::new("ip");
        command.args(exec).arg(program).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Program { child, lines }
    }
}

/// A program on a host; killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
