//! Bodies of the control API: any bytes are accepted or refused with places that exist.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| control_api::fuzzing::api_body(bytes));
