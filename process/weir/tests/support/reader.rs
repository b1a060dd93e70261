//! A strict reader of HTTP/1.1 messages, independent of Weir's own: what Weir writes to either
//! side must pass here. It accepts nothing that two readers could take differently.

use std::borrow::Cow;

/// Header fields in order, names in lower case.
pub(crate) type Fields = Vec<(String, String)>;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none.
    None,
    /// Content-Length.
    Exact(usize),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// To the end of the connection (replies only).
    Close,
}

/// A message as read. Requests use `method` and `target`, replies `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) fields: Fields,
    pub(crate) length: Length,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Interim replies that came first.
    pub(crate) interim: Vec<Message>,
}

impl Message {
    /// The only value of a field; `None` without one. Two fields of the name fail the test.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let first = found.next();
        assert!(found.next().is_none(), "two {name} fields in {:?}", self.fields);
        first
    }

    /// Whether any field of this name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(n, _)| n == name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Whose message is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    Request,
    /// A reply to a request with this method.
    Reply(&'a str),
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Takes a CRLF line off `at`; `None` when it has not come whole. What is no UTF-8 becomes U+FFFD,
/// which only values may have.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<Cow<'a, str>>, String> {
    let rest = &bytes[*at..];
    let Some(lf) = rest.iter().position(|&b| b == b'\n') else {
        return match rest.iter().position(|&b| b == b'\r') {
            Some(cr) if cr + 1 < rest.len() => Err("bare CR".into()),
            _ => Ok(None),
        };
    };
    let line = rest[..lf].strip_suffix(b"\r").ok_or("bare LF")?;
    if line.iter().any(|&b| b == b'\r' || b == 0) {
        return Err("CR or NUL inside a line".into());
    }
    *at += lf + 1;
    Ok(Some(String::from_utf8_lossy(line)))
}

/// Reads fields up to the empty line.
fn fields(bytes: &[u8], at: &mut usize) -> Result<Option<Fields>, String> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(bytes, at)? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let (name, value) = line.split_once(':').ok_or(format!("no colon in {line:?}"))?;
        if !is_token(name) {
            return Err(format!("field name {name:?}"));
        }
        if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Err(format!("control character in {line:?}"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

fn start(line: &str, kind: Kind<'_>) -> Result<(String, String, u16, String), String> {
    let bad = || format!("start line {line:?}");
    match kind {
        Kind::Request => {
            let parts: Vec<&str> = line.split(' ').collect();
            let [method, target, version] = parts[..] else { return Err(bad()) };
            let visible = target.bytes().all(|b| (0x21..0x7f).contains(&b));
            if !is_token(method) || target.is_empty() || !visible || !is_version(version) {
                return Err(bad());
            }
            Ok((method.into(), target.into(), 0, version.into()))
        }
        Kind::Reply(_) => {
            let mut parts = line.splitn(3, ' ');
            let version = parts.next().unwrap_or("");
            let code = parts.next().ok_or_else(bad)?;
            parts.next().ok_or_else(bad)?;
            let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
            if !is_version(version) || !digits {
                return Err(bad());
            }
            Ok((String::new(), String::new(), code.parse().map_err(|_| bad())?, version.into()))
        }
    }
}

fn is_version(text: &str) -> bool {
    text == "HTTP/1.1" || text == "HTTP/1.0"
}

fn length(message: &Message, kind: Kind<'_>) -> Result<Length, String> {
    let all = |name: &str| -> Vec<&str> {
        message.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    };
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    if !codings.is_empty() && !lengths.is_empty() {
        return Err("Transfer-Encoding and Content-Length".into());
    }
    if codings.len() > 1 || lengths.len() > 1 {
        return Err("framing field twice".into());
    }
    let bodyless = match kind {
        Kind::Request => false,
        Kind::Reply(method) => {
            method == "HEAD" || message.status < 200 || matches!(message.status, 204 | 304)
        }
    };
    if let Some(coding) = codings.first() {
        if !coding.eq_ignore_ascii_case("chunked") || message.version == "HTTP/1.0" {
            return Err(format!("Transfer-Encoding {coding:?} on {}", message.version));
        }
        return Ok(if bodyless { Length::None } else { Length::Chunked });
    }
    if let Some(text) = lengths.first() {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(format!("Content-Length {text:?}"));
        }
        let n = text.parse().map_err(|_| format!("Content-Length {text:?}"))?;
        return Ok(if bodyless { Length::None } else { Length::Exact(n) });
    }
    Ok(match kind {
        Kind::Reply(_) if !bodyless => Length::Close,
        _ => Length::None,
    })
}

/// Reads a head: the message without body, and its length in bytes.
pub(crate) fn head(bytes: &[u8], kind: Kind<'_>) -> Result<Option<(Message, usize)>, String> {
    let mut at = 0;
    let Some(first) = line(bytes, &mut at)? else { return Ok(None) };
    let (method, target, status, version) = start(&first, kind)?;
    let Some(fields) = fields(bytes, &mut at)? else { return Ok(None) };
    let mut message = Message {
        method,
        target,
        status,
        version,
        fields,
        length: Length::None,
        body: Vec::new(),
        trailers: Vec::new(),
        interim: Vec::new(),
    };
    message.length = length(&message, kind)?;
    Ok(Some((message, at)))
}

/// Data and trailers of a chunked body, and its length in bytes.
type Chunked = (Vec<u8>, Fields, usize);

fn chunked(bytes: &[u8]) -> Result<Option<Chunked>, String> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let Some(size) = line(bytes, &mut at)? else { return Ok(None) };
        let hex = !size.is_empty() && size.len() <= 16;
        if !hex || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("chunk size {size:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("chunk size {size:?}"))?;
        if size == 0 {
            let Some(trailers) = fields(bytes, &mut at)? else { return Ok(None) };
            return Ok(Some((body, trailers, at)));
        }
        let Some(data) = bytes.get(at..at.saturating_add(size)) else { return Ok(None) };
        let Some(end) = bytes.get(at + size..at + size + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err("chunk not followed by CRLF".into());
        }
        body.extend_from_slice(data);
        at += size + 2;
    }
}

/// Reads the body that `message` announces from `bytes`; `ended` says that the connection did.
/// Gives the bytes used, `None` when more must come.
pub(crate) fn body(
    message: &mut Message,
    bytes: &[u8],
    ended: bool,
) -> Result<Option<usize>, String> {
    match message.length {
        Length::None => Ok(Some(0)),
        Length::Exact(n) => Ok(bytes.get(..n).map(|data| {
            message.body = data.to_vec();
            n
        })),
        Length::Chunked => Ok(chunked(bytes)?.map(|(data, trailers, used)| {
            message.body = data;
            message.trailers = trailers;
            used
        })),
        Length::Close if ended => {
            message.body = bytes.to_vec();
            Ok(Some(bytes.len()))
        }
        Length::Close => Ok(None),
    }
}

/// Reads a whole message, interim replies first; `None` when more must come.
pub(crate) fn message(
    bytes: &[u8],
    kind: Kind<'_>,
    ended: bool,
) -> Result<Option<(Message, usize)>, String> {
    let (mut at, mut interim) = (0, Vec::new());
    loop {
        let Some((mut message, used)) = head(&bytes[at..], kind)? else { return Ok(None) };
        at += used;
        if matches!(kind, Kind::Reply(_)) && message.status < 200 && message.status != 101 {
            if message.has("content-length") || message.has("transfer-encoding") {
                return Err(format!("interim {} with framing", message.status));
            }
            interim.push(message);
            continue;
        }
        let Some(used) = body(&mut message, &bytes[at..], ended)? else { return Ok(None) };
        message.interim = interim;
        return Ok(Some((message, at + used)));
    }
}

/// Reads every request of a connection: the whole ones, and the bytes of one that is not.
pub(crate) fn requests(bytes: &[u8]) -> Result<(Vec<Message>, &[u8]), String> {
    let (mut at, mut list) = (0, Vec::new());
    while at < bytes.len() {
        match message(&bytes[at..], Kind::Request, false)? {
            Some((request, used)) => {
                list.push(request);
                at += used;
            }
            None => break,
        }
    }
    Ok((list, &bytes[at..]))
}
