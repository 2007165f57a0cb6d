#![no_main]

#[path = "../../../examples/fileshare/name.rs"]
#[allow(dead_code)]
mod name;
#[path = "../../../examples/fileshare/protocol.rs"]
#[allow(dead_code)]
mod protocol;
#[path = "../targets/records.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
