//! The line of input, with a cursor and the lines before.

use std::collections::VecDeque;

use ratatui::text::Span;

use crate::text::{MAX_TEXT, clean};

/// The number of lines that are remembered.
const MAX_HISTORY: usize = 100;

/// The maximum number of characters of the line: a command and a text.
const MAX_INPUT: usize = MAX_TEXT + 100;

/// The number of columns that a character takes.
pub(super) fn width(c: char) -> usize {
    Span::raw(&*c.encode_utf8(&mut [0; 4])).width()
}

/// A line that is edited.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: Vec<char>,
    /// The number of characters before the cursor.
    cursor: usize,
    history: VecDeque<String>,
    /// The line of the history that is shown, and what was typed before.
    recalled: Option<(usize, String)>,
}

impl Editor {
    pub(super) fn text(&self) -> String {
        self.text.iter().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn set(&mut self, text: &str) {
        self.text = text.chars().collect();
        self.cursor = self.text.len();
    }

    /// Inserts text at the cursor, as far as there is room. A new line is a space.
    pub(super) fn insert(&mut self, text: &str) {
        let text = clean(&text.replace(['\r', '\n'], " "), MAX_INPUT);
        let room = MAX_INPUT.saturating_sub(self.text.len());
        let new: Vec<char> = text.chars().take(room).collect();
        let at = self.cursor;
        self.cursor = at.saturating_add(new.len());
        self.text.splice(at..at, new);
    }

    /// Removes the characters from here to the cursor.
    fn remove_from(&mut self, start: usize) {
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    pub(super) fn backspace(&mut self) {
        self.remove_from(self.cursor.saturating_sub(1));
    }

    pub(super) fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    /// The beginning of the word before the cursor.
    fn word(&self) -> usize {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let end = before.iter().rposition(|c| !c.is_whitespace()).unwrap_or(0);
        let word = before.get(..end).unwrap_or_default();
        word.iter().rposition(|c| c.is_whitespace()).map_or(0, |at| at.saturating_add(1))
    }

    pub(super) fn remove_word(&mut self) {
        self.remove_from(self.word());
    }

    pub(super) fn remove_before(&mut self) {
        self.remove_from(0);
    }

    pub(super) fn remove_after(&mut self) {
        self.text.truncate(self.cursor);
    }

    pub(super) fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    pub(super) fn right(&mut self) {
        self.cursor = self.cursor.saturating_add(1).min(self.text.len());
    }

    pub(super) const fn home(&mut self) {
        self.cursor = 0;
    }

    pub(super) const fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Takes the line, and remembers it.
    pub(super) fn take(&mut self) -> String {
        let line = self.text();
        self.set("");
        self.recalled = None;
        if !line.trim().is_empty() && self.history.back() != Some(&line) {
            if self.history.len() >= MAX_HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        line
    }

    /// Shows the line before.
    pub(super) fn earlier(&mut self) {
        let (at, typed) = match self.recalled.take() {
            Some((at, typed)) => (at, typed),
            None => (self.history.len(), self.text()),
        };
        let before = at.saturating_sub(1);
        let found = self.history.get(before).cloned();
        if let Some(line) = found {
            self.set(&line);
            self.recalled = Some((before, typed));
        }
    }

    /// Shows the line after, or what was typed.
    pub(super) fn later(&mut self) {
        let Some((at, typed)) = self.recalled.take() else { return };
        let after = at.saturating_add(1);
        match self.history.get(after).cloned() {
            Some(line) => {
                self.set(&line);
                self.recalled = Some((after, typed));
            }
            None => self.set(&typed),
        }
    }

    /// Completes the word before the cursor, as far as those that begin with it agree.
    pub(super) fn complete(&mut self, commands: &[String], people: &[String]) {
        let start = if self.text.get(self.cursor.wrapping_sub(1)).is_some_and(|c| *c != ' ') {
            self.word()
        } else {
            return;
        };
        let word: String = self.text.get(start..self.cursor).unwrap_or_default().iter().collect();
        let is_command = start == 0 && word.starts_with('/');
        let all = if is_command { commands } else { people };
        let lower = word.to_lowercase();
        let mut fits = all.iter().filter(|one| one.to_lowercase().starts_with(&lower));
        let Some(first) = fits.next() else { return };
        let mut common: Vec<char> = first.chars().collect();
        let mut is_one = true;
        for other in fits {
            is_one = false;
            let same = common.iter().zip(other.chars()).take_while(|(a, b)| **a == *b).count();
            common.truncate(same);
        }
        let mut completed: String = common.into_iter().collect();
        if completed.len() < word.len() {
            return;
        }
        if is_one {
            completed.push_str(if start == 0 && !is_command { ": " } else { " " });
        }
        self.remove_from(start);
        self.insert(&completed);
    }

    /// The part of the line that fits into this number of columns, and the column of the cursor.
    pub(super) fn visible(&self, columns: usize) -> (String, usize) {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let mut used = 0_usize;
        let fits = |c: &&char| {
            used = used.saturating_add(width(**c));
            used < columns
        };
        let start = self.cursor.saturating_sub(before.iter().rev().take_while(fits).count());
        let column = before.get(start..).unwrap_or_default().iter().map(|c| width(*c)).sum();
        let mut used = 0_usize;
        let shown = self.text.get(start..).unwrap_or_default().iter().take_while(|c| {
            used = used.saturating_add(width(**c));
            used <= columns
        });
        (shown.collect(), column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn text_is_edited_at_the_cursor() {
        let mut editor = typed("hello word");
        editor.left();
        editor.insert("l");
        assert_eq!(editor.text(), "hello worlld".replace("lld", "ld"));
        editor.home();
        editor.delete();
        editor.insert("J");
        editor.end();
        editor.backspace();
        assert_eq!(editor.text(), "Jello worl");
        editor.remove_word();
        assert_eq!(editor.text(), "Jello ");
        editor.remove_word();
        assert!(editor.is_empty());
        editor.backspace();
        editor.right();
        editor.remove_after();
    }

    #[test]
    fn a_paste_has_no_control_characters_and_is_bounded() {
        let editor = typed("a\r\nb\u{1b}[2J");
        assert_eq!(editor.text(), "a  b\u{fffd}[2J");
        let mut editor = typed(&"x".repeat(9_999));
        editor.insert("y");
        assert_eq!(editor.text().len(), MAX_INPUT);
    }

    #[test]
    fn lines_come_back() {
        let mut editor = typed("one");
        assert_eq!(editor.take(), "one");
        editor.insert("two");
        editor.take();
        editor.insert("dra");
        for expected in ["two", "one", "one"] {
            editor.earlier();
            assert_eq!(editor.text(), expected);
        }
        for expected in ["two", "dra", "dra"] {
            editor.later();
            assert_eq!(editor.text(), expected);
        }
    }

    #[test]
    fn words_are_completed() {
        let (commands, people) =
            (["/join", "/leave"].map(String::from), ["ada", "adam", "bob"].map(String::from));
        for (text, expected) in [
            ("/j", "/join "),
            ("/msg b", "/msg bob "),
            ("b", "bob: "),
            ("A", "ada"),
            ("hi ada", "hi ada"),
            ("x", "x"),
            ("", ""),
            ("bob ", "bob "),
        ] {
            let mut editor = typed(text);
            editor.complete(&commands, &people);
            assert_eq!(editor.text(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_cursor_stays_visible() {
        let mut editor = typed("日本abc");
        assert_eq!(editor.visible(80), ("日本abc".into(), 7));
        assert_eq!(editor.visible(5), ("abc".into(), 3));
        editor.home();
        assert_eq!(editor.visible(5), ("日本a".into(), 0));
        assert_eq!(editor.visible(0), (String::new(), 0));
    }
}
