//! What the program knows, as people see it: the same for the page, the command line and the API.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `GET /api/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    /// Where other peers reach this one, `host:port`.
    pub(crate) address: String,
    /// The address of its page.
    pub(crate) web: String,
    pub(crate) share: PathBuf,
    pub(crate) downloads: PathBuf,
    pub(crate) max_peers: usize,
    pub(crate) peers: usize,
    pub(crate) files: usize,
    /// What is in the shared folders and not offered, and answers beyond the limit of a search.
    #[serde(default)]
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) uptime_seconds: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Files that are not offered, or answers that were not taken, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// For people.
    pub(crate) why: String,
    pub(crate) count: usize,
    /// The name of the first of them, safe to show.
    pub(crate) example: String,
}

/// One known peer: `GET /api/peers` is a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRow {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) speaks: Speaks,
    /// Smoothed time to an answer, in microseconds: the round trip of its link, or, of a classic
    /// peer, a whole exchange with its connection. `None` until it was measured.
    pub(crate) round_trip_us: Option<u64>,
}

/// How a peer is talked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speaks {
    /// Not known yet.
    #[default]
    Unknown,
    /// A node of this crate.
    Links,
    /// One of the original programs.
    Classic,
}

/// `GET /api/peers`: the known peers, and who knows whom, for the picture of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) peers: Vec<PeerRow>,
    /// Every node that this one has heard of, itself first.
    pub(crate) nodes: Vec<String>,
    /// `(a, b)`: a knows b. As the peers' own lists said when they were last asked.
    pub(crate) knows: Vec<(String, String)>,
}

/// One file: `GET /api/files` is a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    /// Who has it; this node's own id for a local file.
    pub(crate) owners: Vec<String>,
    /// Whether this node has it.
    pub(crate) local: bool,
    /// Bytes; not known of a file that only an original program has, until it is fetched.
    pub(crate) size: Option<u64>,
    /// BLAKE3, 64 hexadecimal digits; not known as long as it is computed, or of an original's.
    pub(crate) digest: Option<String>,
    /// Why it cannot be fetched under this name, for people; left out of what can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why_not: Option<String>,
}

/// One fetch: `GET /api/transfers` is a list of them, the newest first, bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) sources: Vec<String>,
    pub(crate) done: u64,
    pub(crate) size: Option<u64>,
    pub(crate) bytes_per_second: u64,
    pub(crate) seconds_left: Option<u64>,
    pub(crate) state: TransferState,
    /// What a running one waits for, for people: an owner that does not answer, room on the disk.
    #[serde(default)]
    pub(crate) waits: Option<String>,
    /// Why it failed, for a person.
    pub(crate) error: Option<String>,
    /// Where the file is, once it is complete.
    pub(crate) path: Option<PathBuf>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransferState {
    #[default]
    Running,
    Done,
    Failed,
    /// Somebody said so; what had come of it is gone.
    Cancelled,
}

/// `POST /api/search`. Answered at once with a [`SearchRow`]; what is found arrives as `Files` events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Search {
    pub(crate) key: String,
    /// Hops that the query may go on; the default of the program when it is not given.
    pub(crate) ttl: Option<u32>,
}

/// One search of this node: `GET /api/searches` is a list of them, the newest first. A search is
/// forgotten a minute after it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SearchRow {
    pub(crate) number: u64,
    pub(crate) key: String,
    /// Peers that it was sent to.
    pub(crate) asked: usize,
    /// Those of them that did not take it.
    pub(crate) unreached: usize,
    /// Files that were found, each name once.
    pub(crate) files: usize,
    /// The owners of these files.
    pub(crate) from: Vec<String>,
    /// Whether nothing more is expected. A late answer still counts.
    pub(crate) over: bool,
}

/// `POST /api/fetch`. Answered with the [`Transfer`], or an [`ApiError`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fetch {
    pub(crate) name: String,
    /// One owner; all that are known when it is not given.
    pub(crate) from: Option<String>,
    /// Whether a file of that name in the downloads may be replaced.
    #[serde(default)]
    pub(crate) replace: bool,
}

/// `POST /api/join`: the address of a first contact. Answered with [`Joined`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) address: String,
}

/// What came of joining, or of `POST /api/rebuild`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) added: usize,
    pub(crate) peers: usize,
}

/// Every refusal of the API, with a fitting HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiError {
    /// For programs: `not_found`, `exists`, `here`, `bad_request`, `unreachable`, `refused`, `busy`,
    /// `stopped`, `internal`.
    pub(crate) kind: String,
    /// For people.
    pub(crate) error: String,
}

/// Server-sent events at `/api/events`: the event's name is the tag, its data the content. The first
/// ones after connecting are one of each kind but `Notice`, so that a page needs nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub(crate) enum Event {
    Status(Status),
    Peers(Network),
    /// All files: sent at most a few times a second.
    Files(Vec<FileRow>),
    /// One search began, found something, or is over.
    Search(SearchRow),
    /// The numbers of all transfers, when some of them were cleared.
    Transfers(Vec<u64>),
    /// One transfer began, moved or ended; at most ten a second for each.
    Transfer(Transfer),
    /// Something worth telling: a peer came or went, a query was answered, an error.
    Notice {
        level: Level,
        text: String,
    },
}

/// Before the name of an event and before its content, as it is serialised.
const EVENT: &str = r#"{"event":""#;
const DATA: &str = r#"","data":"#;

impl Event {
    /// As a server-sent event: its name on one line, its content on the next. JSON escapes the line
    /// ends in it.
    pub(crate) fn to_lines(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        let fields = json.strip_prefix(EVENT).and_then(|json| json.strip_suffix('}'));
        let (name, data) = fields.and_then(|fields| fields.split_once(DATA)).unwrap_or_default();
        Ok(format!("event: {name}\ndata: {data}\n\n"))
    }

    /// From the name and the content.
    pub(crate) fn from_lines(name: &str, data: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&format!("{EVENT}{name}{DATA}{data}}}"))
    }
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Info,
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_name_on_one_line_and_its_content_on_the_next() {
        let (level, text) = (Level::Error, "two\nlines \"}".to_owned());
        for (event, name) in [
            (Event::Status(Status::default()), "status"),
            (Event::Peers(Network::default()), "peers"),
            (Event::Files(vec![FileRow::default()]), "files"),
            (Event::Search(SearchRow::default()), "search"),
            (Event::Transfers(vec![2, 1]), "transfers"),
            (Event::Transfer(Transfer::default()), "transfer"),
            (Event::Notice { level, text }, "notice"),
        ] {
            let lines = event.to_lines().unwrap();
            let lines: Vec<_> = lines.split('\n').collect();
            assert_eq!((lines.len(), lines[0]), (4, format!("event: {name}").as_str()));
            let data = lines[1].strip_prefix("data: ").unwrap();
            assert_eq!(Event::from_lines(name, data).unwrap(), event);
        }
    }
}
