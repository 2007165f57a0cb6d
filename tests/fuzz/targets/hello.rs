//! The hello of a link: the JSON reader of this crate, compared with serde_json.

use actix_peer::{frame::Frame, link::Hello};
use serde::de::IgnoredAny;
use serde_json::Value;

/// The longest hello that is read, in bytes.
const MAX_HELLO: usize = 4 << 10;

pub(crate) fn run(bytes: &[u8]) {
    let frame = Frame::new(b"@LNK", bytes.to_vec());
    let Ok(hello) = Hello::from_frame(&frame) else { return };
    let again = hello.to_frame();
    // Escaping can make a hello too long to be read. A node sends nothing that needs escaping.
    assert!(again.data().len() > MAX_HELLO || Hello::from_frame(&again) == Ok(hello.clone()));

    // An accepted hello is valid JSON with the same meaning for other readers.
    serde_json::from_slice::<IgnoredAny>(bytes).expect("no JSON");
    // Other readers may refuse numbers that this reader skips, and may use the other one of two
    // equal members.
    let Ok(Value::Object(others)) = serde_json::from_slice(bytes) else { return };
    let is_text = |name: &str, text: &str| {
        let once = bytes.windows(name.len()).filter(|part| *part == name.as_bytes()).count() == 1;
        assert!(!once || others[name] == text, "{name}: {text:?}, {:?}", others[name]);
    };
    is_text("id", hello.info.id().as_str());
    let (Ok(again), true) =
        (serde_json::from_slice::<Value>(hello.to_frame().data()), !bytes.contains(&b'\\'))
    else {
        return;
    };
    for (name, value) in again.as_object().unwrap() {
        let quoted = format!("\"{name}\"");
        let count = bytes.windows(quoted.len()).filter(|part| *part == quoted.as_bytes()).count();
        assert!(name == "host" || count != 1 || others.get(name) == Some(value), "{name}");
    }
}
