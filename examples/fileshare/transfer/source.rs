//! One node that a file is fetched from.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_peer::{
    Body, Over, RequestError,
    frame::{Frame, TypeCode},
    overlay::Address,
};
use futures::StreamExt;

use crate::{
    digest::{Manifest, WrongChecks},
    protocol::{BUSY, FMAN, FileInfo, PartsRequest, push_checks},
    state::State,
    talk::{NoAnswer, shown},
    transfer::{TransferFailure, silence},
};

/// Bytes of a refusal that are looked at.
const MAX_TEXT: usize = 1 << 10;

/// Failures that come so soon after another one have the same cause.
const SAME_CAUSE: Duration = Duration::from_millis(200);

/// A source of one transfer, and how it does.
pub(super) struct Source {
    address: Address,
    pub(super) name: String,
    given_up: AtomicBool,
    /// It was given up because nothing comes back.
    silent: AtomicBool,
    /// Broken connections in a row, and when the last one was noticed.
    failures: Mutex<(u32, Option<Instant>)>,
}

impl Source {
    pub(super) fn new((address, name): (Address, String)) -> Self {
        Self {
            address,
            name,
            given_up: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            failures: Mutex::default(),
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Nothing comes back from it, or something does again.
    pub(super) fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// It is not asked any more. The reason, when it was not given up before.
    pub(super) fn give_up(&self, state: &State, why: &str) -> Option<String> {
        (!self.given_up.swap(true, Ordering::Relaxed)).then(|| {
            state.error(format!("{} is not asked any more: {why}", self.name));
            format!("{}: {why}", self.name)
        })
    }

    /// It brought a part.
    pub(super) fn success(&self) {
        self.set_silent(false);
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).0 = 0;
    }

    /// Its connection broke. How often that was so in a row before.
    pub(super) fn failure(&self, now: Instant) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = &mut *failures;
        let before = *count;
        if last.is_none_or(|last| now.saturating_duration_since(last) >= SAME_CAUSE) {
            *count += 1;
            *last = Some(now);
        }
        before
    }

    /// Receives one part into `space`, which is as long as the part.
    pub(super) async fn receive(
        &self,
        state: &State,
        request: PartsRequest,
        space: &mut [u8],
    ) -> Result<(), PartError> {
        let mut replies = state.request(&self.address, request.to_frame(), Over::Link).await?;
        let Some(mut body) = replies.next_body().await? else {
            return Err(PartError::Gone("no answer".to_owned()));
        };
        if body.code() == TypeCode::ERRO {
            return Err(refusal(body).await);
        }
        let mut left = space;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(RequestError::from)?;
            let (space, rest) = left
                .split_at_mut_checked(piece.len())
                .ok_or(PartError::Bad("it sent more than it announced"))?;
            space.copy_from_slice(&piece);
            left = rest;
        }
        if left.is_empty() { Ok(()) } else { Err(PartError::Bad("it sent less than it announced")) }
    }
}

/// Why a part did not come.
pub(super) enum PartError {
    /// It is not what it should be. There is no second try.
    Bad(&'static str),
    /// The source does not have it any more.
    Gone(String),
    Busy,
    Broken {
        why: String,
        silent: bool,
    },
}

impl From<NoAnswer> for PartError {
    fn from(error: NoAnswer) -> Self {
        Self::Broken { why: error.to_string(), silent: error.is_silence() }
    }
}

impl From<RequestError> for PartError {
    fn from(error: RequestError) -> Self {
        NoAnswer::from(error).into()
    }
}

/// The check values, from the first source whose list belongs to the digest.
pub(super) async fn manifest(
    state: &State,
    info: &FileInfo,
    sources: &[Source],
) -> Result<Manifest, TransferFailure> {
    let (mut reasons, mut silent) = (Vec::new(), Vec::new());
    let most = if info.cut.parts() > 1 { info.cut.parts() } else { 0 };
    for source in sources {
        let mut checks = Vec::new();
        let asked = async {
            if most == 0 {
                return Ok(Ok(()));
            }
            let mut replies = state
                .request(&source.address, Frame::text(FMAN, info.digest.to_string()), Over::Link)
                .await?;
            while let Some(frame) = replies.next().await.transpose()? {
                if frame.code() != TypeCode::REPL {
                    return Ok(Err(shown(frame.as_str().unwrap_or(""))));
                }
                if push_checks(&mut checks, &frame, most).is_none() {
                    return Ok(Err(WrongChecks.to_string()));
                }
            }
            Ok::<_, NoAnswer>(Ok(()))
        };
        let complete = asked.await;
        let manifest = Manifest::verified(info.cut, info.digest, checks);
        match (complete, manifest) {
            (Ok(Ok(())), Ok(manifest)) => return Ok(manifest),
            (Ok(Ok(())), Err(wrong)) => reasons.extend(source.give_up(state, &wrong.to_string())),
            (Ok(Err(why)), _) => reasons.extend(source.give_up(state, &why)),
            (Err(error), _) if error.is_silence() => silent.push(silence(&source.name)),
            (Err(error), _) => reasons.push(format!("{}: {error}", source.name)),
        }
    }
    if !silent.is_empty() {
        return Err(TransferFailure::Silent(silent.join("; ")));
    }
    Err(TransferFailure::SourcesLost(reasons.join("; ")))
}

/// What a source says in place of a part.
async fn refusal(mut body: Body) -> PartError {
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.next().await
        && text.len() < MAX_TEXT
    {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&text);
    if text == BUSY { PartError::Busy } else { PartError::Gone(shown(&text)) }
}
