//! The five bytes in front of every payload: exchange and flags
//! ([protocol](crate::protocol#link-frames)).

use std::{fmt, ops::BitOr};

use crate::frame::HEADER_LEN;

/// Bytes of an exchange header.
pub(crate) const EXCHANGE_HEADER_LEN: usize = 5;

/// The length of code, length and exchange header, which precede a payload.
pub(super) const HEADERS_LEN: usize = HEADER_LEN + EXCHANGE_HEADER_LEN;

/// The longest payload of one frame of a link, in bytes. A longer message is sent as several
/// frames, so that it does not delay others.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// The flags of a frame in its exchange.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// First frame of an exchange: a request.
    pub const OPEN: Self = Self(0x01);
    /// The last frame that this side sends in this exchange.
    pub const END: Self = Self(0x02);
    /// The message continues in the next frame of this exchange.
    pub const MORE: Self = Self(0x04);
    /// The exchange ends at once; the payload is a reason.
    pub const RESET: Self = Self(0x08);
    /// The payload starts with the sender's incarnation and a sequence number.
    pub const NUMBERED: Self = Self(0x10);

    const ALL: u8 = 0x1f;

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags, with `flags` added if `condition` is true.
    #[must_use]
    pub(crate) fn with(self, flags: Self, condition: bool) -> Self {
        if condition { self | flags } else { self }
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::OPEN, "OPEN"),
            (Self::END, "END"),
            (Self::MORE, "MORE"),
            (Self::RESET, "RESET"),
            (Self::NUMBERED, "NUMBERED"),
        ];
        f.debug_list()
            .entries(names.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| name))
            .finish()
    }
}

/// The exchange header. The number 0 means no exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeHead {
    /// The number of the exchange.
    pub exchange: u32,
    /// The flags of the frame.
    pub flags: Flags,
}

impl ExchangeHead {
    /// Encodes the header.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; EXCHANGE_HEADER_LEN] {
        let [a, b, c, d] = self.exchange.to_be_bytes();
        [a, b, c, d, self.flags.0]
    }

    /// Decodes the header. `None` if there are less than five bytes or unknown flags.
    #[must_use]
    pub fn peek(data: &[u8]) -> Option<Self> {
        let [a, b, c, d, flags] = *data.first_chunk()?;
        let known = flags & !Flags::ALL == 0;
        known.then_some(Self { exchange: u32::from_be_bytes([a, b, c, d]), flags: Flags(flags) })
    }
}
