//! Two nodes that identify each other by their keys, and a third node that is not admitted.
//!
//! `cargo run --example identity --features tls`

#[macro_use]
#[path = "support/print.rs"]
mod print;

use actix_peer::{
    Peer, PeerEvent, PeerInfo, RequestError,
    frame::Frame,
    transport::tls::{Admission, NodeIdentity, TlsTransport},
};
use futures::StreamExt;

/// Asks a node for its id.
async fn ask(from: &Peer, to: &PeerInfo) -> Result<String, RequestError> {
    let replies = from.request(to, Frame::text("NAME", "")).await?.collect().await?;
    Ok(replies.first().and_then(|reply| reply.as_str().ok()).unwrap_or("nothing").to_owned())
}

fn show(what: &str, outcome: Result<String, RequestError>) {
    match outcome {
        Ok(answer) => println!("{what}: {answer}"),
        Err(error) => println!("{what}: {error}"),
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An application stores its identity: NodeIdentity::load_or_generate("node.pem").
    let (ada, bob, eve) =
        (NodeIdentity::generate()?, NodeIdentity::generate()?, NodeIdentity::generate()?);
    let admission = Admission::allow_list([ada.id().clone()]);

    let transport = TlsTransport::new(bob).admission(admission.clone());
    let bob = Peer::builder().transport(transport).well_known().start().await?;
    let ada = Peer::builder().identity(ada).start().await?;
    let eve = Peer::builder().identity(eve).well_known().start().await?;

    show("ada asks bob", ask(&ada, bob.info()).await);
    show("eve asks bob", ask(&eve, bob.info()).await);

    // With bob's id and eve's address, the request fails, because eve has another key.
    let moved = PeerInfo::new(bob.id().clone(), eve.info().address().clone())?;
    show("ada asks bob at the address of eve", ask(&ada, &moved).await);

    // The ban closes the connections of ada at once.
    let mut events = ada.events();
    println!("bob bans ada: {} connection closed", admission.ban(ada.id()));
    while let Some(event) = events.next().await {
        if matches!(event, PeerEvent::LinkClosed { .. }) {
            break;
        }
    }
    show("ada asks bob", ask(&ada, bob.info()).await);

    tokio::join!(ada.stop(), bob.stop(), eve.stop());
    Ok(())
}
