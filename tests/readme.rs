//! What the README says is so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use actix_peer::{Config, connection::ConfigEntry};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks that begin with ```` ```language ````.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("\n```{language}\n");
    text.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_first_node_is_the_example_of_that_name() {
    let example = read("examples/first_node.rs");
    let program = example.split_once("\n\n").expect("the end of the comment").1;
    // Printing that ends quietly behind `| head` is left out there.
    let program = program.split_once("mod print;\n\n").expect("how it prints").1;
    assert_eq!(blocks(&read("README.md"), "rust").first(), Some(&program));
}

#[test]
fn the_table_of_limits_lists_every_option_with_its_default() {
    let readme = read("README.md");
    let limits = readme.split_once("## Limits and times").unwrap().1.split("\n## ").next().unwrap();
    let table: Vec<_> = limits.lines().filter(|line| line.starts_with("| `")).collect();
    let row =
        |entry: &ConfigEntry| format!("| `{}` | {} | {} |", entry.option, entry.value, entry.about);
    assert_eq!(table, Config::default().entries().iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_full_check_runs_the_command_for_the_tests() {
    let (readme, check) = (read("README.md"), read(".ci/run"));
    let commands = blocks(&readme, "sh").first().unwrap().lines().collect::<Vec<_>>();
    assert_eq!(commands.len(), 2);
    for command in commands {
        assert!(check.contains(command), ".ci/run does not run `{command}`");
    }
}

#[test]
fn every_file_that_the_readme_links_to_is_there() {
    let readme = read("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "{link} is missing");
    }
}

#[test]
fn every_example_is_in_the_readme() {
    let readme = read("README.md");
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap()
    {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("(examples/{name}")), "{name} is not in the README");
    }
}

#[test]
fn the_default_tree_is_as_small_as_the_readme_says() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "-e", "normal", "--prefix", "none"]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    // The star says that what is below a crate was printed before.
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    let crates: std::collections::BTreeSet<_> = lines.collect();
    assert!(read("README.md").contains(&format!("; {} crates in the whole tree", crates.len())));
    assert!(crates.len() <= 60, "{} crates", crates.len());
}
