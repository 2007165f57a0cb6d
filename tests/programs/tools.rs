//! The command-line tools and the larger examples, run as a user runs them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{ChildStdout, Command, Stdio},
};

use crate::{Killed, example, run, test_handlers};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn ask(options: &[&str]) -> (i32, String, String) {
    let output = run("ask", options);
    let code = output.status.code().unwrap();
    (code, text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

/// A running `node`; killed when dropped.
struct Node {
    child: Killed,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Node {
    fn start(options: &[&str]) -> Self {
        Self::start_as("node", options)
    }

    fn start_as(name: &str, options: &[&str]) -> Self {
        let mut child = example(name)
            .args(options)
            // Without a backtrace a deliberate panic does not fill a pipe that the test does not
            // read.
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut node = Self { child: Killed(child), lines, address: String::new() };
        let first = node.line();
        node.address = first
            .strip_prefix("listening on ")
            .expect("the program prints its address first")
            .to_owned();
        node
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn line_with(&mut self, what: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the program ended before it printed {what:?}");
            if line.contains(what) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Its exit code and the rest of its output.
    fn end(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.0.wait().unwrap().code().unwrap(), rest)
    }
}

/// A remote peer that answers the first connection with `bytes`, and then closes it or stays
/// silent.
fn remote(bytes: &'static [u8], close: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        stream.write_all(bytes).unwrap();
        if !close {
            // Until the other side closes the connection.
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
    });
    address
}

#[test]
fn ask_prints_code_length_and_data_of_every_reply() {
    let node = Node::start(&["--id", "ada"]);
    assert_eq!(ask(&[&node.address, "NAME"]), (0, "REPL 3 ada\n".into(), String::new()));
    assert_eq!(ask(&[&node.address, "ECHO", "hällo"]).1, "ECHO 6 hällo\n");
    let joined = ask(&[&node.address, "JOIN", "bob 127.0.0.1 9"]).1;
    assert_eq!(joined, "REPL 21 Join: peer added: bob\n");
    assert_eq!(ask(&[&node.address, "LIST"]).1, "REPL 1 1\nREPL 15 bob 127.0.0.1 9\n");
    assert_eq!(ask(&[&node.address, "NOPE"]).1, "ERRO 20 Unknown message type\n");
}

#[test]
fn ask_shows_binary_data_as_hexadecimal_digits() {
    let node = Node::start(&[]);
    let path = std::env::temp_dir().join(format!("actix-peer-{}.bin", std::process::id()));
    std::fs::write(&path, [0x00, 0x1b, 0xff]).unwrap();
    let asked = ask(&[&node.address, "ECHO", "--file", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(asked.1, "ECHO 3 00 1b ff\n");
}

#[test]
fn ask_fails_with_a_clear_message_when_it_gets_no_complete_reply() {
    let (code, _, message) = ask(&["127.0.0.1:1", "NAME"]);
    assert_eq!(code, 1);
    assert!(message.starts_with("cannot connect to 127.0.0.1:1: "), "{message}");
    let silent = remote(b"", false);
    let (code, _, message) = ask(&[&silent, "NAME", "--timeout", "0.1"]);
    assert_eq!((code, message.contains("timed out")), (1, true), "{message}");
    let cut = remote(b"REPL\0\0\0\x05hel", true);
    let (code, _, message) = ask(&[&cut, "NAME"]);
    assert_eq!(code, 1);
    assert!(message.contains("truncated data of REPL: 3 of 5 bytes"), "{message}");
    let cut = remote(b"REPL\0\0", true);
    let (code, _, message) = ask(&[&cut, "NAME"]);
    assert_eq!((code, message.contains("truncated header: 6 of 8 bytes")), (1, true), "{message}");
    let mute = remote(b"", true);
    assert_eq!(ask(&[&mute, "NAME"]), (0, String::new(), String::new()));
}

#[test]
fn wrong_options_get_a_usage_message_and_exit_code_2() {
    let wrong: [(&str, &[&str]); 10] = [
        ("ask", &[]),
        ("ask", &["nowhere", "NAME"]),
        ("ask", &["127.0.0.1:9", "NAMES"]),
        ("ask", &["127.0.0.1:9", "NAME", "text", "--file", "name"]),
        ("node", &["--ping-every", "0"]),
        ("node", &["--join", "nowhere"]),
        ("network", &["--nodes", "2"]),
        ("network", &["--seed", "x"]),
        ("soak", &["--minutes", "0"]),
        ("soak", &["--peers", "0"]),
    ];
    for (name, options) in wrong {
        let output = run(name, options);
        assert_eq!(output.status.code(), Some(2), "{name} {options:?}");
        assert!(text(&output.stderr).contains("--help"), "{name} {options:?}");
    }
}

#[cfg(feature = "test-utils")]
#[test]
fn the_torture_example_prints_the_same_digests_in_two_processes_and_refuses_wrong_options() {
    let options =
        ["--seeds", "7..9", "--nodes", "3", "--minutes", "0.2", "--digests", "--threads", "1"];
    let (one, two) = (run("torture", &options), run("torture", &options));
    assert!(one.status.success(), "{}{}", text(&one.stdout), text(&one.stderr));
    let digests = |output: &std::process::Output| -> Vec<String> {
        let text = text(&output.stdout);
        text.lines().filter(|line| line.ends_with(" ms")).map(str::to_owned).collect()
    };
    assert_eq!(digests(&one).len(), 2);
    assert_eq!(digests(&one), digests(&two));
    let json = run("torture", &["--seeds", "7", "--nodes", "2", "--minutes", "0.1", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["seeds"], &json["violations"]), (&1.into(), &serde_json::json!([])));
    for wrong in [["--seeds", "9..3"], ["--nodes", "1"], ["--faults", "some"], ["--minutes", "0"]] {
        assert_eq!(run("torture", &wrong).status.code(), Some(2), "{wrong:?}");
    }
    let cut = run("torture", &["--replay", "7", "--cut", "nonsense"]);
    assert_eq!(cut.status.code(), Some(2));
}

#[test]
fn nodes_join_through_a_contact_and_leave_on_ctrl_c_sigterm_and_hangup() {
    let mut ada = Node::start(&["--id", "ada"]);
    let mut bob = Node::start(&["--id", "bob", "--join", &ada.address]);
    assert_eq!(ada.line_with("peer added"), format!("peer added: bob at {}", bob.address));
    assert!(bob.line_with("joined by").ends_with("peers added: 1"));
    bob.signal("INT");
    let (code, said) = bob.end();
    assert_eq!((code, said.contains("peers told: 1")), (0, true), "{said}");
    assert!(ada.line_with("peer removed").ends_with("(Left)"));
    for (signal, id) in [("HUP", "carol"), ("TERM", "dave")] {
        let mut node = Node::start(&["--id", id, "--join", &ada.address]);
        node.line_with("joined by");
        node.signal(signal);
        let (code, said) = node.end();
        assert_eq!((code, said.contains("peers told: 1")), (0, true), "{signal}: {said}");
        ada.line_with("peer removed");
    }
}

#[test]
fn a_peer_whose_id_is_its_address_is_printed_once() {
    let mut ada = Node::start(&[]);
    let bob = Node::start(&["--join", &ada.address]);
    assert_eq!(ada.line_with("peer added"), format!("peer added: {}", bob.address));
}

#[test]
fn a_node_that_cannot_start_or_join_prints_the_cause_and_fails() {
    let node = Node::start(&[]);
    let output = run("node", &["--listen", &node.address]);
    assert_eq!(output.status.code(), Some(1));
    let message = format!("cannot start: the address {} is in use\n", node.address);
    assert_eq!(text(&output.stderr), message);
    let output = run("node", &["--join", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("cannot join 127.0.0.1:1: "));
}

#[test]
fn a_killed_node_listens_on_the_same_port_again_within_two_seconds() {
    let mut node = Node::start(&[]);
    let address = node.address.clone();
    for _ in 0..5 {
        // One silent, one with a partial request, one that was answered, one whose answer was not
        // read: each leaves the kernel with a connection to close.
        let mut open: Vec<_> =
            (0..4).map(|_| TcpStream::connect(&address).expect("a connection")).collect();
        open[1].write_all(b"ECHO\0\0\0\x05ha").unwrap();
        for stream in &mut open[2..] {
            stream.write_all(b"NAME\0\0\0\0").unwrap();
        }
        open[2].read_to_end(&mut Vec::new()).unwrap();
        node.signal("KILL");
        node.child.0.wait().unwrap();
        let begun = tokio::time::Instant::now();
        node = Node::start(&["--listen", &address]);
        let took = begun.elapsed();
        assert_eq!(node.address, address);
        assert!(took.as_secs() < 2, "{took:?}");
        assert_eq!(ask(&[&address, "NAME"]).0, 0);
    }
}

#[test]
fn a_remote_peer_cannot_write_control_characters_to_the_terminal() {
    let mut node = Node::start(&[]);
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.write_all(b"\x1b[2J\0\0\0\0").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert!(node.line_with("refused").starts_with("refused: 0x1b5b324a from "));
    let id = "JOIN\0\0\0\x14x\x1b[2J 127.0.0.1 9000";
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.write_all(id.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(text(&answer), "ERRO\0\0\0\x19Join: incorrect arguments");
}

#[test]
fn a_panicking_or_slow_handler_fails_its_caller_and_the_node_tool_keeps_serving() {
    let node = Node::start(&["--test-handlers"]);
    test_handlers::keep_the_program_serving(&node.address);
    // By default it takes five seconds: longer than this caller waits.
    let (code, _, message) = ask(&[&node.address, "SLOW", "--timeout", "0.2"]);
    assert_eq!((code, message.contains("timed out")), (1, true), "{message}");
    assert_eq!(ask(&[&node.address, "NAME"]).0, 0);
    let plain = Node::start(&[]);
    assert_eq!(ask(&[&plain.address, "BOOM"]).1, "ERRO 20 Unknown message type\n");
}

#[test]
fn the_network_example_keeps_its_promises_and_reports_json() {
    let output = run("network", &["--nodes", "5", "--seed", "3", "--body-mib", "4", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["kept"], true);
    assert_eq!(summary["nodes"], 5);
    assert_eq!(summary["promises"].as_array().unwrap().len(), 10);
}

#[test]
fn the_soak_example_keeps_its_promises_and_reports_json() {
    let options = ["--minutes", "0.04", "--peers", "20", "--rate", "20", "--seed", "3", "--json"];
    let output = run("soak", &options);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["kept"], &report["interrupted"]), (&true.into(), &false.into()));
    let lanes = report["lanes"].as_array().unwrap();
    assert!(lanes.iter().all(|lane| lane["handled"].as_u64() > Some(10)), "{report}");
    assert!(!report["actions"].as_object().unwrap().is_empty());
    assert!(!report["samples"].as_array().unwrap().is_empty());
}

#[test]
fn ctrl_c_ends_the_soak_example_with_the_figures_so_far() {
    let mut soak = example("soak");
    let mut child =
        soak.arg("--peers=5").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut told) = (child.stdout.take().unwrap(), String::new());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut told).unwrap();
    assert_eq!(told, "5 hostile peers for 3 minutes; ctrl-C ends the run earlier\n");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.ends_with("every promise was kept so far\n"), "{said}");
}

#[test]
fn the_load_example_measures_a_link_beside_bare_tokio_and_reports_json() {
    let options = ["serve", "--listen", "127.0.0.1:0", "--bare", "127.0.0.1:0"];
    let mut served = Node::start_as("load", &options);
    let bare = served.line().strip_prefix("bare server on ").unwrap().to_owned();
    for mode in ["notify", "request", "pipeline", "stream", "classic"] {
        let drive = ["drive", "--to", &served.address, "--bare", &bare, "--mode", mode];
        let output =
            run("load", &[&drive[..], &["--count", "200", "--rounds", "1", "--json"]].concat());
        assert!(output.status.success(), "{mode}: {}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["ratio"].as_f64().unwrap() > 0.0, "{mode}: {report}");
        assert_eq!(report["job"]["mode"], mode);
    }
    let nobody = ["drive", "--mode", "request", "--to", "127.0.0.1:1", "--bare", "127.0.0.1:1"];
    let output = run("load", &nobody);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("127.0.0.1:1"), "{}", text(&output.stderr));
    assert_eq!(run("load", &["drive"]).status.code(), Some(2));
}
