//! The lines of text of the file-sharing program: `QUER`, `RESP`, `FGET`, and its own formats.

use actix_peer::{
    content::{Digest, FileName, Layout, MAX_PARTS, ManifestReader, deceives},
    frame::Frame,
};

use crate::{
    name::AnyName,
    protocol::{FileInfo, MAX_KEY, MAX_RANGE, MAX_TTL, Match, PartsRequest, Query, text_of},
};

/// A file name is safe, whatever its origin.
fn is_harmless(name: &FileName) {
    let text = name.as_str();
    assert!(!text.is_empty() && text.len() <= 255 && !text.starts_with('.'));
    assert!(!text.contains(|c: char| c == '/' || c == '\\' || c.is_control()));
    let path: &std::path::Path = name.as_ref();
    let mut parts = path.components();
    let only = parts.next().expect("a record has at least one part");
    assert!(matches!(only, std::path::Component::Normal(_)) && parts.next().is_none());
}

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(name) = FileName::from_bytes(bytes) {
        is_harmless(&name);
        assert_eq!(name.as_str().as_bytes(), bytes);
    }
    let mut reader =
        ManifestReader::new(Layout::of(4 << 20).unwrap(), Digest::of(b"something else"));
    assert_eq!(reader.push(bytes).is_ok(), bytes.len().is_multiple_of(32) && bytes.len() <= 128);
    assert!(reader.finish().is_err());

    let frame = Frame::new("REPL", bytes.to_vec());
    let Some(text) = text_of(&frame) else { return };
    for numbered in [false, true] {
        let Some(query) = Query::parse(text, numbered) else { continue };
        assert!(query.ttl <= MAX_TTL && query.key.len() <= MAX_KEY && !query.key.is_empty());
        assert!(query.answer_to.port() != 0 && query.number.is_some() == numbered);
        let written = query.to_frame();
        assert_eq!(Query::parse(written.as_str().unwrap(), numbered), Some(query));
    }
    if let Some(found) = Match::parse(text) {
        match &found.name {
            AnyName::Fit(name) => {
                is_harmless(name);
                let again = Match { name: name.clone(), owner: found.owner.clone() }.to_frame();
                assert_eq!(Match::parse(again.as_str().unwrap()), Some(found));
            }
            // Such a name is only displayed.
            AnyName::Unfit { text, .. } => assert!(!text.contains(deceives)),
        }
    }
    if let Some(info) = FileInfo::parse(text) {
        // Bounds the number of check values in one question.
        assert!(info.layout.parts() <= MAX_PARTS);
    }
    if let Some(parts) = PartsRequest::parse(text) {
        assert!((1..=MAX_RANGE).contains(&parts.count));
        assert_eq!(PartsRequest::parse(parts.to_frame().as_str().unwrap()), Some(parts));
    }
}
