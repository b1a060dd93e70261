//! What a field section means, as a request, as a reply and as trailers. The form is the one of
//! HTTP/1, and so are the rules that do not depend on the version.

use super::section::{Section, SectionFault};
use crate::bytes;
use crate::h1::Framing;
use crate::h1::authority::{self, Authority};
use crate::h1::body::BodyLimits;
use crate::h1::connection;
use crate::h1::head::{
    Field, HeadError, HeadLimits, Known, Method, RequestHead, ResponseHead, Span, Target,
    TargetForm, Version,
};
use crate::h1::request::RequestMeaning;
use crate::h1::response::ResponseMeaning;

/// Why a field section is no request that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The request is malformed: its stream is reset with PROTOCOL_ERROR (RFC 9113 §8.1.1).
    Malformed(SectionFault),
    /// The request is answered with [`HeadError::status`].
    Refused(HeadError),
}

impl From<SectionFault> for MessageError {
    fn from(fault: SectionFault) -> Self {
        match fault {
            SectionFault::TooLarge => Self::Refused(HeadError::SectionTooLarge),
            SectionFault::TooMany => Self::Refused(HeadError::TooManyFields),
            _ => Self::Malformed(fault),
        }
    }
}

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Malformed(fault) => fault.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MessageError {}

/// Facts of the fields of one section.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    lengths: u32,
    length: Option<u64>,
    hosts: u32,
    host: Span,
    expects: u32,
    expect: Span,
    te_trailers: bool,
    cookies: u32,
}

impl Facts {
    fn gather(fields: &mut [Field], buf: &[u8]) -> Self {
        let mut facts = Self::default();
        for field in fields {
            match field.known {
                Known::Cookie => facts.cookies += 1,
                known if known.is_end_to_end() => continue,
                Known::ContentLength => {
                    facts.lengths += 1;
                    facts.length = bytes::decimal(field.value.get(buf));
                }
                Known::Host => {
                    facts.hosts += 1;
                    facts.host = field.value;
                }
                Known::Expect => {
                    facts.expects += 1;
                    facts.expect = field.value;
                }
                // The decoder takes no other value.
                Known::Te => facts.te_trailers = true,
                _ => {}
            }
            field.hop = field.known.is_hop_by_hop();
        }
        facts
    }

    /// The one length that is announced, if any. Equal ones are no better than differing ones:
    /// nobody sends them but to try how they are read.
    fn length(&self) -> Result<Option<u64>, SectionFault> {
        match (self.lengths, self.length) {
            (0, _) => Ok(None),
            (1, Some(length)) => Ok(Some(length)),
            (1, None) => Err(SectionFault::BadLength),
            _ => Err(SectionFault::RepeatedLength),
        }
    }
}

/// Makes a decoded section a request: `head` gets the fields, and its spans point into
/// `section.bytes`. `ends` is true where the stream ends with the section.
///
/// [`Framing::Chunked`] stands for a body whose length is not known, and which may have trailers.
/// A request for a tunnel (RFC 8441) has `upgrade` and no body: what follows is the tunnel's.
///
/// # Errors
/// The broken rule; nothing of the message may reach an origin then.
pub fn request(
    section: &mut Section,
    head: &mut RequestHead,
    ends: bool,
    limits: &HeadLimits,
) -> Result<RequestMeaning, MessageError> {
    // Nothing of the message before may be taken for a part of a refused one.
    let mut spare = core::mem::take(&mut head.fields);
    spare.clear();
    *head = RequestHead { version: Version::Http2, fields: spare, ..RequestHead::default() };
    if let Some(fault) = section.fault {
        if matches!(fault, SectionFault::TooLarge | SectionFault::TooMany) {
            tell(section, head, limits);
        }
        return Err(fault.into());
    }
    core::mem::swap(&mut section.fields, &mut head.fields);
    let facts = Facts::gather(&mut head.fields, &section.bytes);
    if facts.cookies > 1 {
        join_cookies(&mut section.bytes, &mut head.fields);
    }
    if facts.hosts > 0 {
        hide(&mut head.fields, Known::Host);
    }
    let buf = &section.bytes[..];
    head.len = buf.len();
    let pseudo = section.pseudo;
    if pseudo.status.is_some() {
        return Err(SectionFault::PseudoMisplaced.into());
    }
    method(head, pseudo.method, buf)?;
    let connect = head.method == Method::Connect;
    if connect && pseudo.protocol.is_none() {
        return Err(plain_connect(section));
    }
    let https = scheme(pseudo.scheme, buf)?;
    let path = pseudo.path.ok_or(SectionFault::PseudoMissing)?;
    if path.len() > limits.line_bytes {
        return Err(MessageError::Refused(HeadError::LineTooLong));
    }
    head.target = target(path, head.method, buf)?;
    let authority = whom(&facts, pseudo.authority, https, buf)?;
    bounded(head, facts.hosts, pseudo.authority, buf, limits)?;
    let upgrade = pseudo.protocol.map(|span| tunnelled(span, connect, buf)).transpose()?;
    let framing = match (facts.length()?, ends) {
        (Some(_), _) if connect => return Err(SectionFault::LengthMismatch.into()),
        (Some(1..), true) => return Err(SectionFault::LengthMismatch.into()),
        (_, true) => Framing::None,
        _ if connect => Framing::None,
        (Some(length), false) => Framing::Exact(length),
        (None, false) => Framing::Chunked,
    };
    if head.method == Method::Trace {
        let body = framing != Framing::None;
        let error = if body { HeadError::TraceWithBody } else { HeadError::TraceRefused };
        return Err(MessageError::Refused(error));
    }
    let expect_continue = facts.expects > 0 && expects(&facts, head, framing, buf)?;
    let te_trailers = facts.te_trailers;
    Ok(RequestMeaning {
        framing,
        keep_alive: true,
        expect_continue,
        upgrade,
        te_trailers,
        authority,
    })
}

/// Says whose request is refused for its size, as far as it came before the limit.
fn tell(section: &Section, head: &mut RequestHead, limits: &HeadLimits) {
    let buf = &section.bytes[..];
    head.len = buf.len();
    let pseudo = &section.pseudo;
    if method(head, pseudo.method, buf).is_err() {
        (head.method, head.method_span) = (Method::Other, Span::default());
    }
    let path = pseudo.path.filter(|path| path.len() <= limits.line_bytes);
    if let Some(Ok(target)) = path.map(|path| target(path, head.method, buf)) {
        head.target = target;
    }
}

/// Holds a head to the limits as one of HTTP/1 is: its lines are counted as they would be written,
/// the authority as `Host`, the pieces of a cookie as one field.
fn bounded(
    head: &RequestHead,
    hosts: u32,
    authority: Option<Span>,
    buf: &[u8],
    limits: &HeadLimits,
) -> Result<(), MessageError> {
    let host = authority.filter(|_| hosts == 0);
    if head.fields.len() + usize::from(host.is_some()) > limits.fields {
        return Err(MessageError::Refused(HeadError::TooManyFields));
    }
    // No line is longer than its part of the buffer, in which those of the pseudo fields stand too.
    if buf.len() <= limits.section_bytes {
        return Ok(());
    }
    let host = host.map_or(0, |host| b"host: \r\n".len() + host.len());
    let lines: usize = head.fields.iter().map(|field| field.line.len()).sum();
    if host + lines > limits.section_bytes {
        return Err(MessageError::Refused(HeadError::SectionTooLarge));
    }
    Ok(())
}

/// Joins the pieces of a cookie to one field at the end of the arena (RFC 9113 §8.2.3).
fn join_cookies(bytes: &mut Vec<u8>, fields: &mut Vec<Field>) {
    let start = bytes.len();
    bytes.extend_from_slice(b"cookie: ");
    let value = bytes.len();
    // An empty piece would leave a separator at an end of the value, where no space may stand.
    for field in fields.iter().filter(|f| f.known == Known::Cookie && !f.value.is_empty()) {
        if bytes.len() > value {
            bytes.extend_from_slice(b"; ");
        }
        bytes.extend_from_within(field.value.start as usize..field.value.end as usize);
    }
    let end = bytes.len();
    bytes.extend_from_slice(b"\r\n");
    fields.retain(|field| field.known != Known::Cookie);
    fields.push(Field {
        name: Span::new(start, value - 2),
        value: Span::new(value, end),
        line: Span::new(start, end + 2),
        known: Known::Cookie,
        canonical: true,
        ..Field::default()
    });
}

fn hide(fields: &mut [Field], known: Known) {
    fields.iter_mut().filter(|field| field.known == known).for_each(|field| field.hop = true);
}

fn method(head: &mut RequestHead, span: Option<Span>, buf: &[u8]) -> Result<(), SectionFault> {
    head.method_span = span.ok_or(SectionFault::PseudoMissing)?;
    let name = head.method_span.get(buf);
    head.method = Method::of(name);
    let sound = head.method != Method::Other
        || (bytes::is_token_text(name) && !name.iter().any(u8::is_ascii_lowercase));
    if sound { Ok(()) } else { Err(SectionFault::BadMethod) }
}

/// What is said of CONNECT to a host and port (RFC 9113 §8.5), which is not served.
fn plain_connect(section: &Section) -> MessageError {
    let pseudo = &section.pseudo;
    let Some(authority) = pseudo.authority else { return SectionFault::PseudoMissing.into() };
    if pseudo.scheme.is_some() || pseudo.path.is_some() {
        return SectionFault::PseudoMisplaced.into();
    }
    match authority::read(&section.bytes, authority) {
        Some(Authority { port: Some(_), .. }) => MessageError::Refused(HeadError::ConnectRefused),
        _ => SectionFault::BadAuthority.into(),
    }
}

/// True for https.
fn scheme(span: Option<Span>, buf: &[u8]) -> Result<bool, SectionFault> {
    match span.ok_or(SectionFault::PseudoMissing)?.get(buf) {
        b"https" => Ok(true),
        b"http" => Ok(false),
        other if other.eq_ignore_ascii_case(b"https") => Ok(true),
        other if other.eq_ignore_ascii_case(b"http") => Ok(false),
        _ => Err(SectionFault::BadScheme),
    }
}

fn target(path: Span, method: Method, buf: &[u8]) -> Result<Target, SectionFault> {
    let text = path.get(buf);
    let form = match text {
        [b'/', ..] if bytes::is_target_text(text) => TargetForm::Origin,
        b"*" if method == Method::Options => TargetForm::Asterisk,
        _ => return Err(SectionFault::BadPath),
    };
    let mut target = Target { form, whole: path, path, ..Target::default() };
    if let Some(mark) = memchr::memchr(b'?', text) {
        let mark = path.start as usize + mark;
        target.path = Span::new(path.start as usize, mark);
        target.query = Some(Span::new(mark + 1, path.end as usize));
    }
    Ok(target)
}

/// The authority of `:authority` or of `Host`; where both are there they must be the same.
fn whom(
    facts: &Facts,
    named: Option<Span>,
    https: bool,
    buf: &[u8],
) -> Result<Authority, SectionFault> {
    let read = |span| authority::read(buf, span).ok_or(SectionFault::BadAuthority);
    if facts.hosts > 1 {
        return Err(SectionFault::RepeatedHost);
    }
    let Some(named) = named else {
        return if facts.hosts == 1 { read(facts.host) } else { Err(SectionFault::PseudoMissing) };
    };
    let named = read(named)?;
    if facts.hosts == 1 {
        let host = read(facts.host)?;
        let usual = Some(if https { 443 } else { 80 });
        let same = named.host(buf).eq_ignore_ascii_case(host.host(buf))
            && named.port.or(usual) == host.port.or(usual);
        if !same {
            return Err(SectionFault::HostMismatch);
        }
    }
    Ok(named)
}

fn tunnelled(span: Span, connect: bool, buf: &[u8]) -> Result<Span, SectionFault> {
    let name = span.get(buf);
    if !connect {
        return Err(SectionFault::PseudoMisplaced);
    }
    if !bytes::is_token_text(name) || !connection::is_protocol(name) {
        return Err(SectionFault::BadProtocol);
    }
    Ok(span)
}

/// As in [`crate::h1::request`]: an expectation without a body has no effect.
fn expects(
    facts: &Facts,
    head: &mut RequestHead,
    framing: Framing,
    buf: &[u8],
) -> Result<bool, MessageError> {
    if facts.expects > 1 || !facts.expect.get(buf).eq_ignore_ascii_case(b"100-continue") {
        return Err(MessageError::Refused(HeadError::Expectation));
    }
    let waits = !matches!(framing, Framing::None | Framing::Exact(0));
    if !waits {
        hide(&mut head.fields, Known::Expect);
    }
    Ok(waits)
}

/// Makes a decoded section a reply to a request with `method`; as [`request`] does.
///
/// # Errors
/// The broken rule; the stream is reset, and the reply is a 502 towards the client.
pub fn response(
    section: &mut Section,
    head: &mut ResponseHead,
    ends: bool,
    method: Method,
) -> Result<ResponseMeaning, SectionFault> {
    let mut spare = core::mem::take(&mut head.fields);
    spare.clear();
    *head = ResponseHead { version: Version::Http2, fields: spare, ..ResponseHead::default() };
    if let Some(fault) = section.fault {
        return Err(fault);
    }
    core::mem::swap(&mut section.fields, &mut head.fields);
    let buf = &section.bytes[..];
    let facts = Facts::gather(&mut head.fields, buf);
    let pseudo = &section.pseudo;
    if [pseudo.method, pseudo.scheme, pseudo.authority, pseudo.path, pseudo.protocol]
        .iter()
        .any(Option::is_some)
    {
        return Err(SectionFault::PseudoMisplaced);
    }
    let status = pseudo.status.ok_or(SectionFault::PseudoMissing)?.get(buf);
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = status else {
        return Err(SectionFault::BadStatus);
    };
    let digit = |d: &u8| u16::from(d - b'0');
    head.status = digit(a) * 100 + digit(b) * 10 + digit(c);
    head.len = buf.len();
    let declared = facts.length()?;
    let interim = head.status < 200;
    if head.status == 101 {
        return Err(SectionFault::SwitchingProtocols);
    }
    if interim && (ends || declared.is_some_and(|length| length > 0)) {
        return Err(SectionFault::InterimEnds);
    }
    let tunnel = method == Method::Connect && head.status / 100 == 2;
    let bodiless = interim || tunnel || method == Method::Head || matches!(head.status, 204 | 304);
    let framing = match declared {
        _ if bodiless => Framing::None,
        Some(1..) if ends => return Err(SectionFault::LengthMismatch),
        _ if ends => Framing::None,
        Some(length) => Framing::Exact(length),
        None => Framing::Chunked,
    };
    Ok(ResponseMeaning {
        framing,
        keep_alive: true,
        reusable: true,
        upgrade: None,
        interim,
        declared,
    })
}

/// Appends the fields of a decoded trailer section that may be forwarded to `lines`, each as a
/// canonical line; as [`crate::h1::body::BodyDecoder::trailers`] gives them.
///
/// # Errors
/// The broken rule, or more than 32 fields or 8 KiB of lines; the stream is reset.
pub fn trailers(section: &mut Section, lines: &mut Vec<u8>) -> Result<(), SectionFault> {
    if let Some(fault) = section.fault {
        return Err(fault);
    }
    if section.pseudo != super::section::Pseudo::default() {
        return Err(SectionFault::PseudoMisplaced);
    }
    let limits = BodyLimits::default();
    if section.fields.len() > limits.trailer_fields as usize {
        return Err(SectionFault::TooMany);
    }
    if section.bytes.len() > limits.trailer_bytes as usize {
        return Err(SectionFault::TooLarge);
    }
    for field in &section.fields {
        if connection::is_trailer(field, field.name.get(&section.bytes)) {
            lines.extend_from_slice(field.line.get(&section.bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
