//! Streams of edges and control planes: any octets, in any pieces, are messages or a refusal.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| control_api::fuzzing::publish_frames(bytes));
