//! The screen, in a terminal that `script` makes.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::instance::program;

/// Longer than any step takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that is killed when the test ends in any way. Its terminal ends with it, and so does
/// what runs there.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_screen_shows_what_is_typed_and_restores_the_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: this machine has no `script`");
        return;
    }
    let chat = program().get_program().to_str().unwrap().to_owned();
    let command = format!("stty rows 20 cols 80; '{chat}' --nick zoe; echo ended with $?; stty -a");
    let script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut script = Killed(script);
    let (mut input, mut output) = (script.0.stdin.take().unwrap(), script.0.stdout.take().unwrap());
    let (send, pieces) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(bytes) = output.read(&mut piece)
            && bytes > 0
            && send.send(String::from_utf8_lossy(&piece[..bytes]).into_owned()).is_ok()
        {}
    });
    let mut shown = String::new();
    let mut until = |text: &str| {
        while !shown.contains(text) {
            match pieces.recv_timeout(LIMIT) {
                Ok(piece) => shown.push_str(&piece),
                Err(_) => panic!("no {text:?} in {shown:?}"),
            }
        }
    };
    // The other screen.
    until("\u{1b}[?1049h");
    until("others join with");
    input.write_all(b"QQQQQQQQ\r").unwrap();
    until(" QQQQQQQQ");
    // Ctrl-C.
    input.write_all(b"\x03").unwrap();
    until("\u{1b}[?1049l");
    until("ended with 0");
    // Lines and echo as before.
    until(" icanon");
    until(" echo ");
    script.0.wait().unwrap();
}
