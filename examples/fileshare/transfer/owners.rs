//! Who has a file, and which of them have the very same.

use std::time::Duration;

use actix_peer::{Over, frame::Frame, overlay::Address};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    model::Speaks,
    name::FileName,
    protocol::{FILE_NOT_READY, FINF, FileInfo},
    state::{State, now},
    talk::{NoAnswer, shown, single},
    transfer::{Job, silence},
};

/// Owners that are asked for one file.
const MAX_ASKED: usize = 32;

/// How long an owner is waited for that is still computing its digest: the longest file takes about
/// so long.
const DIGEST_WITHIN: Duration = Duration::from_secs(3_600);

/// How often it is asked at first, and at last.
const DIGEST_EVERY: Duration = Duration::from_millis(250);
const MAX_DIGEST_EVERY: Duration = Duration::from_secs(4);

/// How long the others have once one has answered.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);

/// What an owner said.
pub(super) enum Told {
    Has(FileInfo),
    NotYet,
    /// It is one of the originals, or as little able to tell.
    Classic,
    /// It does not have the file, or not in this protocol.
    Not(String),
    /// It could not be asked.
    Failed(String),
    /// It did not answer, but may do so later.
    Silent,
}

/// Who can be asked for the file.
#[derive(Default)]
pub(super) struct Found {
    /// The digest that most of them have, and who has it.
    pub(super) same: Option<(FileInfo, Vec<Address>)>,
    /// Those who can only send it whole.
    pub(super) classic: Vec<Address>,
    /// What the others said.
    pub(super) failures: Vec<String>,
    /// That somebody does not answer.
    pub(super) silent: Vec<String>,
}

/// Asks one owner.
pub(super) async fn ask(state: &State, name: &FileName, owner: &Address) -> Told {
    if state.contacts.lock().how(owner) == Speaks::Classic {
        return Told::Classic;
    }
    match state.ask(owner, Frame::text(FINF, name.as_str()), Over::Link).await {
        Ok(frames) => match single(&frames) {
            Ok(text) => FileInfo::parse(text).map_or_else(
                || Told::Not("it does not keep to the protocol".to_owned()),
                Told::Has,
            ),
            Err(FILE_NOT_READY) => Told::NotYet,
            Err(text) => Told::Not(shown(text)),
        },
        Err(NoAnswer::Classic | NoAnswer::Unknown) => Told::Classic,
        Err(error) if error.is_silence() => Told::Silent,
        Err(error) => Told::Failed(error.to_string()),
    }
}

/// Asks all owners, and waits for those who are still computing when nobody else has it.
pub(super) async fn find(job: &Job) -> Found {
    let Job { state, order, .. } = job;
    let begun = Instant::now();
    let ask_until_told = async |owner: &Address| {
        let mut every = DIGEST_EVERY;
        loop {
            match ask(state, &order.name, owner).await {
                Told::NotYet if begun.elapsed() < DIGEST_WITHIN => {
                    let name = job.name_of(owner);
                    job.waits(Some(format!("{name} computes the digest of its file")));
                    sleep(every).await;
                    every = (every * 2).min(MAX_DIGEST_EVERY);
                }
                told => return (owner.clone(), told),
            }
        }
    };
    let mut asked: FuturesUnordered<_> =
        order.owners.iter().take(MAX_ASKED).map(ask_until_told).collect();
    let mut within = DIGEST_WITHIN * 2;
    let mut groups: Vec<(FileInfo, Vec<Address>)> = Vec::new();
    let mut found = Found::default();
    while let Ok(Some((owner, told))) = timeout_at(begun + within, asked.next()).await {
        let name = job.name_of(&owner);
        match told {
            Told::Has(info) => {
                within = within.min(begun.elapsed() + OTHERS_WITHIN);
                note(state, &order.name, &owner, &info);
                let same = |(other, _): &&mut (FileInfo, Vec<Address>)| {
                    (other.layout, other.digest) == (info.layout, info.digest)
                };
                match groups.iter_mut().find(same) {
                    Some((_, owners)) => owners.push(owner),
                    None => groups.push((info, vec![owner])),
                }
            }
            Told::Classic => found.classic.push(owner),
            Told::NotYet => found.failures.push(format!("{name}: {FILE_NOT_READY}")),
            Told::Silent => found.silent.push(silence(&name)),
            Told::Failed(why) => found.failures.push(format!("{name}: {why}")),
            Told::Not(why) => {
                state.remote.lock().remove(&order.name, &owner);
                found.failures.push(format!("{name}: {why}"));
            }
        }
    }
    // Of equal ones the first that answered.
    groups.sort_by_key(|(_, owners)| std::cmp::Reverse(owners.len()));
    found.same = groups.into_iter().next();
    found
}

/// Remembers what an owner has.
fn note(state: &State, name: &FileName, owner: &Address, info: &FileInfo) {
    state.contacts.lock().met(owner, &info.id);
    state.remote.lock().set(name, owner, (info.layout, info.digest));
}

/// Asks for what is not known yet of a file of another node. Whether that is known now.
pub(crate) async fn ask_owner(state: &State, name: &FileName, owner: &Address) -> bool {
    let told = ask(state, name, owner).await;
    if matches!(told, Told::Has(_) | Told::Not(_) | Told::NotYet) {
        state.limits.lock().has_answered(owner, now());
    }
    match told {
        Told::Has(info) => {
            note(state, name, owner, &info);
            true
        }
        Told::Not(_) => {
            state.remote.lock().remove(name, owner);
            true
        }
        Told::NotYet | Told::Classic | Told::Silent | Told::Failed(_) => false,
    }
}
