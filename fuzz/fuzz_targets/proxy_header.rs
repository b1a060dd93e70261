//! Fuzzes PROXY headers of both versions; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::proxy_header(data));
