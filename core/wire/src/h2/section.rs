//! A decoded field section: a byte arena, spans into it, and the first rule that it breaks.

use crate::faults::faults;
use crate::h1::head::{Field, Span};
use core::mem::size_of;

faults! {
    /// A broken rule in a field section: the message is malformed (RFC 9113 §8.1.1) and its
    /// stream is reset. [`SectionFault::TooLarge`] and [`SectionFault::TooMany`] in a request
    /// can be answered with 431 instead.
    SectionFault {
        TooLarge, "h2_section_too_large", "the field section is larger than its limit";
        TooMany, "h2_too_many_fields", "there are more fields than the limit";
        PseudoRepeated, "h2_pseudo_repeated", "a pseudo-header field is repeated";
        PseudoUnknown, "h2_pseudo_unknown", "a pseudo-header field is not defined";
        PseudoLate, "h2_pseudo_late", "a pseudo-header field stands behind an ordinary field";
        PseudoMissing, "h2_pseudo_missing", "a pseudo-header field that must be there is not";
        PseudoMisplaced, "h2_pseudo_misplaced",
            "a pseudo-header field stands in a section that must not have it";
        NameUpperCase, "h2_name_upper_case", "a field name has an upper-case letter";
        NameToken, "h2_name_token", "a field name is no token";
        ValueControl, "h2_value_control", "a field value has a control character";
        ValueSpace, "h2_value_space", "a field value starts or ends with white space";
        ConnectionField, "h2_connection_field", "a field of HTTP/1 connections is there";
        Te, "h2_te", "TE has another value than trailers";
        BadMethod, "h2_bad_method", "the method is no upper-case token";
        BadScheme, "h2_bad_scheme", "the scheme is neither http nor https";
        BadPath, "h2_bad_path", "the path is empty, not absolute, or has a byte no URI may have";
        BadAuthority, "h2_bad_authority", "the authority is no host with an optional port";
        RepeatedHost, "h2_repeated_host", "Host is repeated";
        HostMismatch, "h2_host_mismatch", "Host is not the authority of the request";
        BadProtocol, "h2_bad_protocol", "the protocol is no token, or one that is never tunnelled";
        BadLength, "h2_bad_length", "Content-Length is not a decimal number below 2^64";
        RepeatedLength, "h2_repeated_length", "Content-Length is repeated or a list";
        LengthMismatch, "h2_length_mismatch", "Content-Length is not the length of the content";
        BadStatus, "h2_bad_status", "the status is not three digits from 100 on";
        SwitchingProtocols, "h2_switching_protocols", "status 101 is not defined in HTTP/2";
        InterimEnds, "h2_interim_ends", "an interim reply ends its stream or announces a body";
    }
}

/// Limits of one field section, as it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionLimits {
    /// Sum of name, value and 32 bytes of each field (RFC 9113 §6.5.2).
    pub bytes: usize,
    /// Number of fields; each pseudo-header field and each piece of a cookie is one.
    pub fields: usize,
}

impl Default for SectionLimits {
    /// 64 KiB and 200: far above what common clients send, also where a cookie comes in pieces.
    /// The count is what bounds the memory that a block of one-byte references can claim.
    fn default() -> Self {
        Self { bytes: 64 << 10, fields: 200 }
    }
}

/// The values of the pseudo-header fields (RFC 9113 §8.3, RFC 8441 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pseudo {
    /// `:method`
    pub method: Option<Span>,
    /// `:scheme`
    pub scheme: Option<Span>,
    /// `:authority`
    pub authority: Option<Span>,
    /// `:path`
    pub path: Option<Span>,
    /// `:protocol`
    pub protocol: Option<Span>,
    /// `:status`
    pub status: Option<Span>,
}

/// One field section; filled by [`super::hpack::Decoder::decode`], used again for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Every stored field as a line `name: value CRLF`, in the order they came.
    pub bytes: Vec<u8>,
    /// The ordinary fields, their spans in `bytes`.
    pub fields: Vec<Field>,
    /// The values of the pseudo-header fields, their spans in `bytes`.
    pub pseudo: Pseudo,
    /// Name, value and 32 bytes of all fields that were decoded, stored or not.
    pub size: usize,
    /// Number of fields that were decoded, stored or not.
    pub count: usize,
    /// The first broken rule. What is stored behind it is of no use.
    pub fault: Option<SectionFault>,
}

/// Bytes of arena that a cleared section keeps: most heads fit, and a few large ones do not make
/// every section of a connection large for good.
const KEPT_BYTES_MAX: usize = 8 << 10;

/// Fields that a cleared section keeps room for, for the same reason.
const KEPT_FIELDS_MAX: usize = 64;

impl Section {
    /// Empties the section; keeps memory up to what a usual head needs.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes.shrink_to(KEPT_BYTES_MAX);
        }
        if self.fields.capacity() > KEPT_FIELDS_MAX {
            self.fields.shrink_to(KEPT_FIELDS_MAX);
        }
        self.pseudo = Pseudo::default();
        (self.size, self.count, self.fault) = (0, 0, None);
    }

    /// Bytes of heap that the section holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Notes a broken rule; the first one stays.
    #[inline]
    pub(crate) fn accuse(&mut self, fault: SectionFault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
        }
    }
}
