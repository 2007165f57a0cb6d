//! Frames as bytes, independent of the codec of the crate.

use actix_peer::frame::Frame;

/// A frame as the originals pack it.
pub(crate) fn frame(code: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let len = u32::try_from(data.len()).unwrap().to_be_bytes();
    [code.as_ref(), &len, data].concat()
}

/// The bytes of a frame.
pub(crate) fn encoded(of: &Frame) -> Vec<u8> {
    frame(of.code().as_bytes(), of.data())
}

/// Shows bytes as a literal.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
