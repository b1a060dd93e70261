//! The one serializer of heads. Whatever the caller brings, no byte that ends a line or hides one
//! gets into a head, and framing fields come from a [`Framing`] only.

mod head;
mod reason;

use core::net::IpAddr;
use std::io::Write;

use super::Framing;
use super::head::{Field, Known, Span};
use crate::bytes;
use crate::faults::faults;

pub use reason::reason;

faults! {
    /// What a head must not contain.
    WriteError {
        Method, "write_method", "the method to write is no token";
        Target, "write_target", "the target to write has a byte that no URI may have";
        Status, "write_status", "the status to write is not 100..=999";
        Name, "write_name", "the field name to write is no token";
        Value, "write_value", "the field value to write has a control character";
        Framing, "write_framing", "a framing field was to be written as an ordinary field";
    }
}

/// Bytes of the longest text of an address: IPv6 with an IPv4 address inside.
pub const ADDRESS_MAX: usize = 45;

/// Digits of the largest `u64`.
pub(crate) const DECIMAL_MAX: usize = 20;

/// Appends one head to a buffer.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// `method SP target SP HTTP/1.1 CRLF`
    ///
    /// # Errors
    /// Where the method or the target would break the line; nothing is written then.
    pub fn request_line(&mut self, method: &[u8], target: &[u8]) -> Result<(), WriteError> {
        if !bytes::is_token_text(method) {
            return Err(WriteError::Method);
        }
        if !bytes::is_target_text(target) {
            return Err(WriteError::Target);
        }
        self.put(&[method, b" ", target, b" HTTP/1.1\r\n"]);
        Ok(())
    }

    /// As [`HeadWriter::request_line`], with the method and a target out of a head that was parsed
    /// in `buf`: the parser has looked at every byte of them.
    #[inline]
    pub fn request_line_of(&mut self, buf: &[u8], method: Span, target: Span) {
        let both = Span { start: method.start, end: target.end };
        match both.get(buf).get(method.len()..=method.len()) {
            // As they stand in the line that was read.
            Some(b" ") if target.start == method.end + 1 => {
                self.out.extend_from_slice(both.get(buf));
            }
            _ => self.put(&[method.get(buf), b" ", target.get(buf)]),
        }
        self.out.extend_from_slice(b" HTTP/1.1\r\n");
    }

    /// `HTTP/1.1 SP status SP reason CRLF`, with the registered reason or none.
    ///
    /// # Errors
    /// Where the status does not have three digits.
    pub fn status_line(&mut self, status: u16) -> Result<(), WriteError> {
        if !(100..=999).contains(&status) {
            return Err(WriteError::Status);
        }
        if status == 200 {
            self.out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            return Ok(());
        }
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.decimal(u64::from(status));
        self.put(&[b" ", reason(status).as_bytes(), b"\r\n"]);
        Ok(())
    }

    /// `name: value CRLF`
    ///
    /// # Errors
    /// Where the name is no token or one of a framing field, or the value has a control
    /// character other than HTAB; nothing is written then.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), WriteError> {
        if !bytes::is_token_text(name) {
            return Err(WriteError::Name);
        }
        if matches!(Known::of(name), Known::ContentLength | Known::TransferEncoding) {
            return Err(WriteError::Framing);
        }
        let value = bytes::trim(value);
        if !bytes::is_value_text(value) {
            return Err(WriteError::Value);
        }
        self.out.reserve(name.len() + value.len() + 4);
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// As [`HeadWriter::field`], for a name that stands in the caller's source, given with its
    /// colon and space: `b"Host: "`. Only the value is checked.
    ///
    /// # Errors
    /// Where the value has a control character; nothing is written then.
    #[inline]
    pub fn own(&mut self, name: &'static [u8], value: &[u8]) -> Result<(), WriteError> {
        debug_assert!(name.ends_with(b": "), "a name with its colon and space");
        if !bytes::is_value_text(value) {
            return Err(WriteError::Value);
        }
        self.out.reserve(name.len() + value.len() + 2);
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// As [`HeadWriter::own`], with a value out of a head that was parsed in `buf`.
    #[inline]
    pub fn own_of(&mut self, name: &'static [u8], buf: &[u8], value: Span) {
        debug_assert!(name.ends_with(b": "), "a name with its colon and space");
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(value.get(buf));
        self.out.extend_from_slice(b"\r\n");
    }

    /// A field whose value is an address, for a name given as in [`HeadWriter::own`].
    #[inline]
    pub fn address(&mut self, name: &'static [u8], address: IpAddr) {
        debug_assert!(name.ends_with(b": "), "a name with its colon and space");
        self.out.extend_from_slice(name);
        put_address(address, self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A whole line that stands in the caller's source, with its CRLF.
    #[inline]
    pub fn line(&mut self, line: &'static [u8]) {
        debug_assert!(line.ends_with(b"\r\n"), "a line with its end");
        self.out.extend_from_slice(line);
    }

    /// As [`HeadWriter::field`], for a decimal number.
    ///
    /// # Errors
    /// Where the name is no token or one of a framing field.
    pub fn number(&mut self, name: &[u8], value: u64) -> Result<(), WriteError> {
        let mut digits = [0; DECIMAL_MAX];
        self.field(name, decimal(value, &mut digits))
    }

    /// A field of a parsed head; `buf` is the buffer that was parsed. A canonical line goes over
    /// as it is.
    ///
    /// # Errors
    /// Where `buf` is another one and the bytes in it are no field.
    pub fn copy(&mut self, buf: &[u8], field: &Field) -> Result<(), WriteError> {
        if !field.canonical {
            return self.field(field.name.get(buf), field.value.get(buf));
        }
        if matches!(field.known, Known::ContentLength | Known::TransferEncoding) {
            return Err(WriteError::Framing);
        }
        self.out.extend_from_slice(field.line.get(buf));
        Ok(())
    }

    /// Those fields of a parsed head that `keep` takes, neighbours in one go.
    ///
    /// # Errors
    /// As [`HeadWriter::copy`]; framing fields are an error here too, so `keep` leaves out what
    /// is marked as `hop`.
    pub fn copy_run(
        &mut self,
        buf: &[u8],
        fields: &[Field],
        keep: impl Fn(&Field) -> bool,
    ) -> Result<(), WriteError> {
        let (mut from, mut to) = (0, 0);
        for field in fields {
            if !keep(field) {
                continue;
            }
            if matches!(field.known, Known::ContentLength | Known::TransferEncoding) {
                return Err(WriteError::Framing);
            }
            if field.canonical && field.line.start == to {
                to = field.line.end;
                continue;
            }
            self.out.extend_from_slice(buf.get(from as usize..to as usize).unwrap_or_default());
            if field.canonical {
                (from, to) = (field.line.start, field.line.end);
            } else {
                (from, to) = (0, 0);
                self.field(field.name.get(buf), field.value.get(buf))?;
            }
        }
        self.out.extend_from_slice(buf.get(from as usize..to as usize).unwrap_or_default());
        Ok(())
    }

    /// The framing field, where the framing has one.
    #[inline]
    pub fn framing(&mut self, framing: Framing) {
        match framing {
            Framing::None | Framing::Eof => {}
            Framing::Exact(length) => self.content_length(length),
            Framing::Chunked => self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
    }

    /// `Content-Length` of a body that is not sent: a reply to HEAD, a 304.
    pub fn content_length(&mut self, length: u64) {
        self.out.extend_from_slice(b"Content-Length: ");
        self.decimal(length);
        self.out.extend_from_slice(b"\r\n");
    }

    /// `Connection: options CRLF`; `options` are of the caller's making, like `close`.
    ///
    /// # Errors
    /// Where the options have a control character.
    pub fn connection(&mut self, options: &[u8]) -> Result<(), WriteError> {
        self.field(b"Connection", options)
    }

    /// `Date`, from [`crate::date::imf_fixdate`].
    pub fn date(&mut self, date: &[u8; 29]) {
        self.put(&[b"Date: ", date, b"\r\n"]);
    }

    /// The empty line that ends the head.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn put(&mut self, parts: &[&[u8]]) {
        self.out.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }

    fn decimal(&mut self, value: u64) {
        let mut digits = [0; DECIMAL_MAX];
        self.out.extend_from_slice(decimal(value, &mut digits));
    }
}

/// Appends the text of an address.
#[inline(never)]
fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    let mut room = [0; ADDRESS_MAX];
    let len = address_text(address, &mut room).len();
    // Copying a fixed size and cutting it off is cheaper than copying any size.
    out.extend_from_slice(&room);
    out.truncate(out.len() - (room.len() - len));
}

/// The text of an address, written into `room`.
#[must_use]
pub fn address_text(address: IpAddr, room: &mut [u8; ADDRESS_MAX]) -> &[u8] {
    let len = match address {
        IpAddr::V4(v4) => bytes::ipv4(v4, room),
        IpAddr::V6(v6) => {
            let mut rest = &mut room[..];
            // The room is that of the longest text.
            let _ = write!(rest, "{v6}");
            ADDRESS_MAX - rest.len()
        }
    };
    room.get(..len).unwrap_or_default()
}

/// The decimal digits of `value`, written into `room`.
pub(crate) fn decimal(mut value: u64, room: &mut [u8; DECIMAL_MAX]) -> &[u8] {
    let mut start = DECIMAL_MAX;
    for place in room.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        start -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    room.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
