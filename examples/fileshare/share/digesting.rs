//! Computes the digests of the shared files, one after another on a blocking thread.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use actix_peer::content::Manifest;

use crate::share::{PartFailure, Share, folder::Stamp, index::Found, left_out::Unfit};

impl Share {
    /// Starts a thread that computes the missing digests, unless one is already running.
    pub(crate) fn digest_in_background(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        if self.digesting.swap(true, Ordering::SeqCst) {
            return;
        }
        let share = Arc::clone(self);
        runtime.spawn_blocking(move || {
            loop {
                share.digest_pending();
                share.digesting.store(false, Ordering::SeqCst);
                // A file may have been added after the last check and before the flag was reset.
                let more = !share.is_stopping() && share.index.lock().has_pending();
                if !more || share.digesting.swap(true, Ordering::SeqCst) {
                    break;
                }
            }
        });
    }

    /// Computes the missing digests. A file that changes in the meantime is left to the next scan.
    /// A file that only grows is digested as it was when it was opened. A file that cannot be read
    /// is not offered.
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
                    tracing::debug!(name = ?found.name, %error, "cannot compute a digest");
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
                // A file that has become shorter has changed; it is not unreadable.
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
