//! Fuzzes the stages of the redirector with frames; see `packet_fixtures::holds`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| packet_fixtures::holds::packet_redirector(data));
