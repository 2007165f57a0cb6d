//! `fetch NAME`: starts a transfer and waits for its end.

use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::{
    client::{Client, CommandError},
    print::Output,
};
use crate::model::{Event, Fetch, Transfer, TransferState};

/// The interval at which the progress bar is redrawn without progress.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn run(
    client: &Client,
    name: String,
    from: Option<String>,
    replace: bool,
    output: Output,
) -> Result<(), CommandError> {
    // Events are read from before the transfer, so that its end is not missed.
    let mut events = client.events(None)?;
    let started = client.post("api/fetch", &Fetch { name, from, replace });
    let mut transfer: Transfer = started.map_err(with_advice)?;
    let bar = bar(&transfer, output);
    while transfer.state == TransferState::Running {
        let Some(Event::Transfer(news)) = events.next(&["transfer"])? else { continue };
        if news.number == transfer.number {
            if let Some(what) = news.waits.as_ref().filter(|_| news.waits != transfer.waits)
                && !output.json
            {
                let number = news.number;
                let line = format!("waiting: {what} (trying again; `cancel {number}` ends it)");
                bar.suspend(|| output.aside(&line));
            }
            transfer = news;
            advance(&bar, &transfer);
        }
    }
    bar.finish_and_clear();
    match transfer.state {
        TransferState::Failed => {
            let reason = transfer.error.unwrap_or_else(|| "the reason is unknown".into());
            Err(CommandError::Failed(format!("{} was not fetched: {reason}", transfer.name)))
        }
        TransferState::Cancelled => Err(CommandError::Failed(format!(
            "{} was not fetched: it was cancelled",
            transfer.name
        ))),
        TransferState::Running | TransferState::Done => output.show(&transfer, done),
    }
}

/// Adds the option that helps, if there is one.
fn with_advice(error: CommandError) -> CommandError {
    match error {
        CommandError::Refused(mut refusal) if refusal.kind == "exists" => {
            refusal.error.push_str(" (--replace replaces it)");
            CommandError::Refused(refusal)
        }
        other => other,
    }
}

fn done(transfer: &Transfer) -> String {
    let place = transfer.path.as_ref().map_or("nowhere".into(), |path| path.display().to_string());
    format!("{} ({}) from {}\n", place, DecimalBytes(transfer.done), transfer.sources.join(", "))
}

/// The progress bar, which is hidden unless standard error is a terminal.
fn bar(transfer: &Transfer, output: Output) -> ProgressBar {
    if output.json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    let known = "{msg} {bar:30} {percent:>3} % of {decimal_total_bytes}, {prefix}";
    // If the template were invalid, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template(known) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar.set_message(transfer.name.clone());
    advance(&bar, transfer);
    bar
}

fn advance(bar: &ProgressBar, transfer: &Transfer) {
    if let Some(size) = transfer.size {
        bar.set_length(size);
    }
    bar.set_position(transfer.done);
    let left = transfer.seconds_left.map_or(String::new(), |left| format!(", {left} s left"));
    bar.set_prefix(format!("{}/s{left}", DecimalBytes(transfer.bytes_per_second)));
}
