//! TCP and HTTP probes: what counts as well, the reason of each failure, and the request itself.

use super::support::*;
use core_model::config::*;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

fn http() -> Monitor {
    monitor(MonitorKind::Http)
}

fn at(origin_at: &FakeOrigin) -> Pool {
    pool(vec![origin("o", origin_at.port())])
}

#[track_caller]
fn reply(says: &str, monitor: Monitor, reply: &str, reason: &str) {
    let fake = FakeOrigin::replying(reply);
    let healthy = reason.is_empty();
    let state = check(says, monitor, at(&fake), reason);
    let expect = if healthy { "Healthy" } else { "Unhealthy" };
    assert_eq!(format!("{:?}", state.health), expect, "{says}");
    assert_eq!(state.rtt_us > 0, healthy, "{says}");
}

#[test]
fn tcp_asks_for_a_connection_and_nothing_more() {
    let fake = FakeOrigin::new(|_, _| {});
    check("it listens", monitor(MonitorKind::Tcp), at(&fake), "");

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let free = listener.local_addr().unwrap().port();
    drop(listener);
    let nobody = pool(vec![origin("o", free)]);
    check("nobody", monitor(MonitorKind::Tcp), nobody.clone(), "TCP connection failed");
    check("nobody", http(), nobody.clone(), "TCP connection failed");

    let other_port = Monitor { port: Some(fake.port()), ..monitor(MonitorKind::Tcp) };
    check("the monitor's port counts", other_port, nobody, "");
}

#[test]
fn a_full_queue_is_a_tcp_timeout() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // The queue has room for one; a second connect that hangs proves that it is full.
    let fill: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, SHORT).ok()).take(8).collect();
    assert!(fill.len() < 8, "the queue never filled");
    let hung = pool(vec![origin("o", address.port())]);
    let impatient = Monitor { timeout: SHORT, ..monitor(MonitorKind::Tcp) };
    check("no room", impatient, hung, "TCP Timeout");
}

#[test]
fn a_source_address_of_another_machine_is_a_fault_of_the_configuration() {
    let fake = FakeOrigin::replying(OK);
    let foreign = Pool { source_address: Some([192, 0, 2, 1].into()), ..at(&fake) };
    check("not ours", http(), foreign, "Monitor Config Error");
    assert_eq!(fake.connections(), 0);
    let ours = Pool { source_address: Some([127, 0, 0, 2].into()), ..at(&fake) };
    check("ours", http(), ours, "");
}

#[test]
fn the_status_must_be_an_expected_one() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let bad = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    reply("200 of 2xx", http(), ok, "");
    reply("HTTP/1.0", http(), "HTTP/1.0 200 OK\r\n\r\n", "");
    reply("503 of 2xx", http(), bad, "Response code mismatch");
    let codes = vec![CodeRange { first: 200, last: 200 }, CodeRange { first: 503, last: 503 }];
    reply("503 of 200,503", Monitor { expected_codes: codes, ..http() }, bad, "");
    let any = Monitor { expected_codes: Vec::new(), ..http() };
    reply("any", any, bad, "");
    let after_hint = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    reply("an interim reply is none", http(), after_hint, "");
    reply("a redirect", http(), "HTTP/1.1 302 F\r\nlocation: /x\r\n\r\n", "Response code mismatch");
}

#[test]
fn the_text_must_be_in_the_beginning_of_the_body() {
    let wants = |text: &str| Monitor { expected_body: text.to_owned(), ..http() };
    let body =
        |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    reply("there", wants("all is well"), &body("<b>All Is WELL</b>"), "");
    reply("not there", wants("well"), &body("ill"), "Response body mismatch");
    reply("no body", wants("well"), &body(""), "Response body mismatch");
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nwe\r\n2;x\r\nLL\r\n0\r\n\r\n";
    reply("over two chunks", wants("well"), chunked, "");
    reply("chunk sizes are no text", wants("2;x"), chunked, "Response body mismatch");
    reply("until the end", wants("well"), "HTTP/1.1 200 OK\r\n\r\nall well", "");
    let late = |before: usize| body(&format!("{}well", "x".repeat(before)));
    reply("at the end of 10 KiB", wants("well"), &late(10_236), "");
    reply("one byte later", wants("well"), &late(10_237), "Response body mismatch");
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nill";
    reply("a body that is cut", wants("well"), cut, "HTTP Invalid Response");
    let head = Monitor { method: "HEAD".to_owned(), ..wants("well") };
    reply("HEAD has no body", head, &body("well"), "Response body mismatch");
}

#[test]
fn a_body_without_end_is_read_only_until_the_text() {
    let fake = FakeOrigin::new(|mut stream, _| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nit is well and ");
        hold(stream);
    });
    check("found", Monitor { expected_body: "WELL".to_owned(), ..http() }, at(&fake), "");
    let wants = Monitor { expected_body: "more".to_owned(), timeout: SHORT, ..http() };
    check("never comes", wants, at(&fake), "HTTP timeout occurred");
}

#[test]
fn what_is_no_reply_is_invalid() {
    for (says, bytes) in [
        ("nothing", ""),
        ("junk", "SSH-2.0-OpenSSH\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-"),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"),
        ("only interim replies", &"HTTP/1.1 103 Early\r\n\r\n".repeat(9)),
        ("an endless line", &format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(50_000))),
    ] {
        reply(says, http(), bytes, "HTTP Invalid Response");
    }
}

#[test]
fn a_reset_is_told_as_such() {
    let fake = FakeOrigin::new(|mut stream, _| {
        read_head(&mut stream);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    check("reset", http(), at(&fake), "Connection Reset by Peer");
}

#[test]
fn only_a_time_out_is_tried_again_at_once() {
    let retries = |retries| Monitor { retries, timeout: SHORT, ..http() };
    let silent = FakeOrigin::new(|stream, _| hold(stream));
    check("silent", retries(2), at(&silent), "HTTP timeout occurred");
    assert_eq!(silent.connections(), 3);

    let third = FakeOrigin::new(|mut stream, number| {
        if number < 2 {
            return hold(stream);
        }
        read_head(&mut stream);
        let _ = stream.write_all(OK);
    });
    let state = check("the third try", retries(2), at(&third), "");
    assert_eq!((state.probes, third.connections()), (1, 3));

    let broken = FakeOrigin::replying("HTTP/1.1 500 No\r\n\r\n");
    check("an answer stands", retries(2), at(&broken), "Response code mismatch");
    assert_eq!(broken.connections(), 1);
}

fn field(name: &str, values: &[&str]) -> (String, Vec<String>) {
    (name.to_owned(), values.iter().map(|v| (*v).to_owned()).collect())
}

#[test]
fn the_request_is_the_one_configured() {
    let (fake, heads) = FakeOrigin::recording();
    let with = Monitor {
        method: "POST".to_owned(),
        path: "/health?deep=1".to_owned(),
        header: vec![
            field("X-Many", &["a", "b"]),
            field("user-agent", &["spoofed"]),
            field("Content-Length", &["7"]),
            field("Authorization", &["Basic eA=="]),
        ],
        ..http()
    };
    check("answered", with, at(&fake), "");
    let expect = format!(
        "POST /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\
         User-Agent: Weir-Monitor/{} (pool p)\r\nAccept: */*\r\nX-Many: a\r\nX-Many: b\r\n\
         Authorization: Basic eA==\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        fake.port(),
        env!("CARGO_PKG_VERSION"),
    );
    let got = heads.lock().unwrap().remove(0);
    assert_eq!(got.to_lowercase(), expect.to_lowercase());
}

#[test]
fn the_host_is_the_origins_then_the_monitors_then_the_address() {
    let (fake, heads) = FakeOrigin::recording();
    let of_monitor = Monitor { header: vec![field("host", &["monitor.test"])], ..http() };
    let mut of_origin = at(&fake);
    of_origin.origins[0].host_header = Some("origin.test".to_owned());
    let address = format!("127.0.0.1:{}", fake.port());
    for (monitor, pool, expect) in [
        (http(), at(&fake), address.as_str()),
        (of_monitor.clone(), at(&fake), "monitor.test"),
        (of_monitor, of_origin, "origin.test"),
    ] {
        check("answered", monitor, pool, "");
        let head = heads.lock().unwrap().remove(0).to_lowercase();
        let hosts: Vec<_> = head.lines().filter_map(|l| l.strip_prefix("host: ")).collect();
        assert_eq!(hosts, [expect]);
    }
}

#[test]
fn what_cannot_be_sent_is_a_fault_of_the_configuration() {
    let fake = FakeOrigin::replying(OK);
    let split = Monitor { header: vec![field("x", &["a\r\nb: c"])], ..http() };
    check("a value of two lines", split, at(&fake), "Monitor Config Error");
    let space = Monitor { path: "/a b".to_owned(), ..http() };
    check("a space in the path", space, at(&fake), "Monitor Config Error");
}

#[test]
fn an_origin_behind_the_proxy_protocol_is_told_that_no_client_asks() {
    let v1: &[u8] = b"PROXY UNKNOWN\r\n";
    let v2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (version, header) in [(ProxyProtocolOut::V1, v1), (ProxyProtocolOut::V2, v2)] {
        let fake = FakeOrigin::new(move |mut stream, _| {
            let mut got = vec![0; header.len()];
            std::io::Read::read_exact(&mut stream, &mut got).unwrap();
            let ok = got == header && read_head(&mut stream).starts_with("GET /health");
            let _ = stream.write_all(if ok { OK } else { b"HTTP/1.1 400 No\r\n\r\n" });
        });
        let spoken = Pool { proxy_protocol: Some(version), ..at(&fake) };
        check("announced", http(), spoken, "");
    }
}

#[test]
fn redirects_are_followed_where_asked_for() {
    let follows = Monitor { follow_redirects: true, ..http() };
    let hop = FakeOrigin::new(|mut stream, _| {
        let head = read_head(&mut stream);
        let reply: &[u8] = match head.split(' ').nth(1) {
            Some("/health") => b"HTTP/1.1 301 M\r\nlocation: next?x=1\r\n\r\n",
            Some("/next?x=1") => b"HTTP/1.1 307 T\r\nlocation: http://Shop.test/end\r\n\r\n",
            Some("/end") if head.to_lowercase().contains("host: shop.test\r\n") => OK,
            _ => b"HTTP/1.1 404 No\r\n\r\n",
        };
        let _ = stream.write_all(reply);
    });
    let mut shop = at(&hop);
    shop.origins[0].host_header = Some("shop.test".to_owned());
    check("two hops at the origin", follows.clone(), shop, "");

    let endless = FakeOrigin::replying("HTTP/1.1 302 F\r\nlocation: /health\r\n\r\n");
    check("endless", follows.clone(), at(&endless), "Response code mismatch");
    assert_eq!(endless.connections(), 6);

    let mail = FakeOrigin::replying("HTTP/1.1 302 F\r\nlocation: mailto:a@b\r\n\r\n");
    check("not to be followed", follows.clone(), at(&mail), "Response code mismatch");
    let nowhere = FakeOrigin::replying("HTTP/1.1 302 F\r\n\r\n");
    check("without a place", follows, at(&nowhere), "Response code mismatch");
}

#[test]
fn another_host_gets_no_secrets_and_must_be_allowed() {
    let (other, heads) = FakeOrigin::recording();
    let away = FakeOrigin::replying(format!(
        "HTTP/1.1 302 F\r\nlocation: http://127.0.0.1:{}/x\r\n\r\n",
        other.port()
    ));
    let follows = Monitor {
        follow_redirects: true,
        header: vec![field("Authorization", &["Basic eA=="]), field("X-Plain", &["y"])],
        ..http()
    };
    let mut from = at(&away);
    from.origins[0].host_header = Some("shop.test".to_owned());
    check("followed", follows.clone(), from.clone(), "");
    let head = heads.lock().unwrap().remove(0).to_lowercase();
    assert!(head.starts_with("get /x http/1.1\r\nhost: 127.0.0.1:"), "{head}");
    assert!(head.contains("x-plain: y") && !head.contains("authorization"), "{head}");

    from.deny_addresses = vec!["127.0.0.0/8".parse().unwrap()];
    check("denied", follows, from, "DNS Unknown Host");
    assert_eq!(other.connections(), 1);
}
