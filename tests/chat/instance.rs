//! Instances of the chat as processes.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

/// Longer than any step takes. A test that reaches it fails instead of hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// The program, as `cargo test` has built it.
pub(crate) fn program() -> Command {
    let tests = std::env::current_exe().unwrap();
    let path: PathBuf = tests.parent().unwrap().with_file_name("examples").join("chat");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    Command::new(path)
}

/// The lines that a program has printed, and whether it has closed its output.
type Printed = Arc<(Mutex<(Vec<String>, bool)>, Condvar)>;

/// One running instance; killed when dropped.
pub(crate) struct Instance {
    child: Child,
    input: Option<ChildStdin>,
    printed: Printed,
    /// The number of lines that were looked at.
    seen: usize,
    downloads: TempDir,
    /// The address for other nodes.
    pub(crate) address: String,
    /// The nick with the short form of the key.
    pub(crate) label: String,
}

impl Instance {
    pub(crate) fn start(nick: &str, options: &[&str]) -> Self {
        let downloads = tempfile::Builder::new().prefix("chat-").tempdir().unwrap();
        let mut child = program()
            .args(["--nick", nick, "--downloads"])
            .arg(downloads.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = Printed::default();
        let (lines, to) = (child.stdout.take().unwrap(), Arc::clone(&printed));
        std::thread::spawn(move || read(BufReader::new(lines), &to));
        let input = child.stdin.take();
        let (address, label) = (String::new(), String::new());
        let mut instance = Self { child, input, printed, seen: 0, downloads, address, label };
        let first = instance.line();
        instance.address = first.strip_prefix("listening on ").expect("the address").to_owned();
        instance.label = instance.until("* you are ").split(' ').nth(3).unwrap().to_owned();
        instance
    }

    /// Starts an instance that joins another one.
    pub(crate) fn join(nick: &str, contact: &Self, options: &[&str]) -> Self {
        Self::start(nick, &[&["--join", &contact.address], options].concat())
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends the input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> String {
        self.until("")
    }

    /// The next line that contains this text. Lines before it are skipped.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let until = Instant::now() + LIMIT;
        let (lines, changed) = &*self.printed;
        let mut lines = lines.lock().unwrap();
        loop {
            let new = &lines.0[self.seen..];
            if let Some(at) = new.iter().position(|line| line.contains(text)) {
                self.seen += at + 1;
                return lines.0[self.seen - 1].clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                let all = lines.0.join("\n");
                drop(lines);
                panic!("{}: no {text:?} in:\n{all}", self.label);
            }
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Looks at all lines again.
    pub(crate) fn look_again(&mut self) -> &mut Self {
        self.seen = 0;
        self
    }

    /// All lines so far.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.printed.0.lock().unwrap().0.clone()
    }

    pub(crate) fn downloads(&self) -> &Path {
        self.downloads.path()
    }

    /// The names in the folder for downloads, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.downloads()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the end of the program. Returns its exit code and all lines.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let code = self.child.wait().unwrap().code();
        let (lines, changed) = &*self.printed;
        let lines = changed.wait_while(lines.lock().unwrap(), |lines| !lines.1).unwrap();
        (code, lines.0.clone())
    }
}

/// Collects lines until the end.
fn read(mut lines: impl BufRead, to: &Printed) {
    let (printed, changed) = &**to;
    let mut line = Vec::new();
    while lines.by_ref().read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        printed.lock().unwrap().0.push(text);
        changed.notify_all();
        line.clear();
    }
    printed.lock().unwrap().1 = true;
    changed.notify_all();
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
