//! Instances of the file-sharing program as processes, each with folders of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// Longer than any step takes. A test that reaches it fails instead of hanging.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The program, as `cargo test` has built it.
pub(crate) fn program() -> Command {
    let tests = std::env::current_exe().unwrap();
    let path: PathBuf = tests.parent().unwrap().with_file_name("examples").join("fileshare");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    let mut program = Command::new(path);
    // Keeps the tests out of the downloads folder of the user.
    program.env("XDG_DOWNLOAD_DIR", env!("CARGO_TARGET_TMPDIR"));
    program
}

/// Runs a subcommand as the user with this runtime folder.
pub(crate) fn subcommand(runtime: &Path, arguments: &[&str]) -> Output {
    program().args(arguments).env("XDG_RUNTIME_DIR", runtime).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// One running instance; killed when dropped.
pub(crate) struct Instance {
    child: Child,
    lines: BufReader<ChildStdout>,
    folders: TempDir,
    /// The address for peers.
    pub(crate) address: String,
    /// The address of the page, as printed.
    pub(crate) url: String,
    /// `HOST:PORT` of its page.
    pub(crate) web: String,
}

impl Instance {
    /// Starts an instance with this id, on free ports of loopback.
    pub(crate) fn start(id: &str, options: &[&str]) -> Self {
        let folders = tempfile::Builder::new().prefix("fileshare-").tempdir().unwrap();
        for folder in ["run", "share", "downloads"] {
            fs::create_dir(folders.path().join(folder)).unwrap();
        }
        let run = folders.path().join("run");
        Self::start_in(folders, &run, id, options)
    }

    /// Starts an instance of the user whose runtime folder is `run`.
    pub(crate) fn start_with(run: &Path, id: &str, options: &[&str]) -> Self {
        let folders = tempfile::Builder::new().prefix("fileshare-").tempdir().unwrap();
        for folder in ["share", "downloads"] {
            fs::create_dir(folders.path().join(folder)).unwrap();
        }
        Self::start_in(folders, run, id, options)
    }

    /// Starts an instance whose downloads folder is set by an option.
    pub(crate) fn start_at(id: &str, options: &[&str]) -> Self {
        let folders = tempfile::tempdir().unwrap();
        for folder in ["run", "share"] {
            fs::create_dir(folders.path().join(folder)).unwrap();
        }
        let run = folders.path().join("run");
        Self::start_in(folders, &run, id, options)
    }

    /// Ends the process and starts it again in the same folders.
    pub(crate) fn again(mut self, id: &str, options: &[&str]) -> Self {
        self.kill();
        let folders = std::mem::replace(&mut self.folders, tempfile::tempdir().unwrap());
        let run = folders.path().join("run");
        Self::start_in(folders, &run, id, options)
    }

    fn start_in(folders: TempDir, run: &Path, id: &str, options: &[&str]) -> Self {
        let unless_given = |option: &'static str| {
            let given = options.contains(&option);
            if given { Vec::new() } else { vec![option, "127.0.0.1:0"] }
        };
        let downloads = folders.path().join("downloads");
        let downloads = downloads.exists().then(|| ["--downloads".as_ref(), downloads.as_os_str()]);
        let mut child = program()
            .args(["--id", id])
            .args(unless_given("--listen"))
            .args(unless_given("--web"))
            .arg("--share")
            .arg(folders.path().join("share"))
            .args(downloads.into_iter().flatten())
            .args(options)
            .env("XDG_RUNTIME_DIR", run)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = |start: &str| {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            let rest = line.trim_end().strip_prefix(start).map(str::to_owned);
            rest.unwrap_or_else(|| panic!("{line:?} does not begin with {start:?}"))
        };
        let (address, url) = (line("listening on "), line("page at "));
        let web = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        Self { child, lines, folders, address, url, web }
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folders.path().join("run")
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.folders.path().join("share")
    }

    pub(crate) fn downloads(&self) -> PathBuf {
        self.folders.path().join("downloads")
    }

    /// Runs a subcommand that finds this instance. Returns its exit code, output and errors.
    pub(crate) fn subcommand(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = subcommand(&self.run(), arguments);
        let code = output.status.code().unwrap();
        (code, text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    }

    /// Runs a subcommand with `--json`, which must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let (code, output, errors) = self.subcommand(&arguments);
        assert_eq!(code, 0, "{arguments:?}: {errors}");
        serde_json::from_str(&output).unwrap()
    }

    /// Sends one HTTP request with exactly these headers besides the usual ones.
    pub(crate) fn call(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let given = |name: &str| {
            let starts = |header: &&str| header.to_lowercase().starts_with(name);
            headers.iter().any(starts)
        };
        if !given("host:") {
            head.push_str(&format!("Host: {}\r\n", self.web));
        }
        if !given("content-length:") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for header in headers.iter().filter(|header| !header.ends_with(": absent")) {
            head.push_str(&format!("{header}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        Answer::read(BufReader::new(stream))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.call("POST", path, &["Content-Type: application/json"], body.as_bytes())
    }

    /// Subscribes to the events from now on.
    pub(crate) fn events(&self) -> Events {
        let mut stream = self.connect();
        let head = format!("GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", self.web);
        stream.write_all(head.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut status = String::new();
        lines.read_line(&mut status).unwrap();
        Events { status: status.split(' ').nth(1).unwrap().parse().unwrap(), lines }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.web).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal: `STOP` suspends the process, `CONT` resumes it.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Interrupts it, as ctrl-C does, and waits for its end. Returns the exit code and the
    /// remaining output.
    pub(crate) fn interrupt(&mut self) -> (Option<i32>, String) {
        self.signal("INT");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The answer to one HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(mut stream: BufReader<TcpStream>) -> Self {
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).expect("a status").parse().unwrap();
        let headers: Vec<_> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty()))
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_lowercase(), value.to_owned())
            })
            .collect();
        let mut answer = Self { status, headers, body: Vec::new() };
        // The server may close the connection after an early refusal.
        let length = answer.header("content-length").map_or(u64::MAX, |len| len.parse().unwrap());
        stream.take(length).read_to_end(&mut answer.body).unwrap();
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and `kind` of a refusal. Its text must not be empty.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let json = self.json();
        assert!(json["error"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        (self.status, json["kind"].as_str().unwrap().to_owned())
    }
}

/// An open connection at `/api/events`.
pub(crate) struct Events {
    pub(crate) status: u16,
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The next event: its name and content. `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim_end().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// The first event of this name whose content satisfies `wanted`.
    #[track_caller]
    pub(crate) fn wait(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (began, mut last) = (Instant::now(), Value::Null);
        loop {
            let (event, data) = self.next().expect("the stream of events is open");
            if event == name {
                if wanted(&data) {
                    return data;
                }
                last = data;
            }
            assert!(began.elapsed() < LIMIT, "no {name} event matches; the last one: {last}");
        }
    }
}

/// Whether a list of files contains this name.
pub(crate) fn has(files: &Value, name: &str) -> bool {
    files.as_array().unwrap().iter().any(|file| file["name"] == name)
}
