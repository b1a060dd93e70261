//! Fuzzes bodies of HTTP/1 messages; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::h1_body(data));
