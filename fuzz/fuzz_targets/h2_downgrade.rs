//! Fuzzes heads of HTTP/2 on their way into HTTP/1; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::h2_downgrade(data));
