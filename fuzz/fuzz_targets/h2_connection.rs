//! Fuzzes connections of HTTP/2 beside those of the `h2` crate. The body lies with the
//! tests of `request-proxy`: nothing in `core/` knows the runtime that the crate is made for.

#![no_main]

#[path = "../../request/proxy/tests/h2_oracle/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::h2_connection(data));
