#![no_main]

#[path = "../../../examples/fileshare/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../../../examples/fileshare/name.rs"]
#[allow(dead_code)]
mod name;
#[path = "../../../examples/fileshare/protocol.rs"]
#[allow(dead_code)]
mod protocol;
#[path = "../targets/api.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
