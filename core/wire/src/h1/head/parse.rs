//! Incremental parsing of heads. A line is parsed when its CRLF is there, and then once; the
//! search for the line end never looks at a byte again, so that a head that comes byte by byte
//! costs no more than a small multiple of one that comes whole.
//!
//! Nearly all lines are of one usual kind, which one pass without a search for the line end reads;
//! any other line, and any faulty one, goes the way that knows everything.
//!
//! What a prefix of a message gives does not depend on how it was cut into pieces: a fault inside
//! a line is reported with its line end, a bare CR or LF and a broken limit at once.

use super::{
    Field, HEAD_BYTES_MAX, HeadError, HeadLimits, Known, Method, RequestHead, ResponseHead, Span,
    Target, TargetForm, Version, target,
};
use crate::bytes;

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Where the reason phrase of a status line starts.
const REASON_AT: usize = "HTTP/1.1 200 ".len();

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
            // While a line is known to be cut short, only its end is looked for.
            if self.scanned == self.line {
                let rest = buf.get(..room).unwrap_or(buf);
                let next = usual_fields(rest, self.line, limits.fields, fields);
                self.next_line(next);
            }
            if let Some([b'\r', b'\n']) = buf.get(self.line..self.line + 2) {
                self.next_line(self.line + 2);
                self.stage = Stage::Done;
                return Ok(true);
            }
            if !self.any_field(buf, room, limits.fields, fields)? {
                return Ok(false);
            }
        }
    }

    /// Reads one field line of whatever kind; false while it is not whole. `room` is the offset
    /// that it may reach, `most` how many fields there may be. Out of line, as it would cost the
    /// usual lines their registers.
    #[inline(never)]
    fn any_field(
        &mut self,
        buf: &[u8],
        room: usize,
        most: usize,
        fields: &mut Vec<Field>,
    ) -> Result<bool, HeadError> {
        let Some(end) = self.line_end(buf, room, HeadError::SectionTooLarge)? else {
            return Ok(false);
        };
        if end + 2 > room {
            return Err(HeadError::SectionTooLarge);
        }
        if fields.len() >= most {
            return Err(HeadError::TooManyFields);
        }
        let Some(field) = read_field(buf, self.line) else {
            return Err(accuse(buf.get(self.line..end).unwrap_or_default(), fields.is_empty()));
        };
        fields.push(field);
        self.next_line(field.line.end as usize);
        Ok(true)
    }
}

/// Reads field lines from `at` on, up to `most` in all, while they are whole and usual: an ordinary
/// name, a colon, a space, and printable ASCII without other white space around it. Gives the
/// offset of the first line that is something else.
#[inline]
fn usual_fields(buf: &[u8], at: usize, most: usize, fields: &mut Vec<Field>) -> usize {
    let Some(mut text) = buf.get(at..) else { return at };
    while fields.len() < most {
        // Behind the empty line may stand a whole body without a colon.
        if text.first() == Some(&b'\r') {
            break;
        }
        let Some((colon, ends)) = bytes::before_colon(text) else { break };
        let Some((name, value)) = text.split_at_checked(colon) else { break };
        let known = Known::with_ends(name, ends);
        // A name of the table has been looked at by finding it.
        if known == Known::Other && (name.is_empty() || bytes::skip_plain(text, 0) != colon) {
            break;
        }
        let [_, b' ', b'!'..=b'~', ..] = value else { break };
        let len = bytes::skip_printable(text, colon + 2);
        let Some((line, rest)) = text.split_at_checked(len) else { break };
        let Some((end, rest)) = rest.split_first_chunk() else { break };
        if end != b"\r\n" || line.last() == Some(&b' ') {
            break;
        }
        let at = buf.len() - text.len();
        let end = buf.len() - rest.len();
        fields.push(Field {
            name: Span::new(at, at + colon),
            value: Span::new(at + colon + 2, end - 2),
            line: Span::new(at, end),
            known,
            canonical: true,
            odd_name: false,
            hop: false,
        });
        text = rest;
    }
    buf.len() - text.len()
}

/// The field line at `at` where it is whole and without fault.
fn read_field(buf: &[u8], at: usize) -> Option<Field> {
    let text = buf.get(at..)?;
    let plain = bytes::skip_plain(text, 0);
    let (colon, odd_name) = match *text.get(plain)? {
        b':' => (plain, false),
        _ => (bytes::skip_token(text, plain), true),
    };
    if colon == 0 || *text.get(colon)? != b':' {
        return None;
    }
    let (lead, len, end) = any_value(text.get(colon + 1..)?)?;
    let value_at = at + colon + 1;
    Some(Field {
        name: Span::new(at, at + colon),
        value: Span::new(value_at + lead, value_at + lead + len),
        line: Span::new(at, value_at + end + 2),
        known: if odd_name { Known::Other } else { Known::of(text.get(..colon)?) },
        canonical: lead == 1 && end == 1 + len && text.get(colon + 1) == Some(&b' '),
        odd_name,
        hop: false,
    })
}

/// Offset and length of the value in `text`, which stands behind a colon, and the offset of the
/// line end.
fn any_value(text: &[u8]) -> Option<(usize, usize, usize)> {
    let spaces = text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let mut cr = bytes::skip_text(text, spaces);
    while *text.get(cr)? == b'\t' {
        cr = bytes::skip_text(text, cr + 1);
    }
    if text.get(cr..cr + 2)? != b"\r\n" {
        return None;
    }
    let len = bytes::trim(text.get(spaces..cr)?).len();
    Some((spaces, len, cr))
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

/// The status code behind the version, of which `text` starts with a space and three digits.
#[inline]
fn status(text: &[u8]) -> Option<u16> {
    let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = *text else {
        return None;
    };
    let digit = |d: u8| u16::from(d - b'0');
    Some(digit(a) * 100 + digit(b) * 10 + digit(c))
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

    /// The start line where it is whole and of the usual kind: a common method, the origin form,
    /// and version 1.1.
    #[inline]
    fn usual_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Option<()> {
        let start = self.cursor.line;
        let text = buf.get(start..)?;
        let (method, len) = if text.starts_with(b"GET ") {
            (Method::Get, 3)
        } else if text.starts_with(b"POST ") {
            (Method::Post, 4)
        } else if text.starts_with(b"HEAD ") {
            (Method::Head, 4)
        } else {
            return None;
        };
        let text = text.get(len + 1..).filter(|text| text.first() == Some(&b'/'))?;
        let (target, path) = bytes::target_and_path(text)?;
        if text.get(target..)?.first_chunk()? != b" HTTP/1.1\r\n" {
            return None;
        }
        let at = start + len + 1;
        let end = at + target;
        let line = end + " HTTP/1.1".len() - start;
        if line > limits.line_bytes || start + line > HEAD_BYTES_MAX {
            return None;
        }
        self.head.method = method;
        self.head.method_span = Span::new(start, start + len);
        self.head.target = Target {
            form: TargetForm::Origin,
            whole: Span::new(at, end),
            authority: Span::default(),
            path: Span::new(at, at + path),
            query: (path < target).then(|| Span::new(at + path + 1, end)),
        };
        self.head.version = Version::Http11;
        self.head.start = start;
        self.cursor.begin_fields(start + line + 2);
        Some(())
    }

    fn start_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        // A line that was cut short before is not read from its start again.
        if self.cursor.scanned == self.cursor.line && self.usual_line(buf, limits).is_some() {
            return Ok(true);
        }
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

    /// The start line where it is whole and of the usual kind: version 1.1, and a reason phrase of
    /// printable ASCII.
    #[inline]
    fn usual_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Option<()> {
        let (version, text) = buf.split_first_chunk()?;
        if version != b"HTTP/1.1" || *text.get(4)? != b' ' {
            return None;
        }
        let status = status(text)?;
        let end = bytes::skip_printable(buf, REASON_AT);
        if buf.get(end..)?.first_chunk()? != b"\r\n" {
            return None;
        }
        if end > limits.line_bytes.min(HEAD_BYTES_MAX) {
            return None;
        }
        self.head.version = Version::Http11;
        self.head.status = status;
        self.head.reason = Span::new(REASON_AT, end);
        self.cursor.begin_fields(end + 2);
        Some(())
    }

    fn start_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        // A line that was cut short before is not read from its start again.
        if self.cursor.scanned == 0 && self.usual_line(buf, limits).is_some() {
            return Ok(true);
        }
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
        self.head.status = status(rest).ok_or(HeadError::BadStatus)?;
        match rest.get(4..).unwrap_or_default() {
            [] => {}
            [b' ', reason @ ..] if bytes::is_value_text(reason) => {}
            [b' ', ..] => return Err(HeadError::BadReason),
            _ => return Err(HeadError::BadStatus),
        }
        self.head.reason = Span::new(REASON_AT.min(end), end);
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
