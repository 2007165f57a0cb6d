//! Starting, and refusing to.

use std::{net::TcpListener, process::Output};

use crate::{
    instance::{Instance, program, text},
    test_handlers,
};

fn failed(options: &[&str]) -> (i32, String) {
    let run = tempfile::tempdir().unwrap();
    let output: Output =
        program().args(options).env("XDG_RUNTIME_DIR", run.path()).output().unwrap();
    (output.status.code().unwrap(), text(&output.stderr).to_owned())
}

#[test]
fn what_is_in_the_way_is_said_with_exit_code_1() {
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
fn what_makes_no_sense_is_said_with_exit_code_2() {
    for options in [
        ["--listen", "here"],
        ["--id", "two words"],
        ["--hops", "0"],
        ["--ttl", "8"],
        ["--ping-every", "0"],
        ["--join", "nowhere"],
        ["--max-peers", "many"],
        ["--what", "ever"],
    ] {
        let (code, said) = failed(&options);
        assert!(code == 2 && !said.is_empty(), "{options:?}: {code}: {said}");
    }
}

#[test]
fn without_options_it_shares_a_sample_and_a_second_one_joins_with_a_contact_alone() {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Command, Stdio},
    };
    let run = tempfile::tempdir().unwrap();
    let start = |options: &[&str]| {
        let mut child = program()
            .args(options)
            .env("XDG_RUNTIME_DIR", run.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        (child, lines)
    };
    let line = |lines: &mut BufReader<_>, begin: &str| loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended before {begin:?}");
        if let Some(rest) = line.strip_prefix(begin) {
            return rest.trim_end().to_owned();
        }
    };
    let (mut ada, mut of_ada) = start(&[]);
    let address = line(&mut of_ada, "listening on ");
    assert!(line(&mut of_ada, "page at ").starts_with("http://127.0.0.1:"));
    let folder = line(&mut of_ada, "sharing a temporary folder, removed at the end: ");
    let port = address.rsplit(':').next().unwrap();
    let sample = std::path::Path::new(&folder).join(format!("sample-from-{port}.txt"));
    assert!(sample.exists());
    let (mut bob, mut of_bob) = start(&["--join", &address]);
    assert!(line(&mut of_bob, "peer added: ").starts_with(&address));
    line(&mut of_ada, "peer added: ");
    for (child, lines) in [(&mut bob, &mut of_bob), (&mut ada, &mut of_ada)] {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    }
    assert!(!std::path::Path::new(&folder).exists(), "it is removed at the end");
}

#[test]
fn a_handler_that_panics_or_dawdles_costs_its_asker_an_error_and_the_program_nothing() {
    let ada = Instance::start("ada", &["--test-handlers"]);
    test_handlers::keep_the_program_serving(&ada.address);
    assert_eq!(ada.get("/api/status").json()["id"], "ada");
}
