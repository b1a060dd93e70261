//! Every byte from strangers: HTTP/1 heads and bodies, HTTP/2 field sections, PROXY protocol, TLS
//! ClientHello and records, forwarded addresses, paths. Sans-IO: bytes and time come in as
//! arguments, values and bytes go out. Knows no socket, no clock, no runtime and no policy; what a
//! connection does with a verdict is decided by its caller.

mod bytes;
pub mod client_hello;
pub mod date;
mod faults;
pub mod forwarded;
pub mod fuzzing;
pub mod h1;
pub mod h2;
pub mod path;
pub mod proxy_header;
pub mod tls_record;
pub mod write;

#[cfg(test)]
mod testing;
