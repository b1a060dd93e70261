//! The serializer of heads for HTTP/2: one field block, without the frames around it. It takes
//! what the one of HTTP/1 takes and nothing else, so that a head which passes through can be
//! said in either protocol.

use core::net::IpAddr;

use super::hpack::Encoder;
use crate::bytes;
use crate::h1::Framing;
use crate::h1::head::{self, Field, Known, Span};
use crate::h1::write::{ADDRESS_MAX, DECIMAL_MAX, address_text, decimal};
use crate::write::{Scheme, WriteHead};

pub use crate::h1::write::WriteError;

/// Static entries that are written by their index (RFC 7541 Appendix A).
mod index {
    pub(super) const GET: usize = 2;
    pub(super) const POST: usize = 3;
    pub(super) const ROOT: usize = 4;
    pub(super) const HTTP: usize = 6;
    pub(super) const HTTPS: usize = 7;
    pub(super) const OK: usize = 8;
}

/// Appends one field block to a buffer.
///
/// A writer that is dropped without [`WriteHead::finish`] leaves a block behind that must not be
/// sent. The tables of both ends stay in step nevertheless.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
    finished: bool,
}

impl<'a> HeadWriter<'a> {
    /// A writer that appends to `out`; blocks are sent in the order in which they were written.
    pub fn new(encoder: &'a mut Encoder, out: &'a mut Vec<u8>) -> Self {
        encoder.begin(out);
        Self { encoder, out, finished: false }
    }

    /// The start of a request for a tunnel (RFC 8441 §4).
    ///
    /// # Errors
    /// Where one of the parts has a byte that it must not have.
    pub fn connect(
        &mut self,
        authority: &[u8],
        scheme: Scheme,
        path: &[u8],
        protocol: &[u8],
    ) -> Result<(), WriteError> {
        if !bytes::is_token_text(protocol) {
            return Err(WriteError::Value);
        }
        check(authority, path)?;
        self.pseudo(b"CONNECT", scheme, authority, path);
        self.encoder.named(b":protocol", protocol, self.out);
        Ok(())
    }

    fn pseudo(&mut self, method: &[u8], scheme: Scheme, authority: &[u8], path: &[u8]) {
        match method {
            b"GET" => self.encoder.fixed(index::GET, self.out),
            b"POST" => self.encoder.fixed(index::POST, self.out),
            _ => self.encoder.literal(index::GET, method, self.out),
        }
        let scheme = match scheme {
            Scheme::Http => index::HTTP,
            Scheme::Https => index::HTTPS,
        };
        self.encoder.fixed(scheme, self.out);
        if !authority.is_empty() {
            self.encoder.authority(authority, self.out);
        }
        match path {
            b"/" => self.encoder.fixed(index::ROOT, self.out),
            _ => self.encoder.literal(index::ROOT, path, self.out),
        }
    }

    #[inline]
    fn put(&mut self, known: Known, value: &[u8]) {
        if known.is_end_to_end() || may_stand(known, value) {
            self.encoder.known(known, value, self.out);
        }
    }

    #[inline]
    fn copy(&mut self, buf: &[u8], field: &Field) {
        let value = field.value.get(buf);
        if field.known == Known::Other {
            self.encoder.other(field.name.get(buf), value, self.out);
        } else {
            self.put(field.known, value);
        }
    }
}

impl Drop for HeadWriter<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.finished {
            self.encoder.abandon();
        }
    }
}

/// Whether a field that may speak of the connection has a place in HTTP/2. `Host` is said by
/// `:authority` already.
fn may_stand(known: Known, value: &[u8]) -> bool {
    match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::Http2Settings
        | Known::Host => false,
        Known::Te => value.eq_ignore_ascii_case(b"trailers"),
        _ => true,
    }
}

fn check(authority: &[u8], path: &[u8]) -> Result<(), WriteError> {
    if !bytes::is_value_text(authority) || bytes::trim(authority).len() != authority.len() {
        return Err(WriteError::Value);
    }
    let rooted = matches!(path, [b'/', ..] | b"*");
    if rooted && bytes::is_target_text(path) { Ok(()) } else { Err(WriteError::Target) }
}

impl WriteHead for HeadWriter<'_> {
    const MULTIPLEXED: bool = true;

    fn status(&mut self, status: u16) -> Result<(), WriteError> {
        let index = match status {
            200 => index::OK,
            204 => index::OK + 1,
            206 => index::OK + 2,
            304 => index::OK + 3,
            400 => index::OK + 4,
            404 => index::OK + 5,
            500 => index::OK + 6,
            100 | 102..=999 => {
                let mut digits = [0; DECIMAL_MAX];
                self.encoder.status(decimal(u64::from(status), &mut digits), self.out);
                return Ok(());
            }
            _ => return Err(WriteError::Status),
        };
        self.encoder.fixed(index, self.out);
        Ok(())
    }

    fn request(
        &mut self,
        method: &[u8],
        scheme: Scheme,
        authority: &[u8],
        path: &[u8],
    ) -> Result<(), WriteError> {
        if !bytes::is_token_text(method) {
            return Err(WriteError::Method);
        }
        check(authority, path)?;
        self.pseudo(method, scheme, authority, path);
        Ok(())
    }

    fn tunnel(
        &mut self,
        _: &[u8],
        scheme: Scheme,
        authority: &[u8],
        path: &[u8],
        protocol: &[u8],
    ) -> Result<(), WriteError> {
        self.connect(authority, scheme, path, protocol)
    }

    fn request_of(
        &mut self,
        buf: &[u8],
        method: Span,
        scheme: Scheme,
        authority: Span,
        target: Span,
    ) {
        self.pseudo(method.get(buf), scheme, authority.get(buf), target.get(buf));
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), WriteError> {
        if !bytes::is_plain_name(name) && !bytes::is_token_text(name) {
            return Err(WriteError::Name);
        }
        let known = Known::of(name);
        if matches!(known, Known::ContentLength | Known::TransferEncoding) {
            return Err(WriteError::Framing);
        }
        let value = bytes::trim(value);
        if !bytes::is_value_text(value) {
            return Err(WriteError::Value);
        }
        match known {
            Known::Other => self.encoder.other(name, value, self.out),
            _ => self.put(known, value),
        }
        Ok(())
    }

    fn own(&mut self, known: Known, value: &[u8]) -> Result<(), WriteError> {
        match known {
            Known::Other => return Err(WriteError::Name),
            Known::ContentLength | Known::TransferEncoding => return Err(WriteError::Framing),
            _ => {}
        }
        let value = bytes::trim(value);
        if !bytes::is_value_text(value) {
            return Err(WriteError::Value);
        }
        self.put(known, value);
        Ok(())
    }

    fn own_of(&mut self, known: Known, buf: &[u8], value: Span) {
        if !matches!(known, Known::Other | Known::ContentLength | Known::TransferEncoding) {
            self.put(known, value.get(buf));
        }
    }

    fn address(&mut self, known: Known, address: IpAddr) {
        if known == Known::Other {
            return;
        }
        let mut room = [0; ADDRESS_MAX];
        self.put(known, address_text(address, &mut room));
    }

    fn copy_run(
        &mut self,
        buf: &[u8],
        fields: &[Field],
        keep: impl Fn(&Field) -> bool,
    ) -> Result<(), WriteError> {
        for field in fields {
            if !keep(field) {
                continue;
            }
            if matches!(field.known, Known::ContentLength | Known::TransferEncoding) {
                return Err(WriteError::Framing);
            }
            self.copy(buf, field);
        }
        Ok(())
    }

    /// The end of a stream ends a body, so that only a length is said (RFC 9113 §8.1).
    fn framing(&mut self, framing: Framing) {
        if let Framing::Exact(length) = framing {
            self.content_length(length);
        }
    }

    fn content_length(&mut self, length: u64) {
        let mut digits = [0; DECIMAL_MAX];
        self.encoder.known(Known::ContentLength, decimal(length, &mut digits), self.out);
    }

    fn connection(&mut self, options: &[u8]) -> Result<(), WriteError> {
        if bytes::is_value_text(options) { Ok(()) } else { Err(WriteError::Value) }
    }

    fn upgrade(&mut self, _: &[u8]) -> Result<(), WriteError> {
        Ok(())
    }

    fn date(&mut self, date: &[u8; 29]) {
        self.encoder.known(Known::Date, date, self.out);
    }

    fn finish(mut self) {
        self.finished = true;
    }
}

/// Appends the block of a trailer section to `out`. `lines` are canonical field lines, as
/// [`crate::h1::body::BodyDecoder::trailers`] and [`super::message::trailers`] give them.
pub fn trailers(encoder: &mut Encoder, lines: &[u8], out: &mut Vec<u8>) {
    let mut writer = HeadWriter::new(encoder, out);
    for line in lines.split_inclusive(|&b| b == b'\n') {
        if let Ok(field) = head::field_line(line) {
            writer.copy(line, &field);
        }
    }
    writer.finish();
}

#[cfg(test)]
mod tests;
