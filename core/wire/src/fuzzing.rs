//! What must hold for every input of the parsers, as one function each: the fuzz targets call
//! them, the property tests call them, and the tests replay the committed corpora through them.
//! Each function panics where something does not hold.

mod frames;
mod h2;
mod records;

use crate::client_hello::{self, HelloError};
use crate::h1::body::{self, BodyDecoder, BodyEncoder, BodyError, BodyLimits};
use crate::h1::head::{
    Field, HeadError, HeadLimits, Known, Method, RequestHead, RequestParser, ResponseHead,
    ResponseParser,
};
use crate::h1::write::HeadWriter;
use crate::h1::{Framing, request, response};
use crate::proxy_header::{self, ProxyHeader};

pub use frames::h2_frames;
pub use h2::{h2_downgrade, hpack_decode, hpack_round_trip};
pub use records::tls_records;

/// Limits near which small inputs come, so that limits are met too.
const TIGHT: HeadLimits = HeadLimits { line_bytes: 64, section_bytes: 160, fields: 6 };

/// Cuts of an input at which it is looked at again; more would make long inputs quadratic.
const CUTS_MAX: usize = 512;

/// The lengths of the prefixes to try, in growing order and ending with the whole.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let step = len / CUTS_MAX + 1;
    (0..len).step_by(step).chain([len])
}

/// A head gives the same however it is cut, holds no stray line end, and comes out of the
/// serializer as it went in.
pub fn h1_head(data: &[u8]) {
    for limits in [HeadLimits::default(), TIGHT] {
        if let Some(mut head) = same_request(data, &limits) {
            clean(data.get(head.start..head.len).expect("the head is inside of the input"));
            whole_fields(data, &head.fields, head.len);
            request_meaning(data, &mut head);
        }
        if let Some(mut head) = same_response(data, &limits) {
            clean(data.get(..head.len).expect("the head is inside of the input"));
            whole_fields(data, &head.fields, head.len);
            response_meaning(data, &mut head);
        }
    }
}

fn same_request(data: &[u8], limits: &HeadLimits) -> Option<RequestHead> {
    let mut whole = RequestParser::new();
    let expect = whole.parse(data, limits);
    let mut pieces = RequestParser::new();
    let got = in_pieces(data, |prefix| pieces.parse(prefix, limits));
    assert_eq!(got, expect, "a request gives something else when it comes in pieces");
    if expect != Ok(true) {
        return None;
    }
    assert_eq!(pieces.head(), whole.head(), "a request head differs when it comes in pieces");
    Some(whole.head().clone())
}

fn same_response(data: &[u8], limits: &HeadLimits) -> Option<ResponseHead> {
    let mut whole = ResponseParser::new();
    let expect = whole.parse(data, limits);
    let mut pieces = ResponseParser::new();
    let got = in_pieces(data, |prefix| pieces.parse(prefix, limits));
    assert_eq!(got, expect, "a reply gives something else when it comes in pieces");
    if expect != Ok(true) {
        return None;
    }
    assert_eq!(pieces.head(), whole.head(), "a reply head differs when it comes in pieces");
    Some(whole.head().clone())
}

/// Offers growing prefixes until the parser has made up its mind.
fn in_pieces(
    data: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<bool, HeadError>,
) -> Result<bool, HeadError> {
    for cut in cuts(data.len()) {
        let got = parse(data.get(..cut).unwrap_or(data));
        if got != Ok(false) {
            return got;
        }
    }
    Ok(false)
}

/// No NUL, each CR in front of an LF and each LF behind a CR, one empty line and that at the end.
fn clean(head: &[u8]) {
    assert!(head.ends_with(b"\r\n\r\n"), "a head ends with an empty line");
    assert!(!head.contains(&0), "a head has no NUL");
    let mut before = 0;
    for &b in head {
        assert_eq!(b == b'\n', before == b'\r', "CR and LF come in pairs");
        before = b;
    }
    let inside = head.get(..head.len() - 2).unwrap_or_default();
    assert!(memchr::memmem::find(inside, b"\r\n\r\n").is_none(), "there is one empty line");
}

/// The fields follow each other up to the empty line and hold their parts.
fn whole_fields(buf: &[u8], fields: &[Field], len: usize) {
    let end = fields.last().map_or(len - 2, |field| field.line.end as usize);
    assert_eq!(end, len - 2, "the last field stands in front of the empty line");
    for pair in fields.windows(2) {
        assert_eq!(pair[0].line.end, pair[1].line.start, "fields have no gap between them");
    }
    for field in fields {
        let name = field.name.get(buf);
        assert!(!name.is_empty(), "a field has a name");
        assert_eq!(field.known, Known::of(name), "a name is known wherever it is asked about");
        assert!(!field.hop, "a parsed field is not judged yet");
        let plain = [name, b": ", field.value.get(buf), b"\r\n"].concat();
        assert_eq!(field.canonical, plain == field.line.get(buf), "canonical means verbatim");
    }
}

fn request_meaning(buf: &[u8], head: &mut RequestHead) {
    let Ok(meaning) = request::meaning(head, buf) else {
        return;
    };
    let count = |known| head.fields.iter().filter(|field| field.known == known).count();
    let (lengths, codings) = (count(Known::ContentLength), count(Known::TransferEncoding));
    match meaning.framing {
        Framing::None => assert_eq!((lengths, codings), (0, 0), "no framing field, no body"),
        Framing::Exact(_) => assert_eq!((lengths, codings), (1, 0), "one length and no coding"),
        Framing::Chunked => assert_eq!((lengths, codings), (0, 1), "one coding and no length"),
        Framing::Eof => panic!("a request has an end of its own"),
    }
    assert!(count(Known::Host) <= 1, "there is one Host at most");
    let host = meaning.authority.host(buf);
    assert!(!host.iter().any(|b| b"@,/\\?# \t".contains(b)), "a host is one host");
    if let Some(upgrade) = meaning.upgrade {
        assert_eq!(meaning.framing, Framing::None, "no switch of protocols with a body");
        assert!(!upgrade.get(buf).eq_ignore_ascii_case(b"h2c"), "h2c is never passed on");
    }
    let mut out = Vec::new();
    let mut writer = HeadWriter::new(&mut out);
    writer
        .request_line(head.method_span.get(buf), head.target.whole.get(buf))
        .expect("a parsed request line can be written");
    rewrite(buf, &head.fields, meaning.framing, writer);
    let mut again = RequestParser::new();
    let wide = HeadLimits { section_bytes: 1 << 20, ..HeadLimits::default() };
    assert_eq!(again.parse(&out, &wide), Ok(true), "a written request can be read");
    let mut written = again.head().clone();
    assert_eq!(written.len, out.len(), "a written request is one request");
    assert_eq!(written.method, head.method, "the method stays");
    assert_eq!(written.target.whole.get(&out), head.target.whole.get(buf), "the target stays");
    same_fields(buf, &head.fields, &out, &written.fields);
    if written.version == head.version
        && let Ok(second) = request::meaning(&mut written, &out)
    {
        assert_eq!(second.framing, meaning.framing, "the framing stays");
    }
}

fn response_meaning(buf: &[u8], head: &mut ResponseHead) {
    let fields = head.fields.clone();
    for method in [Method::Get, Method::Head] {
        head.fields.clone_from(&fields);
        let Ok(meaning) = response::meaning(head, buf, method) else {
            continue;
        };
        if meaning.interim || method == Method::Head || matches!(head.status, 101 | 204 | 304) {
            assert_eq!(meaning.framing, Framing::None, "this reply has no body");
        }
        if meaning.framing == Framing::Eof {
            assert!(!meaning.reusable, "a connection read to its end is not used again");
        }
        assert!(meaning.keep_alive || !meaning.reusable, "reusable is more than kept alive");
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out);
        writer.status_line(head.status).expect("a parsed status can be written");
        rewrite(buf, &head.fields, meaning.framing, writer);
        let mut again = ResponseParser::new();
        let wide = HeadLimits { section_bytes: 1 << 20, ..HeadLimits::default() };
        assert_eq!(again.parse(&out, &wide), Ok(true), "a written reply can be read");
        let mut written = again.head().clone();
        assert_eq!(written.len, out.len(), "a written reply is one reply");
        assert_eq!(written.status, head.status, "the status stays");
        same_fields(buf, &head.fields, &out, &written.fields);
        let second = response::meaning(&mut written, &out, method).expect("it is sound");
        assert_eq!(second.framing, meaning.framing, "the framing stays");
    }
}

/// Writes what may be forwarded, once in runs and once field by field, which must be the same.
fn rewrite(buf: &[u8], fields: &[Field], framing: Framing, mut writer: HeadWriter<'_>) {
    let (mut runs, mut single) = (Vec::new(), Vec::new());
    HeadWriter::new(&mut runs)
        .copy_run(buf, fields, |field| !field.hop)
        .expect("parsed fields can be written");
    for field in fields.iter().filter(|field| !field.hop) {
        HeadWriter::new(&mut single).copy(buf, field).expect("a parsed field can be written");
    }
    assert_eq!(runs, single, "runs of fields are the fields");
    writer.copy_run(buf, fields, |field| !field.hop).expect("parsed fields can be written");
    writer.framing(framing);
    writer.finish();
}

/// The forwarded fields of `before` are those of `after` but for the framing of the latter.
fn same_fields(old: &[u8], before: &[Field], new: &[u8], after: &[Field]) {
    let framing =
        |field: &&Field| !matches!(field.known, Known::ContentLength | Known::TransferEncoding);
    let expect: Vec<_> = before
        .iter()
        .filter(|field| !field.hop)
        .map(|field| (field.name.get(old), field.value.get(old)))
        .collect();
    let got: Vec<_> = after
        .iter()
        .filter(framing)
        .map(|field| (field.name.get(new), field.value.get(new)))
        .collect();
    assert_eq!(got, expect, "fields come out as they went in");
    assert!(after.iter().all(|field| field.canonical), "written lines are canonical");
}

/// What a decoder made of an input.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    data: Vec<u8>,
    consumed: usize,
    trailers: Vec<u8>,
    end: Result<(), BodyError>,
}

/// A body gives the same however it is cut, under every framing; its content survives being
/// encoded and decoded again; an end is allowed only where the body is complete.
pub fn h1_body(data: &[u8]) {
    let limits = BodyLimits { body_bytes: 1 << 16, ..BodyLimits::default() };
    let half = data.len() as u64 / 2;
    for framing in [
        Framing::Chunked,
        Framing::None,
        Framing::Exact(half),
        Framing::Exact(data.len() as u64 + 1),
        Framing::Eof,
    ] {
        let whole = decode(data, framing, limits, data.len().max(1));
        for piece in [1, 2, 7] {
            let got = decode(data, framing, limits, piece);
            assert_eq!(got, whole, "{framing:?} gives something else in pieces of {piece}");
        }
        if let Framing::Exact(length) = framing {
            let complete = data.len() as u64 >= length && length <= limits.body_bytes;
            let ends = whole.as_ref().is_ok_and(|content| content.end.is_ok());
            assert_eq!(ends, complete, "an exact length is met or it is not");
        }
        if let Ok(content) = whole {
            assert!(content.consumed <= data.len(), "no more is consumed than there is");
            encoded_again(&content.data);
            for line in content.trailers.split_inclusive(|&b| b == b'\n') {
                let field = crate::h1::head::field_line(line).expect("trailers are field lines");
                assert!(field.canonical, "trailers are canonical");
                assert_eq!(field.known, Known::Other, "trailers change no meaning");
            }
        }
    }
}

fn decode(
    data: &[u8],
    framing: Framing,
    limits: BodyLimits,
    piece: usize,
) -> Result<Content, BodyError> {
    let mut decoder = BodyDecoder::new(framing, limits);
    let mut content = Vec::new();
    let mut consumed = 0;
    'pieces: for chunk in data.chunks(piece) {
        let mut rest = chunk;
        loop {
            let decoded = decoder.decode(rest)?;
            let found = rest.get(decoded.data.clone()).expect("content is inside of the input");
            content.extend_from_slice(found);
            consumed += decoded.consumed;
            rest = rest.get(decoded.consumed..).expect("no more is consumed than there is");
            if decoded.done {
                break 'pieces;
            }
            if decoded.consumed == 0 {
                assert!(rest.is_empty(), "input is left only where the body is done");
                break;
            }
        }
    }
    assert_eq!(decoder.seen(), content.len() as u64, "what is seen is counted");
    let done = decoder.is_done();
    let end = decoder.end();
    assert_eq!(end.is_ok(), done || framing == Framing::Eof, "an end is allowed where it is due");
    assert!(end.is_err() || decoder.is_done(), "behind an allowed end the body is done");
    Ok(Content { data: content, consumed, trailers: decoder.trailers().to_vec(), end })
}

fn encoded_again(content: &[u8]) {
    let mut encoder = BodyEncoder::new(Framing::Chunked);
    let mut out = Vec::new();
    for piece in content.chunks(13) {
        encoder.account(piece.len()).expect("chunks have no limit");
        out.extend_from_slice(BodyEncoder::frame(piece.len()).as_slice());
        out.extend_from_slice(piece);
        out.extend_from_slice(body::CHUNK_END);
    }
    out.extend_from_slice(body::LAST_CHUNK);
    encoder.end().expect("chunks may end anywhere");
    let again = decode(&out, Framing::Chunked, BodyLimits::default(), out.len());
    let expect =
        Content { data: content.to_vec(), consumed: out.len(), trailers: Vec::new(), end: Ok(()) };
    assert_eq!(again, Ok(expect), "content survives the chunked coding");
}

/// A PROXY header gives the same however it is cut, and survives being written again.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy_header::parse(data);
    let mut decided = None;
    for cut in cuts(data.len()) {
        let got = proxy_header::parse(data.get(..cut).unwrap_or(data));
        if let Some(before) = decided {
            assert_eq!(got, before, "more bytes do not change a verdict");
        }
        if got != Ok(proxy_header::Parsed::Partial) {
            decided = Some(got);
        }
    }
    let Ok(proxy_header::Parsed::Done { len, header }) = whole else {
        return;
    };
    assert!(len <= data.len(), "a header is inside of the input");
    let ProxyHeader::Addresses { source, destination } = header else {
        return;
    };
    for write in [proxy_header::write_v1, proxy_header::write_v2] {
        let mut out = Vec::new();
        write(source, destination, &mut out);
        let expect = proxy_header::Parsed::Done { len: out.len(), header };
        assert_eq!(proxy_header::parse(&out), Ok(expect), "a written header reads the same");
    }
}

/// A hello gives the same however it is cut, and whatever stands behind it.
pub fn client_hello(data: &[u8]) {
    let mut decided: Option<Result<client_hello::Parsed, HelloError>> = None;
    for cut in cuts(data.len()) {
        let got = client_hello::parse(data.get(..cut).unwrap_or(data));
        if let Some(before) = &decided {
            assert_eq!(&got, before, "more bytes do not change a verdict");
        }
        if got != Ok(client_hello::Parsed::Partial) {
            decided = Some(got);
        }
    }
    let Some(Ok(client_hello::Parsed::Done(hello))) = decided else {
        return;
    };
    assert!(!hello.cipher_suites.is_empty(), "a hello offers something");
    if let Some(sni) = &hello.sni {
        assert!(!sni.is_empty() && sni.is_ascii(), "a server name is a host name");
    }
}
