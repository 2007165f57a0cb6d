//! Files for one person: offers, sending and receiving.
//!
//! The receiver fetches what it has accepted. It writes to a temporary file in the folder for
//! downloads, and gives it its name when it is complete. It never replaces a file.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_peer::{
    Incoming, Peer, PeerId, PeerInfo, Reply, RequestError,
    content::FileName,
    frame::{TypeCode, Wire, WireError},
    message::ReadError,
};
use futures::TryStreamExt;
use parking_lot::Mutex;
use tempfile::TempPath;
use tokio::{fs::File, io::AsyncWriteExt, task::spawn_blocking};

use crate::{
    progress::{Counted, Progress},
    text::{MAX_SHOWN, clean},
    view::Show,
    wire::Fetch,
};

/// The maximum number of offers of this node that are kept.
pub(crate) const MAX_OFFERS: usize = 32;

/// The maximum number of names that are tried for one file.
const MAX_NAMES: u32 = 100;

/// The numbers of transfers, for the terminal.
static TRANSFERS: AtomicU64 = AtomicU64::new(1);

/// A file that this node has offered.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) number: u64,
    pub(crate) to: PeerId,
    /// The label of the other person.
    pub(crate) label: String,
    pub(crate) name: FileName,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The files that this node has offered. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers(Arc<Mutex<(u64, VecDeque<Offered>)>>);

impl Offers {
    /// Adds an offer, whose number it sets. The oldest one is dropped if there are too many.
    pub(crate) fn add(&self, mut offered: Offered) -> Offered {
        let (last, all) = &mut *self.0.lock();
        *last += 1;
        offered.number = *last;
        if all.len() >= MAX_OFFERS {
            all.pop_front();
        }
        all.push_back(offered.clone());
        offered
    }

    /// The offer with this number to this person.
    fn get(&self, to: &PeerId, number: u64) -> Option<Offered> {
        let (_, all) = &*self.0.lock();
        all.iter().find(|offered| offered.number == number && offered.to == *to).cloned()
    }

    /// Removes the offer with this number to this person.
    pub(crate) fn remove(&self, to: &PeerId, number: u64) -> Option<Offered> {
        let (_, all) = &mut *self.0.lock();
        let at = all.iter().position(|one| one.number == number && one.to == *to)?;
        all.remove(at)
    }
}

/// Why a file cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotOffer {
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{0} is not a file: put a folder into an archive first")]
    NotAFile(String),
    #[error("the name of {0} cannot be sent: give the file another one")]
    Name(String),
}

/// The name and size of a file.
pub(crate) async fn look_at(path: &Path) -> Result<(FileName, u64), CannotOffer> {
    let shown = clean(&path.display().to_string(), MAX_SHOWN);
    let read = |error| CannotOffer::Read { path: shown.clone(), error };
    // It is opened to learn now whether it can be read, without waiting for a pipe.
    let metadata = tokio::fs::metadata(path).await.map_err(read)?;
    if !metadata.is_file() {
        return Err(CannotOffer::NotAFile(shown));
    }
    File::open(path).await.map_err(read)?;
    let name = path.file_name().and_then(|name| name.to_str()?.parse().ok());
    Ok((name.ok_or(CannotOffer::Name(shown))?, metadata.len()))
}

/// Answers the request for an offered file with its content.
pub(crate) async fn serve(offers: &Offers, show: &Show, incoming: Incoming) -> Reply {
    let Ok(Fetch { number }) = Fetch::from_frame(&incoming.frame) else {
        return Reply::error("this is not a request for a file");
    };
    let offered = incoming.sender().proven().and_then(|id| offers.get(id, number));
    let Some(offered) = offered else {
        return Reply::error("the file is no longer offered: ask for it again");
    };
    let opened = async {
        let file = File::open(&offered.path).await?;
        let bytes = file.metadata().await?.len();
        io::Result::Ok((file, bytes))
    };
    match opened.await {
        Ok((file, bytes)) if bytes == offered.bytes => {
            let title = format!("{} to {}", offered.name, offered.label);
            let progress = Progress::new(next_transfer(), title, bytes, show.clone());
            Reply::body(Fetch::CODE, bytes, Counted::new(file, progress))
        }
        Ok(_) => Reply::error("the file has changed since it was offered"),
        Err(_) => Reply::error("the file cannot be read any more"),
    }
}

fn next_transfer() -> u64 {
    TRANSFERS.fetch_add(1, Ordering::Relaxed)
}

/// A file that another person has offered.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// The number for `/accept`.
    pub(crate) number: u32,
    pub(crate) from: PeerInfo,
    pub(crate) label: String,
    /// The number at the other node.
    pub(crate) theirs: u64,
    pub(crate) name: FileName,
    pub(crate) bytes: u64,
}

/// Why a file was not received. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotFetch {
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("it broke off: {0}")]
    Read(#[from] ReadError),
    #[error("cannot ask for it: {0}")]
    Encode(#[from] WireError),
    #[error("the other node says: {0}")]
    Refused(String),
    #[error("it has {got} bytes instead of {expected}")]
    Length { got: u64, expected: u64 },
    #[error("cannot write to {folder}: {error}")]
    Write { folder: String, error: io::Error },
    #[error("there are {MAX_NAMES} files of this name in {0}")]
    Names(String),
    #[error("the program ends")]
    Ends,
}

/// A name for a copy: `notes (2).txt`.
fn numbered(name: &FileName, number: u32) -> String {
    match name.as_str().rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => format!("{stem} ({number}).{end}"),
        _ => format!("{name} ({number})"),
    }
}

/// Gives the complete file its name, or one with a number if there is such a file.
fn keep(mut temporary: TempPath, folder: &Path, name: &FileName) -> Result<PathBuf, CannotFetch> {
    let shown = || clean(&folder.display().to_string(), MAX_SHOWN);
    for number in 1..=MAX_NAMES {
        let named = if number == 1 { name.to_string() } else { numbered(name, number) };
        let path = folder.join(named);
        match temporary.persist_noclobber(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                temporary = error.path;
            }
            Err(error) => {
                return Err(CannotFetch::Write { folder: shown(), error: error.error });
            }
        }
    }
    Err(CannotFetch::Names(shown()))
}

/// Fetches a file that was offered. Returns its path.
pub(crate) async fn fetch(
    peer: &Peer,
    offer: &Waiting,
    folder: PathBuf,
    show: &Show,
) -> Result<PathBuf, CannotFetch> {
    let title = format!("{} from {}", offer.name, offer.label);
    let mut progress = Progress::new(next_transfer(), title, offer.bytes, show.clone());
    match fetch_to(peer, offer, folder, &mut progress).await {
        Ok(path) => {
            progress.end(Ok(clean(&path.display().to_string(), MAX_SHOWN)));
            Ok(path)
        }
        Err(error) => {
            progress.end(Err(clean(&error.to_string(), MAX_SHOWN)));
            Err(error)
        }
    }
}

async fn fetch_to(
    peer: &Peer,
    offer: &Waiting,
    folder: PathBuf,
    progress: &mut Progress,
) -> Result<PathBuf, CannotFetch> {
    let mut replies = peer.request(&offer.from, Fetch { number: offer.theirs }.to_frame()?).await?;
    let expected = offer.bytes;
    let Some(mut body) = replies.next_body().await? else {
        return Err(CannotFetch::Length { got: 0, expected });
    };
    if body.code() == TypeCode::ERRO {
        return Err(CannotFetch::Refused(refusal(&mut body).await));
    }
    let shown = clean(&folder.display().to_string(), MAX_SHOWN);
    let write = |error| CannotFetch::Write { folder: shown.clone(), error };
    let at = folder.clone();
    let temporary = spawn_blocking(move || {
        std::fs::create_dir_all(&at)?;
        tempfile::Builder::new().prefix(".chat-").suffix(".part").tempfile_in(at)
    });
    let temporary = temporary.await.map_err(|_| CannotFetch::Ends)?.map_err(write)?;
    let (file, temporary) = temporary.into_parts();
    let mut file = File::from_std(file);
    let mut got = 0_u64;
    while let Some(piece) = body.try_next().await? {
        got = got.saturating_add(piece.len() as u64);
        if got > expected {
            return Err(CannotFetch::Length { got, expected });
        }
        file.write_all(&piece).await.map_err(write)?;
        progress.add(piece.len() as u64);
    }
    if got != expected {
        return Err(CannotFetch::Length { got, expected });
    }
    file.sync_all().await.map_err(write)?;
    let name = offer.name.clone();
    let kept = spawn_blocking(move || keep(temporary, &folder, &name));
    kept.await.map_err(|_| CannotFetch::Ends)?
}

/// The text of a refusal.
async fn refusal(body: &mut actix_peer::Body) -> String {
    let mut text = Vec::new();
    while let Ok(Some(piece)) = body.try_next().await
        && text.len() < MAX_SHOWN
    {
        text.extend_from_slice(&piece);
    }
    clean(&String::from_utf8_lossy(&text), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let new = |text: &str| {
            let file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
            std::fs::write(file.path(), text).unwrap();
            file.into_temp_path()
        };
        for (text, expected) in [("1", "a.tar.gz"), ("2", "a.tar (2).gz"), ("3", "a.tar (3).gz")] {
            let path = keep(new(text), folder.path(), &name("a.tar.gz")).unwrap();
            assert_eq!(path, folder.path().join(expected));
            assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        }
        assert_eq!(keep(new("4"), folder.path(), &name("b")).unwrap(), folder.path().join("b"));
        assert_eq!(numbered(&name("b"), 2), "b (2)");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn only_the_person_to_whom_a_file_was_offered_gets_it() {
        let offers = Offers::default();
        let (ada, eve): (PeerId, PeerId) = ("ada".parse().unwrap(), "eve".parse().unwrap());
        let offer = Offered {
            number: 0,
            to: ada.clone(),
            label: "ada".into(),
            name: name("a"),
            path: "a".into(),
            bytes: 1,
        };
        let first = offers.add(offer.clone()).number;
        assert!(offers.get(&ada, first).is_some());
        assert!(offers.get(&eve, first).is_none() && offers.remove(&eve, first).is_none());
        for _ in 0..MAX_OFFERS {
            offers.add(offer.clone());
        }
        assert!(offers.get(&ada, first).is_none(), "the oldest offer is dropped");
        assert!(offers.remove(&ada, first + 1).is_some());
        assert!(offers.get(&ada, first + 1).is_none());
    }

    #[actix::test]
    async fn a_file_that_cannot_be_sent_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = look_at(&folder.path().join("missing")).await.unwrap_err();
        assert!(missing.to_string().contains("missing"), "{missing}");
        let not = look_at(folder.path()).await.unwrap_err();
        assert!(matches!(not, CannotOffer::NotAFile(_)), "{not}");
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(look_at(&path).await.unwrap(), (name("a.txt"), 5));
    }
}
