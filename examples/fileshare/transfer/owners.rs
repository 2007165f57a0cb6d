//! Finds the owners of a file, and groups them by digest.

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

/// The maximum number of owners that are asked for one file.
const MAX_ASKED: usize = 32;

/// How long to wait for an owner that is still computing a digest: about as long as for the longest
/// file.
const DIGEST_WITHIN: Duration = Duration::from_secs(3_600);

/// The first and the longest interval of asking it again.
const DIGEST_EVERY: Duration = Duration::from_millis(250);
const MAX_DIGEST_EVERY: Duration = Duration::from_secs(4);

/// How long to wait for other owners after one has answered.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);

/// The answer of an owner.
pub(super) enum OwnerAnswer {
    Has(FileInfo),
    NotYet,
    /// It is an original program, or does not know the request.
    Classic,
    /// It does not have the file, or gave an invalid answer.
    Not(String),
    /// It could not be asked.
    Failed(String),
    /// It did not answer, but may do so later.
    Silent,
}

/// The owners of a file.
#[derive(Default)]
pub(super) struct Found {
    /// The digest that most owners have, and these owners.
    pub(super) same: Option<(FileInfo, Vec<Address>)>,
    /// Owners that can only send it whole.
    pub(super) classic: Vec<Address>,
    /// The errors of other owners.
    pub(super) failures: Vec<String>,
    /// Owners that do not answer, as text.
    pub(super) silent: Vec<String>,
}

/// Asks one owner.
pub(super) async fn ask(state: &State, name: &FileName, owner: &Address) -> OwnerAnswer {
    if state.contacts.lock().how(owner) == Speaks::Classic {
        return OwnerAnswer::Classic;
    }
    match state.ask(owner, Frame::text(FINF, name.as_str()), Over::Link).await {
        Ok(frames) => match single(&frames) {
            Ok(text) => FileInfo::parse(text).map_or_else(
                || OwnerAnswer::Not("it sent an invalid answer".to_owned()),
                OwnerAnswer::Has,
            ),
            Err(FILE_NOT_READY) => OwnerAnswer::NotYet,
            Err(text) => OwnerAnswer::Not(shown(text)),
        },
        Err(NoAnswer::Classic | NoAnswer::Unknown) => OwnerAnswer::Classic,
        Err(error) if error.is_silence() => OwnerAnswer::Silent,
        Err(error) => OwnerAnswer::Failed(error.to_string()),
    }
}

/// Asks all owners. Waits for those that are still computing the digest, unless another one has it.
pub(super) async fn find(job: &Job) -> Found {
    let Job { state, order, .. } = job;
    let begun = Instant::now();
    let ask_until_digested = async |owner: &Address| {
        let mut every = DIGEST_EVERY;
        loop {
            match ask(state, &order.name, owner).await {
                OwnerAnswer::NotYet if begun.elapsed() < DIGEST_WITHIN => {
                    let name = job.name_of(owner);
                    job.set_waits(Some(format!("{name} is computing the digest of its file")));
                    sleep(every).await;
                    every = (every * 2).min(MAX_DIGEST_EVERY);
                }
                answer => return (owner.clone(), answer),
            }
        }
    };
    let mut asked: FuturesUnordered<_> =
        order.owners.iter().take(MAX_ASKED).map(ask_until_digested).collect();
    let mut within = DIGEST_WITHIN * 2;
    let mut groups: Vec<(FileInfo, Vec<Address>)> = Vec::new();
    let mut found = Found::default();
    while let Ok(Some((owner, answer))) = timeout_at(begun + within, asked.next()).await {
        let name = job.name_of(&owner);
        match answer {
            OwnerAnswer::Has(info) => {
                within = within.min(begun.elapsed() + OTHERS_WITHIN);
                record(state, &order.name, &owner, &info);
                let same = |(other, _): &&mut (FileInfo, Vec<Address>)| {
                    (other.layout, other.digest) == (info.layout, info.digest)
                };
                match groups.iter_mut().find(same) {
                    Some((_, owners)) => owners.push(owner),
                    None => groups.push((info, vec![owner])),
                }
            }
            OwnerAnswer::Classic => found.classic.push(owner),
            OwnerAnswer::NotYet => found.failures.push(format!("{name}: {FILE_NOT_READY}")),
            OwnerAnswer::Silent => found.silent.push(silence(&name)),
            OwnerAnswer::Failed(why) => found.failures.push(format!("{name}: {why}")),
            OwnerAnswer::Not(why) => {
                state.remote.lock().remove(&order.name, &owner);
                found.failures.push(format!("{name}: {why}"));
            }
        }
    }
    // Of equal groups, the one that answered first.
    groups.sort_by_key(|(_, owners)| std::cmp::Reverse(owners.len()));
    found.same = groups.into_iter().next();
    found
}

/// Records the file of an owner.
fn record(state: &State, name: &FileName, owner: &Address, info: &FileInfo) {
    state.contacts.lock().met(owner, &info.id);
    state.remote.lock().set(name, owner, (info.layout, info.digest));
}

/// Asks an owner for the size and digest of its file. Returns whether they are known now.
pub(crate) async fn ask_owner(state: &State, name: &FileName, owner: &Address) -> bool {
    let answer = ask(state, name, owner).await;
    if matches!(answer, OwnerAnswer::Has(_) | OwnerAnswer::Not(_) | OwnerAnswer::NotYet) {
        state.limits.lock().has_answered(owner, now());
    }
    match answer {
        OwnerAnswer::Has(info) => {
            record(state, name, owner, &info);
            true
        }
        OwnerAnswer::Not(_) => {
            state.remote.lock().remove(name, owner);
            true
        }
        OwnerAnswer::NotYet
        | OwnerAnswer::Classic
        | OwnerAnswer::Silent
        | OwnerAnswer::Failed(_) => false,
    }
}
