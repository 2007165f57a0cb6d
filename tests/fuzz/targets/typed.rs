//! Typed messages, in both formats.

use std::{collections::BTreeMap, net::IpAddr};

use actix_peer::{
    frame::{Format, Frame, TypeCode, Wire},
    overlay::{PeerId, PeerInfo},
};
use serde::{Deserialize, Serialize};

/// A message with a field of every kind.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Everything {
    id: PeerId,
    info: Option<PeerInfo>,
    numbers: (u8, i16, u32, i64, u128),
    letter: char,
    text: String,
    list: Vec<Shape>,
    map: BTreeMap<String, Vec<u8>>,
    address: Option<IpAddr>,
    flag: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Shape {
    Point,
    Circle(u32),
    Box { width: u16, inner: Option<Box<Self>> },
}

impl Wire for Everything {
    const CODE: TypeCode = TypeCode::new(b"EVRY");
}

pub(crate) fn run(bytes: &[u8]) {
    let frame = Frame::new(Everything::CODE, bytes.to_vec());
    for format in [Format::Postcard, Format::Json] {
        match format.decode::<Everything>(&frame) {
            Ok(value) => {
                let again = format.encode(Everything::CODE, &value).unwrap();
                assert_eq!(format.decode::<Everything>(&again).unwrap(), value);
            }
            // The error text contains parts of the input.
            Err(error) => assert!(error.to_string().contains("EVRY")),
        }
        drop(format.decode::<Vec<String>>(&frame));
        drop(format.decode::<PeerInfo>(&frame));
    }
}
