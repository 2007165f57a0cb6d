//! The data that the page, the command line and the API show.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `GET /api/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    /// Its address for other peers, `host:port`.
    pub(crate) address: String,
    /// The address of its page.
    pub(crate) web: String,
    pub(crate) share: PathBuf,
    pub(crate) downloads: PathBuf,
    pub(crate) max_peers: usize,
    pub(crate) peers: usize,
    pub(crate) files: usize,
    /// Files in the shared folders that are not offered, and answers beyond the limit of a search.
    #[serde(default)]
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) uptime_seconds: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Files that are not offered, or answers that were not accepted, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// The reason, as text.
    pub(crate) why: String,
    pub(crate) count: usize,
    /// The name of the first of them, with unsafe characters replaced.
    pub(crate) example: String,
}

/// One known peer: `GET /api/peers` is a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRow {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) speaks: Speaks,
    /// The smoothed round trip in microseconds: of its link, or of a whole exchange with a classic
    /// peer, connecting included. `None` until it is measured.
    pub(crate) round_trip_us: Option<u64>,
}

/// The kind of a peer.
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

/// `GET /api/peers`: the known peers, and the graph of which node knows which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) peers: Vec<PeerRow>,
    /// Every node that this one has heard of, itself first.
    pub(crate) nodes: Vec<String>,
    /// `(a, b)`: a knows b, from the last `LIST` of each peer.
    pub(crate) knows: Vec<(String, String)>,
}

/// One file: `GET /api/files` is a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    /// The ids of its owners; this node's own id for a local file.
    pub(crate) owners: Vec<String>,
    /// Whether this node has it.
    pub(crate) local: bool,
    /// In bytes. Unknown if only an original program has the file, until it is fetched.
    pub(crate) size: Option<u64>,
    /// BLAKE3, 64 hexadecimal digits. Unknown while it is computed, and for files of original
    /// programs.
    pub(crate) digest: Option<String>,
    /// Why it cannot be fetched under this name; absent if it can.
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
    /// What a running transfer waits for: an owner that does not answer, or room on the disk.
    #[serde(default)]
    pub(crate) waits: Option<String>,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// The path of the complete file.
    pub(crate) path: Option<PathBuf>,
}

/// The state of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransferState {
    #[default]
    Running,
    Done,
    Failed,
    /// Cancelled by the user; the received data is removed.
    Cancelled,
}

/// `POST /api/search`. Answered at once with a [`SearchRow`]; matches arrive as `Files` events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Search {
    pub(crate) key: String,
    /// The hops of the query [default: that of the program].
    pub(crate) ttl: Option<u32>,
}

/// One search of this node: `GET /api/searches` is a list of them, the newest first. A search is
/// removed a minute after its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SearchRow {
    pub(crate) number: u64,
    pub(crate) key: String,
    /// Peers that it was sent to.
    pub(crate) asked: usize,
    /// Peers that did not accept it.
    pub(crate) unreached: usize,
    /// The number of different names that were found.
    pub(crate) files: usize,
    /// The owners of these files.
    pub(crate) from: Vec<String>,
    /// Whether no more answers are expected. A late answer still counts.
    pub(crate) over: bool,
}

/// `POST /api/fetch`. Answered with the [`Transfer`], or an [`ApiError`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fetch {
    pub(crate) name: String,
    /// One owner [default: all known owners].
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

/// The result of a join, or of `POST /api/rebuild`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) added: usize,
    pub(crate) peers: usize,
}

/// An error of the API, with an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiError {
    /// For programs: `not_found`, `exists`, `here`, `bad_request`, `unreachable`, `refused`,
    /// `busy`, `stopped`, `internal`.
    pub(crate) kind: String,
    /// The error as text.
    pub(crate) error: String,
}

/// Server-sent events at `/api/events`: the name of the event is the tag, its data the content.
/// After connecting, a client first receives one of each kind but `Notice`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub(crate) enum Event {
    Status(Status),
    Peers(Network),
    /// All files; at most a few times per second.
    Files(Vec<FileRow>),
    /// One search, after a change.
    Search(SearchRow),
    /// The numbers of the remaining transfers, after some were cleared.
    Transfers(Vec<u64>),
    /// One transfer, after a change; at most ten per second for each.
    Transfer(Transfer),
    /// A message for the user: a peer was added or removed, a query was answered, an error.
    Notice {
        level: Level,
        text: String,
    },
}

/// The JSON before the name of an event and before its content.
const EVENT: &str = r#"{"event":""#;
const DATA: &str = r#"","data":"#;

impl Event {
    /// The text of a server-sent event: its name on one line, its content on the next. JSON escapes
    /// line ends.
    pub(crate) fn to_lines(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        let fields = json.strip_prefix(EVENT).and_then(|json| json.strip_suffix('}'));
        let (name, data) = fields.and_then(|fields| fields.split_once(DATA)).unwrap_or_default();
        Ok(format!("event: {name}\ndata: {data}\n\n"))
    }

    /// Parses an event from its name and content.
    pub(crate) fn from_lines(name: &str, data: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&format!("{EVENT}{name}{DATA}{data}}}"))
    }
}

/// The level of a notice.
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
