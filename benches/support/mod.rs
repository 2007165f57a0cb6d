//! Functions that the benchmarks share.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{fmt::Write as _, process::Command, time::Duration};

/// The maximum number of file descriptors of a child process, as a shell expression.
pub(crate) const ALL_DESCRIPTORS: &str = "$(ulimit -H -n)";

/// Runs this program again, with this limit of file descriptors.
pub(crate) fn again(descriptors: &str, arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n \"{descriptors}\" && exec \"$0\" \"$@\"")]);
    command.arg(program).args(arguments);
    command
}

/// Whether an aim was reached, as text.
pub(crate) const fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

/// Resident memory of a process in bytes, on Linux.
pub(crate) fn resident(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints one comparison: two rates per round, measured alternately, and the median of the ratios.
pub(crate) fn compare(what: &str, unit: &str, aim: f64, rounds: &[(f64, f64)]) {
    let ours = median(rounds.iter().map(|round| round.0).collect());
    let bare = median(rounds.iter().map(|round| round.1).collect());
    let ratio = median(rounds.iter().map(|round| round.0 / round.1).collect());
    let (min, max) = rounds
        .iter()
        .map(|round| round.0 / round.1)
        .fold((f64::MAX, f64::MIN), |(min, max), ratio| (min.min(ratio), max.max(ratio)));
    let verdict = verdict(ratio >= aim);
    println!(
        "{what:<28} {ours:>9.0} {unit:<7} bare tokio {bare:>9.0}   ratio {ratio:.2} ({min:.2} to {max:.2}), aim {aim:.2}: {verdict}"
    );
}

pub(crate) fn rate(count: f64, took: Duration) -> f64 {
    count / took.as_secs_f64()
}

/// A number of bytes with its unit.
pub(crate) fn bytes(count: u64) -> String {
    let mut text = String::new();
    let written = match count {
        0..1_024 => write!(text, "{count} B"),
        1_024..1_048_576 => write!(text, "{:.1} KiB", count as f64 / 1_024.0),
        _ => write!(text, "{:.1} MiB", count as f64 / 1_048_576.0),
    };
    written.map_or_else(|_| String::new(), |()| text)
}
