//! Claims of another id or address than the proven one are refused.

use std::future::poll_fn;

use actix_peer::{
    Outgoing, Over, Peer, PeerId, RequestError,
    frame::{Frame, TypeCode},
    link::Reason,
    message::Cause,
    overlay::{Address, Envelope},
    transport::{
        IdentityFault, Io, Transport,
        memory::MemoryNetwork,
        tls::{Plain, TlsTransport},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    SECOND, all,
    common::frames::{encoded, frame},
    counts, host, id_of, info, links, pass, start, transport,
};

fn hello(id: &str, host: &str) -> Vec<u8> {
    let hello = format!(
        r#"{{"version":1,"id":"{id}","host":"{host}","port":9000,"window":65536,
        "max_message":1024,"max_open":8,"incarnation":1,"features":[]}}"#
    );
    frame("@LNK", hello)
}

/// The reply to these bytes, on a connection over this transport.
async fn say(over: &impl Transport, to: &Peer, bytes: &[u8]) -> Vec<u8> {
    let mut io = over.dial(to.info().address()).await.unwrap();
    io.writer.write_all(bytes).await.unwrap();
    io.writer.flush().await.unwrap();
    all(&mut io).await
}

const NOT_YOURS: &[u8] = b"ERRO\0\0\0\x0bNot your id";

#[actix::test]
async fn a_hello_with_another_id_than_the_proven_one_is_refused_and_counted() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    let eve = transport(&wires, "eve");
    for claimed in [id_of("ada").as_str(), id_of("bob").as_str(), "eve", "127.0.0.1:9000"] {
        let answer = say(&eve, &bob, &hello(claimed, "eve")).await;
        let reset = [&[0, 0, 0, 0, 8], &Reason::NOT_ALLOWED.number().to_be_bytes()[..]].concat();
        assert!(answer.windows(7).any(|bytes| bytes == reset), "{claimed}: {answer:?}");
    }
    let counts = counts(&bob).await;
    assert_eq!((counts.errors_not_your_id, counts.links_opened), (4, 0));
    assert!(links(&bob).await.is_empty());
}

/// A node that accepts one connection over this transport and runs `work` on it.
async fn fake<R>(over: TlsTransport, at: &str, work: impl AsyncFnOnce(Io) -> R) -> R {
    let mut listener = over.listen(&at.parse().unwrap()).await.unwrap();
    let io = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    work(over.secure(io).await.unwrap()).await
}

#[actix::test]
async fn an_answering_hello_with_another_id_is_an_error_that_says_so() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = start("ada", transport(&wires, "ada")).await;
    let eve = fake(transport(&wires, "eve"), "eve:9000", async |mut io: Io| {
        io.writer.write_all(&hello(id_of("bob").as_str(), "eve")).await.unwrap();
        io.writer.flush().await.unwrap();
        all(&mut io).await
    });
    let to: Address = "eve:9000".parse().unwrap();
    let asked = async {
        // The other side has to listen first.
        pass(SECOND).await;
        ada.request(&to, Outgoing::from(Frame::empty("ECHO")).over(Over::Link)).await
    };
    let (sent, asked) = futures::future::join(eve, asked).await;
    let error = asked.unwrap_err();
    let (at, proven, claimed) = (to.clone(), id_of("eve"), id_of("bob"));
    let expected = IdentityFault::ClaimsAnother { at, proven, claimed };
    assert!(matches!(&error, RequestError::Identity(fault) if *fault == expected), "{error:?}");
    assert_eq!(error.cause(), Cause::Remote);
    assert!(!sent.windows(4).any(|bytes| bytes == b"ECHO"), "the message was not sent");
    assert_eq!(counts(&ada).await.errors_not_your_id, 1);
}

#[actix::test]
async fn a_join_or_quit_in_the_name_of_another_id_is_refused() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    bob.peers().add(info("ada", "ada")).await.unwrap();
    let eve = transport(&wires, "eve");
    for request in [
        Frame::text("JOIN", info("cyd", "eve").to_string()),
        Frame::text("JOIN", "cyd eve 9000"),
        Frame::text("QUIT", id_of("ada").to_string()),
    ] {
        assert_eq!(say(&eve, &bob, &encoded(&request)).await, NOT_YOURS, "{request:?}");
        // Over a link as well.
        let node = start("eve", eve.clone()).await;
        let message = Outgoing::from(request).over(Over::Link);
        let error = node.request(bob.info(), message).await.unwrap().collect().await.unwrap_err();
        let reason = Reason::NOT_ALLOWED;
        assert!(matches!(error, RequestError::Reset { reason: r, .. } if r == reason), "{error:?}");
        node.stop().await;
    }
    assert_eq!(counts(&bob).await.errors_not_your_id, 6);
    let known = bob.peers().list().await.unwrap();
    assert_eq!(
        known.iter().map(|entry| entry.info().id().clone()).collect::<Vec<_>>(),
        [id_of("ada")]
    );
    // Every node may join in its own name.
    let own = encoded(&Frame::text("JOIN", info("eve", "eve").to_string()));
    assert!(say(&eve, &bob, &own).await.starts_with(b"REPL"));
    let own = encoded(&Frame::text("QUIT", id_of("eve").to_string()));
    assert!(say(&eve, &bob, &own).await.starts_with(b"REPL"));
}

#[actix::test]
async fn an_id_that_is_a_key_is_refused_without_a_proof() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob").plain(Plain::Served)).await;
    let eve = host(&wires, "eve");
    let key = id_of("ada");
    let upper = key.as_str().to_uppercase();
    for claimed in [key.as_str(), upper.as_str()] {
        let join = Frame::text("JOIN", format!("{claimed} eve 9000"));
        assert_eq!(say(&eve, &bob, &encoded(&join)).await, NOT_YOURS);
        let quit = Frame::text("QUIT", claimed);
        assert_eq!(say(&eve, &bob, &encoded(&quit)).await, NOT_YOURS);
        say(&eve, &bob, &hello(claimed, "eve")).await;
    }
    let counts = counts(&bob).await;
    assert_eq!((counts.errors_not_your_id, counts.links_opened), (6, 0));
    // Other ids are only claimed, as before.
    let join = Frame::text("JOIN", "eve:9000 eve 9000");
    assert!(say(&eve, &bob, &encoded(&join)).await.starts_with(b"REPL"));
}

fn routed(to: &PeerId, origin: &str, trace: &[&str], frame: Frame) -> Frame {
    // The envelope's header in postcard: two texts, a byte, a list of texts, four bytes.
    let mut data = Vec::new();
    let text = |data: &mut Vec<u8>, text: &str| {
        data.push(u8::try_from(text.len()).unwrap());
        data.extend_from_slice(text.as_bytes());
    };
    text(&mut data, to.as_str());
    text(&mut data, origin);
    data.push(3);
    data.push(u8::try_from(trace.len()).unwrap());
    trace.iter().for_each(|id| text(&mut data, id));
    data.extend_from_slice(frame.code().as_bytes());
    data.extend_from_slice(frame.data());
    let frame = Frame::new(TypeCode::FWD, data);
    assert!(Envelope::decode(&frame).is_some());
    frame
}

#[actix::test]
async fn a_routed_message_with_a_false_origin_is_refused_and_counted() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    let (eve, ada, cyd) = (id_of("eve"), id_of("ada"), id_of("cyd"));
    let (eve, ada, cyd) = (eve.as_str(), ada.as_str(), cyd.as_str());
    let ask = async |origin, trace: &[&str]| {
        let frame = routed(bob.id(), origin, trace, Frame::empty("WHO_"));
        say(&transport(&wires, "eve"), &bob, &encoded(&frame)).await
    };
    for (origin, trace) in [
        (ada, &[ada][..]),
        (ada, &[eve]),
        (eve, &[ada]),
        (ada, &[]),
        (eve, &[]),
        (ada, &[cyd, eve]),
        (eve, &[eve, ada]),
    ] {
        assert_eq!(ask(origin, trace).await, NOT_YOURS, "{origin} {trace:?}");
    }
    assert_eq!(counts(&bob).await.errors_not_your_id, 7);
    // The origin is proven if the message comes from it directly. A forwarded message only claims
    // its origin.
    let text = |answer: Vec<u8>| String::from_utf8(answer[8..].to_vec()).unwrap();
    assert_eq!(text(ask(eve, &[eve]).await), format!("Proven({eve:?})"));
    assert_eq!(text(ask(ada, &[ada, eve]).await), format!("Claimed({ada:?})"));
}

#[actix::test]
async fn a_node_that_claims_the_address_of_another_gets_none_of_its_messages() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let cyd = start("cyd", transport(&wires, "cyd")).await;
    // Eve is on the same host as Bob, and has her own key.
    let eve = TlsTransport::over(host(&wires, "bob"), identity("eve"));
    let mut io = eve.dial(cyd.info().address()).await.unwrap();
    io.writer.write_all(&hello(id_of("eve").as_str(), "bob")).await.unwrap();
    io.writer.flush().await.unwrap();
    io.reader.read_u8().await.unwrap();
    assert_eq!(links(&cyd).await[0].address.to_string(), "bob:9000");
    let bob = start("bob", transport(&wires, "bob")).await;
    let ask = async || {
        let message = Outgoing::from(Frame::text("ECHO", "x")).over(Over::Link);
        cyd.request(bob.info(), message).await.unwrap().collect().await.unwrap()
    };
    assert_eq!(ask().await, [Frame::text("ECHO", "x")]);
    // The same while Bob's link is open, with ids on either side of this node's id: of two links of
    // one peer the ids decide which one stays.
    let dials = wires.dials();
    let names = ["eve", "mallory", "trudy", "oscar", "victor", "sybil", "chuck", "walter"];
    assert!(names.iter().any(|name| id_of(name) < *cyd.id()));
    assert!(names.iter().any(|name| id_of(name) > *cyd.id()));
    for (n, name) in (1..).zip(names) {
        let over = TlsTransport::over(host(&wires, "bob"), identity(name));
        let mut io = over.dial(cyd.info().address()).await.unwrap();
        io.writer.write_all(&hello(id_of(name).as_str(), "bob")).await.unwrap();
        io.writer.flush().await.unwrap();
        io.reader.read_u8().await.unwrap();
        assert_eq!(ask().await, [Frame::text("ECHO", "x")]);
        assert_eq!(wires.dials(), dials + n, "{name}: the existing link is used");
    }
}

fn identity(name: &str) -> actix_peer::transport::tls::NodeIdentity {
    actix_peer::transport::tls::NodeIdentity::for_tests(name)
}

#[actix::test]
async fn a_contact_that_states_another_id_than_its_own_is_not_joined() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let ada = start("ada", transport(&wires, "ada")).await;
    let over = transport(&wires, "eve");
    let eve = async {
        let mut listener = over.listen(&"eve:9000".parse().unwrap()).await.unwrap();
        loop {
            let io = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            let Ok(mut io) = over.secure(io).await else { continue };
            let reply = match io.reader.read_u8().await {
                Ok(b'N') => Frame::text("REPL", id_of("bob").to_string()),
                Ok(_) => Frame::text("REPL", "Join: peer added: x"),
                Err(_) => continue,
            };
            io.writer.write_all(&encoded(&reply)).await.ok();
            io.writer.shutdown().await.ok();
        }
    };
    let join = async {
        pass(SECOND).await;
        ada.join("eve:9000").await
    };
    let joined = futures::future::select(Box::pin(eve), Box::pin(join)).await;
    assert!(matches!(joined, futures::future::Either::Right(_)));
    assert!(ada.peers().list().await.unwrap().is_empty());
}
