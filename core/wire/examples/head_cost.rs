//! Reads and writes the heads of one proxied request again and again, so that a profiler that
//! counts instructions shows what each step costs:
//!
//! ```text
//! cargo build --profile dist -p core-wire --example head_cost
//! echo bench | valgrind --tool=callgrind --callgrind-out-file=head.out \
//!     target/dist/examples/head_cost
//! callgrind_annotate --inclusive=yes head.out | grep head_cost::
//! ```
//!
//! The counts are those of [`ROUNDS`] rounds. `bench` has the heads of `cargo run -p bench`,
//! `browser` those of a page asked for by a browser.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use core_wire::h1::Framing;
use core_wire::h1::head::{HeadLimits, Known, Method, RequestParser, ResponseParser, Span};
use core_wire::h1::request::{self, RequestMeaning};
use core_wire::h1::response::{self, ResponseMeaning};
use core_wire::h1::write::HeadWriter;

const ROUNDS: usize = 1000;

const BENCH_REQUEST: &[u8] =
    b"GET /1k HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const BENCH_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n";

const BROWSER_REQUEST: &[u8] = b"GET /articles/2026/how-it-works?ref=home&page=2 HTTP/1.1\r\n\
    Host: www.example.com\r\nConnection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\
    \r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://www.example.com/articles/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=5f2b6c1e0a9d4c7f8e3b; theme=dark; consent=all\r\n\
    If-None-Match: W/\"3b1a-19a8f2c4d50\"\r\n\r\n";
const BROWSER_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\n\
    Date: Sun, 01 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n\
    Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nVary: Accept-Encoding\r\n\
    Cache-Control: private, max-age=0, must-revalidate\r\nETag: W/\"3b1a-19a8f2c4d50\"\r\n\
    X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\n\
    Content-Security-Policy: default-src 'self'; img-src *; script-src 'self'\r\n\
    Set-Cookie: session=5f2b6c1e0a9d4c7f8e3b; Path=/; HttpOnly; Secure; SameSite=Lax\r\n\r\n";

fn main() {
    let which = std::io::read_to_string(std::io::stdin()).expect("standard input can be read");
    let (asked, replied) = match which.trim() {
        "bench" => (BENCH_REQUEST, BENCH_REPLY),
        "browser" => (BROWSER_REQUEST, BROWSER_REPLY),
        _ => panic!("standard input says which heads: bench or browser"),
    };
    let (mut request, mut reply) = (RequestParser::new(), ResponseParser::new());
    let (mut up, mut down) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    for _ in 0..ROUNDS {
        let asked = black_box(asked);
        request_parse(&mut request, asked);
        let meaning = request_meaning(&mut request, asked);
        up.clear();
        request_write(&request, &meaning, asked, &mut up);
        let replied = black_box(replied);
        reply_parse(&mut reply, replied);
        let meaning = reply_meaning(&mut reply, replied, request.head().method);
        down.clear();
        reply_write(&reply, &meaning, replied, &mut down);
        black_box((&up, &down));
    }
    print!("{}{}", String::from_utf8_lossy(&up), String::from_utf8_lossy(&down));
}

#[inline(never)]
fn request_parse(parser: &mut RequestParser, buf: &[u8]) {
    parser.reset();
    assert_eq!(parser.parse(buf, &HeadLimits::default()), Ok(true));
}

#[inline(never)]
fn request_meaning(parser: &mut RequestParser, buf: &[u8]) -> RequestMeaning {
    request::meaning(parser.head_mut(), buf).expect("the request is sound")
}

/// As the proxy writes it for an origin.
#[inline(never)]
fn request_write(parser: &RequestParser, meaning: &RequestMeaning, buf: &[u8], out: &mut Vec<u8>) {
    let request = parser.head();
    let mut head = HeadWriter::new(out);
    let end = request.target.query.map_or(request.target.path.end, |query| query.end);
    let target = Span { start: request.target.path.start, end };
    head.request_line_of(buf, request.method_span, target);
    head.own_of(b"Host: ", buf, meaning.authority.host);
    head.copy_run(buf, &request.fields, |field| {
        let own = matches!(
            field.known,
            Known::Host
                | Known::XForwardedFor
                | Known::XForwardedProto
                | Known::XForwardedHost
                | Known::Forwarded
                | Known::CfConnectingIp
        );
        !field.hop && !own
    })
    .expect("parsed fields can be written");
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    head.address(b"X-Forwarded-For: ", black_box(peer));
    head.address(b"CF-Connecting-IP: ", black_box(peer));
    head.line(b"X-Forwarded-Proto: http\r\n");
    head.framing(meaning.framing);
    head.finish();
}

#[inline(never)]
fn reply_parse(parser: &mut ResponseParser, buf: &[u8]) {
    parser.reset();
    assert_eq!(parser.parse(buf, &HeadLimits::default()), Ok(true));
}

#[inline(never)]
fn reply_meaning(parser: &mut ResponseParser, buf: &[u8], method: Method) -> ResponseMeaning {
    response::meaning(parser.head_mut(), buf, method).expect("the reply is sound")
}

/// As the proxy writes it for a client.
#[inline(never)]
fn reply_write(parser: &ResponseParser, meaning: &ResponseMeaning, buf: &[u8], out: &mut Vec<u8>) {
    let reply = parser.head();
    let mut head = HeadWriter::new(out);
    head.status_line(reply.status).expect("a parsed status can be written");
    head.copy_run(buf, &reply.fields, |field| !field.hop).expect("parsed fields can be written");
    if !reply.fields.iter().any(|field| field.known == Known::Date) {
        head.date(black_box(b"Sun, 01 Nov 2026 12:00:00 GMT"));
    }
    let framing = if meaning.framing == Framing::Eof { Framing::Chunked } else { meaning.framing };
    head.framing(framing);
    head.finish();
}
