//! The lines of one room, bounded: as a whole, and for each author.

use std::collections::{VecDeque, vec_deque::Iter};

use actix_peer::PeerId;

use crate::view::Line;

/// The maximum number of lines of one room.
const MAX_LINES: usize = 2_000;

/// The maximum number of lines of one author in a room: a flood pushes out its own lines.
const MAX_LINES_EACH: usize = 400;

/// The lines of one room, in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Log(VecDeque<Line>);

impl Log {
    /// Adds a line. Returns whether it is the last one.
    pub(super) fn add(&mut self, line: Line) -> bool {
        if let Some(author) = line.author() {
            let is_theirs = |line: &Line| line.author() == Some(author);
            if self.0.iter().filter(|line| is_theirs(line)).count() >= MAX_LINES_EACH
                && let Some(oldest) = self.0.iter().position(is_theirs)
            {
                self.0.remove(oldest);
            }
        }
        if self.0.len() >= MAX_LINES {
            self.0.pop_front();
        }
        let later = self.0.iter().rev().take_while(|other| other.order > line.order).count();
        self.0.insert(self.0.len().saturating_sub(later), line);
        later == 0
    }

    /// Removes the lines of an author.
    pub(super) fn hide(&mut self, author: &PeerId) {
        self.0.retain(|line| line.author() != Some(author));
    }

    pub(super) fn lines(&self) -> Iter<'_, Line> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Author, Kind};

    fn line(author: &str, order: i64, text: &str) -> Line {
        let id = author.parse().unwrap();
        let author = Author { id, label: author.into(), is_me: false };
        Line { kind: Kind::Said(author), order, ..Line::note(None, text.into()) }
    }

    fn texts(log: &Log) -> Vec<&str> {
        log.lines().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_are_in_the_order_of_their_times() {
        let mut log = Log::default();
        let added = [(2, "b"), (4, "d"), (1, "a"), (2, "c"), (5, "e")]
            .map(|(order, text)| log.add(line("ada", order, text)));
        assert_eq!(texts(&log), ["a", "b", "c", "d", "e"]);
        assert_eq!(added, [true, true, false, false, true]);
    }

    #[test]
    fn a_flood_pushes_out_its_own_lines() {
        let mut log = Log::default();
        log.add(line("bob", 0, "stays"));
        for n in 0..5_000 {
            log.add(line("eve", n, "flood"));
        }
        assert_eq!(log.lines().len(), 1 + MAX_LINES_EACH);
        assert_eq!(texts(&log).first(), Some(&"stays"));
        log.hide(&"eve".parse().unwrap());
        assert_eq!(texts(&log), ["stays"]);
    }

    #[test]
    fn a_log_is_bounded() {
        let mut log = Log::default();
        for n in 0..10_i64 {
            for m in 0..400 {
                log.add(line(&format!("author-{n}"), n * 400 + m, "x"));
            }
        }
        assert_eq!(log.lines().len(), MAX_LINES);
    }
}
