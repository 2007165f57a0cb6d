#![no_main]

#[path = "../targets/peer_exchange.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
