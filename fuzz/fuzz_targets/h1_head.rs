//! Fuzzes heads of HTTP/1 requests and replies; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::h1_head(data));
