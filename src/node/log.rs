//! Rate-limited log lines, so that a remote cannot fill the log: a bounded number of lines of each
//! kind per second, with a bounded length of remote text in each.
//!
//! A line that a remote can cause repeatedly goes through [`warn_some`]. Suppressed lines are
//! counted, and a line with their number precedes the next line of the kind. Lines at debug level
//! are not limited.

use std::{
    cell::RefCell,
    fmt::{self, Write},
    time::{Duration, Instant},
};

use crate::time::now;

/// The maximum number of lines of one kind per second, on each thread.
const LINES: u32 = 10;

const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum length of remote text in a line.
const SHOWN: usize = 256; // bytes

/// The kinds of lines that a remote can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// Accepting a connection failed.
    Accept,
    /// An actor died of its panics.
    Handler,
    /// A handler's answer could not be encoded.
    Answer,
    /// The router panicked.
    Router,
    /// A supervised part of the node died.
    Part,
}

impl LogKind {
    const COUNT: usize = 5;
}

/// The rate limit of one kind of lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineLimit {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LineLimit {
    /// The number of lines suppressed before this one. `None` if this one is suppressed as well.
    pub(crate) fn next(&mut self, now: Instant) -> Option<u64> {
        let over = |since| now.saturating_duration_since(since) >= INTERVAL;
        if self.since.is_none_or(over) {
            (self.since, self.written) = (Some(now), 0);
        }
        if self.written == LINES {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

thread_local! {
    /// The log belongs to the process, not to a node. Each thread has its own count, without a
    /// lock.
    static WRITTEN: RefCell<[LineLimit; LogKind::COUNT]> = RefCell::default();
}

/// The number of lines of this kind suppressed before this one. `None` if this one is suppressed as
/// well.
pub(crate) fn next(kind: LogKind) -> Option<u64> {
    let now = now();
    // Nothing is limited while the thread ends.
    let next = WRITTEN.try_with(|written| {
        let mut written = written.try_borrow_mut().ok()?;
        written.get_mut(kind as usize)?.next(now)
    });
    next.unwrap_or(Some(0))
}

/// As `tracing::warn!`, for a line that a remote can cause.
macro_rules! warn_some {
    ($kind:expr, $($line:tt)*) => {
        if let Some(left_out) = $crate::node::log::next($kind) {
            if left_out > 0 {
                tracing::warn!(kind = ?$kind, left_out, "warnings dropped");
            }
            tracing::warn!($($line)*);
        }
    };
}
pub(crate) use warn_some;

/// Text that a remote may have influenced, escaped and truncated for a log line.
pub(crate) struct Sanitized<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Sanitized<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut truncated = Truncated { left: SHOWN, to: f };
        match write!(truncated, "{}", self.0) {
            Err(_) if truncated.left == 0 => f.write_str("…"),
            result => result,
        }
    }
}

/// Writes up to `left` bytes, then fails.
struct Truncated<'a, 'b> {
    left: usize,
    to: &'a mut fmt::Formatter<'b>,
}

impl Truncated<'_, '_> {
    fn write_piece(&mut self, piece: impl fmt::Display, len: usize) -> fmt::Result {
        self.left = self.left.saturating_sub(len);
        if self.left == 0 { Err(fmt::Error) } else { write!(self.to, "{piece}") }
    }
}

impl Write for Truncated<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            c if c.is_control() => self.write_piece(c.escape_unicode(), c.escape_unicode().len()),
            // Invisible characters, and those that change the direction of the text.
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => self.write_piece(c.escape_unicode(), c.escape_unicode().len()),
            c => self.write_piece(c, c.len_utf8()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_lines_are_written_in_a_second_and_the_suppressed_ones_are_counted() {
        let (mut lines, now) = (LineLimit::default(), now());
        assert!((0..10).all(|_| lines.next(now) == Some(0)));
        assert!((0..1_000).all(|_| lines.next(now).is_none()));
        assert_eq!(lines.next(now + INTERVAL), Some(1_000));
        assert_eq!(lines.next(now + INTERVAL), Some(0));
    }

    #[test]
    fn a_clock_that_stops_or_goes_back_suppresses_no_line() {
        let (mut lines, now) = (LineLimit::default(), now());
        assert_eq!(lines.next(now + INTERVAL), Some(0));
        assert_eq!(lines.next(now), Some(0));
    }

    #[test]
    fn each_kind_of_line_has_its_own_limit() {
        while next(LogKind::Router).is_some() {}
        assert_eq!(next(LogKind::Part), Some(0));
    }

    #[test]
    fn short_plain_text_is_unchanged_and_control_characters_are_escaped() {
        assert_eq!(Sanitized("a peer, \u{e9}").to_string(), "a peer, \u{e9}");
        assert_eq!(Sanitized("a\nb\u{1b}[2J\u{202e}").to_string(), r"a\u{a}b\u{1b}[2J\u{202e}");
    }

    proptest! {
        #[test]
        fn sanitized_text_is_bounded_and_has_no_control_characters(text in "(?s).{0,600}") {
            let shown = Sanitized(&text).to_string();
            prop_assert!(shown.len() < SHOWN + '…'.len_utf8(), "{}", shown.len());
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
