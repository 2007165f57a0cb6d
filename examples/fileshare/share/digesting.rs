//! The digests of the shared files, computed one after another on a blocking thread.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    digest::{Cut, Digesting, Manifest},
    share::{PartFailure, Share, index::Found},
};

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
                let more = !share.is_stopping() && share.index().has_pending();
                if !more || share.digesting.swap(true, Ordering::SeqCst) {
                    break;
                }
            }
        });
    }

    /// Computes what is missing. A file that changes meanwhile is left to the next scan.
    pub(crate) fn digest_pending(&self) {
        let mut buffer = Vec::new();
        while !self.is_stopping() {
            let next = self.index().next_pending();
            let Some(found) = next else { break };
            match self.digest(&found, &mut buffer) {
                Ok(manifest) => {
                    self.index().set_manifest(&found, manifest);
                    self.changed();
                }
                Err(error) => tracing::debug!(name = ?found.name, %error, "not digested"),
            }
        }
    }

    fn digest(&self, found: &Found, buffer: &mut Vec<u8>) -> Result<Manifest, PartFailure> {
        let folder = self.folders.get(found.folder).ok_or(PartFailure::Unknown)?;
        let opened = folder.open(&found.name)?;
        if opened.stamp() != found.stamp {
            return Err(PartFailure::Changed);
        }
        let cut = Cut::of(found.stamp.len()).ok_or(PartFailure::NoSuchPart)?;
        let mut digesting = Digesting::new(cut);
        for index in 0..cut.parts() {
            if self.is_stopping() {
                return Err(PartFailure::Unknown);
            }
            buffer.resize(cut.len(index), 0);
            opened.read_exact_at(buffer, cut.offset(index))?;
            digesting.push(buffer);
        }
        if opened.has_changed() {
            return Err(PartFailure::Changed);
        }
        digesting.finish().ok_or(PartFailure::Changed)
    }
}
