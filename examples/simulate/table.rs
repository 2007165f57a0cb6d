//! The table, as text that is valid Markdown.

use crate::measure::{LookUps, Size};

const HEAD: [&str; 9] = [
    "nodes",
    "found",
    "rounds",
    "questions",
    "per join",
    "sent per hour",
    "known",
    "memory",
    "found after a loss",
];

/// Bytes in a kB.
const KILO: f64 = 1_000.0;

/// A number with its digits in groups of three.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn cells(size: &Size) -> [String; HEAD.len()] {
    let found = |lookups: &LookUps| format!("{} of {}", lookups.found, lookups.made);
    let (join, hour) = (&size.join, &size.hour);
    let sent =
        |messages, bytes: f64| format!("{}; {} kB", grouped(messages), grouped(bytes / KILO));
    [
        grouped(size.nodes as f64),
        found(&size.lookups),
        format!("{:.1}; {}", size.lookups.rounds.mean, size.lookups.rounds.max),
        format!("{:.1}; {}", size.lookups.questions.mean, size.lookups.questions.max),
        sent(join.messages, join.bytes),
        sent(hour.messages, hour.bytes),
        format!("{:.0}; {}", size.known.mean, size.known.max),
        format!("{}; {} kB", grouped(size.memory.mean / KILO), grouped(size.memory.max / KILO)),
        found(&size.lookups_after),
    ]
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The two lines of the head.
pub(crate) fn head() -> String {
    let names = line(HEAD.iter().map(|name| (*name).to_owned()));
    format!("{names}\n|{}", "---|".repeat(HEAD.len()))
}

/// The line of one size.
pub(crate) fn row(size: &Size) -> String {
    line(cells(size).into_iter())
}

/// The meaning of the columns.
pub(crate) const LEGEND: &str = "\
rounds: of 3 questions each, until the exact target has answered (mean; maximum)
questions: until the 20 nearest nodes have answered (mean; maximum)
per join: messages and bytes that all nodes send for one join
sent per hour: messages and bytes of one node, for one refresh of each bucket and a look-up of itself
known, memory: nodes in a table, and its bytes (mean; maximum)
found after a loss: after nodes were killed at once, and one refresh interval";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::{measured, plan};

    #[test]
    fn digits_are_in_groups_of_three() {
        for (value, text) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1e7, "10,000,000")] {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn a_row_has_as_many_cells_as_the_head() {
        let row = row(&measured(20, plan()));
        let bars = |line: &str| line.matches('|').count();
        assert!(head().lines().all(|line| bars(line) == bars(&row)), "{row}");
    }
}
