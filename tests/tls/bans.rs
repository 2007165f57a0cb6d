//! Bans of proven ids, wherever they connect from.

use actix_peer::{
    Config, Outgoing, Over, Peer, PeerEvent, RequestError,
    frame::Frame,
    limits::{Misbehavior, Offender},
    message::Cause,
    overlay::Address,
    transport::{
        Transport,
        memory::MemoryNetwork,
        tls::{NodeIdentity, TlsTransport},
    },
};
use futures::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;

use crate::{
    SECOND, all, common::frames::frame, counts, host, id_of, links, node_with, pass, start,
    transport, turns,
};

/// A transport on the host `at` with the key of `id`.
fn elsewhere(wires: &MemoryNetwork, id: &str, at: &str) -> TlsTransport {
    TlsTransport::over(host(wires, at), NodeIdentity::for_tests(id))
}

async fn answered(from: &Peer, to: &Peer, over: Over) -> Result<(), RequestError> {
    let echo = Outgoing::from(Frame::text("ECHO", "x")).over(over);
    from.request(to.info(), echo).await?.collect().await.map(drop)
}

/// The reply to a request on a connection over this transport; empty if it is refused.
async fn say(over: &TlsTransport, to: &Peer, code: &str, text: &str) -> Vec<u8> {
    let mut io = over.dial(to.info().address()).await.unwrap();
    io.writer.write_all(&frame(code, text)).await.ok();
    io.writer.flush().await.ok();
    all(&mut io).await
}

#[actix::test]
async fn a_proven_id_that_misbehaves_is_banned_wherever_it_connects_from() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let config = Config::default().ban_at(20).ban_time(60 * SECOND);
    let bob = node_with(&wires, "bob", config).await;
    let ada = start("ada", transport(&wires, "ada")).await;
    let far = start("far", elsewhere(&wires, "eve", "far")).await;
    answered(&ada, &bob, Over::Link).await.unwrap();
    answered(&far, &bob, Over::Link).await.unwrap();
    assert_eq!((links(&bob).await.len(), wires.connections()), (2, 2));
    let mut events = bob.events();
    // Sends the id of another node twice, from another host than the link.
    let eve = transport(&wires, "eve");
    for _ in 0..2 {
        let heard = say(&eve, &bob, "QUIT", id_of("ada").as_str()).await;
        assert!(heard.ends_with(b"Not your id"), "{heard:?}");
    }
    turns().await;
    let mut banned = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PeerEvent::Banned { whom, why, .. } = event {
            assert_eq!(why, Misbehavior::NotItsId);
            banned.push(whom);
        }
    }
    let source = Offender::from(&"eve:9000".parse::<Address>().unwrap());
    assert_eq!(banned, [source, Offender::Id(id_of("eve"))]);
    // Its link is closed, and the link of the other peer stays.
    let left: Vec<_> = links(&bob).await.into_iter().map(|link| link.address.to_string()).collect();
    assert_eq!(left, ["ada:9000"]);
    assert_eq!(wires.connections(), 1);
    // It is refused from its old host and from a new one, after the handshake.
    let before = counts(&bob).await;
    for at in ["far", "farther"] {
        assert_eq!(say(&elsewhere(&wires, "eve", at), &bob, "NAME", "").await, b"", "{at}");
    }
    for over in [Over::Link, Over::Classic] {
        assert!(answered(&far, &bob, over).await.is_err(), "{over:?}");
    }
    let after = counts(&bob).await;
    assert!(after.connections_banned >= before.connections_banned + 4);
    assert_eq!(after.errors_handshake, before.errors_handshake);
    assert_eq!(after.exchanges_in, before.exchanges_in, "no request of the banned peer is handled");
    // The host itself is not banned: another proven id is served from there.
    let cyd = elsewhere(&wires, "cyd", "far");
    assert!(say(&cyd, &bob, "NAME", "").await.starts_with(b"REPL"));
    answered(&ada, &bob, Over::Link).await.unwrap();
    // After the ban it is served again.
    pass(61 * SECOND).await;
    let heard = say(&elsewhere(&wires, "eve", "farther"), &bob, "NAME", "").await;
    assert!(heard.starts_with(b"REPL"), "{heard:?}");
}

#[actix::test]
async fn nothing_is_sent_to_a_banned_id() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = start("ada", transport(&wires, "ada")).await;
    let eve = start("eve", transport(&wires, "eve")).await;
    answered(&ada, &eve, Over::Link).await.unwrap();
    assert!(ada.ban(id_of("eve"), 60 * SECOND));
    turns().await;
    assert_eq!(wires.connections(), 0, "its link is closed");
    let before = counts(&eve).await.exchanges_in;
    let (known, address) = (eve.info(), eve.info().address().to_string());
    for over in [Over::Any, Over::Link, Over::Classic] {
        let echo = || Outgoing::from(Frame::text("ECHO", "x")).over(over);
        // By its id, and by an address where it proves its id.
        let errors = [
            ada.request(known, echo()).await.unwrap_err(),
            ada.request(address.as_str(), echo()).await.unwrap_err(),
            ada.notify(known, echo()).await.unwrap_err(),
            ada.notify(address.as_str(), echo()).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, RequestError::Banned(id) if *id == id_of("eve")), "{error:?}");
            assert_eq!(error.cause(), Cause::Node);
            assert!(!error.may_have_been_handled());
        }
    }
    assert_eq!(counts(&eve).await.exchanges_in, before);
    assert_eq!(links(&ada).await.len(), 0);
    // A peer with another proven id is not affected, and the end of the ban leaves no backoff.
    let cyd = start("cyd", transport(&wires, "cyd")).await;
    answered(&ada, &cyd, Over::Link).await.unwrap();
    assert!(ada.unban(id_of("eve")));
    answered(&ada, &eve, Over::Link).await.unwrap();
    answered(&ada, &eve, Over::Classic).await.unwrap();
}
