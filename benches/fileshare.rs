//! Compares the transfer of a file by `fileshare` with a bare socket copy of the same file, until
//! the file is on the disk: `cargo bench --bench fileshare`, for 4 GiB `-- --gib 4`.
//!
//! The two take turns, also in being first. The bare copy has two processes as well, with blocking
//! sockets and 256 KiB at a time. The written file is removed and synced before the next turn.
//!
//! A virtual machine returns unused memory to its host (free page reporting: a sixteenth every two
//! seconds). To get such a page back takes ten times as long as to copy a file into it. Therefore
//! memory for two and a half files is touched before each turn; otherwise a longer turn would also
//! have more pages to get back.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

mod support;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;
const PIECE: usize = 256 << 10;
const NAME: &str = "bench.bin";
const AIM: f64 = 0.7;
const MAX_MEMORY: u64 = 64 << 20;
/// Bytes that are touched before each turn, for each GiB of the file.
const MEMORY: u64 = 5 << 29;

/// The value of an option.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

/// The sending process of the bare copy: prints its port, and sends the file to the first
/// connection.
fn send(path: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().unwrap().port());
    let (mut stream, _) = listener.accept().expect("a connection");
    let (mut file, mut piece) = (File::open(path).expect("the file"), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).expect("a piece") {
            0 => return,
            n => stream.write_all(&piece[..n]).expect("a reader"),
        }
    }
}

/// The receiving process of the bare copy.
fn receive(port: &str, path: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).expect("a sender");
    let (mut file, mut piece) = (File::create(path).expect("a file"), vec![0; PIECE]);
    loop {
        match stream.read(&mut piece).expect("a piece") {
            0 => return file.sync_all().expect("the disk"),
            n => file.write_all(&piece[..n]).expect("room"),
        }
    }
}

fn bare(from: &Path, to: &Path) -> Duration {
    let this = std::env::current_exe().unwrap();
    let mut sender = Command::new(&this)
        .arg("--send")
        .arg(from)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut port = String::new();
    BufReader::new(sender.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let begun = Instant::now();
    let receiver =
        Command::new(&this).arg("--receive").arg(port.trim()).arg("--to").arg(to).status();
    let took = begun.elapsed();
    assert!(receiver.expect("a process").success() && sender.wait().unwrap().success());
    took
}

/// An instance of the program.
struct Instance {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: String,
    web: String,
}

impl Instance {
    fn start(program: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut instance = Self { child, lines, address: String::new(), web: String::new() };
        instance.address = instance.line("listening on ");
        let web = instance.line("page at http://");
        web.trim_end_matches('/').clone_into(&mut instance.web);
        instance
    }

    fn line(&mut self, begin: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended before {begin:?}");
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim_end().to_owned();
            }
        }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(&self.web).expect("the page");
        let (host, len) = (&self.web, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        serde_json::from_slice(&answer[at + 4..]).expect("JSON")
    }

    /// Polls until the condition is true.
    fn wait(&self, path: &str, is_done: impl Fn(&serde_json::Value) -> bool) {
        let until = Instant::now() + Duration::from_secs(300);
        while !is_done(&self.call("GET", path, "")) {
            assert!(Instant::now() < until, "{path} timed out");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The peak of its resident memory.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1_024
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ours(to: &Instance, from: &Instance) -> Duration {
    let begun = Instant::now();
    let body = format!(r#"{{"name": "{NAME}", "from": "{}", "replace": true}}"#, from.address);
    let transfer = to.call("POST", "/api/fetch", &body);
    let number = transfer["number"].as_u64().unwrap_or_else(|| panic!("{transfer}"));
    to.wait("/api/transfers", |transfers| {
        let mut all = transfers.as_array().unwrap().iter();
        let this = all.find(|transfer| transfer["number"] == number).unwrap();
        assert_ne!(this["state"], "failed", "{this}");
        this["state"] == "done"
    });
    begun.elapsed()
}

/// Builds the program, because `cargo bench` does not.
fn program() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--example", "fileshare"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo").success());
    let this = std::env::current_exe().unwrap();
    this.parent().unwrap().with_file_name("examples").join("fileshare")
}

/// Touches this much memory, so that the machine gets it from its host.
fn touch(bytes: usize) {
    let mut memory = vec![0_u8; bytes];
    memory.iter_mut().step_by(4 << 10).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// Writes a file of random data.
fn make_file(path: &Path, len: u64) {
    let (mut file, mut piece) = (File::create(path).expect("a file"), vec![0_u8; 1 << 20]);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..len >> 20 {
        random.fill(&mut piece);
        file.write_all(&piece).expect("room");
    }
}

/// Removes the written file, syncs the disk, and touches memory for a file of `gib`.
fn clean_up(written: &Path, gib: u64) {
    std::fs::remove_file(written).expect("the written file");
    Command::new("sync").status().expect("sync");
    let this = std::env::current_exe().unwrap();
    let touched = Command::new(this).arg("--touch").arg((gib * MEMORY).to_string()).status();
    assert!(touched.expect("a process").success(), "memory");
}

fn main() {
    if let Some(path) = option("--send") {
        return send(&path);
    }
    if let Some(port) = option("--receive") {
        return receive(&port, &option("--to").expect("a path"));
    }
    if let Some(bytes) = option("--touch") {
        return touch(bytes.parse().expect("a number"));
    }
    let gib: u64 = option("--gib").map_or(1, |gib| gib.parse().expect("a number"));
    let program = program();
    let folder = tempfile::tempdir_in(program.parent().unwrap()).expect("a folder");
    let [shared, fetched] = ["shared", "fetched"].map(|name| folder.path().join(name));
    std::fs::create_dir(&shared).unwrap();
    std::fs::create_dir(&fetched).unwrap();
    make_file(&shared.join(NAME), gib << 30);
    let from = Instance::start(&program, &["--share", shared.to_str().unwrap()]);
    from.wait("/api/files", |files| files[0]["digest"].is_string());
    let to = Instance::start(&program, &["--share", fetched.to_str().unwrap()]);
    let (source, copy) = (shared.join(NAME), fetched.join(NAME));
    Command::new("sync").status().expect("sync");
    let mut rounds = Vec::new();
    let mib = (gib << 10) as f64;
    // The first round is a warm-up of the page cache.
    for round in 0..=ROUNDS {
        let mut theirs = || {
            let took = bare(&source, &folder.path().join("bare"));
            clean_up(&folder.path().join("bare"), gib);
            took
        };
        let before = (round % 2 == 1).then(&mut theirs);
        let took = ours(&to, &from);
        if round == 0 {
            let same = Command::new("cmp").arg(&source).arg(&copy).status().expect("cmp");
            assert!(same.success(), "the fetched file is the shared one");
        }
        clean_up(&copy, gib);
        let bare = before.unwrap_or_else(theirs);
        eprintln!("round {round}: {took:.2?}, bare copy {bare:.2?}");
        if round > 0 {
            rounds.push((support::rate(mib, took), support::rate(mib, bare)));
        }
    }
    support::compare(&format!("a file of {gib} GiB"), "MiB/s", AIM, &rounds);
    for (who, instance) in [("the source", &from), ("the fetching instance", &to)] {
        let peak = instance.peak_memory();
        let verdict = support::verdict(peak <= MAX_MEMORY);
        let (peak, aim) = (support::bytes(peak), support::bytes(MAX_MEMORY));
        println!("peak memory of {who}: {peak}, aim {aim}: {verdict}");
    }
}
