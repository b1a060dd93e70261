//! The chunked coding (RFC 9112 §7.1), read strictly: CRLF only, sizes of at most 16 digits,
//! extensions that keep to the grammar and are dropped.

use super::{BodyError, BodyLimits, Decoded};
use crate::bytes;
use crate::h1::connection;
use crate::h1::head;

/// Digits of a chunk size: what 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;
/// Framing that a body may carry before its share is looked at.
const OVERHEAD_FREE: u64 = 16 << 10;
/// Framing bytes allowed for each byte of content: one-byte chunks have five.
const OVERHEAD_RATIO: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    /// White space behind the size, which only an extension may follow.
    SizeSpace,
    ExtensionStart,
    ExtensionName,
    ExtensionNameSpace,
    ExtensionValueStart,
    ExtensionValue,
    ExtensionQuoted,
    ExtensionEscape,
    ExtensionQuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    Done,
}

/// Reads a chunked body.
#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    at: At,
    digits: u8,
    /// The size while it is read, then the bytes of the chunk that are still to come.
    left: u64,
    line: u32,
    extensions: u32,
    framing: u64,
    content: u64,
    /// Trailer lines to forward, and behind `kept` the line being read.
    trailers: Vec<u8>,
    kept: usize,
    trailer_bytes: u32,
    trailer_fields: u32,
    limits: BodyLimits,
}

impl ChunkedDecoder {
    pub(super) fn new(limits: BodyLimits) -> Self {
        Self {
            at: At::Size,
            digits: 0,
            left: 0,
            line: 0,
            extensions: 0,
            framing: 0,
            content: 0,
            trailers: Vec::new(),
            kept: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            limits,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    pub(super) fn trailers(&self) -> &[u8] {
        self.trailers.get(..self.kept).unwrap_or_default()
    }

    /// Consumes framing up to and with the next run of data.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        let mut consumed = 0;
        while self.at != At::Data && self.at != At::Done {
            let Some(&b) = input.get(consumed) else {
                return Ok(Decoded { consumed, data: consumed..consumed, done: false });
            };
            self.at = self.step(b)?;
            consumed += 1;
        }
        if self.at == At::Done {
            return Ok(Decoded { consumed, data: consumed..consumed, done: true });
        }
        let there = input.len() - consumed;
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(there);
        self.left -= take as u64;
        self.content = self.content.saturating_add(take as u64);
        if self.left == 0 {
            self.at = At::DataCr;
        }
        let end = consumed + take;
        Ok(Decoded { consumed: end, data: consumed..end, done: false })
    }

    fn step(&mut self, b: u8) -> Result<At, BodyError> {
        match self.at {
            At::Size => self.size(b),
            At::SizeSpace => match b {
                b' ' | b'\t' => self.extension(At::SizeSpace),
                b';' => self.extension(At::ExtensionStart),
                _ => Err(misplaced(b, BodyError::ChunkSize)),
            },
            At::ExtensionStart
            | At::ExtensionName
            | At::ExtensionNameSpace
            | At::ExtensionValueStart
            | At::ExtensionValue
            | At::ExtensionQuoted
            | At::ExtensionEscape
            | At::ExtensionQuotedEnd => self.extensions(b),
            At::SizeLf if b != b'\n' => Err(BodyError::BareCr),
            At::SizeLf => self.size_end(),
            At::DataCr if b == b'\r' => Ok(At::DataLf),
            At::DataCr if b == b'\n' => Err(BodyError::BareLf),
            At::DataCr => Err(BodyError::ChunkEnd),
            At::DataLf if b == b'\n' => {
                self.framing = self.framing.saturating_add(2);
                (self.digits, self.left, self.line) = (0, 0, 0);
                Ok(At::Size)
            }
            At::DataLf => Err(BodyError::BareCr),
            At::Trailer | At::TrailerLf => self.trailer(b),
            At::Data | At::Done => Ok(self.at),
        }
    }

    fn size(&mut self, b: u8) -> Result<At, BodyError> {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            _ if self.digits == 0 => return Err(misplaced(b, BodyError::ChunkSize)),
            b'\r' => return Ok(At::SizeLf),
            b';' => return self.extension(At::ExtensionStart),
            b' ' | b'\t' => return self.extension(At::SizeSpace),
            _ => return Err(misplaced(b, BodyError::ChunkSize)),
        };
        if self.digits == SIZE_DIGITS_MAX {
            return Err(BodyError::ChunkSize);
        }
        self.digits += 1;
        self.line += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(At::Size)
    }

    /// One byte of an extension, which RFC 9112 §7.1.1 gives as
    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
    fn extensions(&mut self, b: u8) -> Result<At, BodyError> {
        let space = b == b' ' || b == b'\t';
        let next = match (self.at, b) {
            (At::ExtensionStart, _) if space => At::ExtensionStart,
            (At::ExtensionStart | At::ExtensionName, _) if bytes::is_token(b) => At::ExtensionName,
            (At::ExtensionName | At::ExtensionValue | At::ExtensionQuotedEnd, b'\r') => {
                return Ok(At::SizeLf);
            }
            (At::ExtensionName | At::ExtensionNameSpace, b'=') => At::ExtensionValueStart,
            (At::ExtensionName | At::ExtensionNameSpace, _) if space => At::ExtensionNameSpace,
            (At::ExtensionValueStart, _) if space => At::ExtensionValueStart,
            (At::ExtensionValueStart, b'"') => At::ExtensionQuoted,
            (At::ExtensionValueStart | At::ExtensionValue, _) if bytes::is_token(b) => {
                At::ExtensionValue
            }
            (At::ExtensionQuoted, b'"') => At::ExtensionQuotedEnd,
            (At::ExtensionQuoted, b'\\') => At::ExtensionEscape,
            (At::ExtensionQuoted | At::ExtensionEscape, _) if bytes::is_value(b) => {
                At::ExtensionQuoted
            }
            (At::ExtensionValue | At::ExtensionQuotedEnd, _) if space => At::SizeSpace,
            (
                At::ExtensionName
                | At::ExtensionNameSpace
                | At::ExtensionValue
                | At::ExtensionQuotedEnd,
                b';',
            ) => At::ExtensionStart,
            _ => return Err(misplaced(b, BodyError::ChunkExtension)),
        };
        self.extension(next)
    }

    /// Counts one byte of an extension.
    fn extension(&mut self, next: At) -> Result<At, BodyError> {
        self.line += 1;
        self.extensions += 1;
        if self.line > self.limits.chunk_line_bytes || self.extensions > self.limits.extension_bytes
        {
            return Err(BodyError::ChunkExtensionTooLong);
        }
        Ok(next)
    }

    fn size_end(&mut self) -> Result<At, BodyError> {
        self.framing = self.framing.saturating_add(u64::from(self.line) + 2);
        let most = OVERHEAD_FREE.saturating_add(self.content.saturating_mul(OVERHEAD_RATIO));
        if self.framing > most {
            return Err(BodyError::ChunkOverhead);
        }
        // A size that cannot be within the limit need not be waited for.
        if self.left > self.limits.body_bytes.saturating_sub(self.content) {
            return Err(BodyError::TooLarge);
        }
        Ok(if self.left == 0 { At::Trailer } else { At::Data })
    }

    fn trailer(&mut self, b: u8) -> Result<At, BodyError> {
        self.trailer_bytes += 1;
        // The two bytes over the limit are the empty line that ends the section.
        if self.trailer_bytes > self.limits.trailer_bytes.saturating_add(2) {
            return Err(BodyError::TrailersTooLarge);
        }
        self.trailers.push(b);
        match (self.at, b) {
            (At::TrailerLf, b'\n') => self.trailer_end(),
            (At::TrailerLf, _) => Err(BodyError::BareCr),
            (_, b'\r') => Ok(At::TrailerLf),
            (_, b'\n') => Err(BodyError::BareLf),
            _ => Ok(At::Trailer),
        }
    }

    fn trailer_end(&mut self) -> Result<At, BodyError> {
        let line = self.trailers.get(self.kept..).unwrap_or_default();
        if line == b"\r\n" {
            self.trailers.truncate(self.kept);
            return Ok(At::Done);
        }
        let field = head::field_line(line).map_err(|_| BodyError::Trailer)?;
        self.trailer_fields += 1;
        if self.trailer_fields > self.limits.trailer_fields {
            return Err(BodyError::TrailersTooLarge);
        }
        let name = field.name.get(line);
        let allowed = connection::is_trailer(&field, name);
        if allowed && !field.canonical {
            let plain = [name, b": ", field.value.get(line), b"\r\n"].concat();
            self.trailers.truncate(self.kept);
            self.trailers.extend_from_slice(&plain);
        }
        if allowed {
            self.kept = self.trailers.len();
        } else {
            self.trailers.truncate(self.kept);
        }
        Ok(At::Trailer)
    }
}

/// Line ends out of place have names of their own, for they are what smuggling is made of.
fn misplaced(b: u8, else_: BodyError) -> BodyError {
    match b {
        b'\n' => BodyError::BareLf,
        _ => else_,
    }
}
