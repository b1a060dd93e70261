//! What is published: any items go with the edge's file or are refused, and leave nothing then.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| process_runtime::config_file::fuzz_items(bytes));
