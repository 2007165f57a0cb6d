//! The terminal as plain lines: one event a line, for scripts and for terminals without a screen.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    time::Duration,
};

use actix::Addr;
use tokio::{
    sync::mpsc::{Receiver, channel},
    time::timeout,
};

use crate::{
    chat::{Chat, Input, UntilHeard, until_broken},
    command::Command,
    ends::Ends,
    text::size,
    view::{Event, Show, State, Transfer},
};

/// How long the program waits at the end of its input until another node has what was said.
const HEARD_TIME: Duration = Duration::from_secs(10);

/// The number of lines after which the program waits until another node has them. A topic never
/// waits: it drops what comes faster than the network takes it.
const PACE: u64 = 100;

/// How long it waits then.
const PACE_TIME: Duration = Duration::from_secs(2);

/// The maximum length of one line of input, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// Progress is printed once for each part of this size, in percent.
const STEP: u64 = 10;

/// Prints events. Progress is printed in steps.
#[derive(Debug, Default)]
struct Printer {
    /// The last step that was printed, by the number of the transfer.
    steps: BTreeMap<u64, u64>,
}

impl Printer {
    /// The line for an event.
    fn line(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Line(line) => Some(line.plain()),
            Event::Transfer(transfer) => self.transfer(&transfer),
            Event::Rooms { .. } | Event::Left(_) | Event::Hide(_) | Event::End => None,
        }
    }

    fn transfer(&mut self, transfer: &Transfer) -> Option<String> {
        let Transfer { number, title, bytes, state, .. } = transfer;
        match state {
            State::Runs => {
                let percent = transfer.percent();
                let step = percent / STEP;
                let is_new = self.steps.insert(*number, step) != Some(step);
                is_new.then(|| format!("file {title}: {percent} % of {}", size(*bytes)))
            }
            State::Done(text) => {
                self.steps.remove(number);
                Some(format!("file {title}: complete, {text}"))
            }
            State::Failed(why) => {
                self.steps.remove(number);
                Some(format!("file {title}: failed, {why}"))
            }
        }
    }
}

/// Prints events until the program ends, on a thread of its own. A reader that is slow stops the
/// thread, and not the node.
pub(crate) fn print(mut events: Receiver<Event>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut printer = Printer::default();
        while let Some(event) = events.blocking_recv().filter(|event| *event != Event::End) {
            if let Some(line) = printer.line(event)
                && writeln!(std::io::stdout(), "{line}").is_err()
            {
                return;
            }
        }
    })
}

/// The lines of standard input, read on a thread of their own.
fn input() -> Receiver<String> {
    let (sender, lines) = channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = std::io::Read::take(&mut input, MAX_LINE).read_until(b'\n', &mut line);
            let is_end = !matches!(read, Ok(bytes) if bytes > 0);
            if is_end || sender.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err()
            {
                return;
            }
        }
    });
    lines
}

/// Carries out the lines of standard input, one after the other, until it ends.
async fn commands(chat: &Addr<Chat>, show: &Show, stay: bool) {
    let mut lines = input();
    let mut said = 0_u64;
    loop {
        match lines.recv().await.map(|line| Command::parse(&line)) {
            // The end of the input.
            None if stay => std::future::pending().await,
            None | Some(Some(Ok(Command::Quit))) => break,
            // An error: the chat has ended, which is noticed elsewhere.
            Some(Some(Ok(command))) => {
                said += u64::from(matches!(command, Command::Say(_)));
                chat.send(Input(command)).await.ok();
                if said >= PACE {
                    said = 0;
                    timeout(PACE_TIME, chat.send(UntilHeard)).await.ok();
                }
            }
            Some(Some(Err(why))) => show.trouble(why),
            Some(None) => {}
        }
    }
    timeout(HEARD_TIME, chat.send(UntilHeard)).await.ok();
}

/// Runs until the input ends, or a signal asks the program to end.
pub(crate) async fn run(chat: &Addr<Chat>, show: &Show, stay: bool, ends: &mut Ends) {
    tokio::select! {
        () = commands(chat, show, stay) => {}
        () = until_broken(chat) => {}
        () = ends.next() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_printed_in_steps() {
        let mut printer = Printer::default();
        let mut printed = |done, state| {
            let title = "a.txt to ada".to_owned();
            printer.line(Event::Transfer(Transfer { number: 1, title, done, bytes: 1_000, state }))
        };
        assert_eq!(printed(0, State::Runs).as_deref(), Some("file a.txt to ada: 0 % of 1000 B"));
        assert_eq!(printed(99, State::Runs), None);
        assert_eq!(printed(100, State::Runs).as_deref(), Some("file a.txt to ada: 10 % of 1000 B"));
        let done = printed(1_000, State::Done("sent".into()));
        assert_eq!(done.as_deref(), Some("file a.txt to ada: complete, sent"));
    }
}
