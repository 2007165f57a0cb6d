//! What the benchmarks that compare with bare tokio share.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{fmt::Write as _, process::Command, time::Duration};

/// As many file descriptors as this process may give another one, for the shell.
pub(crate) const ALL_DESCRIPTORS: &str = "$(ulimit -H -n)";

/// This program again, with so many file descriptors.
pub(crate) fn again(descriptors: &str, arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n \"{descriptors}\" && exec \"$0\" \"$@\"")]);
    command.arg(program).args(arguments);
    command
}

/// Whether an aim was reached, as the benchmarks print it.
pub(crate) const fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// Resident memory of a process in bytes, as Linux tells it.
pub(crate) fn resident(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One line of a comparison: two rates per round, measured alternately, and the ratio's median.
pub(crate) fn compare(what: &str, unit: &str, aim: f64, rounds: &[(f64, f64)]) {
    let ours = median(rounds.iter().map(|round| round.0).collect());
    let bare = median(rounds.iter().map(|round| round.1).collect());
    let ratio = median(rounds.iter().map(|round| round.0 / round.1).collect());
    let (least, most) = rounds
        .iter()
        .map(|round| round.0 / round.1)
        .fold((f64::MAX, f64::MIN), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
    let verdict = verdict(ratio >= aim);
    println!(
        "{what:<28} {ours:>9.0} {unit:<7} bare tokio {bare:>9.0}   ratio {ratio:.2} ({least:.2} to {most:.2}), aim {aim:.2}: {verdict}"
    );
}

pub(crate) fn rate(count: f64, took: Duration) -> f64 {
    count / took.as_secs_f64()
}

/// Bytes for a person.
pub(crate) fn bytes(count: u64) -> String {
    let mut text = String::new();
    let written = match count {
        0..1_024 => write!(text, "{count} B"),
        1_024..1_048_576 => write!(text, "{:.1} KiB", count as f64 / 1_024.0),
        _ => write!(text, "{:.1} MiB", count as f64 / 1_048_576.0),
    };
    written.map_or_else(|_| String::new(), |()| text)
}
