//! [`WriteHead`] for HTTP/1.1. The lines are those of the methods of the same names.

use core::net::IpAddr;

use super::{HeadWriter, WriteError};
use crate::bytes;
use crate::h1::Framing;
use crate::h1::head::{Field, Known, Span};
use crate::write::{Scheme, WriteHead};

impl WriteHead for HeadWriter<'_> {
    const MULTIPLEXED: bool = false;

    #[inline]
    fn status(&mut self, status: u16) -> Result<(), WriteError> {
        self.status_line(status)
    }

    fn request(
        &mut self,
        method: &[u8],
        _: Scheme,
        authority: &[u8],
        path: &[u8],
    ) -> Result<(), WriteError> {
        if !bytes::is_value_text(authority) {
            return Err(WriteError::Value);
        }
        self.request_line(method, path)?;
        HeadWriter::own(self, b"Host: ", authority)
    }

    fn tunnel(
        &mut self,
        method: &[u8],
        scheme: Scheme,
        authority: &[u8],
        path: &[u8],
        _: &[u8],
    ) -> Result<(), WriteError> {
        WriteHead::request(self, method, scheme, authority, path)
    }

    #[inline]
    fn request_of(&mut self, buf: &[u8], method: Span, _: Scheme, authority: Span, target: Span) {
        self.request_line_of(buf, method, target);
        HeadWriter::own_of(self, b"Host: ", buf, authority);
    }

    #[inline]
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), WriteError> {
        HeadWriter::field(self, name, value)
    }

    #[inline]
    fn own(&mut self, known: Known, value: &[u8]) -> Result<(), WriteError> {
        match known {
            Known::Other => Err(WriteError::Name),
            Known::ContentLength | Known::TransferEncoding => Err(WriteError::Framing),
            _ => HeadWriter::own(self, known.label(), value),
        }
    }

    #[inline]
    fn own_of(&mut self, known: Known, buf: &[u8], value: Span) {
        if !matches!(known, Known::Other | Known::ContentLength | Known::TransferEncoding) {
            HeadWriter::own_of(self, known.label(), buf, value);
        }
    }

    #[inline]
    fn address(&mut self, known: Known, address: IpAddr) {
        if known != Known::Other {
            HeadWriter::address(self, known.label(), address);
        }
    }

    #[inline]
    fn copy_run(
        &mut self,
        buf: &[u8],
        fields: &[Field],
        keep: impl Fn(&Field) -> bool,
    ) -> Result<(), WriteError> {
        HeadWriter::copy_run(self, buf, fields, keep)
    }

    #[inline]
    fn framing(&mut self, framing: Framing) {
        HeadWriter::framing(self, framing);
    }

    #[inline]
    fn content_length(&mut self, length: u64) {
        HeadWriter::content_length(self, length);
    }

    fn connection(&mut self, options: &[u8]) -> Result<(), WriteError> {
        HeadWriter::connection(self, options)
    }

    fn upgrade(&mut self, protocol: &[u8]) -> Result<(), WriteError> {
        HeadWriter::connection(self, b"Upgrade")?;
        HeadWriter::own(self, Known::Upgrade.label(), protocol)
    }

    #[inline]
    fn date(&mut self, date: &[u8; 29]) {
        HeadWriter::date(self, date);
    }

    #[inline]
    fn finish(self) {
        HeadWriter::finish(self);
    }
}
