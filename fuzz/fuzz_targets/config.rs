//! The configuration file: any bytes give a configuration or faults, and never a panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| process_runtime::config_file::fuzz_check(bytes));
