//! Options, exit codes, and the end of the program.

use std::net::TcpListener;

use crate::instance::{Instance, program};

/// Runs the program to its end. Returns its exit code and its errors.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = program().args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn wrong_arguments_say_what_to_write() {
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let used = used.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let no_key = folder.path().join("no.pem");
    std::fs::write(&no_key, "no key").unwrap();
    let no_folder = folder.path().join("missing").join("key.pem");
    for (arguments, code, said) in [
        (&["--listen", "9000"][..], 2, "write 127.0.0.1:9000"),
        (&["--join", "nonsense"], 2, "write HOST:PORT"),
        (&["--nick", "two words"], 2, "letters, digits"),
        (&["--room", "a/b"], 2, "letters, digits"),
        (&["--host", "a:1"], 2, "a host without a port"),
        (&["--max-peers", "0"], 2, "0 is not in"),
        (&["--nonsense"], 2, "--nonsense"),
        (&["--listen", &used], 1, "is in use: give another one with --listen"),
        (&["--identity", no_key.to_str().unwrap()], 1, "no.pem"),
        (&["--identity", no_folder.to_str().unwrap()], 1, "key.pem"),
    ] {
        let (ended, errors) = run(arguments);
        assert!(ended == Some(code) && errors.contains(said), "{arguments:?}: {ended:?} {errors}");
        assert!(code != 1 || errors.lines().count() == 1, "{errors}");
    }
}

#[test]
fn the_help_names_each_option() {
    let output = program().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for option in ["--nick", "--join", "--room", "--identity", "--downloads", "--max-peers"] {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn ctrl_c_stops_the_node_and_tells_the_others() {
    let mut ada = Instance::start("ada", &[]);
    let bob = Instance::join("bob", &ada, &[]);
    ada.until("bob~");
    bob.signal("INT");
    assert_eq!(bob.ended().0, Some(0));
    ada.until("has left");
    ada.signal("TERM");
    assert_eq!(ada.ended().0, Some(0));
}

#[test]
fn at_the_end_of_the_input_all_was_said_and_the_program_ends() {
    let mut ada = Instance::start("ada", &[]);
    let mut bob = Instance::join("bob", &ada, &[]);
    bob.say("said at once");
    bob.say("/nonsense");
    bob.end_input();
    ada.until("said at once");
    let (code, lines) = bob.ended();
    assert_eq!(code, Some(0));
    assert!(lines.iter().any(|line| line.starts_with("! there is no command /nonsense")));
    let mut carol = Instance::join("carol", &ada, &["--stay"]);
    carol.end_input();
    ada.say("still there?");
    carol.until("still there?");
    carol.signal("INT");
    assert_eq!(carol.ended().0, Some(0));
}

#[test]
fn a_person_is_known_by_the_key_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("ada.pem");
    let options = ["--identity", key.to_str().unwrap()];
    let labels = [0, 1].map(|_| Instance::start("ada", &options).label.clone());
    assert_eq!(labels[0], labels[1]);
    assert_ne!(labels[0], Instance::start("ada", &[]).label);
}

#[test]
fn an_unreachable_contact_is_reported_once_and_commands_have_a_list() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut ada = Instance::start("ada", &["--join", &away]);
    ada.until(&format!("! cannot join {away}: "));
    ada.say("/help");
    ada.until("/msg NICK TEXT: ");
    ada.until("/quit: ");
    ada.say("/quit");
    let (code, lines) = ada.ended();
    assert_eq!(code, Some(0));
    assert_eq!(lines.iter().filter(|line| line.contains("cannot join")).count(), 1);
}
