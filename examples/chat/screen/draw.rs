//! Draws the screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Color, Modifier, Style},
    text::{Line as Row, Span},
    widgets::{Block, Borders, Paragraph},
};

use super::{editor::width, state::Screen};
use crate::{
    text::{count, size},
    view::{Author, Kind, Line, State, Transfer, clock},
};

/// The columns of the list of rooms and people.
const SIDE: u16 = 24;

/// The list is left out on a terminal with fewer columns.
const MIN_COLUMNS: u16 = 64;

/// The columns before the second row of a line: those of the time.
const INDENT: usize = 6;

/// The columns of the bar of a transfer.
const BAR: usize = 20;

const PROMPT: &str = "> ";

/// The colours of nicks.
const COLORS: [Color; 7] = [
    Color::Cyan,
    Color::Green,
    Color::Yellow,
    Color::Magenta,
    Color::LightBlue,
    Color::LightRed,
    Color::LightGreen,
];

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let transfers = u16::try_from(screen.transfers.len()).unwrap_or(0);
    let rows = [
        Constraint::Min(1),
        Constraint::Length(transfers),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [body, bars, status, input] = Layout::vertical(rows).areas(frame.area());
    let side = if body.width >= MIN_COLUMNS { SIDE } else { 0 };
    let [log, side] =
        Layout::horizontal([Constraint::Min(1), Constraint::Length(side)]).areas(body);
    draw_log(frame, screen, log);
    draw_side(frame, screen, side);
    let bars_of = screen.transfers.iter().map(|(transfer, _)| Row::raw(bar(transfer)));
    frame.render_widget(Paragraph::new(bars_of.collect::<Vec<_>>()), bars);
    draw_status(frame, screen, status);
    draw_input(frame, screen, input);
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// The style of a person: always the same colour.
fn style_of(author: &Author, screen: &Screen) -> Style {
    if author.is_me || !screen.has_colors {
        return bold();
    }
    let sum = author.id.as_str().bytes().map(usize::from).sum::<usize>();
    let color = sum.checked_rem(COLORS.len()).and_then(|at| COLORS.get(at));
    color.map_or(bold(), |color| bold().fg(*color))
}

/// Breaks a text into rows, of `first` columns and then `rest`, between words if possible.
fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let (mut rows, mut row, mut used, mut room) = (Vec::new(), String::new(), 0, first);
    // The place after the last space of the row.
    let mut space = None;
    for c in text.chars() {
        let columns = width(c);
        // A row has at least one character, apart from the first one if the others have more room.
        let can_break = !row.is_empty() || (rows.is_empty() && first < rest);
        if used + columns > room && can_break {
            let next = match space.take() {
                Some(at) if c != ' ' => row.split_off(at),
                _ => String::new(),
            };
            rows.push(row.trim_end().to_owned());
            used = next.chars().map(width).sum();
            (row, room) = (next, rest);
            if c == ' ' {
                continue;
            }
        }
        row.push(c);
        used += columns;
        if c == ' ' {
            space = Some(row.len());
        }
    }
    rows.push(row);
    rows
}

/// The rows of one line of the log.
fn rows_of<'a>(line: &Line, screen: &Screen, columns: usize) -> Vec<Row<'a>> {
    let warn = if screen.has_colors { bold().fg(Color::Red) } else { bold() };
    let private = Style::new().add_modifier(Modifier::ITALIC);
    let (who, text) = match &line.kind {
        Kind::Said(author) => {
            (Some((author.label.clone(), style_of(author, screen))), Style::new())
        }
        Kind::Private(author) => {
            (Some((format!("{} to you:", author.label), style_of(author, screen))), private)
        }
        Kind::Sent(to) => (Some((format!("you to {to}:"), bold())), private),
        Kind::Note => (None, dim()),
        Kind::Trouble => (Some(("!".to_owned(), warn)), warn),
    };
    let mut head = vec![Span::styled(format!("{} ", clock(line.at)), dim())];
    if let Some((who, style)) = who {
        head.push(Span::styled(who, style));
        head.push(Span::raw(" "));
    }
    let taken: usize = head.iter().map(Span::width).sum();
    let parts = wrap(&line.text, columns.saturating_sub(taken), columns.saturating_sub(INDENT));
    let mut rows = Vec::new();
    for (n, part) in parts.into_iter().enumerate() {
        let mut spans = if n == 0 { std::mem::take(&mut head) } else { Vec::new() };
        if n > 0 {
            spans.push(Span::raw(" ".repeat(INDENT.min(columns))));
        }
        spans.push(Span::styled(part, text));
        rows.push(Row::from(spans));
    }
    rows
}

fn draw_log(frame: &mut Frame<'_>, screen: &mut Screen, area: Rect) {
    let (height, columns) = (usize::from(area.height), usize::from(area.width).saturating_sub(1));
    screen.page = height;
    let wanted = height.saturating_add(screen.scroll);
    let mut rows = Vec::new();
    for line in screen.log().lines().rev() {
        let mut of_line = rows_of(line, screen, columns);
        of_line.reverse();
        rows.append(&mut of_line);
        if rows.len() >= wanted {
            break;
        }
    }
    screen.scroll = screen.scroll.min(rows.len().saturating_sub(height));
    let mut shown: Vec<_> = rows.into_iter().skip(screen.scroll).take(height).collect();
    shown.reverse();
    // The last line is at the bottom.
    let free = height.saturating_sub(shown.len());
    let mut all = vec![Row::default(); free];
    all.append(&mut shown);
    frame.render_widget(Paragraph::new(all), area);
}

fn draw_side(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    if area.width == 0 {
        return;
    }
    let mut rows = vec![Row::styled("rooms", dim())];
    for (n, room) in screen.rooms.iter().enumerate() {
        let unread = screen.unread.get(&room.name).copied().unwrap_or(0);
        let news = if unread > 0 { format!(" ({unread})") } else { String::new() };
        let is_current = n == screen.current;
        let mark = if is_current { '>' } else { ' ' };
        let style = if is_current || unread > 0 { bold() } else { Style::new() };
        rows.push(Row::styled(format!("{mark} {}{news}", room.name), style));
    }
    if let Some(room) = screen.rooms.get(screen.current) {
        rows.push(Row::default());
        rows.push(Row::styled(format!("people ({})", room.people.len()), dim()));
        let people = room.people.iter();
        rows.extend(
            people.map(|one| Row::styled(format!("  {}", one.label), style_of(one, screen))),
        );
    }
    let border = Block::new().borders(Borders::LEFT).border_style(dim());
    frame.render_widget(Paragraph::new(rows).block(border), area);
}

/// The row of a transfer.
fn bar(transfer: &Transfer) -> String {
    let percent = usize::try_from(transfer.percent()).unwrap_or(100);
    let full = percent * BAR / 100;
    let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR.saturating_sub(full)));
    let state = match &transfer.state {
        State::Runs => format!("{percent} % of {}", size(transfer.bytes)),
        State::Done(_) => "complete".to_owned(),
        State::Failed(_) => "failed".to_owned(),
    };
    format!("[{bar}] {} {state}", transfer.title)
}

fn draw_status(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let room = match screen.rooms.get(screen.current) {
        Some(room) if room.neighbors == 0 => format!("{}: no neighbour yet", room.name),
        Some(room) => format!("{}: {}", room.name, count(room.neighbors, "neighbour")),
        None => "no room: /join ROOM".to_owned(),
    };
    let links = count(screen.links, "link");
    let hint = if screen.scroll > 0 {
        format!("{} below: Esc", count(screen.scroll, "row"))
    } else {
        "/help".to_owned()
    };
    let text = format!(" {} | {room} | {links} | {hint}", screen.me);
    let style = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(text).style(style), area);
}

fn draw_input(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let columns = usize::from(area.width).saturating_sub(PROMPT.len());
    let (text, cursor) = screen.editor.visible(columns);
    frame.render_widget(Paragraph::new(format!("{PROMPT}{text}")), area);
    let column = u16::try_from(PROMPT.len().saturating_add(cursor)).unwrap_or(0);
    let x = area.x.saturating_add(column).min(area.right().saturating_sub(1));
    frame.set_cursor_position(Position { x, y: area.y });
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::view::{Event, RoomView};

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7, 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 4, 9), ["one", "two three"]);
        assert_eq!(wrap("abcdefgh", 3, 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("日本語", 4, 4), ["日本", "語"]);
        assert_eq!(wrap("", 4, 4), [""]);
        // A text always ends, even without room.
        assert!(wrap("ab", 0, 0).concat().contains('a'));
    }

    #[test]
    fn a_screen_of_any_size_is_drawn() {
        let mut screen = Screen::new(true);
        let author =
            Author { id: "a".repeat(64).parse().unwrap(), label: "ada~x".into(), is_me: false };
        let room =
            RoomView { name: "lobby".parse().unwrap(), neighbors: 1, people: vec![author.clone()] };
        let name = Some(room.name.clone());
        screen.show(Event::Rooms { all: vec![room], current: 0, me: "bob~y".into(), links: 2 });
        for n in 0..50 {
            let line = Line::note(name.as_ref(), format!("line {n} and some more words"));
            screen.show(Event::Line(Line { kind: Kind::Said(author.clone()), ..line }));
        }
        let state = State::Runs;
        let title = "a.txt to ada~x".to_owned();
        screen.show(Event::Transfer(Transfer { number: 1, title, done: 1, bytes: 2, state }));
        for (columns, rows) in [(80, 24), (20, 5), (3, 3), (1, 1), (200, 2)] {
            let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
            terminal.draw(|frame| draw(frame, &mut screen)).unwrap();
            let shown = terminal.backend().to_string();
            if columns == 80 {
                for part in ["line 49", "> lobby", "people (1)", "1 neighbour", "50 % of 2 B"] {
                    assert!(shown.contains(part), "{part}: {shown}");
                }
            }
        }
    }
}
