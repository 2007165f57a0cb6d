//! The numbers of an acknowledged message.

use serde::Serialize;

/// Bytes in front of the payload: incarnation, sequence number, level.
pub const NUMBERED_LEN: usize = 17;

/// How far a message has to come before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// It is in the mailbox of its handler.
    HandedOver,
    /// Its handler has returned.
    Handled,
}

impl AckLevel {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::HandedOver => 1,
            Self::Handled => 2,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::HandedOver),
            2 => Some(Self::Handled),
            _ => None,
        }
    }
}

/// Which message it is, of all that its sender ever asked to have acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbered {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Its number among the sender's messages, counted up from 1.
    pub sequence: u64,
    /// When it is to be acknowledged.
    pub level: AckLevel,
}

impl Numbered {
    pub(super) fn to_bytes(self) -> [u8; NUMBERED_LEN] {
        let mut bytes = [0; NUMBERED_LEN];
        let (numbers, level) = bytes.split_at_mut(16);
        let (incarnation, sequence) = numbers.split_at_mut(8);
        incarnation.copy_from_slice(&self.incarnation.to_be_bytes());
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        level.fill(self.level.to_byte());
        bytes
    }

    /// From the beginning of a payload; none when it is too short or of an unknown level.
    pub(super) fn peek(payload: &[u8]) -> Option<Self> {
        let (incarnation, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        Some(Self {
            incarnation: u64::from_be_bytes(*incarnation),
            sequence: u64::from_be_bytes(*sequence),
            level: AckLevel::from_byte(*rest.first()?)?,
        })
    }
}
