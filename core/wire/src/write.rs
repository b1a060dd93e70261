//! What a head is written with, whatever the protocol: whoever forwards a message says what is in
//! it, and the writer of the protocol says it in its own way.

use crate::h1::Framing;
use crate::h1::head::{Field, Known, Span};
use core::net::IpAddr;

pub use crate::h1::write::WriteError;

/// The scheme of a request as the origin sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

/// Writes one head: the start of a request or a reply, then fields, then [`WriteHead::finish`].
///
/// Values are checked unless a name ends with `_of`: those take spans of a head that was parsed
/// in `buf`, whose bytes the parser has looked at. What is refused leaves nothing behind.
/// Fields of an HTTP/1 connection (`Connection`, `Upgrade` and their kind) are left out where
/// the protocol has none.
pub trait WriteHead {
    /// Whether messages share their connection, so that heads say nothing of it.
    const MULTIPLEXED: bool;

    /// The start of a reply.
    ///
    /// # Errors
    /// Where the status does not have three digits, or the protocol does not define it (101 in
    /// HTTP/2).
    fn status(&mut self, status: u16) -> Result<(), WriteError>;

    /// The start of a request: in HTTP/1 the request line with `path` as its target and `Host`,
    /// in HTTP/2 the pseudo-header fields.
    ///
    /// # Errors
    /// Where one of the parts has a byte that it must not have.
    fn request(
        &mut self,
        method: &[u8],
        scheme: Scheme,
        authority: &[u8],
        path: &[u8],
    ) -> Result<(), WriteError>;

    /// The start of a request for a tunnel of `protocol`: `method` with its target in HTTP/1, where
    /// [`WriteHead::upgrade`] names the protocol; extended CONNECT in HTTP/2 (RFC 8441 §4).
    ///
    /// # Errors
    /// Where one of the parts has a byte that it must not have.
    fn tunnel(
        &mut self,
        method: &[u8],
        scheme: Scheme,
        authority: &[u8],
        path: &[u8],
        protocol: &[u8],
    ) -> Result<(), WriteError>;

    /// As [`WriteHead::request`], of parts that were parsed in `buf`. The target is a path with
    /// its query, or `*`.
    fn request_of(
        &mut self,
        buf: &[u8],
        method: Span,
        scheme: Scheme,
        authority: Span,
        target: Span,
    );

    /// A field of any name but those of the framing.
    ///
    /// # Errors
    /// Where the name is no token or one of a framing field, or the value has a control
    /// character other than HTAB.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), WriteError>;

    /// A field of a known name. Values of the caller's making do not start or end with space.
    ///
    /// # Errors
    /// Where the name is one of a framing field, or the value has a control character.
    fn own(&mut self, known: Known, value: &[u8]) -> Result<(), WriteError>;

    /// As [`WriteHead::own`], with a value that was parsed in `buf`.
    fn own_of(&mut self, known: Known, buf: &[u8], value: Span);

    /// A field of a known name whose value is an address.
    fn address(&mut self, known: Known, address: IpAddr);

    /// Those fields of a parsed head that `keep` takes.
    ///
    /// # Errors
    /// Where `keep` takes a framing field, which is marked as `hop` in a head whose meaning was
    /// asked for; and where `buf` is not the one that was parsed.
    fn copy_run(
        &mut self,
        buf: &[u8],
        fields: &[Field],
        keep: impl Fn(&Field) -> bool,
    ) -> Result<(), WriteError>;

    /// The framing field, where framing and protocol have one.
    fn framing(&mut self, framing: Framing);

    /// `Content-Length` of a body that is not sent: a reply to HEAD, a 304.
    fn content_length(&mut self, length: u64);

    /// `Connection`; `options` are of the caller's making, like `close`.
    ///
    /// # Errors
    /// Where the options have a control character.
    fn connection(&mut self, options: &[u8]) -> Result<(), WriteError>;

    /// The protocol of a tunnel, in HTTP/1: `Connection: Upgrade` and `Upgrade`.
    ///
    /// # Errors
    /// Where the protocol has a control character.
    fn upgrade(&mut self, protocol: &[u8]) -> Result<(), WriteError>;

    /// `Date`, from [`crate::date::imf_fixdate`].
    fn date(&mut self, date: &[u8; 29]);

    /// Ends the head.
    fn finish(self);
}
