//! A clean stop: running requests finish, peers are told, and late requests are aborted.
//!
//! ```text
//! $ cargo run --example shutdown
//! a job of 300 ms and a job of one hour are running; the node stops
//! the short job was finished: REPL "done after 300 ms"
//! the long job was aborted: the exchange was ended: going away (it may have been handled)
//! bob knows no other peer now
//! told 1 peer, aborted 1 exchange: WORK
//! ```

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::time::Duration;

use actix::prelude::*;
use actix_peer::{Config, Incoming, Peer, Reply, frame::Frame, handler};
use tokio::time::sleep;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let work = handler::from_fn(async |msg: Incoming| {
        let Some(millis) = msg.frame.as_str().ok().and_then(|text| text.parse().ok()) else {
            return Reply::error("the data must be a number of milliseconds");
        };
        sleep(Duration::from_millis(millis)).await;
        Reply::one(Frame::text("REPL", format!("done after {millis} ms")))
    });
    let config = Config::default().drain_timeout(Duration::from_secs(1));
    let builder = Peer::builder().id("ada").config(config).well_known();
    let ada = builder.handle("WORK", work.start())?.start().await?;
    let bob = Peer::builder().id("bob").well_known().start().await?;
    bob.join(&ada.info().address().to_string()).await?;

    let short = bob.request(ada.info(), Frame::text("WORK", "300")).await?;
    let long = bob.request(ada.info(), Frame::text("WORK", "3600000")).await?;
    // A job that has not arrived before the stop would be refused.
    while ada.status().await.links.iter().map(|link| link.open).sum::<usize>() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    println!("a job of 300 ms and a job of one hour are running; the node stops");
    let (report, short, long) = tokio::join!(ada.stop(), short.collect(), long.collect());
    for reply in short? {
        println!("the short job was finished: {} {:?}", reply.code(), reply.as_str()?);
    }
    if let Err(error) = long {
        let verb = if error.may_have_been_handled() { "may" } else { "cannot" };
        println!("the long job was aborted: {error} (it {verb} have been handled)");
    }
    if bob.peers().list().await?.is_empty() {
        println!("bob knows no other peer now");
    }
    let codes = report.aborted.iter().filter_map(|exchange| exchange.code);
    let codes: Vec<_> = codes.map(|code| code.to_string()).collect();
    let (told, aborted) = (report.told, report.aborted.len());
    println!("told {told} peer, aborted {aborted} exchange: {}", codes.join(" "));
    bob.stop().await;
    Ok(())
}
