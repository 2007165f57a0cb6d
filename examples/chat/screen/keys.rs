//! The keys.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::Screen;
use crate::command::{Command, HELP};

/// The action of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Command(Command),
    /// A command that is wrong, and why.
    Wrong(String),
    /// Another room.
    Select(usize),
    Redraw,
    Quit,
}

/// Handles a key or a paste.
pub(super) fn handle(screen: &mut Screen, event: Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => press(screen, key),
        Event::Paste(text) => {
            screen.editor.insert(&text);
            None
        }
        _ => None,
    }
}

fn press(screen: &mut Screen, key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return control(screen, key.code);
    }
    let editor = &mut screen.editor;
    match key.code {
        KeyCode::Enter => return enter(screen),
        KeyCode::Backspace if key.modifiers.contains(KeyModifiers::ALT) => editor.remove_word(),
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Left if key.modifiers.contains(KeyModifiers::ALT) => return room(screen, false),
        KeyCode::Right if key.modifiers.contains(KeyModifiers::ALT) => return room(screen, true),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        KeyCode::Up => editor.earlier(),
        KeyCode::Down => editor.later(),
        KeyCode::Tab => complete(screen),
        KeyCode::F(1) => return Some(Action::Command(Command::Help)),
        // The number of rows is bounded when they are drawn.
        KeyCode::PageUp => screen.scroll = screen.scroll.saturating_add(half(screen)),
        KeyCode::PageDown => screen.scroll = screen.scroll.saturating_sub(half(screen)),
        KeyCode::Esc => screen.scroll = 0,
        KeyCode::Char(c) => editor.insert(&c.to_string()),
        _ => {}
    }
    None
}

fn half(screen: &Screen) -> usize {
    (screen.page / 2).max(1)
}

fn control(screen: &mut Screen, code: KeyCode) -> Option<Action> {
    let editor = &mut screen.editor;
    match code {
        KeyCode::Char('c') => return Some(Action::Quit),
        KeyCode::Char('d') if editor.is_empty() => return Some(Action::Quit),
        KeyCode::Char('d') => editor.delete(),
        KeyCode::Char('a') => editor.home(),
        KeyCode::Char('e') => editor.end(),
        KeyCode::Char('u') => editor.remove_before(),
        KeyCode::Char('k') => editor.remove_after(),
        KeyCode::Char('w') => editor.remove_word(),
        KeyCode::Char('l') => return Some(Action::Redraw),
        KeyCode::Char('n') => return room(screen, true),
        KeyCode::Char('p') => return room(screen, false),
        _ => {}
    }
    None
}

/// The next room, or the one before.
fn room(screen: &Screen, next: bool) -> Option<Action> {
    let count = screen.rooms.len();
    let step = if next { 1 } else { count.saturating_sub(1) };
    screen.current.saturating_add(step).checked_rem(count).map(Action::Select)
}

fn enter(screen: &mut Screen) -> Option<Action> {
    screen.scroll = 0;
    let line = screen.editor.take();
    Some(match Command::parse(&line)? {
        Ok(Command::Quit) => Action::Quit,
        Ok(command) => Action::Command(command),
        Err(why) => Action::Wrong(why),
    })
}

fn complete(screen: &mut Screen) {
    let commands = HELP.iter().filter_map(|(form, _)| form.split(' ').next().map(str::to_owned));
    let people = screen.rooms.get(screen.current).map(|room| room.people.as_slice());
    let others = people.unwrap_or_default().iter().filter(|one| !one.is_me);
    let labels: Vec<String> = others.map(|one| one.label.clone()).collect();
    let nick = |label: &String| label.split('~').next().unwrap_or_default().to_owned();
    let nicks: Vec<String> = labels.iter().map(nick).collect();
    let is_shared = |one: &String| nicks.iter().filter(|nick| *nick == one).count() > 1;
    // A nick of two people is completed with the part that tells them apart.
    let people: Vec<String> = labels
        .iter()
        .map(|label| if is_shared(&nick(label)) { label.clone() } else { nick(label) })
        .collect();
    screen.editor.complete(&commands.collect::<Vec<_>>(), &people);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(screen: &mut Screen, code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        handle(screen, Event::Key(KeyEvent::new(code, modifiers)))
    }

    fn line(screen: &mut Screen, text: &str) -> Option<Action> {
        for c in text.chars() {
            assert_eq!(key(screen, KeyCode::Char(c), KeyModifiers::NONE), None);
        }
        key(screen, KeyCode::Enter, KeyModifiers::NONE)
    }

    #[test]
    fn a_line_is_a_command() {
        let mut screen = Screen::new(false);
        let said = Action::Command(Command::Say("hello".into()));
        assert_eq!(line(&mut screen, "hello"), Some(said));
        assert_eq!(line(&mut screen, "/quit"), Some(Action::Quit));
        assert_eq!(line(&mut screen, " "), None);
        assert!(matches!(line(&mut screen, "/nonsense"), Some(Action::Wrong(_))));
    }

    #[test]
    fn control_c_ends_the_program_and_tab_completes() {
        let mut screen = Screen::new(false);
        key(&mut screen, KeyCode::Char('/'), KeyModifiers::NONE);
        key(&mut screen, KeyCode::Char('q'), KeyModifiers::NONE);
        key(&mut screen, KeyCode::Tab, KeyModifiers::NONE);
        assert_eq!(screen.editor.text(), "/quit ");
        let control = KeyModifiers::CONTROL;
        assert_eq!(key(&mut screen, KeyCode::Char('d'), control), None);
        assert_eq!(key(&mut screen, KeyCode::Char('c'), control), Some(Action::Quit));
    }

    #[test]
    fn without_rooms_there_is_no_next_one() {
        let mut screen = Screen::new(false);
        assert_eq!(key(&mut screen, KeyCode::Char('n'), KeyModifiers::CONTROL), None);
    }
}
