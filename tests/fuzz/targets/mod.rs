//! One function for each parser of data from the network. Each panics if a promise is broken.
//! libFuzzer and the tests in `main.rs` feed them with arbitrary bytes.

mod address_book;
mod addresses;
mod api;
mod codec;
mod envelope;
mod gossip;
mod hello;
mod input;
mod kademlia;
mod link;
mod peer_exchange;
mod records;
mod sniff;
mod swim;
mod typed;
mod walk;

/// A target.
pub(crate) type Target = fn(&[u8]);

/// All targets, by the names of their folders in `corpus`.
pub(crate) const ALL: [(&str, Target); 15] = [
    ("address_book", address_book::run),
    ("addresses", addresses::run),
    ("api", api::run),
    ("codec", codec::run),
    ("envelope", envelope::run),
    ("gossip", gossip::run),
    ("hello", hello::run),
    ("kademlia", kademlia::run),
    ("link", link::run),
    ("peer_exchange", peer_exchange::run),
    ("records", records::run),
    ("sniff", sniff::run),
    ("swim", swim::run),
    ("typed", typed::run),
    ("walk", walk::run),
];
