//! The harness tested against itself: a reader that lets things pass would prove nothing.

use super::client::{Client, Cut, End};
use super::reader::{self, Kind, Length};
use super::upstream::{Conn, Upstream, tag};
use super::wait::{self, SOON};

#[test]
fn the_reader_is_strict() {
    let good = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let (message, used) = reader::message(good.as_bytes(), Kind::Request, false).unwrap().unwrap();
    assert_eq!((used, message.text().as_str()), (good.len(), "hi"));
    for (bad, kind) in [
        ("GET /a HTTP/1.1\nHost: a\r\n\r\n", Kind::Request),
        ("GET /a HTTP/1.1\r\nHost: a\rb\r\n\r\n", Kind::Request),
        ("GET  /a HTTP/1.1\r\nHost: a\r\n\r\n", Kind::Request),
        ("GET /a HTTP/1.1\r\nHost : a\r\n\r\n", Kind::Request),
        ("GET /a HTTP/1.1\r\n Host: a\r\n\r\n", Kind::Request),
        ("GET /a HTTP/1.1\r\nHost: a\0\r\n\r\n", Kind::Request),
        ("GET /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", Kind::Request),
        ("GET /a HTTP/1.1\r\nContent-Length: +1\r\n\r\na", Kind::Request),
        ("GET /a HTTP/1.1\r\nContent-Length: 01\r\n\r\na", Kind::Request),
        ("GET /a HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", Kind::Request),
        (
            "GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            Kind::Request,
        ),
        ("GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n", Kind::Request),
        ("GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", Kind::Request),
        ("HTTP/1.1 0200 OK\r\n\r\n", Kind::Reply("GET")),
        ("HTTP/1.1 200\r\n\r\n", Kind::Reply("GET")),
        ("HTTP/2.0 200 OK\r\n\r\n", Kind::Reply("GET")),
        ("HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\n", Kind::Reply("GET")),
    ] {
        assert!(reader::message(bad.as_bytes(), kind, true).is_err(), "{bad:?} passed");
    }
}

#[test]
fn the_reader_knows_where_replies_end() {
    for (method, text, length, body) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Length::None, ""),
        ("GET", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Length::None, ""),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nabc", Length::Close, "abc"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Length::Exact(2), "ab"),
        (
            "GET",
            "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nab\r\n0\r\nA: b\r\n\r\n",
            Length::Chunked,
            "ab",
        ),
    ] {
        let kind = Kind::Reply(method);
        let (reply, used) = reader::message(text.as_bytes(), kind, true).unwrap().unwrap();
        assert_eq!((reply.length, reply.text().as_str(), used), (length, body, text.len()));
    }
}

#[test]
fn the_origin_records_and_tags_whatever_the_cut() {
    let upstream = Upstream::tagged();
    let bytes =
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n";
    let cuts = Cut::all(bytes.len());
    assert_eq!(cuts.len(), bytes.len() + 1);
    for cut in cuts {
        let mut client = Client::connect(upstream.address);
        client.send_cut(bytes, cut);
        assert_eq!(client.reply("POST").text(), "POST /a 2");
        assert_eq!(client.reply("GET").text(), "GET /b 0");
        let taken = upstream.take();
        assert_eq!(taken.lines(), ["POST /a", "GET /b"]);
        assert_eq!(taken.requests.iter().map(tag).collect::<Vec<_>>(), ["POST /a 2", "GET /b 0"]);
    }
}

#[test]
fn the_origin_resets_and_dies_on_request() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        let request = conn.request().unwrap();
        if request.target == "/reset" {
            conn.reset();
        }
    });
    for (target, reset) in [("/reset", true), ("/close", false)] {
        let mut client = Client::connect(upstream.address);
        client.send(format!("GET {target} HTTP/1.1\r\n\r\n")).unwrap();
        assert_eq!(matches!(client.end(SOON), End::Reset(_)), reset, "{target}");
    }
    let mut client = Client::connect(upstream.address);
    wait::until("it is accepted", SOON, || upstream.logs().len() == 3);
    let address = upstream.address;
    upstream.kill();
    assert_eq!(client.end(SOON), End::Closed(Vec::new()));
    assert!(Client::try_connect(address).is_err(), "a killed origin refuses");
}
