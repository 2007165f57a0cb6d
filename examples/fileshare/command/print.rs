//! Answers as plain tables for a terminal.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write as _},
};

use indicatif::{DecimalBytes, HumanDuration};
use serde::Serialize;

use super::client::CommandError;
use crate::{
    model::{ApiError, FileRow, Joined, LeftOut, PeerRow, Speaks, Status},
    talk::count,
};

/// The number of digits of a digest that are printed; `--json` has all of them.
const SHORT_DIGEST: usize = 12;

/// The number of owners that are named; more are counted.
const SHOWN_OWNERS: usize = 3;

/// The form of the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// Prints one answer.
    pub(super) fn show<T: Serialize>(
        self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CommandError> {
        if self.json {
            let mut json = serde_json::to_string_pretty(answer)
                .map_err(|error| CommandError::Printing(error.into()))?;
            json.push('\n');
            return write(&json);
        }
        write(&harmless(&text(answer)))
    }

    /// Prints a line of an answer, but not as JSON.
    pub(super) fn line(self, line: &str) -> Result<(), CommandError> {
        if self.json { Ok(()) } else { write(&format!("{}\n", harmless(line))) }
    }

    /// Prints a line to standard error while the command waits.
    pub(super) fn aside(self, line: &str) {
        eprintln!("{}", harmless(line));
    }

    /// Prints an error to standard error.
    pub(super) fn error(self, error: &CommandError) {
        if !self.json {
            eprintln!("{}", harmless(&error.to_string()));
            return;
        }
        let error = match error {
            CommandError::Refused(error) => error.clone(),
            other => ApiError { kind: kind(other).to_owned(), error: other.to_string() },
        };
        match serde_json::to_string_pretty(&error) {
            Ok(json) => eprintln!("{json}"),
            Err(error) => eprintln!("{error}"),
        }
    }
}

fn kind(error: &CommandError) -> &'static str {
    match error {
        CommandError::Refused(_) => "refused",
        CommandError::Unreachable { .. }
        | CommandError::NotFileshare { .. }
        | CommandError::NoPage { .. } => "unreachable",
        CommandError::NoInstance => "not_found",
        CommandError::Several(_) => "bad_request",
        CommandError::Listing(_) | CommandError::Failed(_) | CommandError::Printing(_) => {
            "internal"
        }
    }
}

/// Writes to standard output. If that is closed, as in `| head`, it is no error.
fn write(text: &str) -> Result<(), CommandError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::Printing(error))
        }
        _ => Ok(()),
    }
}

/// Replaces control characters, with which a name from the network could control the terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(steers, "\u{fffd}"))
}

pub(super) fn status(status: &Status) -> String {
    let uptime = HumanDuration(std::time::Duration::from_secs(status.uptime_seconds));
    let (received, sent) = (DecimalBytes(status.bytes_in), DecimalBytes(status.bytes_out));
    let limit = match status.max_peers {
        0 => String::new(),
        limit => format!(" of at most {limit}"),
    };
    table(&[
        ["id", &status.id],
        ["address", &status.address],
        ["page", &status.web],
        ["share", &format!("{} ({})", status.share.display(), count(status.files, "file"))],
        ["downloads", &status.downloads.display().to_string()],
        ["peers", &format!("{}{limit}", status.peers)],
        ["traffic", &format!("{received} received, {sent} sent")],
        ["running", &format!("for {uptime}")],
    ])
}

pub(super) fn peers(peers: &[PeerRow]) -> String {
    if peers.is_empty() {
        return "no peers yet; join some with: fileshare join HOST:PORT\n".into();
    }
    let mut rows = vec![["ID", "ADDRESS", "PROGRAM", "ROUND TRIP"].map(str::to_owned)];
    rows.extend(peers.iter().map(|peer| {
        let round_trip = peer.round_trip_us.map_or("-".into(), milliseconds);
        [peer.id.clone(), peer.address.clone(), program(peer.speaks).into(), round_trip]
    }));
    let mut text = table(&rows);
    for (speaks, meaning) in [
        (Speaks::Classic, "one of the original Python and Java programs"),
        (Speaks::Unknown, "it has not answered yet"),
    ] {
        if peers.iter().any(|peer| peer.speaks == speaks) {
            // Writing to a string does not fail.
            writeln!(text, "({}: {meaning})", program(speaks)).ok();
        }
    }
    text
}

/// The kind of program of a peer.
const fn program(speaks: Speaks) -> &'static str {
    match speaks {
        Speaks::Unknown => "unknown",
        Speaks::Links => "fileshare",
        Speaks::Classic => "original",
    }
}

/// Microseconds as whole milliseconds, as on the page.
fn milliseconds(us: u64) -> String {
    if us < 1_000 { "< 1 ms".into() } else { format!("{} ms", us.saturating_add(500) / 1_000) }
}

pub(super) fn files(files: &[FileRow]) -> String {
    if files.is_empty() {
        return "no files yet: put some into the shared folder, or search for some with: fileshare search KEY\n"
            .into();
    }
    let mut rows = vec![["NAME", "SIZE", "DIGEST", "OWNERS"].map(str::to_owned)];
    rows.extend(files.iter().map(|file| {
        let digest = file
            .digest
            .as_deref()
            .map_or("-", |digest| digest.get(..SHORT_DIGEST).unwrap_or(digest));
        [file.name.clone(), size(file), digest.into(), owners(file)]
    }));
    let mut text = table(&rows);
    if files.iter().any(|file| file.size.is_none()) {
        text.push_str("(unknown: the owner has not sent it; original programs never do)\n");
    }
    for (file, why) in files.iter().filter_map(|file| Some((file, file.why_not.as_ref()?))) {
        // Writing to a string does not fail.
        writeln!(text, "{} cannot be fetched: {why}", file.name).ok();
    }
    text
}

fn size(file: &FileRow) -> String {
    file.size.map_or("unknown".into(), |size| DecimalBytes(size).to_string())
}

/// Files that are not offered, as a line below the list.
pub(super) fn left_out(LeftOut { why, count, example }: &LeftOut) -> String {
    format!("not in the list: {count}, such as \"{example}\": {why}")
}

/// A file as a line of a running search.
pub(super) fn file(file: &FileRow) -> String {
    let size = file.size.map_or("size unknown".into(), |size| DecimalBytes(size).to_string());
    format!("{}  {size}  {}", file.name, owners(file))
}

fn owners(file: &FileRow) -> String {
    // The first owner of a local file is this node.
    let others = file.owners.get(usize::from(file.local)..).unwrap_or_default();
    let here = file.local.then_some("here");
    let shown = here.into_iter().chain(others.iter().take(SHOWN_OWNERS).map(String::as_str));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = others.len().saturating_sub(SHOWN_OWNERS) {
        // Writing to a string does not fail.
        write!(text, " and {more} more").ok();
    }
    text
}

pub(super) fn joined(joined: &Joined) -> String {
    format!("{}, {} known\n", count(joined.added, "new peer"), count(joined.peers, "peer"))
}

/// Columns as wide as their widest cell, with two spaces between.
fn table<const N: usize>(rows: &[[impl AsRef<str>; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.as_ref().chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{:<width$}  ", cell.as_ref()).ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, owners: &[&str], local: bool) -> FileRow {
        let owners = owners.iter().map(|&owner| owner.to_owned()).collect();
        let (size, digest) = (local.then_some(1_500), local.then(|| "ab".repeat(32)));
        FileRow { name: name.into(), owners, local, size, digest, why_not: None }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row("a", &["me", "bob"], true), row("longer", &["b", "c", "d", "e"], false)];
        let expected = "\
NAME    SIZE     DIGEST        OWNERS
a       1.50 kB  abababababab  here, bob
longer  unknown  -             b, c, d and 1 more
(unknown: the owner has not sent it; original programs never do)
";
        assert_eq!(files(&rows), expected);
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let title = "\u{1b}]0;owned\u{7}.txt\r";
        assert_eq!(harmless(title), "\u{fffd}]0;owned\u{fffd}.txt\u{fffd}");
        assert_eq!(harmless("plain\nlines"), "plain\nlines");
    }

    #[test]
    fn round_trips_are_whole_milliseconds() {
        let shown = [(0, "< 1 ms"), (999, "< 1 ms"), (1_000, "1 ms"), (12_500, "13 ms")];
        for (us, text) in shown {
            assert_eq!(milliseconds(us), text);
        }
    }

    #[test]
    fn an_empty_answer_suggests_a_command() {
        assert!(peers(&[]).contains("fileshare join HOST:PORT"));
        assert!(files(&[]).contains("fileshare search KEY"));
    }

    #[test]
    fn a_word_that_needs_an_explanation_has_one_where_it_is_used() {
        let peer = |speaks, round_trip_us| PeerRow {
            id: "ada".into(),
            address: "127.0.0.1:9".into(),
            speaks,
            round_trip_us,
        };
        let known = peers(&[peer(Speaks::Links, Some(300))]);
        assert_eq!(
            known,
            "ID   ADDRESS      PROGRAM    ROUND TRIP\nada  127.0.0.1:9  fileshare  < 1 ms\n"
        );
        let others = peers(&[peer(Speaks::Classic, None), peer(Speaks::Unknown, None)]);
        assert!(others.ends_with(
            "(original: one of the original Python and Java programs)\n(unknown: it has not answered yet)\n"
        ));
    }

    #[test]
    fn one_file_and_one_peer_are_said_in_the_singular() {
        assert!(status(&Status { files: 1, ..Status::default() }).contains("(1 file)"));
        assert!(status(&Status::default()).contains("(0 files)"));
        assert_eq!(joined(&Joined { added: 1, peers: 2 }), "1 new peer, 2 peers known\n");
    }
}
