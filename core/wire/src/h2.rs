//! HTTP/2 (RFC 9113): field compression, what a field section means, the serializer of heads, and
//! the connection with its frames, windows and limits. Heads of HTTP/1 and HTTP/2 become one form
//! ([`crate::h1::head`]), so that whoever forwards a message does not know which of the two it
//! came in.

mod budget;
pub mod connection;
mod flow;
pub mod frame;
pub mod hpack;
mod ledger;
pub mod message;
pub mod priority;
pub mod section;
mod settings;
pub mod write;
