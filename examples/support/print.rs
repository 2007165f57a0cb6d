//! `println!` and `eprintln!` for the examples: a program whose standard output is closed, as in
//! `| head`, ends quietly instead of with a panic.

use std::{
    fmt::Arguments,
    io::{self, Write},
};

#[allow(unused_macros)]
macro_rules! println {
    () => { $crate::print::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::print::line(format_args!($($arg)*)) };
}

#[allow(unused_macros)]
macro_rules! eprintln {
    ($($arg:tt)*) => { $crate::print::trouble(format_args!($($arg)*)) };
}

/// Prints a line. Ends the process with exit code 0 if standard output is closed.
#[allow(dead_code)]
pub(crate) fn line(text: Arguments<'_>) {
    if try_line(text).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line; an error if standard output is closed.
pub(crate) fn try_line(text: Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Prints a line to standard error, unless it is closed.
#[allow(dead_code)]
pub(crate) fn trouble(text: Arguments<'_>) {
    writeln!(io::stderr(), "{text}").ok();
}
