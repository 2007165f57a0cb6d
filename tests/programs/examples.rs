//! The small examples run to their end and print what their comments say.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

use crate::{Killed, example, run};

/// Whether `printed` equals `said`, in which `…` stands for a port.
fn is_as_said(printed: &str, said: &str) -> bool {
    let mut rest = printed;
    let mut parts = said.split('…');
    let Some(tail) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = tail;
    for part in parts {
        let Some(tail) = rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(part)
        else {
            return false;
        };
        rest = tail;
    }
    rest.is_empty()
}

fn prints_what_it_says(name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let source = std::fs::read_to_string(source).unwrap();
    let call = format!("//! $ cargo run --example {name}\n");
    let said = source
        .split_once(&call)
        .expect("the comment says how to run it")
        .1
        .split("//! ```")
        .next()
        .unwrap();
    let said: Vec<_> = said.lines().map(|line| line.trim_start_matches("//! ")).collect();
    let output = run(name, &[]);
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<_> = printed.lines().collect();
    let same = printed.len() == said.len()
        && printed.iter().zip(&said).all(|(printed, said)| is_as_said(printed, said));
    assert!(same, "{name} prints {printed:#?}, but its comment says {said:#?}");
}

macro_rules! examples {
    ($( $name:ident, $promise:ident; )*) => {$(
        #[test]
        fn $promise() {
            prints_what_it_says(stringify!($name));
        }
    )*};
}

examples! {
    first_node, a_first_node_answers;
    typed, typed_messages_are_answered_and_foreign_ones_refused;
    router, a_message_is_routed_around_a_ring;
    stabilizer, a_dead_peer_is_removed;
    shutdown, a_stop_completes_what_it_can_and_reports_what_it_aborted;
    with_actix_web, a_web_application_sends_a_request_to_a_peer;
}

#[cfg(feature = "kademlia")]
mod simulate {
    use super::*;

    fn simulate(options: &[&str]) -> std::process::Output {
        run("simulate", options)
    }

    #[test]
    fn a_simulation_prints_the_same_for_the_same_seed_and_only_json_on_request() {
        let options = ["--nodes", "30,40", "--seed", "3", "--lookups", "20"];
        let (one, two) = (simulate(&options), simulate(&options));
        assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
        assert_eq!(one.stdout, two.stdout);
        let json = simulate(&[&options[..], &["--json", "-"]].concat());
        let data: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(data["sizes"][1]["nodes"], 40);
    }

    #[test]
    fn a_simulation_exits_with_2_on_wrong_options_and_with_1_on_an_unusable_file() {
        for options in [["--nodes", "0"], ["--kill", "1"], ["--kill", "NaN"], ["--lookups", "0"]] {
            assert_eq!(simulate(&options).status.code(), Some(2), "{options:?}");
        }
        assert_eq!(simulate(&["--from", "no/such.json"]).status.code(), Some(1));
        assert_eq!(simulate(&["--nodes", "2", "--plot", "no/such.svg"]).status.code(), Some(1));
    }
}

/// Runs the example `overlay` with these arguments. Returns its exit code and its output.
#[cfg(feature = "kademlia")]
fn overlay(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run("overlay", arguments);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[cfg(feature = "kademlia")]
#[test]
fn the_overlay_example_is_exact_and_heals_when_a_third_of_the_nodes_is_killed() {
    let arguments = ["--nodes", "24", "--lookups", "30", "--seed", "5", "--json"];
    let (code, printed) = overlay(&arguments);
    assert_eq!(code, Some(0), "{printed}");
    let summary: serde_json::Value =
        serde_json::from_str(&printed).expect("the output is JSON only");
    assert_eq!((&summary["kept"], &summary["nodes"]), (&true.into(), &24.into()));
    let promises = summary["promises"].as_array().unwrap();
    assert!(promises.len() == 11 && promises.iter().all(|promise| promise["kept"] == true));
}

#[cfg(feature = "kademlia")]
#[test]
fn the_overlay_example_refuses_wrong_options() {
    for arguments in [["--nodes", "3"], ["--nodes", "257"], ["--lookups", "0"], ["--seed", "x"]] {
        assert_eq!(overlay(&arguments), (Some(2), String::new()), "{arguments:?}");
    }
}

/// Reads this many lines of a program's output, closes the pipe and waits for the end. Returns
/// whether the program succeeded, and its standard error.
fn read_only(lines: usize, program: &mut Command) -> (bool, String) {
    let program = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut program = program.unwrap();
    let printed = BufReader::new(program.stdout.take().unwrap());
    assert_eq!(printed.lines().take(lines).map(Result::unwrap).count(), lines);
    let mut trouble = String::new();
    program.stderr.take().unwrap().read_to_string(&mut trouble).unwrap();
    (program.wait().unwrap().success(), trouble)
}

/// The `println!` of the standard library panics when the output is a closed pipe. The macros of
/// `mod print` do not, but an example uses them only below a `#[macro_use] mod print`.
#[test]
fn every_example_prints_with_macros_that_tolerate_a_closed_output() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let root = if path.is_dir() { path.join("main.rs") } else { path };
        let Ok(source) = std::fs::read_to_string(&root) else { continue };
        let above = source.split("\nmod ").next().unwrap();
        let imports =
            above.contains("#[macro_use]\n#[path = \"") && source.contains("\nmod print;\n");
        let first = source[above.len()..].starts_with("\nmod print;\n");
        assert!(imports && first, "{} has no `#[macro_use] mod print` at its top", root.display());
    }
}

#[test]
fn an_example_exits_quietly_when_its_output_is_closed() {
    for name in ["first_node", "typed", "router", "stabilizer", "shutdown", "with_actix_web"] {
        assert_eq!(read_only(0, &mut example(name)), (true, String::new()), "{name}");
    }
    let mut network = example("network");
    assert_eq!(read_only(1, network.args(["--nodes", "3"])), (true, String::new()));
}

#[test]
fn a_node_says_goodbye_and_exits_quietly_when_its_output_is_closed() {
    let other = example("node").args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn();
    let mut other = Killed(other.unwrap());
    let mut lines = BufReader::new(other.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let address = first.strip_prefix("listening on ").unwrap();
    let mut node = example("node");
    node.args(["--listen", "127.0.0.1:0", "--join", address]);
    let mut node = node.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(node.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = printed.next().unwrap();
    let address = first.strip_prefix("listening on ").unwrap();
    // The other node learns that it leaves only if it has joined.
    assert!(printed.any(|line| line.starts_with("joined by")));
    drop(printed);
    // The node notices the closed output at its next event.
    let mut third = example("node");
    third.args(["--join", address, "--listen", "127.0.0.1:0"]);
    let third = third.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _third = Killed(third.unwrap());
    let mut trouble = String::new();
    node.stderr.take().unwrap().read_to_string(&mut trouble).unwrap();
    assert_eq!((node.wait().unwrap().success(), trouble), (true, String::new()));
    assert!(lines.any(|line| line.starts_with("peer removed") && line.ends_with("(Left)")));
}
