//! Start, options, exit codes and output of the program.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, ToSocketAddrs},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
};

use serde_json::json;

use crate::{
    instance::{Instance, program, subcommand, text},
    originals::exchange,
    test_handlers,
};

fn failed(options: &[&str]) -> (i32, String) {
    let run = tempfile::tempdir().unwrap();
    let output: Output =
        program().args(options).env("XDG_RUNTIME_DIR", run.path()).output().unwrap();
    (output.status.code().unwrap(), text(&output.stderr).to_owned())
}

#[test]
fn a_failed_start_prints_the_cause_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = failed(&["--listen", &address]);
    assert_eq!(
        (code, said.as_str()),
        (1, &*format!("cannot start: the address {address} is in use\n"))
    );
    let (code, said) = failed(&["--web", &address]);
    assert!(code == 1 && said.contains(&address) && said.contains("in use"), "{code}: {said}");
    for option in ["--share", "--downloads"] {
        let (code, said) = failed(&[option, "/no/such/folder"]);
        assert!(code == 1 && said.contains("/no/such/folder"), "{code}: {said}");
        let (code, said) = failed(&[option, "/dev/null"]);
        assert!(code == 1 && said.contains("/dev/null"), "{code}: {said}");
    }
}

#[test]
fn invalid_arguments_print_the_cause_and_exit_with_2() {
    for options in [
        ["--listen", "here"],
        ["--id", "two words"],
        ["--hops", "0"],
        ["--ttl", "8"],
        ["--ping-every", "0"],
        ["--join", "nowhere"],
        ["--max-peers", "many"],
        ["--what", "ever"],
        ["--web", "8000"],
        ["peers", "--json=yes"],
    ] {
        let (code, said) = failed(&options);
        assert!(code == 2 && !said.is_empty(), "{options:?}: {code}: {said}");
    }
}

#[test]
fn the_json_option_belongs_to_subcommands_and_starts_no_node() {
    let (code, said) = failed(&["--json"]);
    assert!(code == 2 && said.contains("fileshare status --json"), "{code}: {said}");
}

#[test]
fn the_help_explains_the_default_action_and_describes_each_argument() {
    let printed = |arguments: &[&str]| {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        text(&output.stdout).to_owned()
    };
    assert_eq!(printed(&["--version"]), format!("fileshare {}\n", env!("CARGO_PKG_VERSION")));
    for help in ["-h", "--help"] {
        assert!(printed(&[help]).contains("Without a command it starts a node"));
    }
    for (command, word) in
        [("search", "<KEY>"), ("fetch", "<NAME>"), ("join", "<HOST:PORT>"), ("leave", "<ID>")]
    {
        let help = printed(&[command, "--help"]);
        let line = help.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        assert!(line.trim().len() > word.len() + 10, "{command}: {line:?}");
    }
}

#[test]
fn the_error_for_an_invalid_page_address_says_what_to_write() {
    let ada = Instance::start("ada", &[]);
    for (arguments, code, said) in [
        (&["--web", "8000"][..], 2, "write 127.0.0.1:8000"),
        (&["--listen", "8000"], 2, "write 127.0.0.1:8000"),
        (&["--web", "127.0.0.1:9", "--listen", "127.0.0.1:9"], 2, "give one of them another port"),
        (&["--web", &ada.web], 1, "is in use, give another one with --web"),
        (&["peers", "--web", "35851"], 2, "write 127.0.0.1:35851"),
        (&["peers", "--web", "127.0.0.1:1"], 1, "nothing listens there: give --web the address"),
        (&["peers", "--web", &ada.address], 1, "is not a page, it may be the port for peers"),
        (&["join", "9000"], 2, "write 127.0.0.1:9000"),
    ] {
        let failed = failed(arguments);
        assert!(failed.0 == code && failed.1.contains(said), "{arguments:?}: {failed:?}");
    }
}

#[test]
fn a_node_that_listens_on_a_host_name_is_reachable_by_ipv4_only_programs() {
    let ada = Instance::start("ada", &["--listen", "localhost:0", "--web", "localhost:0"]);
    assert!(ada.address.starts_with("127.0.0.1:"), "{}", ada.address);
    assert!(ada.web.starts_with("127.0.0.1:"), "{}", ada.web);
    assert_eq!(exchange(&ada.address, b"NAME", ""), r"REPL\x00\x00\x00\x03ada");
    assert_eq!(ada.status()["id"], "ada");
    let mut found = ("localhost", 0).to_socket_addrs().unwrap();
    if !found.any(|at| at.is_ipv6()) || TcpListener::bind("[::1]:0").is_err() {
        println!("IPv6 skipped: this machine has none, or no name for it");
        return;
    }
    let v6 = |address: &str| address.replace("127.0.0.1", "[::1]");
    assert_eq!(exchange(&v6(&ada.address), b"NAME", ""), r"REPL\x00\x00\x00\x03ada");
    let run = tempfile::tempdir().unwrap();
    let status = subcommand(run.path(), &["status", "--web", &v6(&ada.web)]);
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
}

/// The program as a user starts it: without folders of its own.
struct Plain {
    child: Child,
    lines: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Plain {
    fn start(home: &Path, options: &[&str]) -> Self {
        Self::start_as(program(), home, options)
    }

    fn start_as(mut program: Command, home: &Path, options: &[&str]) -> Self {
        let mut child = program
            .args(options)
            .envs([("XDG_RUNTIME_DIR", home), ("XDG_DOWNLOAD_DIR", home), ("TMPDIR", home)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines, errors }
    }

    /// Reads up to the next line with this prefix. Returns the rest of the line.
    fn line(&mut self, begin: &str) -> String {
        rest_of_line(&mut self.lines, begin)
    }

    fn error(&mut self, begin: &str) -> String {
        rest_of_line(&mut self.errors, begin)
    }

    /// Sends the signal. Returns the exit code and the remaining output, errors last.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.errors.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn rest_of_line(lines: &mut impl BufRead, begin: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the program ended before it printed {begin:?}"
        );
        if let Some(rest) = line.strip_prefix(begin) {
            return rest.trim_end().to_owned();
        }
    }
}

#[test]
fn without_options_it_shares_a_sample_and_a_fetched_copy_outlives_it() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut ada = Plain::start(home.path(), &[]);
    let address = ada.line("listening on ");
    assert!(ada.line("page at ").starts_with("http://127.0.0.1:"));
    let folder = PathBuf::from(ada.line("sharing a temporary folder, removed at the end: "));
    let port = address.rsplit(':').next().unwrap();
    let sample = format!("sample-from-{port}.txt");
    let content = fs::read(folder.join(&sample)).unwrap();

    let mut bob = Plain::start(other.path(), &["--join", &address]);
    let of_bob = bob.line("listening on ");
    let downloads = PathBuf::from(bob.line("fetched files go to "));
    // An id that equals the address is printed once.
    assert_eq!(bob.line("peer added: "), address);
    assert_eq!(ada.line("peer added: "), of_bob);
    let asked = subcommand(other.path(), &["search", "sample", "--wait", "3"]);
    let line = format!("{sample}  {} B  {address}", content.len());
    assert!(text(&asked.stdout).contains(&line), "{line}: {}", text(&asked.stdout));
    assert_eq!(subcommand(other.path(), &["fetch", &sample]).status.code(), Some(0));
    let fetched = downloads.join(&sample);
    assert_eq!(bob.line("fetched: "), fetched.display().to_string());

    for (node, signal) in [(bob, "HUP"), (ada, "TERM")] {
        let (code, rest) = node.end(signal);
        assert_eq!(code, Some(0), "{signal}: {rest}");
        assert!(rest.contains("peers told: "), "{signal}: {rest}");
    }
    assert!(!folder.exists(), "the temporary folder is removed at the end");
    assert_eq!(fs::read(fetched).unwrap(), content);
    for home in [home, other] {
        let left: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            !left.iter().any(|name| name.to_string_lossy().starts_with("fileshare-")),
            "{left:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_is_started_to_ignore_hangups_keeps_ignoring_them() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(program().get_program());
    let mut ada = Plain::start_as(shell, home.path(), &[]);
    ada.line("fetched files go to ");
    let status = fs::read_to_string(format!("/proc/{}/status", ada.child.id())).unwrap();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!((mask("SigIgn:") & 1, mask("SigCgt:") & 1), (1, 0));
    assert_eq!(ada.end("INT").0, Some(0));
}

#[test]
fn an_unreachable_contact_is_reported_once_and_joined_when_it_appears() {
    let home = tempfile::tempdir().unwrap();
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = away.local_addr().unwrap().to_string();
    let (tell, first) = std::sync::mpsc::channel();
    let listening = std::thread::spawn(move || {
        // Close each connection until the first attempt is over and the next one has begun.
        loop {
            let is_over = first.try_recv().is_ok();
            drop(away.accept());
            if is_over {
                return;
            }
        }
    });
    let mut bob = Plain::start(home.path(), &["--join", &address]);
    let said = bob.error(&format!("cannot join {address}: "));
    assert!(said.ends_with("; trying again"), "{said}");
    tell.send(()).unwrap();
    listening.join().unwrap();
    let ada = Instance::start("ada", &["--listen", &address]);
    assert_eq!(bob.line("peer added: "), format!("ada at {address}"));
    let (code, rest) = bob.end("TERM");
    assert!(code == Some(0) && !rest.contains("cannot join"), "{rest}");
    drop(ada);
}

#[test]
fn a_retried_join_is_reported_as_retried() {
    let full = ["--table-only", "--max-peers", "1"];
    let ada = Instance::start("ada", &full);
    let carol = Instance::start("carol", &[&full[..], &["--join", &ada.address]].concat());
    for node in [&ada, &carol] {
        node.until_peers(|ids| ids.len() == 1);
    }
    let bob = Instance::start("bob", &["--table-only"]);
    let (code, _, said) = bob.subcommand(&["join", &ada.address]);
    assert!(code == 1 && said.ends_with("; trying again\n"), "{code}: {said}");
    let (code, _, said) = bob.subcommand(&["join", &bob.address]);
    assert!(code == 1 && !said.contains("again"), "{code}: {said}");
}

#[test]
fn a_fetch_of_an_own_file_says_where_the_file_is() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join("notes.txt"), "n").unwrap();
    fs::write(ada.downloads().join("song.ogg"), "s").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let (share, downloads) = (ada.share(), ada.downloads());
    for (folder, name) in [(&share, "notes.txt"), (&downloads, "song.ogg")] {
        for more in [&[][..], &["--from", "ada"], &["--from", &ada.address], &["--replace"]] {
            let (code, _, said) = ada.subcommand(&[&["fetch", name], more].concat());
            let path = fs::canonicalize(folder.join(name)).unwrap();
            assert_eq!((code, said), (1, format!("{name} is already here: {}\n", path.display())));
        }
        let refused = ada.post("/api/fetch", &json!({ "name": name })).refusal();
        assert_eq!(refused, (409, "here".into()));
    }
    let (_, status, _) = ada.subcommand(&["status"]);
    assert!(status.contains("(2 files)"), "{status}");
    let (_, peers, _) = ada.subcommand(&["peers"]);
    assert!(peers.contains("fileshare join HOST:PORT"), "{peers}");
}

#[test]
fn a_panicking_or_slow_handler_fails_its_caller_and_the_program_keeps_serving() {
    let ada = Instance::start("ada", &["--test-handlers"]);
    test_handlers::keep_the_program_serving(&ada.address);
    assert_eq!(ada.get("/api/status").json()["id"], "ada");
}
