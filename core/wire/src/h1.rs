//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): one parser, one reading of what a head means, one
//! body codec and one serializer, shared by both sides of the proxy.

pub mod authority;
pub mod body;
pub(crate) mod connection;
pub mod head;
pub mod request;
pub mod response;
pub mod write;

/// How the end of a message body is known (RFC 9112 §6.3). A value that travels with the message
/// and is checked at every end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// Exactly this many bytes.
    Exact(u64),
    /// The chunked coding (RFC 9112 §7.1).
    Chunked,
    /// Until the sender closes; replies only.
    Eof,
}
