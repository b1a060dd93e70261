//! Fuzzes connections of HTTP/2 with bytes of a peer; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::h2_frames(data));
