//! The identity of a member: id, address, a number that grows with every run, and its metadata.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::overlay::{Address, PeerId, PeerInfo};

/// The maximum length of a member's metadata, in bytes.
pub const MAX_METADATA: usize = 256;

/// Metadata of more than [`MAX_METADATA`] bytes. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata has at most {MAX_METADATA} bytes, not {len}")]
pub struct MetadataTooLong {
    /// The length, in bytes.
    pub len: usize,
}

/// Higher numbers are invented and therefore ignored.
pub(super) const MAX_BUMP: u64 = u64::MAX / 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) key: PeerId,
    pub(super) address: Address,
    /// Grows with every start, with every change of the metadata, and whenever the member was taken
    /// for down.
    pub(super) bump: u64,
    pub(super) metadata: Arc<[u8]>,
}

impl Identity {
    pub(super) fn new(info: &PeerInfo, bump: u64) -> Self {
        let (key, address) = (info.id().clone(), info.address().clone());
        Self { key, address, bump, metadata: Arc::from([]) }
    }

    /// The id and address; `None` if they are invalid.
    pub(super) fn info(&self) -> Option<PeerInfo> {
        PeerInfo::new(self.key.clone(), self.address.clone()).ok()
    }

    pub(super) fn is_possible(&self) -> bool {
        self.metadata.len() <= MAX_METADATA && self.bump <= MAX_BUMP && self.info().is_some()
    }
}

impl foca::Identity for Identity {
    type Addr = PeerId;

    fn addr(&self) -> PeerId {
        self.key.clone()
    }

    fn renew(&self) -> Option<Self> {
        Some(Self { bump: self.bump.saturating_add(1), ..self.clone() })
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        let order = |id: &Self| (id.bump, id.address.clone(), Arc::clone(&id.metadata));
        order(self) > order(other)
    }
}
