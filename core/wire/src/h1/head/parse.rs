//! Incremental parsing of heads. A line is parsed when its CRLF is there, and then once; the
//! search for the line end never looks at a byte again, so that a head that comes byte by byte
//! costs no more than a small multiple of one that comes whole.
//!
//! What a prefix of a message gives does not depend on how it was cut into pieces: a fault inside
//! a line is reported with its line end, a bare CR or LF and a broken limit at once.

use super::{
    Field, HEAD_BYTES_MAX, HeadError, HeadLimits, Known, Method, RequestHead, ResponseHead, Span,
    Version, target,
};
use crate::bytes;

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    Fields,
    Done,
}

/// Where a parser stands in the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    stage: Stage,
    /// Start of the line that is awaited.
    line: usize,
    /// No CR or LF stands between `line` and here, except perhaps a CR that waits for its LF.
    scanned: usize,
    /// Start of the first field line.
    section: usize,
}

impl Cursor {
    /// The offset of the CR of the awaited line, or `None` while its CRLF is not there.
    /// `room` is the offset that the line may reach, `full` what is said of a longer one.
    fn line_end(
        &mut self,
        buf: &[u8],
        room: usize,
        full: HeadError,
    ) -> Result<Option<usize>, HeadError> {
        let from = self.scanned.max(self.line);
        let found = buf.get(from..).and_then(|rest| memchr::memchr2(b'\r', b'\n', rest));
        let stop = found.map_or(buf.len(), |n| from + n);
        if stop > room {
            return Err(full);
        }
        self.scanned = stop;
        match (buf.get(stop), buf.get(stop + 1)) {
            (None, _) | (Some(b'\r'), None) => Ok(None),
            (Some(b'\r'), Some(b'\n')) => Ok(Some(stop)),
            (Some(b'\r'), Some(_)) => Err(HeadError::BareCr),
            _ => Err(HeadError::BareLf),
        }
    }

    #[inline]
    fn next_line(&mut self, start: usize) {
        self.line = start;
        self.scanned = start;
    }

    fn begin_fields(&mut self, start: usize) {
        self.next_line(start);
        self.section = start;
        self.stage = Stage::Fields;
    }

    /// Reads field lines until the empty one; true when that is passed.
    fn fields(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        fields: &mut Vec<Field>,
    ) -> Result<bool, HeadError> {
        let room = self.section.saturating_add(limits.section_bytes).min(HEAD_BYTES_MAX);
        loop {
            if let Some([b'\r', b'\n']) = buf.get(self.line..self.line + 2) {
                self.next_line(self.line + 2);
                self.stage = Stage::Done;
                return Ok(true);
            }
            // While a line is known to be cut short, only its end is looked for.
            let whole = if self.scanned == self.line { read_field(buf, self.line) } else { None };
            if let Some(field) = whole {
                if field.line.end as usize > room {
                    return Err(HeadError::SectionTooLarge);
                }
                if fields.len() >= limits.fields {
                    return Err(HeadError::TooManyFields);
                }
                fields.push(field);
                self.next_line(field.line.end as usize);
                continue;
            }
            let Some(end) = self.line_end(buf, room, HeadError::SectionTooLarge)? else {
                return Ok(false);
            };
            if end + 2 > room {
                return Err(HeadError::SectionTooLarge);
            }
            if fields.len() >= limits.fields {
                return Err(HeadError::TooManyFields);
            }
            let Some(field) = read_field(buf, self.line) else {
                return Err(accuse(buf.get(self.line..end).unwrap_or_default(), fields.is_empty()));
            };
            fields.push(field);
            self.next_line(field.line.end as usize);
        }
    }
}

/// The field line at `at` where it is whole and without fault.
#[inline]
fn read_field(buf: &[u8], at: usize) -> Option<Field> {
    let plain = bytes::skip_plain(buf, at);
    let (colon, odd_name) = match *buf.get(plain)? {
        b':' => (plain, false),
        _ => (bytes::skip_token(buf, plain), true),
    };
    if colon == at || *buf.get(colon)? != b':' {
        return None;
    }
    usual_value(buf, at, colon, odd_name).or_else(|| any_value(buf, at, colon, odd_name))
}

/// The field with its colon at `colon`, whatever white space its value has around it.
fn any_value(buf: &[u8], at: usize, colon: usize, odd_name: bool) -> Option<Field> {
    let spaced = *buf.get(colon + 1)? == b' ';
    let mut start = colon + 1 + usize::from(spaced);
    while matches!(buf.get(start), Some(b' ' | b'\t')) {
        start += 1;
    }
    let mut cr = bytes::skip_text(buf, start);
    while *buf.get(cr)? == b'\t' {
        cr = bytes::skip_text(buf, cr + 1);
    }
    let [b'\r', b'\n'] = *buf.get(cr..cr + 2)? else {
        return None;
    };
    let mut end = cr;
    while end > start && matches!(buf.get(end - 1), Some(b' ' | b'\t')) {
        end -= 1;
    }
    let name = Span::new(at, colon);
    Some(Field {
        name,
        value: Span::new(start, end),
        line: Span::new(at, cr + 2),
        known: if odd_name { Known::Other } else { Known::of_plain(name.get(buf)) },
        canonical: spaced && start == colon + 2 && end == cr,
        odd_name,
        hop: false,
    })
}

/// The field with its colon at `colon` where its line is `name: value CRLF` without other white
/// space around the value, as nearly all are.
#[inline]
fn usual_value(buf: &[u8], at: usize, colon: usize, odd_name: bool) -> Option<Field> {
    let start = colon + 2;
    let [b' ', first] = *buf.get(colon + 1..colon + 3)? else { return None };
    if matches!(first, b' ' | b'\t') {
        return None;
    }
    let end = bytes::skip_text(buf, start);
    let [last, b'\r', b'\n'] = *buf.get(end.checked_sub(1)?..end + 2)? else { return None };
    // An empty value ends with the space in front of it.
    if matches!(last, b' ' | b'\t') {
        return None;
    }
    let name = Span::new(at, colon);
    Some(Field {
        name,
        value: Span::new(start, end),
        line: Span::new(at, end + 2),
        known: if odd_name { Known::Other } else { Known::of_plain(name.get(buf)) },
        canonical: true,
        odd_name,
        hop: false,
    })
}

/// Parses one field line that ends with its CRLF.
pub(crate) fn field_line(line: &[u8]) -> Result<Field, HeadError> {
    read_field(line, 0)
        .filter(|field| field.line.len() == line.len())
        .ok_or_else(|| accuse(line.strip_suffix(b"\r\n").unwrap_or(line), false))
}

/// Says what is wrong with a field line (without its CRLF) that could not be read.
#[cold]
fn accuse(line: &[u8], first: bool) -> HeadError {
    let name = line.iter().position(|&b| !bytes::is_token(b)).unwrap_or(line.len());
    match (name, line.get(name)) {
        (0, Some(b' ' | b'\t')) if first => HeadError::LeadingSpace,
        (0, Some(b' ' | b'\t')) => HeadError::ObsFold,
        (0, Some(b':')) => HeadError::EmptyName,
        (_, None) => HeadError::MissingColon,
        (_, Some(b':')) => {
            if line.contains(&0) {
                HeadError::NulInValue
            } else {
                HeadError::ControlInValue
            }
        }
        (_, Some(b' ' | b'\t')) => {
            let rest = bytes::trim(line.get(name..).unwrap_or_default());
            if rest.first() == Some(&b':') {
                HeadError::SpaceBeforeColon
            } else {
                HeadError::FieldNameToken
            }
        }
        _ => HeadError::FieldNameToken,
    }
}

/// The version at `text`, which must be all of it.
fn version(text: &[u8]) -> Result<Version, HeadError> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HeadError::Version505)
        }
        _ => Err(HeadError::BadVersion),
    }
}

/// Parses the head of one request; kept and reset for the next one on the connection.
#[derive(Debug, Default)]
pub struct RequestParser {
    cursor: Cursor,
    head: RequestHead,
}

impl RequestParser {
    /// A parser at the start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the message but keeps the memory.
    pub fn reset(&mut self) {
        self.cursor = Cursor::default();
        self.head.fields.clear();
        self.head.start = 0;
        self.head.len = 0;
    }

    /// Reads on in `buf`, which always starts with the message and holds what it held before.
    /// True when the head is complete. At most one CRLF before the request line is skipped.
    ///
    /// # Errors
    /// The first broken rule; the parser is of no use until it is reset.
    pub fn parse(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        let buf = buf.get(..HEAD_BYTES_MAX + 2).unwrap_or(buf);
        if self.cursor.stage == Stage::Start && !self.start_line(buf, limits)? {
            return Ok(false);
        }
        if self.cursor.stage == Stage::Fields {
            if !self.cursor.fields(buf, limits, &mut self.head.fields)? {
                return Ok(false);
            }
            self.head.len = self.cursor.line;
        }
        Ok(true)
    }

    fn start_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        match buf.first() {
            None => return Ok(false),
            Some(&TLS_HANDSHAKE) => return Err(HeadError::TlsOnPlain),
            Some(b'\r') if self.cursor.line == 0 => match buf.get(1) {
                None => return Ok(false),
                Some(b'\n') => self.cursor.next_line(2),
                Some(_) => return Err(HeadError::BareCr),
            },
            Some(_) => {}
        }
        let at = self.cursor.line;
        self.head.start = at;
        let room = at.saturating_add(limits.line_bytes).min(HEAD_BYTES_MAX);
        let Some(end) = self.cursor.line_end(buf, room, HeadError::LineTooLong)? else {
            return Ok(false);
        };
        if end == at {
            return Err(HeadError::EmptyLines);
        }
        let space = bytes::skip_token(buf, at);
        let method = Span::new(at, space);
        let name = method.get(buf);
        match buf.get(space) {
            Some(b' ') if !name.is_empty() => {}
            Some(b' ' | b'\t') => return Err(HeadError::BadSpace),
            Some(b'\r') => return Err(HeadError::MissingVersion),
            _ => return Err(HeadError::BadMethod),
        }
        self.head.method = Method::of(name);
        // A known method in lower case, or any other such token, is a mistake or a probe.
        if self.head.method == Method::Other && name.iter().any(u8::is_ascii_lowercase) {
            return Err(HeadError::BadMethod);
        }
        self.head.method_span = method;
        if buf.get(at..end) == Some(b"PRI * HTTP/2.0") {
            return Err(HeadError::Http2Preface);
        }
        let (target, space) = target::read(buf, space + 1, end, self.head.method)?;
        self.head.target = target;
        let rest = buf.get(space + 1..end).unwrap_or_default();
        if rest.is_empty() || rest.iter().any(|&b| b == b' ' || b == b'\t') {
            return Err(HeadError::BadSpace);
        }
        self.head.version = version(rest)?;
        self.cursor.begin_fields(end + 2);
        Ok(true)
    }

    /// The head; of use once [`RequestParser::parse`] gave true.
    #[must_use]
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The head, for [`crate::h1::request::meaning`].
    pub fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

/// Parses the head of one reply; kept and reset for the next one on the connection.
#[derive(Debug, Default)]
pub struct ResponseParser {
    cursor: Cursor,
    head: ResponseHead,
}

impl ResponseParser {
    /// A parser at the start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the message but keeps the memory.
    pub fn reset(&mut self) {
        self.cursor = Cursor::default();
        self.head.fields.clear();
        self.head.len = 0;
    }

    /// Reads on in `buf`, which always starts with the message and holds what it held before.
    /// True when the head is complete.
    ///
    /// # Errors
    /// The first broken rule; the parser is of no use until it is reset.
    pub fn parse(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        let buf = buf.get(..HEAD_BYTES_MAX + 2).unwrap_or(buf);
        if self.cursor.stage == Stage::Start && !self.start_line(buf, limits)? {
            return Ok(false);
        }
        if self.cursor.stage == Stage::Fields {
            if !self.cursor.fields(buf, limits, &mut self.head.fields)? {
                return Ok(false);
            }
            self.head.len = self.cursor.line;
        }
        Ok(true)
    }

    fn start_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        let room = limits.line_bytes.min(HEAD_BYTES_MAX);
        let Some(end) = self.cursor.line_end(buf, room, HeadError::LineTooLong)? else {
            return Ok(false);
        };
        let line = buf.get(..end).unwrap_or_default();
        if line.is_empty() {
            return Err(HeadError::EmptyLines);
        }
        let (text, rest) = line.split_at_checked(8).ok_or(HeadError::BadVersion)?;
        self.head.version = version(text)?;
        let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = rest else {
            return Err(HeadError::BadStatus);
        };
        let digit = |d: &u8| u16::from(d - b'0');
        self.head.status = digit(a) * 100 + digit(b) * 10 + digit(c);
        match rest {
            [] => {}
            [b' ', reason @ ..] if bytes::is_value_text(reason) => {}
            [b' ', ..] => return Err(HeadError::BadReason),
            _ => return Err(HeadError::BadStatus),
        }
        self.head.reason = Span::new((8 + 4 + 1).min(end), end);
        self.cursor.begin_fields(end + 2);
        Ok(true)
    }

    /// The head; of use once [`ResponseParser::parse`] gave true.
    #[must_use]
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// The head, for [`crate::h1::response::meaning`].
    pub fn head_mut(&mut self) -> &mut ResponseHead {
        &mut self.head
    }
}

#[cfg(test)]
mod tests;
