//! The signals that ask a long-running program to end: ctrl-C, `kill`, the end of its terminal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handlers of these signals.
pub(crate) struct Ends {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if the program was started to outlive its terminal.
    hang_up: Option<Signal>,
}

impl Ends {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The operating system refuses a handler.
    pub(crate) fn new() -> io::Result<Self> {
        let hang_up = if outlives_terminal() { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)?, hang_up })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Whether `SIGHUP` is ignored, as under `nohup`; a handler would undo that. Detected on Linux
/// only.
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}
