//! A hostile node, which sends what the program itself would not.

use actix_peer::{
    Peer,
    frame::{TypeCode, Wire},
    topics::TopicConfig,
    transport::tls::NodeIdentity,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::{Receiver, channel};

use crate::instance::Instance;

/// Control characters, colours, a title of the window, a new direction, an invisible character.
const EVIL: &str = "\u{1b}[31m\u{1b}]0;owned\u{7}\r\n\u{9b}2J\u{202e}\u{200b}\0\u{7f}";

#[derive(Serialize, Deserialize)]
struct Said {
    nick: String,
    at: i64,
    text: String,
}

impl Wire for Said {
    const CODE: TypeCode = TypeCode::new(b"CHSA");
}

#[derive(Serialize, Deserialize, actix::Message)]
#[rtype(result = "bool")]
struct Offer {
    nick: String,
    listens: String,
    number: u64,
    name: String,
    bytes: u64,
}

impl Wire for Offer {
    const CODE: TypeCode = TypeCode::new(b"CHOF");
}

#[derive(Serialize, Deserialize, actix::Message)]
#[rtype(result = "()")]
struct Whisper {
    nick: String,
    listens: String,
    text: String,
}

impl Wire for Whisper {
    const CODE: TypeCode = TypeCode::new(b"CHWH");
}

/// Attacks until the test ends.
fn attack(address: &str, ends: Receiver<()>) {
    actix::System::new().block_on(async {
        let eve = Peer::builder().identity(NodeIdentity::generate().unwrap());
        let eve = eve.well_known().contacts([address]).start().await.unwrap();
        let lobby =
            eve.topic_with::<Said>("chat/lobby", TopicConfig::default().history(100)).unwrap();
        for at in [i64::MIN, i64::MAX, 0] {
            let said = Said { nick: format!("eve{EVIL}"), at, text: format!("spoken{EVIL}{at}") };
            lobby.publish(&said).unwrap();
        }
        let (nick, text) = ("x".repeat(20_000), "long ".repeat(8_000));
        lobby.publish(&Said { nick, at: 0, text }).unwrap();
        lobby.joined().await.unwrap();
        let (nick, listens) = (EVIL.to_owned(), eve.info().address().to_string());
        let whisper = Whisper { nick, listens, text: format!("whispered{EVIL}") };
        eve.send(address, whisper).await.unwrap();
        let mut accepted = Vec::new();
        for number in 0..6 {
            let (nick, listens) = ("eve".to_owned(), eve.info().address().to_string());
            let name = format!("../../{EVIL}/.evil{EVIL}");
            let offer = Offer { nick, listens, number, name, bytes: u64::MAX };
            accepted.push(eve.send(address, offer).await.unwrap());
        }
        assert_eq!(accepted.iter().filter(|accepted| **accepted).count(), 4, "{accepted:?}");
        let (nick, at, text) = ("eve".to_owned(), 0, "the end".to_owned());
        lobby.publish(&Said { nick, at, text }).unwrap();
        ends.await.unwrap();
        eve.stop().await;
    });
}

#[test]
fn control_characters_and_long_texts_do_not_reach_the_output() {
    let mut ada = Instance::start("ada", &[]);
    let address = ada.address.clone();
    let (end, ends) = channel();
    let attacker = std::thread::spawn(move || attack(&address, ends));
    ada.until("whispered");
    ada.until("offers ");
    ada.until("the end");
    ada.say("/accept 1");
    ada.until("failed, ");
    end.send(()).unwrap();
    attacker.join().unwrap();
    let lines = ada.printed();
    for what in ["spoken", "long long", "whispered", "_[31m"] {
        assert!(lines.iter().any(|line| line.contains(what)), "{what}: {lines:#?}");
    }
    for line in lines {
        let is_safe = |c: char| !c.is_control() && c != '\u{202e}' && c != '\u{200b}';
        assert!(line.chars().all(is_safe), "{line:?}");
        assert!(line.chars().count() < 2_200, "{}", line.len());
    }
    assert!(ada.files().is_empty(), "{:?}", ada.files());
}
