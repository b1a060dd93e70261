//! Fuzzes the encoder of field blocks against the decoder; see `core_wire::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| core_wire::fuzzing::hpack_round_trip(data));
