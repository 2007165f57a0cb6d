//! The digests of the shared files, computed one after another on a blocking thread.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use actix_peer::content::Manifest;

use crate::share::{PartFailure, Share, folder::Stamp, index::Found, left_out::Unfit};

impl Share {
    /// Computes what is missing, on a thread of its own; at once, when that is under way.
    pub(crate) fn digest_in_background(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        if self.digesting.swap(true, Ordering::SeqCst) {
            return;
        }
        let share = Arc::clone(self);
        runtime.spawn_blocking(move || {
            loop {
                share.digest_pending();
                share.digesting.store(false, Ordering::SeqCst);
                // What came between the last look and the mark would else be left lying.
                let more = !share.is_stopping() && share.index.lock().has_pending();
                if !more || share.digesting.swap(true, Ordering::SeqCst) {
                    break;
                }
            }
        });
    }

    /// Computes what is missing. A file that changes meanwhile is left to the next scan; one that
    /// only grows is what it was when it was opened; one that cannot be read is not offered.
    pub(crate) fn digest_pending(&self) {
        while !self.is_stopping() {
            let next = self.index.lock().next_pending();
            let Some(found) = next else { break };
            match self.digest(&found) {
                Ok((stamp, manifest)) => self.index.lock().set_manifest(&found, stamp, manifest),
                Err(PartFailure::Io(error)) if error.kind() != io::ErrorKind::NotFound => {
                    self.index.lock().put_unfit(&found, Unfit::Unreadable);
                }
                Err(PartFailure::NoSuchPart) => self.index.lock().put_unfit(&found, Unfit::TooLong),
                Err(error) => {
                    tracing::debug!(name = ?found.name, %error, "not digested");
                    continue;
                }
            }
            self.changed();
        }
    }

    fn digest(&self, found: &Found) -> Result<(Stamp, Manifest), PartFailure> {
        let folder = self.folders.get(found.folder).ok_or(PartFailure::Unknown)?;
        let opened = folder.open(&found.name)?;
        let stamp = opened.stamp();
        let manifest =
            Manifest::of(stamp.len(), |part, offset| {
                if self.is_stopping() {
                    return Err(PartFailure::Unknown);
                }
                let read = opened.read_exact_at(part, offset);
                // A file that has shrunk has changed, and can be read.
                read.map_err(|error| {
                    if opened.is_still(&stamp) { error.into() } else { PartFailure::Changed }
                })
            })?;
        if !opened.is_still(&stamp) && !opened.has_grown() {
            return Err(PartFailure::Changed);
        }
        manifest.map(|manifest| (stamp, manifest)).ok_or(PartFailure::NoSuchPart)
    }
}
