//! The head of a message: start line and fields as spans into the buffer they were read into.
//! What the fields mean together is the business of [`super::request`] and [`super::response`].

mod error;
mod known;
mod parse;
mod target;

pub use error::HeadError;
pub use known::Known;
pub(crate) use known::names as known_names;
pub(crate) use parse::field_line;
pub use parse::{RequestParser, ResponseParser};

/// A range of bytes in the buffer that starts with the message.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`; both are below [`HEAD_BYTES_MAX`] in what the parsers make.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes of the span; empty where `buf` does not reach so far.
    #[inline]
    #[must_use]
    pub fn get(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        (self.end as usize).saturating_sub(self.start as usize)
    }

    /// True where there is no byte in it.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Bytes of a buffer that a parser looks at, whatever the limits say: spans have 32 bits.
pub const HEAD_BYTES_MAX: usize = 1 << 30;

/// One field line.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name as it was sent.
    pub name: Span,
    /// The value without white space around it.
    pub value: Span,
    /// The whole line with its CRLF.
    pub line: Span,
    /// Which of the names that the proxy knows it is.
    pub known: Known,
    /// True where the line is exactly `name: value CRLF` and can be copied as it is.
    pub canonical: bool,
    /// True where the name has a character outside of `[A-Za-z0-9-]`, so that others may take it
    /// for another name.
    pub odd_name: bool,
    /// True where the field must not be forwarded; set by the `meaning` functions.
    pub hop: bool,
}

/// Limits of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the start line without its CRLF (414).
    pub line_bytes: usize,
    /// Bytes of all field lines together, each with its CRLF (431).
    pub section_bytes: usize,
    /// Number of fields (431).
    pub fields: usize,
}

impl Default for HeadLimits {
    /// 8 KiB, 32 KiB and 100: what common clients stay far below, and what keeps the memory that
    /// a head can claim small.
    fn default() -> Self {
        Self { line_bytes: 8 << 10, section_bytes: 32 << 10, fields: 100 }
    }
}

/// The version of a message, as far as its meaning differs: 1.1 to 1.9 are 1.1 (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1 or a later minor version.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

/// The method of a request (RFC 9110 §9, RFC 5789).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// PATCH
    Patch,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// CONNECT
    Connect,
    /// Another token in upper case; `method_span` has its bytes.
    Other,
}

impl Method {
    /// The method of these bytes; methods are case-sensitive.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"PATCH" => Self::Patch,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// True where sending the request twice is as good as once (RFC 9110 §9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Connect | Self::Other)
    }
}

/// The form of a request target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`
    Absolute {
        /// The scheme is https.
        https: bool,
    },
    /// `host:port`, CONNECT only.
    Authority,
    /// `*`, OPTIONS only.
    Asterisk,
}

/// A request target, cut into its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Which of the four forms it has.
    pub form: TargetForm,
    /// All of it.
    pub whole: Span,
    /// The authority of the absolute and of the authority form; not yet validated.
    pub authority: Span,
    /// The path; empty in the absolute form where the target has none (then `/` is meant, or `*`
    /// with OPTIONS, RFC 9112 §3.2.4), in the authority form always.
    pub path: Span,
    /// What stands behind the first `?`.
    pub query: Option<Span>,
}

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The bytes of the method.
    pub method_span: Span,
    /// The target.
    pub target: Target,
    /// The version.
    pub version: Version,
    /// The fields in their order.
    pub fields: Vec<Field>,
    /// Where the request line starts: 2 behind one empty line, else 0.
    pub start: usize,
    /// Offset behind the empty line that ends the head; counts from the start of the buffer.
    pub len: usize,
}

/// The head of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The version.
    pub version: Version,
    /// Status code, 100..=999.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: Span,
    /// The fields in their order.
    pub fields: Vec<Field>,
    /// Offset behind the empty line that ends the head.
    pub len: usize,
}

/// The first field of a name, if any.
#[must_use]
pub fn find(fields: &[Field], known: Known) -> Option<&Field> {
    fields.iter().find(|field| field.known == known)
}
