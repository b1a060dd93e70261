//! Fuzzes received records of TLS 1.3; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::tls_records(data));
