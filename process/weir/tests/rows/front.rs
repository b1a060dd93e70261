//! Rows 81 and 82: the PROXY header, as it comes from a front and as it goes to origins.

use crate::support::client::{Client, Cut, End};
use crate::support::edge::{Edge, origin};
use crate::support::process::Weir;
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use std::net::Ipv4Addr;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
/// 203.0.113.9:4000 to 192.0.2.1:443.
const IPV4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0x0f, 0xa0, 0x01, 0xbb];

/// A version 2 header with this length field, whatever follows.
fn header(command: u8, family: u8, length: usize, payload: &[u8]) -> Vec<u8> {
    // As a writer that forgets that the field has 16 bits.
    let length = u16::try_from(length % 65_536).expect("it fits").to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

/// Addresses and TLVs of `bytes` bytes together.
fn with_tlvs(bytes: usize) -> Vec<u8> {
    let mut payload = IPV4.to_vec();
    let mut left = bytes;
    while left > 0 {
        let value = left.saturating_sub(3).min(60_000);
        let size = u16::try_from(value).expect("it fits").to_be_bytes();
        payload.push(0xe0);
        payload.extend(size);
        payload.extend(vec![b'G'; value]);
        left = left.saturating_sub(value + 3);
    }
    payload
}

fn listening(proxy: &str) -> (Weir, Upstream) {
    let upstream = Upstream::tagged();
    let lines = format!("proxy_protocol = {{ {proxy} }}");
    (Weir::start(Edge::simple(upstream.port()).listener("web", &lines)), upstream)
}

const LOOPBACK: &str = "trusted = [\"127.0.0.0/8\"], timeout = \"2s\"";

#[test]
fn row_81_headers_to_origins_hold_addresses_alone() {
    const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::start(|conn: &mut Conn| {
        while !conn.piece().is_empty() {
            if !conn.write(REPLY) {
                return;
            }
        }
    });
    let edge = Edge::simple(upstream.port())
        .listener("web", &format!("proxy_protocol = {{ {LOOPBACK} }}"))
        .pool("p", "proxy_protocol = \"v2\"", &[origin("o1", upstream.port())]);
    let weir = Weir::start(edge);
    let expected = [header(0x21, 0x11, 12, &IPV4), b"GET /a HTTP/1.1\r\n".to_vec()].concat();
    // The most that is read is 536 bytes of addresses and TLVs.
    let mut served = 0;
    for tlvs in [0, 3, 4, 100, 500, 523, 524] {
        let payload = with_tlvs(tlvs);
        assert_eq!(payload.len(), 12 + tlvs);
        let mut client = weir.client();
        client.send([&header(0x21, 0x11, payload.len(), &payload), GET].concat()).expect("sent");
        assert_eq!(client.reply("GET").status, 200, "{tlvs} bytes of TLVs");
        served += 1;
        let logs = upstream.logs();
        assert_eq!(logs.len(), served, "a connection that names a client serves nobody else");
        // The origin takes the line ends of the signature for a message and may answer that.
        wait::until(&format!("{tlvs}: the origin has the request"), SOON, || {
            logs[served - 1].bytes().starts_with(&expected)
        });
        let got = logs[served - 1].bytes();
        assert!(!got.windows(2).any(|pair| pair == b"GG"), "{tlvs}: a TLV was forwarded");
    }
    // Beyond that, at the end of the length field, and past it: where it wraps.
    for total in [537, 65_534, 65_535, 65_536, 65_537, 65_540, 65_548, 65_549, 66_072, 66_073] {
        let mut payload = with_tlvs(total - 12);
        payload.truncate(total);
        let mut client = weir.client();
        drop(client.send([&header(0x21, 0x11, total, &payload), GET].concat()));
        let end = client.end(SOON);
        // The rest of a payload that wrapped is no request, so that is all there can be.
        let refused = match &end {
            End::Open(_) => false,
            End::Closed(rest) | End::Reset(rest) => {
                rest.is_empty() || rest.starts_with(b"HTTP/1.1 4")
            }
        };
        assert!(refused, "{total}: {end:?}");
        assert_eq!(upstream.logs().len(), served, "{total}: the origin was asked");
    }
    let v6 = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 12], &[0x20, 1, 0xd, 0xb8], &[1; 12]].concat();
    let payload = [&v6[..], &[0x0f, 0xa0, 0x01, 0xbb]].concat();
    let mut client = weir.client();
    client.send([&header(0x21, 0x21, 36, &payload), GET].concat()).expect("it is sent");
    assert_eq!(client.reply("GET").status, 200);
    let got = upstream.logs()[served].bytes();
    assert!(got.starts_with(&header(0x21, 0x21, 36, &payload)), "the length is that of IPv6");
}

#[test]
fn row_82_good_headers() {
    let (weir, upstream) = listening(LOOPBACK);
    let v4 =
        |family, tlvs: &[u8]| header(0x21, family, 12 + tlvs.len(), &[&IPV4[..], tlvs].concat());
    let unix = vec![b'/'; 216];
    for (what, bytes, client) in [
        ("v1", b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 443\r\n".to_vec(), "203.0.113.9"),
        ("v1, IPv6", b"PROXY TCP6 2001:db8::9 ::1 4000 443\r\n".to_vec(), "2001:db8::9"),
        ("v1, unknown", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("v1, unknown with text", b"PROXY UNKNOWN ff:ff 1 2 3 4\r\n".to_vec(), "127.0.0.1"),
        ("v2", v4(0x11, &[]), "203.0.113.9"),
        ("v2, datagrams", v4(0x12, &[]), "203.0.113.9"),
        ("v2, a TLV", v4(0x11, &[1, 0, 1, b'x']), "203.0.113.9"),
        ("v2, an empty TLV", v4(0x11, &[1, 0, 0]), "203.0.113.9"),
        ("v2, LOCAL", header(0x20, 0, 0, &[]), "127.0.0.1"),
        ("v2, LOCAL with addresses", header(0x20, 0x11, 12, &IPV4), "127.0.0.1"),
        ("v2, unspecified", header(0x21, 0, 0, &[]), "127.0.0.1"),
        ("v2, a path of a socket", header(0x21, 0x31, 216, &unix), "127.0.0.1"),
    ] {
        let bytes = [&bytes[..], GET].concat();
        for cut in Cut::all(bytes.len()) {
            let mut connection = weir.client();
            connection.send_cut(&bytes, cut);
            assert_eq!(connection.reply("GET").text(), "GET /a 0", "{what}, {cut:?}");
            let requests = upstream.take().requests;
            let [request] = &requests[..] else { panic!("I1: {what}, {cut:?}: {requests:?}") };
            assert_eq!(request.field("x-forwarded-for"), Some(client), "{what}, {cut:?}");
        }
    }
}

/// Expects the end of the connection without a byte, and nothing at the origin.
#[track_caller]
fn closed(mut client: Client, upstream: &Upstream, what: &str) {
    match client.end(SOON) {
        End::Closed(rest) | End::Reset(rest) if rest.is_empty() => {}
        end => panic!("I4: {what}: {end:?}"),
    }
    let taken = upstream.take();
    assert!(taken.requests.is_empty() && taken.partial.is_empty(), "I4: {what}: {taken:?}");
}

#[test]
fn row_82_bad_headers_close_the_connection() {
    let (weir, upstream) = listening(LOOPBACK);
    let long = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!(long.len(), 107);
    let cut = |bytes: &[u8]| header(0x21, 0x11, bytes.len(), bytes);
    for (what, bytes) in [
        ("none", Vec::new()),
        ("v1 of 107 bytes without an end", long.clone().into_bytes()),
        ("v1 of 108 bytes", format!("{}\r\n", &long[..106]).into_bytes()),
        ("v1 with a bare LF", b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 443\n".to_vec()),
        ("v1 with a bare CR", b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 443\rX".to_vec()),
        ("v1 of another case", b"proxy TCP4 203.0.113.9 192.0.2.1 4000 443\r\n".to_vec()),
        ("v1 with more behind it", b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 443 5\r\n".to_vec()),
        ("v1 with less", b"PROXY TCP4 203.0.113.9 192.0.2.1 4000\r\n".to_vec()),
        ("v1 of the other family", b"PROXY TCP4 2001:db8::9 ::1 4000 443\r\n".to_vec()),
        ("v1 with a port too high", b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n".to_vec()),
        ("v1 with an octal port", b"PROXY TCP4 203.0.113.9 192.0.2.1 010 443\r\n".to_vec()),
        ("v2 of 65535 bytes", header(0x21, 0x11, 65_535, &with_tlvs(65_523))),
        ("v2 of 537 bytes", header(0x21, 0x11, 537, &with_tlvs(525))),
        ("v2 without addresses", cut(&[])),
        ("v2 with part of them", cut(&IPV4[..11])),
        ("v2 with IPv4 for IPv6", header(0x21, 0x21, 12, &IPV4)),
        ("v2 with a TLV cut short", cut(&[&IPV4[..], &[1, 0]].concat())),
        ("v2 with a TLV past the end", cut(&[&IPV4[..], &[1, 0, 9, 1]].concat())),
        ("v2 with a TLV of 65535 bytes", cut(&[&IPV4[..], &[1, 255, 255, 1]].concat())),
        ("v2 of version 1", header(0x11, 0x11, 12, &IPV4)),
        ("v2 of version 3", header(0x31, 0x11, 12, &IPV4)),
        ("v2 with an unknown command", header(0x22, 0x11, 12, &IPV4)),
        ("v2 with an unknown family", header(0x21, 0x41, 12, &IPV4)),
        ("v2 with an unknown transport", header(0x21, 0x13, 12, &IPV4)),
    ] {
        let bytes = [&bytes[..], GET].concat();
        for cut in [Cut::Whole, Cut::Bytes, Cut::At(1), Cut::At(14)] {
            // Enough to be sure of the fault; a byte in a segment each would take its time.
            let bytes = if cut == Cut::Bytes { &bytes[..bytes.len().min(400)] } else { &bytes[..] };
            let client = weir.client();
            let mut sending = client;
            sending.send_cut(bytes, cut);
            sending.finish();
            closed(sending, &upstream, &format!("{what}, {cut:?}"));
        }
    }
}

#[test]
fn row_82_headers_come_once_and_in_time() {
    let (weir, upstream) = listening(&LOOPBACK.replace("2s", "300ms"));
    let good = header(0x21, 0x11, 12, &IPV4);
    for second in [&good[..], b"PROXY TCP4 6.6.6.6 192.0.2.1 4000 443\r\n"] {
        let mut client = weir.client();
        client.send([&good[..], second, GET].concat()).expect("it is sent");
        let reply = client.reply_within("GET", SOON);
        assert!(reply.is_err() || reply.is_ok_and(|r| r.status == 400), "a second header");
        assert!(!matches!(client.end(SOON), End::Open(_)), "a second header");
        assert!(upstream.take().requests.is_empty());
    }
    for (what, begun) in [("nothing", &good[..0]), ("half a header", &good[..14])] {
        let mut client = weir.client();
        client.send(begun).expect("it is sent");
        closed(client, &upstream, what);
    }
    // A byte now and then does not put the deadline off.
    let mut client = weir.client();
    let mut sent = 0;
    wait::until("the slow header is cut off", SOON, || {
        let byte = good.get(sent % good.len()..=sent % good.len()).unwrap_or_default();
        drop(client.send(byte));
        sent += 1;
        !matches!(client.end(std::time::Duration::from_millis(100)), End::Open(_))
    });
    assert!(sent < good.len(), "cut off before it was whole, after {sent} bytes");
    weir.metric_reaches("weir_limit_hits_total", &[("limit", "proxy_protocol")], 3.0);
}

#[test]
fn row_82_headers_come_from_listed_sources_only() {
    let (weir, upstream) = listening("trusted = [\"127.0.0.9\"], timeout = \"2s\"");
    let good = [&header(0x21, 0x11, 12, &IPV4)[..], GET].concat();
    for bytes in [&good[..], GET] {
        let mut client = weir.client();
        drop(client.send(bytes));
        closed(client, &upstream, "from a source that is not listed");
    }
    let listed = Ipv4Addr::new(127, 0, 0, 9);
    let mut client = Client::connect_from(listed, weir.web()).expect("it accepts");
    client.send(&good).expect("it is sent");
    assert_eq!(client.reply("GET").text(), "GET /a 0");
    assert_eq!(upstream.take().requests[0].field("x-forwarded-for"), Some("203.0.113.9"));
    // Where none is expected it is no request.
    let plain = Weir::start(Edge::simple(upstream.port()));
    for bytes in [&good[..], b"PROXY TCP4 6.6.6.6 192.0.2.1 4000 443\r\nGET /a HTTP/1.1\r\n\r\n"] {
        let mut client = plain.client();
        client.send(bytes).expect("it is sent");
        let reply = client.reply_within("GET", SOON);
        assert!(reply.is_err() || reply.is_ok_and(|r| r.status == 400), "unasked");
        assert!(upstream.take().requests.is_empty());
    }
}
