//! TLS and plain connections on one port, and ports for TLS only.

use actix_peer::{
    Config, Outgoing, Over, Peer, PeerEvent, Refusal, RequestError,
    frame::Frame,
    link::Reason,
    transport::{
        IdentityFault, Transport,
        memory::MemoryNetwork,
        tls::{Admission, Plain},
    },
};
use futures::FutureExt;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use crate::{SECOND, all, counts, event, host, links, pass, start, transport, turns};

fn echo(over: Over) -> Outgoing {
    Outgoing::from(Frame::text("ECHO", "x")).over(over)
}

#[actix::test]
async fn plain_text_on_a_tls_only_port_gets_one_frame_that_says_so() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    let mut events = bob.events();
    let refusal = b"ERRO\0\0\0\x0cTLS required";
    for request in [&b"ECHO\0\0\0\x01x"[..], b"@LNK\0\0\0\x02{}", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut io = host(&wires, "old").dial(bob.info().address()).await.unwrap();
        io.writer.write_all(request).await.unwrap();
        assert_eq!(all(&mut io).await, refusal);
        let refused = event(&mut events, |event| match event {
            PeerEvent::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        });
        assert_eq!(refused.await, Refusal::NoTls);
    }
    pass(2 * SECOND).await;
    let counts = counts(&bob).await;
    assert_eq!((counts.errors_no_tls, counts.frames_out, counts.links_opened), (3, 3, 0));
    assert_eq!(wires.connections(), 0);
}

#[actix::test]
async fn a_node_without_explanations_closes_plain_connections_without_a_frame() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let builder = Peer::builder().transport(transport(&wires, "bob")).listen("bob:9000");
    let bob = builder.config(Config::default().explain_refusals(false)).start().await.unwrap();
    let mut io = host(&wires, "old").dial(bob.info().address()).await.unwrap();
    io.writer.write_all(b"ECHO\0\0\0\x01x").await.unwrap();
    assert_eq!(all(&mut io).await, b"");
}

#[actix::test]
async fn one_port_serves_tls_and_plain_connections_and_distinguishes_them() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob").plain(Plain::Served)).await;
    let (plain, tls) =
        (start("old", host(&wires, "old")).await, start("ada", transport(&wires, "ada")).await);
    for over in [Over::Classic, Over::Link] {
        for (from, identity) in [(&plain, "Unknown"), (&tls, "Proven")] {
            let who = Outgoing::from(Frame::empty("WHO_")).over(over);
            let replies = from.request(bob.info().address(), who).await.unwrap().collect().await;
            let text = replies.unwrap()[0].as_str().unwrap().to_owned();
            let claimed = over == Over::Link && identity == "Unknown";
            assert!(
                text.starts_with(if claimed { "Claimed" } else { identity }),
                "{over:?} {text}"
            );
        }
    }
    // In the other direction: an id that is no key is dialled in plain.
    let replies = bob.request(plain.info(), echo(Over::Any)).await.unwrap().collect().await;
    assert_eq!(replies.unwrap(), [Frame::text("ECHO", "x")]);
    assert_eq!(links(&bob).await.len(), 2);
}

#[actix::test]
async fn a_plain_network_is_joined_only_through_a_contact_that_is_configured_as_plain() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let (old, other) =
        (start("old", host(&wires, "old")).await, start("x", host(&wires, "x")).await);
    other.join("old:9000").await.unwrap();
    for plain in [Plain::Refused, Plain::Served] {
        let over = transport(&wires, "ada").plain(plain);
        let ada = start("ada", over.plain_at(old.info().address().clone())).await;
        let joined = ada.join("old:9000").await;
        // The nodes that it lists have ids that are no keys, and are dialled in plain.
        let added = joined.map_or(0, |report| report.added().len());
        assert_eq!(added, if plain == Plain::Served { 2 } else { 0 });
        ada.stop().await;
    }
}

#[actix::test]
async fn a_node_with_tls_never_falls_back_to_plain() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let old = start("old", host(&wires, "old")).await;
    for plain in [Plain::Refused, Plain::Served] {
        let ada = start("ada", transport(&wires, "ada").plain(plain)).await;
        let key = crate::info("bob", "old");
        ada.peers().add(key.clone()).await.unwrap();
        for over in [Over::Any, Over::Classic, Over::Link] {
            let at = old.info().address().clone();
            for error in [
                ada.request(&key, echo(over)).await.unwrap_err(),
                ada.request(key.id(), echo(over)).await.unwrap_err(),
                ada.request(&at, echo(over)).await.unwrap_err(),
            ] {
                let at = at.clone();
                assert!(
                    matches!(&error, RequestError::Identity(fault) if *fault == IdentityFault::NotTls { at }),
                    "{error:?}"
                );
            }
        }
        ada.stop().await;
    }
    assert_eq!(counts(&old).await.exchanges_out, 0);
}

#[actix::test]
async fn plain_links_end_at_once_when_an_allow_list_is_set() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::open();
    let bob = transport(&wires, "bob").plain(Plain::Served).admission(admission.clone());
    let (bob, old) = (start("bob", bob).await, start("old", host(&wires, "old")).await);
    let asked = old.request(bob.info(), echo(Over::Link)).await.unwrap();
    asked.collect().await.unwrap();
    assert_eq!(wires.connections(), 1);
    let closed = admission.set(actix_peer::transport::tls::Policy::AllowList([].into()));
    turns().await;
    assert_eq!((closed, wires.connections()), (1, 0));
    let asked = old.request(bob.info(), echo(Over::Link)).await;
    assert!(matches!(
        asked,
        Err(RequestError::Reset { reason: Reason::LOST, .. } | RequestError::NoLink(_))
    ));
    pass(SECOND).await;
    assert_eq!(wires.connections(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the first bytes are, and however they are split, the node closes the connection in
    /// the end and serves the next one.
    #[test]
    fn arbitrary_first_bytes_do_no_harm(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(|mut rest| {
                let mut hello = vec![0x16, 3, 1, 0, 75, 1, 0, 0, 71, 3, 3];
                hello.append(&mut rest);
                hello
            }),
        ],
        piece in 1_usize..20, served in any::<bool>(),
    ) {
        actix::System::new().block_on(async move {
            tokio::time::pause();
            let wires = MemoryNetwork::new(1);
            let plain = if served { Plain::Served } else { Plain::Refused };
            let bob = start("bob", transport(&wires, "bob").plain(plain)).await;
            let mut io = host(&wires, "eve").dial(bob.info().address()).await.unwrap();
            for piece in bytes.chunks(piece) {
                // The node may have closed the connection already.
                io.writer.write_all(piece).await.ok();
                tokio::task::yield_now().await;
            }
            let mut answer = Box::pin(all(&mut io));
            (&mut answer).now_or_never();
            pass(41 * SECOND).await;
            drop(answer);
            drop(io);
            pass(2 * SECOND).await;
            assert_eq!(bob.status().await.connections, 0);
            let ada = start("ada", transport(&wires, "ada")).await;
            let replies = ada.request(bob.info(), echo(Over::Any)).await.unwrap();
            assert_eq!(replies.collect().await.unwrap(), [Frame::text("ECHO", "x")]);
            ada.stop().await;
            bob.stop().await;
        });
    }
}
