//! Probes in HTTP/2, against another implementation and against bytes: the same judgement as in
//! HTTP/1.1, the same reasons, and which of the two is spoken where.

use super::support::*;
use super::tls::{authority, https_with, leaf, probe, settings, trusting};
use bytes::Bytes;
use core_model::config::*;
use h2::SendStream;
use h2::server::SendResponse;
use http::{Request, Response};
use rustls::ServerConfig;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

const H2: UpstreamProtocols = UpstreamProtocols { http1: false, http2: true };
const BOTH: UpstreamProtocols = UpstreamProtocols { http1: true, http2: true };

/// Answers a request; what it gives is a reply that has not ended.
type Script = dyn Fn(&Request<()>, SendResponse<Bytes>) -> Option<SendStream<Bytes>> + Send + Sync;

fn speaking(
    tls: Option<ServerConfig>,
    script: impl Fn(&Request<()>, SendResponse<Bytes>) -> Option<SendStream<Bytes>>
    + Send
    + Sync
    + 'static,
) -> FakeOrigin {
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    FakeOrigin::new(move |stream, _| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        stream.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            match &tls {
                None => serve(stream, &script).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &script).await;
                    }
                }
            }
        });
    })
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut open = Vec::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        open.extend(script(&request.map(drop), respond));
    }
}

fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let response = Response::builder().status(status);
    fields.iter().fold(response, |r, (name, value)| r.header(*name, *value)).body(()).unwrap()
}

/// An origin that replies so to everything.
fn replying(status: u16, fields: &'static [(&str, &str)], body: impl Into<Bytes>) -> FakeOrigin {
    let body = body.into();
    speaking(None, move |_, mut respond| {
        let mut stream = respond.send_response(response(status, fields), body.is_empty()).unwrap();
        if !body.is_empty() {
            let _ = stream.send_data(body.clone(), true);
        }
        None
    })
}

fn at(fake: &FakeOrigin) -> Pool {
    Pool { protocols: H2, ..pool(vec![origin("o", fake.port())]) }
}

fn http() -> Monitor {
    monitor(MonitorKind::Http)
}

fn wants(text: &str) -> Monitor {
    Monitor { expected_body: text.to_owned(), ..http() }
}

#[test]
fn the_status_must_be_an_expected_one() {
    check("200 of 2xx", http(), at(&replying(200, &[], "")), "");
    check("200 with a body", http(), at(&replying(200, &[], "hello")), "");
    let bad = replying(503, &[], "no");
    check("503 of 2xx", http(), at(&bad), "Response code mismatch");
    let codes = vec![CodeRange { first: 503, last: 503 }];
    check("503 of 503", Monitor { expected_codes: codes, ..http() }, at(&bad), "");
    check("any", Monitor { expected_codes: Vec::new(), ..http() }, at(&bad), "");
    for (interim, reason) in [(1, ""), (8, ""), (9, "HTTP Invalid Response")] {
        let fake = speaking(None, move |_, mut respond| {
            for _ in 0..interim {
                respond.send_informational(response(103, &[("link", "</x>")])).unwrap();
            }
            respond.send_response(response(200, &[]), true).ok()
        });
        check(&format!("{interim} interim replies"), http(), at(&fake), reason);
    }
}

#[test]
fn the_text_must_be_in_the_beginning_of_the_body() {
    check("there", wants("is well"), at(&replying(200, &[], "<b>All IS Well</b>")), "");
    let ill = replying(200, &[], "ill");
    check("not there", wants("well"), at(&ill), "Response body mismatch");
    check("no body", wants("well"), at(&replying(200, &[], "")), "Response body mismatch");
    let late = |before: usize| replying(200, &[], format!("{}well", "x".repeat(before)));
    check("at the end of 10 KiB", wants("well"), at(&late(10_236)), "");
    check("one byte later", wants("well"), at(&late(10_237)), "Response body mismatch");
    check("far behind", wants("well"), at(&late(1 << 20)), "Response body mismatch");
    let length = &[("content-length", "100")];
    let cut = replying(200, length, "ill");
    check("shorter than it says", wants("well"), at(&cut), "HTTP Invalid Response");
    let head = Monitor { method: "HEAD".to_owned(), ..wants("well") };
    check("HEAD", head, at(&replying(200, length, "")), "Response body mismatch");
}

#[test]
fn a_body_without_end_is_read_only_until_the_text() {
    let fake = speaking(None, |_, mut respond| {
        let mut stream = respond.send_response(response(200, &[]), false).unwrap();
        for piece in ["it is w", "ell and "] {
            stream.send_data(Bytes::from_static(piece.as_bytes()), false).unwrap();
        }
        Some(stream)
    });
    check("over two frames", wants("WELL"), at(&fake), "");
    let impatient = Monitor { timeout: SHORT, ..wants("more") };
    check("never comes", impatient, at(&fake), "HTTP timeout occurred");
}

/// An origin that keeps the requests and replies 200, or a redirect to what the path says.
fn recording(tls: Option<ServerConfig>) -> (FakeOrigin, Arc<Mutex<Vec<Request<()>>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = requests.clone();
    let origin = speaking(tls, move |request, mut respond| {
        let target = request.uri().path_and_query().unwrap().as_str();
        let location = target.strip_prefix("/to?").map(str::to_owned);
        kept.lock().unwrap().push(request.clone());
        let reply = match &location {
            Some(location) => response(302, &[("location", location)]),
            None => response(200, &[]),
        };
        respond.send_response(reply, true).ok()
    });
    (origin, requests)
}

fn field(name: &str, values: &[&str]) -> (String, Vec<String>) {
    (name.to_owned(), values.iter().map(|v| (*v).to_owned()).collect())
}

#[test]
fn the_request_is_the_one_configured() {
    let (fake, requests) = recording(None);
    let with = Monitor {
        method: "POST".to_owned(),
        path: "/health?deep=1".to_owned(),
        header: vec![
            field("X-Many", &["a", "b"]),
            field("Host", &["shop.test"]),
            field("User-Agent", &["spoofed"]),
            field("Transfer-Encoding", &["chunked"]),
            field("Keep-Alive", &["timeout=5"]),
        ],
        ..http()
    };
    check("answered", with, at(&fake), "");
    let request = requests.lock().unwrap().remove(0);
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "http://shop.test/health?deep=1");
    let fields: Vec<_> = request.headers().iter().map(|(n, v)| format!("{n}: {v:?}")).collect();
    let agent = format!("\"Weir-Monitor/{} (pool p)\"", env!("CARGO_PKG_VERSION"));
    let expect = [
        format!("user-agent: {agent}"),
        "accept: \"*/*\"".to_owned(),
        "x-many: \"a\"".to_owned(),
        "x-many: \"b\"".to_owned(),
        "content-length: \"0\"".to_owned(),
    ];
    assert_eq!(fields, expect);
    let split = Monitor { header: vec![field("x", &["a\r\nb: c"])], ..http() };
    check("a value of two lines", split, at(&fake), "Monitor Config Error");
}

#[test]
fn redirects_are_followed_where_asked_for() {
    let follows = |path: &str| Monitor { follow_redirects: true, path: path.to_owned(), ..http() };
    let (fake, requests) = recording(None);
    check("to the origin", follows("/to?/end"), at(&fake), "");
    assert_eq!(requests.lock().unwrap().last().unwrap().uri().path(), "/end");
    let stays = Monitor { follow_redirects: false, ..follows("/to?/end") };
    check("not followed", stays, at(&fake), "Response code mismatch");

    let (other, heads) = FakeOrigin::recording();
    let mut from = at(&fake);
    from.origins[0].host_header = Some("shop.test".to_owned());
    let away = follows(&format!("/to?http://127.0.0.1:{}/x", other.port()));
    check("to another host", away, from, "");
    let head = heads.lock().unwrap().remove(0);
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "nothing says it speaks HTTP/2: {head}");
}

/// A frame: kind, flags, stream, payload.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

const ENDS: u8 = 0x5;

/// `:status: 200` as the whole reply.
fn ok() -> Vec<u8> {
    frame(1, ENDS, 1, &[0x88])
}

fn go_away(last: u8, code: u8) -> Vec<u8> {
    frame(7, 0, 0, &[0, 0, 0, last, 0, 0, 0, code])
}

/// An origin that waits for the request, sends these bytes and waits for the end.
fn bytes(sends: Vec<u8>) -> FakeOrigin {
    FakeOrigin::new(move |mut stream, _| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        let _ = stream.write_all(&sends);
        hold(stream);
    })
}

#[test]
fn what_is_no_reply_is_invalid() {
    let settings = || frame(4, 0, 0, &[]);
    let pings = frame(6, 0, 0, &[0; 8]).repeat(500);
    let endless = [frame(1, 0, 1, &[0x88]), frame(9, 0, 1, &[0x88]).repeat(20)].concat();
    for (says, frames, reason) in [
        ("a whole reply", [settings(), ok()].concat(), ""),
        ("a goodbye behind it", [settings(), go_away(1, 0), ok()].concat(), ""),
        ("a goodbye to it", [settings(), go_away(0, 0)].concat(), "HTTP Invalid Response"),
        ("a reset", [settings(), frame(3, 0, 1, &[0, 0, 0, 2])].concat(), "HTTP Invalid Response"),
        (
            "a refusal",
            [settings(), frame(3, 0, 1, &[0, 0, 0, 7])].concat(),
            "HTTP Invalid Response",
        ),
        ("no status", [settings(), frame(1, ENDS, 1, &[0x82])].concat(), "HTTP Invalid Response"),
        ("content first", [settings(), frame(0, 1, 1, b"x")].concat(), "HTTP Invalid Response"),
        ("no SETTINGS", ok(), "HTTP Invalid Response"),
        ("a push", [settings(), frame(5, 4, 1, &[0; 4])].concat(), "HTTP Invalid Response"),
        ("a flood of PINGs", [settings(), pings].concat(), "HTTP Invalid Response"),
        ("a block without end", [settings(), endless].concat(), "HTTP Invalid Response"),
        ("HTTP/1.1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "HTTP Invalid Response"),
    ] {
        check(says, http(), at(&bytes(frames)), reason);
    }
    let cut = [settings(), frame(1, 4, 1, &[0x88]), frame(3, 0, 1, &[0, 0, 0, 2])].concat();
    check("reset in its body", wants("well"), at(&bytes(cut)), "HTTP Invalid Response");
}

#[test]
fn the_origin_is_told_that_nothing_more_comes() {
    let heads = frame(1, 4, 1, &[0x88]);
    let goodbye = go_away(0, 0);
    for (says, reply, ends) in [
        ("a whole reply", ok(), goodbye.clone()),
        ("an endless one", heads, [frame(3, 0, 1, &[0, 0, 0, 8]), goodbye].concat()),
    ] {
        let (told, came) = std::sync::mpsc::channel();
        let fake = FakeOrigin::new(move |mut stream, _| {
            let mut got = vec![0; 24];
            stream.read_exact(&mut got).unwrap();
            stream.write_all(&[frame(4, 0, 0, &[]), reply.clone()].concat()).unwrap();
            stream.read_to_end(&mut got).unwrap();
            told.send(got).unwrap();
        });
        check(says, http(), at(&fake), "");
        let got = came.recv_timeout(BOUND).unwrap();
        assert!(got.ends_with(&ends), "{says}: {got:?}");
    }
}

#[test]
fn a_connection_that_ends_has_the_reason_of_its_end() {
    let closes = FakeOrigin::new(|mut stream, _| {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).unwrap();
    });
    check("closed", http(), at(&closes), "HTTP Invalid Response");
    let resets = FakeOrigin::new(|mut stream, _| {
        stream.read_exact(&mut [0]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    check("reset", http(), at(&resets), "Connection Reset by Peer");
    let silent = FakeOrigin::new(|stream, _| hold(stream));
    let impatient = Monitor { timeout: SHORT, retries: 1, ..http() };
    check("silent", impatient, at(&silent), "HTTP timeout occurred");
    assert_eq!(silent.connections(), 2);
}

#[test]
fn alpn_decides_over_tls() {
    let ours = authority();
    let certificate = || leaf(&ours, "shop.test", 2100);
    let offering = |alpn: &[&str]| {
        let mut config = settings(certificate(), None);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    };
    let at = |fake: &FakeOrigin, protocols| Pool {
        protocols,
        ..trusting(&ours, "shop.test", fake.port())
    };
    let (new, requests) = recording(Some(offering(&["h2"])));
    check("only HTTP/2", probe(), at(&new, H2), "");
    check("HTTP/2 of both", probe(), at(&new, BOTH), "");
    let uri = requests.lock().unwrap().remove(0).into_parts().0.uri;
    assert_eq!(uri, "https://shop.test/health");
    let http1 = UpstreamProtocols::HTTP1;
    check("an origin of HTTP/2", probe(), at(&new, http1), "TLS Handshake Failure");
    let (old, _) = https_with(offering(&["http/1.1"]));
    check("HTTP/1.1 of both", probe(), at(&old, BOTH), "");
    check("an origin of HTTP/1.1", probe(), at(&old, H2), "TLS Handshake Failure");
    let (mute, _) = https_with(offering(&[]));
    check("HTTP/1.1 without ALPN", probe(), at(&mute, BOTH), "");
    check("no word of HTTP/2", probe(), at(&mute, H2), "TLS protocol error");
}

#[test]
fn a_port_of_the_monitors_own_speaks_http_1() {
    let (beside, heads) = FakeOrigin::recording();
    let (fake, _) = recording(None);
    let own_port = Monitor { port: Some(beside.port()), ..http() };
    check("a health service beside the origin", own_port, at(&fake), "");
    assert!(heads.lock().unwrap().remove(0).starts_with("GET /health HTTP/1.1\r\n"));
    let same_port = Monitor { port: Some(fake.port()), ..http() };
    check("the port of the origin", same_port, at(&fake), "");
}
