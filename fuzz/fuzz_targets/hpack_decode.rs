//! Fuzzes field blocks of HTTP/2; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::hpack_decode(data));
