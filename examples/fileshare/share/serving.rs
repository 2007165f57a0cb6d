//! Files that are being sent stay open: a fetch gets one version, whatever becomes of the name.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_peer::overlay::content::{Digest, Manifest};

use crate::{
    name::FileName,
    share::folder::{Opened, Stamp},
};

/// Files that are kept open.
const MAX_OPEN: usize = 32;

/// How long a file stays open that is not asked for.
const KEEP_OPEN: Duration = Duration::from_secs(60);

/// A file as it was when it was digested.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) name: FileName,
    pub(super) opened: Opened,
    /// What it was when it was digested.
    pub(super) stamp: Stamp,
    pub(super) manifest: Arc<Manifest>,
}

/// The versions that are open, the one that was asked for last at the end.
#[derive(Debug, Default)]
pub(super) struct Serving(VecDeque<(Instant, Arc<Version>)>);

impl Serving {
    pub(super) fn get(&mut self, digest: &Digest, now: Instant) -> Option<Arc<Version>> {
        let version = self.remove(digest)?;
        self.0.push_back((now, Arc::clone(&version)));
        Some(version)
    }

    pub(super) fn insert(&mut self, version: Arc<Version>, now: Instant) {
        self.remove(&version.manifest.digest());
        if self.0.len() >= MAX_OPEN {
            self.0.pop_front();
        }
        self.0.push_back((now, version));
    }

    pub(super) fn remove(&mut self, digest: &Digest) -> Option<Arc<Version>> {
        let at = self.0.iter().position(|(_, version)| version.manifest.digest() == *digest)?;
        self.0.remove(at).map(|(_, version)| version)
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        let mut versions = self.0.iter().map(|(_, version)| &version.manifest);
        versions.find(|manifest| manifest.digest() == *digest).cloned()
    }

    pub(super) fn close_idle(&mut self, now: Instant) {
        self.0.retain(|(at, _)| now.saturating_duration_since(*at) < KEEP_OPEN);
    }
}
