//! The numbers of an acknowledged message.

use serde::Serialize;

/// Bytes in front of the payload: incarnation, sequence number, level.
pub const SEQUENCED_LEN: usize = 17;

/// In the `features` of a hello: the series of a message follows its level. It applies if both
/// sides list it.
pub(crate) const SERIES: &str = "series";

/// The same, including the series.
const WITH_SERIES_LEN: usize = SEQUENCED_LEN + 8;

/// Bytes in front of the payload, with or without the series.
pub(super) const fn sequenced_len(series: bool) -> usize {
    if series { WITH_SERIES_LEN } else { SEQUENCED_LEN }
}

/// When a message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// When it is in the mailbox of its handler.
    Delivered,
    /// When its handler has returned.
    Handled,
}

impl AckLevel {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Delivered => 1,
            Self::Handled => 2,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Delivered),
            2 => Some(Self::Handled),
            _ => None,
        }
    }
}

/// The identity of an acknowledged message among all messages of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequenced {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The series of its number. If ids are only claimed, a sender has one series for each id and
    /// address, and draws it so that no other node can guess it. 0 for a peer that has proved its
    /// id, and over a link without the feature `series`.
    pub series: u64,
    /// Its number in the series, counted up from 1.
    pub sequence: u64,
    /// When it is acknowledged.
    pub level: AckLevel,
}

impl Sequenced {
    pub(super) fn to_bytes(self, series: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(WITH_SERIES_LEN);
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.push(self.level.to_byte());
        if series {
            bytes.extend_from_slice(&self.series.to_be_bytes());
        }
        bytes
    }

    /// Decodes the beginning of a payload. `None` if it is too short or its level is unknown.
    pub(super) fn peek(payload: &[u8], series: bool) -> Option<Self> {
        let (incarnation, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (level, rest) = rest.split_first()?;
        Some(Self {
            incarnation: u64::from_be_bytes(*incarnation),
            series: if series { u64::from_be_bytes(*rest.first_chunk()?) } else { 0 },
            sequence: u64::from_be_bytes(*sequence),
            level: AckLevel::from_byte(*level)?,
        })
    }
}
