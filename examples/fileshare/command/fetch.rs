//! `fetch NAME`: starts a transfer and watches it to its end.

use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::{
    client::{Client, Trouble},
    print::Output,
};
use crate::model::{Event, Fetch, Transfer, TransferState};

/// How often the bar moves although nothing came: it shows that the program lives.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn run(
    client: &Client,
    name: String,
    from: Option<String>,
    replace: bool,
    output: Output,
) -> Result<(), Trouble> {
    // Listening begins before the transfer, so that its end is not missed.
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
                let line = format!("waits: {what} (tried again; `cancel {number}` ends it)");
                bar.suspend(|| output.aside(&line));
            }
            transfer = news;
            advance(&bar, &transfer);
        }
    }
    bar.finish_and_clear();
    match transfer.state {
        TransferState::Failed => {
            let reason = transfer.error.unwrap_or_else(|| "for a reason that is not known".into());
            Err(Trouble::Failed(format!("{} was not fetched: {reason}", transfer.name)))
        }
        TransferState::Cancelled => {
            Err(Trouble::Failed(format!("{} was not fetched: it was cancelled", transfer.name)))
        }
        TransferState::Running | TransferState::Done => output.show(&transfer, done),
    }
}

/// What to do about a refusal, where an option does it.
fn with_advice(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Refused(mut refusal) if refusal.kind == "exists" => {
            refusal.error.push_str(" (--replace takes the new one)");
            Trouble::Refused(refusal)
        }
        other => other,
    }
}

fn done(transfer: &Transfer) -> String {
    let place = transfer.path.as_ref().map_or("nowhere".into(), |path| path.display().to_string());
    format!("{} ({}) from {}\n", place, DecimalBytes(transfer.done), transfer.sources.join(", "))
}

/// Invisible when standard error is no terminal.
fn bar(transfer: &Transfer, output: Output) -> ProgressBar {
    if output.json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    let known = "{msg} {bar:30} {percent:>3} % of {decimal_total_bytes}, {prefix}";
    // The template is a constant; if it were wrong, the plain bar would do.
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
