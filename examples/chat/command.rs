//! Parses a line of input: a line for the room, or a command.

use std::path::PathBuf;

use crate::text::{Nick, RoomName};

/// The commands, with what they do.
pub(crate) const HELP: &[(&str, &str)] = &[
    ("/join ROOM", "enter a room, or make it the current one"),
    ("/leave [ROOM]", "leave a room"),
    ("/rooms", "list the rooms and their neighbours"),
    ("/who", "list who was seen in the room lately, with their keys"),
    ("/nick NICK", "take another nick"),
    ("/msg NICK TEXT", "say something to one person"),
    ("/send NICK FILE", "offer a file to one person"),
    ("/accept [NUMBER]", "take a file that was offered"),
    ("/decline [NUMBER]", "refuse it"),
    ("/ban [NICK]", "ban a person and hide their lines, or list who is banned"),
    ("/unban NICK", "end a ban"),
    ("/help", "show this list"),
    ("/quit", "end the program"),
];

/// One line of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Say(String),
    Join(RoomName),
    Leave(Option<RoomName>),
    Rooms,
    Who,
    Nick(Nick),
    Msg { to: String, text: String },
    Send { to: String, path: PathBuf },
    Accept(Option<u32>),
    Decline(Option<u32>),
    Ban(Option<String>),
    Unban(String),
    Help,
    Quit,
}

/// The first word, and the rest without the spaces around it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim())
}

fn usage(name: &str) -> String {
    let is_it = |form: &&&(&str, &str)| form.0.split(' ').next() == Some(name);
    match HELP.iter().find(|form| is_it(&form)) {
        Some((form, _)) => format!("write {form}"),
        None => format!("there is no command {name}: /help lists the commands"),
    }
}

fn room(text: &str) -> Result<RoomName, String> {
    text.parse().map_err(|error| format!("{text:?} cannot be the name of a room: {error}"))
}

fn number(name: &str, text: &str) -> Result<Option<u32>, String> {
    let text = text.strip_prefix('#').unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| usage(name))
}

/// The path, with `~/` as the home folder and without quotes around it.
fn path(text: &str) -> PathBuf {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let text = quoted('"').or_else(|| quoted('\'')).unwrap_or(text);
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

impl Command {
    /// Parses a line. `None` if it is empty; the error says what to write.
    pub(crate) fn parse(line: &str) -> Option<Result<Self, String>> {
        let line = line.trim();
        if line.is_empty() {
            return None;
        }
        // Two slashes begin a line that begins with one.
        if !line.starts_with('/') || line.starts_with("//") {
            let text = line.strip_prefix('/').unwrap_or(line);
            return Some(Ok(Self::Say(text.to_owned())));
        }
        let (name, rest) = split(line);
        Some(Self::named(name, rest))
    }

    fn named(name: &str, rest: &str) -> Result<Self, String> {
        let (first, second) = split(rest);
        let one = || if rest.is_empty() { Err(usage(name)) } else { Ok(first.to_owned()) };
        let two = || if second.is_empty() { Err(usage(name)) } else { one() };
        match name {
            "/join" | "/j" => Ok(Self::Join(room(&one().map_err(|_| usage("/join"))?)?)),
            "/leave" | "/part" if rest.is_empty() => Ok(Self::Leave(None)),
            "/leave" | "/part" => Ok(Self::Leave(Some(room(first)?))),
            "/rooms" => Ok(Self::Rooms),
            "/who" => Ok(Self::Who),
            "/nick" => match one()?.parse() {
                Ok(nick) => Ok(Self::Nick(nick)),
                Err(error) => Err(format!("{first:?} cannot be a nick: {error}")),
            },
            "/msg" => Ok(Self::Msg { to: two()?, text: second.to_owned() }),
            "/send" => Ok(Self::Send { to: two()?, path: path(second) }),
            "/accept" => Ok(Self::Accept(number(name, rest)?)),
            "/decline" => Ok(Self::Decline(number(name, rest)?)),
            "/ban" if rest.is_empty() => Ok(Self::Ban(None)),
            "/ban" => Ok(Self::Ban(Some(first.to_owned()))),
            "/unban" => Ok(Self::Unban(one()?)),
            "/help" | "/?" => Ok(Self::Help),
            "/quit" | "/exit" | "/q" => Ok(Self::Quit),
            _ => Err(usage(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        Command::parse(line).unwrap().unwrap()
    }

    fn refused(line: &str) -> String {
        Command::parse(line).unwrap().unwrap_err()
    }

    #[test]
    fn a_line_without_a_slash_is_for_the_room() {
        assert_eq!(parsed("  hello there "), Command::Say("hello there".into()));
        assert_eq!(parsed("//join is a command"), Command::Say("/join is a command".into()));
        assert_eq!(Command::parse("  "), None);
    }

    #[test]
    fn commands_have_arguments() {
        assert_eq!(parsed("/join #Rust"), Command::Join("rust".parse().unwrap()));
        assert_eq!(parsed("/leave"), Command::Leave(None));
        assert_eq!(parsed("/nick ada"), Command::Nick("ada".parse().unwrap()));
        let said = Command::Msg { to: "bob".into(), text: "two  words".into() };
        assert_eq!(parsed("/msg  bob  two  words "), said);
        let sent = Command::Send { to: "bob~k3f9".into(), path: "a file.txt".into() };
        assert_eq!(parsed("/send bob~k3f9 a file.txt"), sent);
        assert_eq!(parsed("/send bob~k3f9 \"a file.txt\""), sent);
        assert_eq!(parsed("/accept 3"), Command::Accept(Some(3)));
        assert_eq!(parsed("/ban"), Command::Ban(None));
        assert_eq!(parsed("/unban eve"), Command::Unban("eve".into()));
    }

    #[test]
    fn a_wrong_command_says_what_to_write() {
        assert_eq!(refused("/msg bob"), "write /msg NICK TEXT");
        assert_eq!(refused("/join"), "write /join ROOM");
        assert_eq!(refused("/accept it"), "write /accept [NUMBER]");
        assert!(refused("/dance").contains("/help"));
        assert!(refused("/nick a~b").contains("letters"));
        assert!(refused("/join a/b").contains("letters"));
    }
}
