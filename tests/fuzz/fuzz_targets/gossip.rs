#![no_main]

#[path = "../targets/input.rs"]
#[allow(dead_code)]
mod input;
#[path = "../targets/gossip.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
