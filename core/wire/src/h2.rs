//! HTTP/2 (RFC 9113): field compression, what a field section means, and the serializer of heads.
//! Heads of HTTP/1 and HTTP/2 become one form ([`crate::h1::head`]), so that whoever forwards a
//! message does not know which of the two it came in.

pub mod hpack;
pub mod message;
pub mod section;
pub mod write;
