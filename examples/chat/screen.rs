//! The terminal as a screen: rooms, people, the log, transfers and a line of input.
//!
//! It has a thread of its own, so that a terminal that is stopped does not stop the node.

mod draw;
mod editor;
mod keys;
mod log;
mod state;

use std::{io, thread::JoinHandle, time::Duration};

use actix::Addr;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, DisableBracketedPaste, EnableBracketedPaste},
        execute,
    },
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use self::{keys::Action, state::Screen};
use crate::{
    chat::{Chat, Input, Select, until_broken},
    ends::Ends,
    view::{Event, Show},
};

/// The number of events and keys that wait to be drawn.
const QUEUE: usize = 256;

/// The number of commands that wait to be carried out.
const COMMANDS: usize = 64;

/// How often ended transfers are looked for.
const TICK: Duration = Duration::from_secs(1);

/// The maximum time for restoring the terminal.
const RESTORE_TIME: Duration = Duration::from_secs(2);

/// A reason to wake the thread of the screen.
enum Wake {
    Event(Event),
    Key(event::Event),
    Tick,
}

/// Restores the terminal when it is dropped. A panic restores it as well.
struct Terminal(DefaultTerminal);

impl Terminal {
    fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        // A terminal that does not know it shows a paste as keys.
        execute!(io::stdout(), EnableBracketedPaste).ok();
        Ok(Self(terminal))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        execute!(io::stdout(), DisableBracketedPaste).ok();
        // The terminal may be gone.
        ratatui::try_restore().ok();
    }
}

/// Reads keys until the screen is gone.
fn read_keys(to: Sender<Wake>) {
    std::thread::spawn(move || {
        while let Ok(key) = event::read() {
            if to.blocking_send(Wake::Key(key)).is_err() {
                return;
            }
        }
    });
}

/// Draws until the program ends.
fn draw(
    mut terminal: Terminal,
    mut screen: Screen,
    mut wakes: Receiver<Wake>,
    actions: &Sender<Action>,
) -> io::Result<()> {
    let mut has_changed = true;
    loop {
        if std::mem::take(&mut has_changed) {
            terminal.0.draw(|frame| draw::draw(frame, &mut screen))?;
        }
        let Some(mut wake) = wakes.blocking_recv() else { return Ok(()) };
        // All that has come is drawn at once.
        loop {
            has_changed |= !matches!(wake, Wake::Tick);
            match wake {
                Wake::Event(Event::End) => return Ok(()),
                Wake::Event(event) => screen.show(event),
                Wake::Tick => has_changed |= screen.tick(),
                Wake::Key(key) => {
                    match keys::handle(&mut screen, key) {
                        None => {}
                        Some(Action::Redraw) => terminal.0.clear()?,
                        // Many commands wait: this one is dropped.
                        Some(action) => drop(actions.try_send(action)),
                    }
                }
            }
            match wakes.try_recv() {
                Ok(next) => wake = next,
                Err(_) => break,
            }
        }
    }
}

/// Passes events and ticks to the screen.
async fn wake(mut events: Receiver<Event>, to: Sender<Wake>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let wake = tokio::select! {
            event = events.recv() => match event {
                Some(event) => Wake::Event(event),
                None => return,
            },
            _ = ticks.tick() => Wake::Tick,
        };
        if to.send(wake).await.is_err() {
            return;
        }
    }
}

/// Carries out what a person does, until the program is to end.
async fn act(chat: &Addr<Chat>, show: &Show, mut actions: Receiver<Action>) {
    while let Some(action) = actions.recv().await {
        match action {
            Action::Quit => return,
            Action::Select(room) => drop(chat.send(Select(room)).await),
            Action::Wrong(why) => show.trouble(why),
            Action::Command(command) => {
                // It may wait for another node.
                let carried_out = chat.send(Input(command));
                actix_rt::spawn(async move { carried_out.await.ok() });
            }
            Action::Redraw => {}
        }
    }
}

/// Runs until the person or a signal ends the program, or the terminal fails.
pub(crate) async fn run(
    chat: &Addr<Chat>,
    show: &Show,
    events: Receiver<Event>,
    has_colors: bool,
    ends: &mut Ends,
) -> io::Result<()> {
    let terminal = Terminal::open()?;
    let ((to, wakes), (commands, actions)) = (channel(QUEUE), channel(COMMANDS));
    read_keys(to.clone());
    let screen = Screen::new(has_colors);
    let drawing: JoinHandle<io::Result<()>> =
        std::thread::spawn(move || draw(terminal, screen, wakes, &commands));
    tokio::select! {
        () = act(chat, show, actions) => {}
        () = wake(events, to.clone()) => {}
        () = until_broken(chat) => {}
        () = ends.next() => {}
    }
    let drawn = async {
        to.send(Wake::Event(Event::End)).await.ok();
        tokio::task::spawn_blocking(move || drawing.join()).await
    };
    match tokio::time::timeout(RESTORE_TIME, drawn).await {
        Ok(Ok(Ok(drawn))) => drawn,
        // The thread panicked, which has restored the terminal, or the terminal is stopped.
        _ => Err(io::Error::other("it could not be drawn")),
    }
}
