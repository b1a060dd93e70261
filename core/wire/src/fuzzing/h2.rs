//! What must hold for every input of HTTP/2: field blocks, and heads on their way from one
//! protocol to the other.

use super::clean;
use crate::bytes;
use crate::h1::head::{
    Field, HeadLimits, Known, Method, RequestHead, RequestParser, ResponseHead, ResponseParser,
    Span, field_line,
};
use crate::h1::request::RequestMeaning;
use crate::h1::write::HeadWriter as H1Writer;
use crate::h1::{request, response};
use crate::h2::hpack::{Decoder, Encoder};
use crate::h2::message;
use crate::h2::section::{Pseudo, Section, SectionLimits};
use crate::h2::write::{self, HeadWriter as H2Writer};
use crate::write::{Scheme, WriteError, WriteHead};

/// Limits that small inputs reach.
const TIGHT: SectionLimits = SectionLimits { bytes: 300, fields: 6 };

/// Limits that no input reaches.
const WIDE: SectionLimits = SectionLimits { bytes: 1 << 24, fields: 1 << 20 };

const WIDE_HEAD: HeadLimits =
    HeadLimits { line_bytes: 1 << 20, section_bytes: 1 << 20, fields: 1 << 16 };

/// Cuts an input into blocks: an octet of length, then so much; 255 takes all that is left.
fn blocks(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (&len, rest) = data.split_first()?;
        let len = if len == u8::MAX { rest.len() } else { usize::from(len).min(rest.len()) };
        let (block, behind) = rest.split_at(len);
        data = behind;
        Some(block)
    })
}

/// Blocks decode to the same each time, within the limits, to fields that can stand in a head of
/// any protocol; and whatever they decode to has a meaning or a fault.
pub fn hpack_decode(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let announced = u32::from(first) * 32;
    for limits in [SectionLimits::default(), TIGHT] {
        let (mut one, mut two) = (Decoder::new(announced), Decoder::new(announced));
        for block in blocks(data) {
            let (mut section, mut again) = (Section::default(), Section::default());
            let verdict = one.decode(block, &limits, &mut section);
            two.shrink();
            assert_eq!(two.decode(block, &limits, &mut again), verdict, "a verdict stays");
            assert_eq!(again, section, "what is decoded does not depend on the memory around");
            if verdict.is_err() {
                break;
            }
            assert!(one.table_size() <= announced as usize, "a table keeps to its size");
            bounded(&section, &limits);
            for field in &section.fields {
                sound(field, &section.bytes);
            }
            meanings(&section);
        }
    }
}

fn bounded(section: &Section, limits: &SectionLimits) {
    assert!(section.bytes.len() <= limits.bytes, "no more is stored than the limit allows");
    let Pseudo { method, scheme, authority, path, protocol, status } = section.pseudo;
    let pseudo = [method, scheme, authority, path, protocol, status];
    let stored = section.fields.len() + pseudo.iter().flatten().count();
    assert!(stored <= limits.fields, "no more fields are stored than the limit allows");
    if section.fault.is_none() {
        assert_eq!(stored, section.count, "without fault all fields are there");
        assert!(section.size <= limits.bytes, "what passes a limit has a fault");
    }
}

/// A stored field is a canonical line of a valid name and a valid value.
fn sound(field: &Field, buf: &[u8]) {
    let (name, value) = (field.name.get(buf), field.value.get(buf));
    assert_eq!([name, b": ", value, b"\r\n"].concat(), field.line.get(buf), "a line is whole");
    assert!(bytes::is_token_text(name) && !name.iter().any(u8::is_ascii_uppercase));
    assert!(bytes::is_value_text(value) && bytes::trim(value) == value);
    assert_eq!(field.known, Known::of(name), "a name is known wherever it is asked about");
    assert_eq!(field.odd_name, !bytes::is_plain_name(name), "an odd name is seen");
    assert!(field.canonical && !field.hop);
    let plain = field_line(field.line.get(buf)).expect("it is a line of HTTP/1 too");
    assert_eq!((plain.known, plain.odd_name), (field.known, field.odd_name));
}

fn meanings(section: &Section) {
    for ends in [false, true] {
        downgraded(section.clone(), ends);
        for method in [Method::Get, Method::Head, Method::Connect] {
            reply_downgraded(section.clone(), ends, method);
        }
    }
    let mut lines = Vec::new();
    if message::trailers(&mut section.clone(), &mut lines).is_ok() {
        for line in lines.split_inclusive(|&b| b == b'\n') {
            let field = field_line(line).expect("trailers are field lines");
            assert!(field.canonical && field.known == Known::Other, "and change no meaning");
        }
    }
}

/// A block that means a request comes out of both serializers as that request and no other.
pub fn h2_downgrade(data: &[u8]) {
    let mut section = Section::default();
    if Decoder::new(4096).decode(data, &SectionLimits::default(), &mut section).is_ok() {
        meanings(&section);
    }
}

fn downgraded(mut section: Section, ends: bool) {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    let Ok(meaning) = message::request(&mut section, &mut head, ends, &limits) else { return };
    let buf = &section.bytes[..];
    let upgraded = upgraded(buf, &head, &meaning);
    assert_eq!(upgraded.0.method, head.method, "the method stays");
    assert_eq!(upgraded.1.framing, meaning.framing, "the framing stays");
    if meaning.upgrade.is_some() {
        return;
    }
    let mut out = Vec::new();
    forward(buf, &head, &meaning, H1Writer::new(&mut out)).expect("it can be written");
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&out, &WIDE_HEAD), Ok(true), "a written request can be read");
    clean(&out);
    let mut written = parser.head().clone();
    assert_eq!(written.len, out.len(), "one request is one request");
    assert_eq!(written.method_span.get(&out), head.method_span.get(buf), "the method stays");
    assert_eq!(written.target.whole.get(&out), head.target.whole.get(buf), "the target stays");
    assert_eq!(written.target.form, head.target.form, "and so does its form");
    let second = request::meaning(&mut written, &out).expect("it is sound");
    assert_eq!(second.framing, meaning.framing, "the framing stays");
    let (host, port) = (meaning.authority.host(buf), meaning.authority.port);
    assert_eq!((second.authority.host(&out), second.authority.port), (host, port));
    assert_eq!(second.expect_continue, meaning.expect_continue, "an expectation stays");
    assert_eq!(forwarded(&out, &written.fields), forwarded(buf, &head.fields));
}

/// Writes a request as one of HTTP/2 and reads it again.
fn upgraded(
    buf: &[u8],
    head: &RequestHead,
    meaning: &RequestMeaning,
) -> (RequestHead, RequestMeaning) {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    let writer = H2Writer::new(&mut encoder, &mut out);
    forward(buf, head, meaning, writer).expect("it can be written");
    let mut section = Section::default();
    Decoder::new(4096).decode(&out, &WIDE, &mut section).expect("it can be decoded");
    let mut again = RequestHead::default();
    let ends = meaning.framing == crate::h1::Framing::None;
    let got = message::request(&mut section, &mut again, ends, &WIDE_HEAD).expect("it is sound");
    let new = &section.bytes[..];
    assert_eq!(again.target.whole.get(new), head.target.whole.get(buf), "the target stays");
    assert_eq!(got.authority.host(new), meaning.authority.host(buf), "the host stays");
    assert_eq!(forwarded(new, &again.fields), forwarded(buf, &head.fields), "the fields stay");
    let protocol = |span: Option<Span>, buf| span.map(|span: Span| span.get(buf).to_vec());
    assert_eq!(protocol(got.upgrade, new), protocol(meaning.upgrade, buf), "a tunnel stays");
    (again, got)
}

fn forward(
    buf: &[u8],
    head: &RequestHead,
    meaning: &RequestMeaning,
    mut writer: impl WriteHead,
) -> Result<(), WriteError> {
    let host = meaning.authority.host;
    let port = meaning.authority.port.map_or(0, |port| 2 + port.ilog10());
    let authority = Span { start: host.start, end: host.end + port };
    let target = head.target.whole;
    match meaning.upgrade {
        Some(protocol) => {
            let (authority, target) = (authority.get(buf), target.get(buf));
            writer.tunnel(b"GET", Scheme::Https, authority, target, protocol.get(buf))?;
            writer.upgrade(protocol.get(buf))?;
        }
        None => writer.request_of(buf, head.method_span, Scheme::Https, authority, target),
    }
    writer.copy_run(buf, &head.fields, |field| !field.hop)?;
    writer.framing(meaning.framing);
    writer.finish();
    Ok(())
}

type Forwarded<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Names and values of the fields that pass, without those which each writer says itself.
fn forwarded<'a>(buf: &'a [u8], fields: &[Field]) -> Forwarded<'a> {
    let kept = fields.iter().filter(|field| !field.hop && field.known != Known::Host);
    kept.map(|field| (field.name.get(buf), field.value.get(buf))).collect()
}

fn reply_downgraded(mut section: Section, ends: bool, method: Method) {
    let mut head = ResponseHead::default();
    let Ok(meaning) = message::response(&mut section, &mut head, ends, method) else { return };
    let buf = &section.bytes[..];
    let mut out = Vec::new();
    let mut writer = H1Writer::new(&mut out);
    writer.status(head.status).expect("a read status can be written");
    WriteHead::copy_run(&mut writer, buf, &head.fields, |field| !field.hop).expect("fields too");
    WriteHead::framing(&mut writer, meaning.framing);
    WriteHead::finish(writer);
    clean(&out);
    let mut parser = ResponseParser::new();
    assert_eq!(parser.parse(&out, &WIDE_HEAD), Ok(true), "a written reply can be read");
    let mut written = parser.head().clone();
    assert_eq!((written.status, written.len), (head.status, out.len()), "one reply is one reply");
    let second = response::meaning(&mut written, &out, method).expect("it is sound");
    let ended = meaning.framing == crate::h1::Framing::None;
    assert!(ended || second.framing == meaning.framing, "the framing stays");
    let fields = |buf, fields: &[Field]| -> Vec<_> {
        let names = forwarded(buf, fields).into_iter();
        names.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    assert_eq!(fields(&out, &written.fields), fields(buf, &head.fields), "the fields stay");
}

/// Values that repeat, so that the table is used, and that are near each other.
const VALUES: [&str; 12] = [
    "",
    "a",
    "gzip",
    "text/html",
    "text/html; charset=utf-8",
    "text/html; charset=utf-9",
    "Mon, 21 Oct 2013 20:13:21 GMT",
    "Mon, 21 Oct 2013 20:13:22 GMT",
    "\u{e9}\t\u{fffd}",
    "0123456789abcdef",
    "0123456789abcdeg",
    " trimmed\t",
];

/// Names of every treatment, spelled in several ways.
const NAMES: [&str; 24] = [
    "Content-Type",
    "content-type",
    "Server",
    "VARY",
    "User-Agent",
    "Cookie",
    "Set-Cookie",
    "Authorization",
    "Date",
    "ETag",
    "Accept",
    "accept-encoding",
    "X-Forwarded-For",
    "CF-Ray",
    "Sec-Fetch-Mode",
    "sec-ch-ua",
    "Grpc-Status",
    "x_odd",
    "X",
    "TE",
    "Connection",
    "Host",
    "Upgrade",
    "X-A-Name-That-No-List-Has",
];

/// Whatever is written in blocks is what is decoded, while sizes change, blocks are given up and
/// memory is given back.
pub fn hpack_round_trip(data: &[u8]) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut input = data.iter().copied();
    while let Some(op) = input.next() {
        match op % 8 {
            0 => encoder.set_max_table(u32::from(input.next().unwrap_or_default()) * 24),
            1 => {
                encoder.shrink();
                decoder.shrink();
            }
            op => block(&mut input, op == 2, &mut encoder, &mut decoder),
        }
        let bound = 6 * 4096;
        assert!(encoder.memory() <= bound && decoder.memory() <= bound, "tables are small");
    }
}

fn block(
    input: &mut impl Iterator<Item = u8>,
    given_up: bool,
    encoder: &mut Encoder,
    decoder: &mut Decoder,
) {
    let (mut out, mut expect) = (Vec::new(), Vec::new());
    let mut writer = H2Writer::new(encoder, &mut out);
    for _ in 0..input.next().unwrap_or_default() % 16 {
        let Some((name, value)) = field(input) else { break };
        if writer.field(&name, &value).is_err() {
            continue;
        }
        let known = Known::of(&name);
        let hidden = matches!(known, Known::Connection | Known::Host | Known::Upgrade);
        let value = bytes::trim(&value);
        if !hidden && (known != Known::Te || value.eq_ignore_ascii_case(b"trailers")) {
            expect.push([&name.to_ascii_lowercase(), &b": "[..], value, b"\r\n"].concat());
        }
    }
    if given_up {
        return;
    }
    writer.finish();
    let mut section = Section::default();
    decoder.decode(&out, &WIDE, &mut section).expect("what is encoded can be decoded");
    assert_eq!(section.fault, None, "what is written has no fault");
    assert_eq!(section.bytes, expect.concat(), "fields come out as they went in");
    let mut again = Vec::new();
    let mut fresh = Encoder::new();
    write::trailers(&mut fresh, &section.bytes, &mut again);
    let mut second = Section::default();
    Decoder::new(4096).decode(&again, &WIDE, &mut second).expect("and again");
    assert_eq!(second.bytes, section.bytes, "trailers are fields like others");
}

fn field(input: &mut impl Iterator<Item = u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, value) = (input.next()?, input.next()?);
    let name = match NAMES.get(usize::from(name)) {
        Some(name) => name.as_bytes().to_vec(),
        None => input.take(usize::from(name % 32)).collect(),
    };
    let value = match VALUES.get(usize::from(value)) {
        Some(value) => value.as_bytes().to_vec(),
        // Long values meet the bound on what is indexed, and push others out.
        None if value >= 250 => vec![b'x'; usize::from(value - 249) * 170],
        None => input.take(usize::from(value % 64)).collect(),
    };
    Some((name, value))
}
