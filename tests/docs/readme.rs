//! The statements of the README are true.

use std::path::Path;

use actix_peer::{Config, node::ConfigEntry};

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
fn the_first_node_in_the_readme_is_the_example_first_node() {
    let example = read("examples/first_node.rs");
    let program = example.split_once("\n\n").expect("the example begins with a comment").1;
    // The README leaves out the macros that end the program quietly behind `| head`.
    let program = program.split_once("mod print;\n\n").expect("the example has `mod print`").1;
    assert_eq!(blocks(&read("README.md"), "rust").first(), Some(&program));
}

/// The row of an option in a table.
fn row(entry: &ConfigEntry) -> String {
    format!("| `{}` | {} | {} |", entry.option, entry.value, entry.about)
}

#[test]
fn the_tables_of_limits_list_every_option_with_its_default_under_its_group() {
    let limits = read("src/reference/limits.md");
    let is_told = |line: &&str| line.starts_with("| `") || line.starts_with("## ");
    let told: Vec<_> = limits.lines().filter(is_told).collect();
    let mut expected = Vec::new();
    let mut group = "";
    for entry in Config::default().entries() {
        if entry.group != group {
            group = entry.group;
            let (first, rest) = group.split_at(1);
            expected.push(format!("## {}{rest}", first.to_uppercase()));
        }
        expected.push(row(&entry));
    }
    expected.push("## Limits that are not options".to_owned());
    assert_eq!(told, expected);
}

#[test]
fn the_readme_lists_the_options_that_most_applications_set_with_their_defaults() {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## Options\n").expect("the options");
    let section = section.split("\n## ").next().unwrap();
    let table: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert!((12..=15).contains(&table.len()), "{} options", table.len());
    let rows: Vec<_> = Config::default().entries().iter().map(row).collect();
    let listed: Vec<_> = rows.iter().filter(|row| table.contains(&row.as_str())).collect();
    assert_eq!(table, listed);
}

#[test]
fn the_sentence_above_the_table_states_the_bounds_of_the_options() {
    let page = read("src/reference/limits.md");
    let limits = page.split("\n## ").next().unwrap();
    let said = limits.split_whitespace().collect::<Vec<_>>().join(" ");
    for entry in Config::default().entries() {
        let (option, greatest) = (entry.option, entry.greatest.as_str());
        let (number, unit) = greatest.split_once(' ').unwrap();
        let words = match (option, unit) {
            ("max_hops" | "reliable_timeout", _) => format!("`{option}`"),
            (_, "s") => "a time is 1 ms to 365 days".to_owned(),
            // Bounded only by the type.
            ("ban_at" | "max_bytes_per_source", _) => continue,
            (_, "MiB") if number == "1024" => "a length of messages at most 1 GiB".to_owned(),
            (_, "MiB") => "a sum of bytes 1 TiB".to_owned(),
            (_, unit) if unit.ends_with("/s") => "a rate 1,000,000,000 per second".to_owned(),
            _ => "a number of things 1 to 1,048,576".to_owned(),
        };
        assert!(said.contains(&words), "{option}, {greatest}: {words}");
        let number: u64 = number.parse().unwrap();
        let expected = match (option, unit) {
            ("max_hops", _) => 255,
            ("reliable_timeout", _) => 540,
            (_, "s") => 365 * 86_400,
            (_, "MiB") if number == 1_024 => 1_024,
            (_, "MiB") => 1 << 20,
            (_, unit) if unit.ends_with("/s") => 1_000_000_000,
            _ => 1_048_576,
        };
        assert_eq!(number, expected, "{option}");
    }
}

/// The setters of options in the sources, `fn name(mut self, value: number)`, with their type.
fn setters() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut of = String::new();
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("impl ") {
                    of = rest.trim_end_matches(" {").to_owned();
                }
                let Some((_, rest)) =
                    line.split_once("pub ").filter(|(indent, _)| indent.trim().is_empty())
                else {
                    continue;
                };
                let rest = rest.strip_prefix("const ").unwrap_or(rest);
                let Some((name, arguments)) =
                    rest.strip_prefix("fn ").and_then(|rest| rest.split_once("(mut self, "))
                else {
                    continue;
                };
                let is_number =
                    ["Duration)", "usize)", "u32)"].iter().any(|kind| arguments.contains(kind));
                if is_number && !name.starts_with('$') {
                    found.push((of.clone(), name.to_owned()));
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

#[test]
fn every_option_that_is_a_number_or_a_time_has_bounds() {
    // No options of a node: the codec of a connection, walks and look-ups that a program makes
    // itself, and the faults of the network for tests.
    const OTHERS: [&str; 4] = ["Chaos", "FrameCodec", "JoinWalk", "LookupConfig"];
    let text = |path: &str| read(path);
    let listed: String = [
        "src/overlay/join/config.rs",
        "src/overlay/peer_exchange.rs",
        "src/overlay/ping_sweep.rs",
        "src/overlay/swim/config.rs",
        "src/peer/discovery/address_book.rs",
        "src/peer/builder.rs",
        "src/peer/gossip/config.rs",
        "src/peer/gossip/topic.rs",
        "src/transport/tls.rs",
        "src/transport/tls/handshake.rs",
    ]
    .map(text)
    .concat();
    let setters = setters();
    assert!(setters.len() > 20, "{setters:?}");
    for (of, name) in setters.into_iter().filter(|(of, _)| !OTHERS.contains(&of.as_str())) {
        let known =
            if of == "Config" { format!("\"{name}\", ") } else { format!("\"{of}::{name}\", ") };
        let is_short = of == "Builder" && name == "max_peers";
        assert!(listed.contains(&known) || is_short, "{of}::{name} has no bounds");
    }
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
fn the_readme_has_at_most_two_hundred_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

#[test]
fn every_file_that_the_readme_links_to_exists() {
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
fn the_default_dependency_tree_is_as_small_as_the_readme_says() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "-e", "normal", "--prefix", "none"]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    // A star marks a crate whose dependencies were printed before.
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    let crates: std::collections::BTreeSet<_> = lines.collect();
    assert!(read("README.md").contains(&format!("; {} crates in the whole tree", crates.len())));
    assert!(crates.len() <= 60, "{} crates", crates.len());
}
