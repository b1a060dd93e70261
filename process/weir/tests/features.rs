//! What requests and replies look like on the other side: addresses of clients, rewritten paths
//! and headers, redirects, framing of replies, trailers, interim replies.

use crate::support::client::{Client, End};
use crate::support::edge::{Edge, origin};
use crate::support::process::{Weir, command};
use crate::support::reader::{Length, Message};
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use serde_json::Value;
use std::net::Ipv4Addr;

/// Sends a GET with these lines and gives the reply and what the origin saw.
fn exchange(weir: &Weir, upstream: &Upstream, lines: &str) -> (Message, Option<Message>) {
    upstream.take();
    let mut client = weir.client();
    client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).expect("it is sent");
    let reply = client.reply("GET");
    (reply, upstream.take().requests.pop())
}

fn seen(weir: &Weir, upstream: &Upstream, lines: &str) -> Message {
    exchange(weir, upstream, lines).1.expect("the origin got the request")
}

#[test]
fn forwarding_fields_are_believed_from_trusted_hops_only() {
    let upstream = Upstream::tagged();
    let strict = Weir::start(Edge::simple(upstream.port()));
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
        CF-Connecting-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
        Forwarded: for=6.6.6.6\r\n";
    let request = seen(&strict, &upstream, spoofed);
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    let leaked = request.fields.iter().find(|(_, value)| value.contains("6.6.6.6"));
    assert_eq!(leaked, None, "a spoofed address reached the origin");

    let lines = "trusted_proxies = [\"127.0.0.0/8\"]";
    let trusting = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let request = seen(&trusting, &upstream, "X-Forwarded-For: 203.0.113.9, 127.0.0.7\r\n");
    assert_eq!(request.field("x-forwarded-for"), Some("203.0.113.9, 127.0.0.7, 127.0.0.1"));
}

#[test]
fn the_access_log_tells_of_tls_and_of_requests_that_are_none() {
    let upstream = Upstream::tagged();
    let ca = Authority::new();
    let edge = Edge::simple(upstream.port());
    let certificate = edge.certificate("a", &ca.issue(&["a.test"], VALID));
    let log = edge.file("access.log", "");
    let edge =
        edge.runtime(&format!("[logging]\naccess = {{ path = {log:?}, format = \"json\" }}"));
    let tls = format!("tls = {{ certificates = [{certificate}] }}");
    let weir = Weir::start(edge.listener("secure", &tls));
    let cases = [
        ("GET /good HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET", ""),
        ("GET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "GET", "repeated_host"),
        ("GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "-", "bad_target_char"),
    ];
    let measured = || weir.metric("weir_request_duration_seconds_count", &[("listener", "web")]);
    let before = measured();
    for (request, status, ..) in cases {
        let mut client = weir.client();
        client.send(request).expect("it is sent");
        assert_eq!(client.reply("GET").status, status, "{request:?}");
    }
    let mut client = Client::tls(weir.address("secure"), "a.test", ca.client()).expect("TLS");
    assert_eq!(client.get("/secure").map(|r| r.status), Ok(200));
    let read = || std::fs::read_to_string(&log).expect("there is a log");
    wait::until("every request is in the log", SOON, || read().lines().count() >= 4);
    let text = read();
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    let mut lines: Vec<serde_json::Value> = lines.collect();
    let secure = lines.pop().expect("a line");
    assert_eq!(secure["tls_version"], "TLSv1.3", "{secure}");
    assert!(secure["tls_cipher"].as_str().is_some_and(|c| c.starts_with("TLS_")), "{secure}");
    for (line, (_, status, method, reason)) in lines.iter().zip(cases) {
        let told = (&line["status"], &line["method"], line["reason"].as_str().unwrap_or_default());
        assert_eq!(told, (&status.into(), &method.into(), reason), "{line}");
        assert_eq!(line["fault"].as_str(), (!reason.is_empty()).then_some("client"), "{line}");
        assert!(line.get("tls_version").is_none(), "{line}");
    }
    assert_eq!(measured() - before, 3.0, "each is measured");
}

#[test]
fn header_name_policies() {
    let upstream = Upstream::tagged();
    for (policy, status, kept) in
        [("drop", 200, false), ("reject", 400, false), ("keep", 200, true)]
    {
        let lines = format!("header_names = \"{policy}\"");
        let weir = Weir::start(Edge::simple(upstream.port()).listener("web", &lines));
        let (reply, request) = exchange(&weir, &upstream, "X_Y: a\r\n");
        assert_eq!(reply.status, status, "{policy}");
        assert_eq!(request.is_some_and(|request| request.has("x_y")), kept, "{policy}");
    }
}

#[test]
fn hosts_paths_and_headers() {
    let (site, api) = (Upstream::tagged(), Upstream::tagged());
    let rules = "request_headers = { set = { X-Edge = \"weir\" }, remove = [\"X-Debug\"] }\n\
        response_headers = { set = { X-Added = \"yes\" }, remove = [\"X-Tag\"] }\n\
        [[load_balancer.routes]]\npath_prefix = \"/api\"\ndefault_pools = [\"api\"]\n\
        strip_prefix = \"/api\"\nadd_prefix = \"/v2\"\n\
        [[load_balancer.routes]]\npath = \"/exact\"\ndefault_pools = [\"api\"]\n\
        [[load_balancer.routes]]\npath_prefix = \"/old\"\n\
        redirect = { status = 301, location = \"/new*\" }";
    let edge = Edge::new()
        .listener("web", "")
        .pool("site", "", &[origin("s", site.port())])
        .pool("api", "", &[origin("a", api.port())])
        .balance("*.a.test", "site", rules);
    let weir = Weir::start(edge);
    let ask = |host: &str, target: &str| {
        let mut client = weir.client();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Debug: 1\r\n\r\n");
        client.send(head).expect("it is sent");
        client.reply("GET")
    };
    for (target, upstream, forwarded) in [
        ("/", &site, "/"),
        ("/?q=/api", &site, "/?q=/api"),
        ("/apis", &site, "/apis"),
        ("/exact/x", &site, "/exact/x"),
        ("/exact", &api, "/exact"),
        ("/exact?a=b", &api, "/exact?a=b"),
        ("/api", &api, "/v2"),
        ("/api/x?y=z", &api, "/v2/x?y=z"),
    ] {
        let reply = ask("x.a.test", target);
        assert_eq!((reply.status, reply.field("x-added")), (200, Some("yes")), "{target}");
        assert!(!reply.has("x-tag"), "{target}: a removed field came through");
        let requests = upstream.take().requests;
        let [request] = &requests[..] else { panic!("{target}: {requests:?}") };
        let got = request.target.trim_end_matches('/');
        assert_eq!(got, forwarded.trim_end_matches('/'), "{target}");
        assert_eq!((request.field("x-edge"), request.has("x-debug")), (Some("weir"), false));
    }
    let reply = ask("x.a.test", "/old/page?q=1");
    assert_eq!((reply.status, reply.field("location")), (301, Some("/new/old/page?q=1")));
    for host in ["a.test", "b.test", "xa.test"] {
        assert!([404, 421].contains(&ask(host, "/").status), "{host} is served by nobody");
    }
    assert!(site.take().requests.is_empty() && api.take().requests.is_empty());
}

#[test]
fn ambiguous_paths_take_no_route_of_others() {
    let (site, secret) = (Upstream::tagged(), Upstream::tagged());
    let edge = Edge::simple(site.port()).pool("secret", "", &[origin("s", secret.port())]).balance(
        "*",
        "p",
        "[[load_balancer.routes]]\npath_prefix = \"/secret\"\ndefault_pools = [\"secret\"]",
    );
    let weir = Weir::start(edge);
    for target in ["/x/../secret", "/%73ecret", "/./secret", "/secret/../x", "/x/%2e%2e/secret"] {
        let reply = weir.get(target).unwrap_or_else(|e| panic!("{target}: {e}"));
        let (at_site, at_secret) = (site.take().requests.len(), secret.take().requests.len());
        // Either it is refused, or the route is the one that the path means.
        let means_secret = target != "/secret/../x";
        let right = if means_secret { (0, 1) } else { (1, 0) };
        let refused = reply.status == 400 && (at_site, at_secret) == (0, 0);
        assert!(refused || (at_site, at_secret) == right, "{target}: {reply:?}");
    }
}

#[test]
fn replies_of_every_framing_pass() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        while let Some(request) = conn.request() {
            let reply = match request.target.as_str() {
                "/exact" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/chunked" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                     2;ext=1\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 7\r\n\r\n"
                }
                "/early" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                }
                _ => {
                    conn.write("HTTP/1.1 200 OK\r\n\r\nhello");
                    return;
                }
            };
            if !conn.write(reply) {
                return;
            }
        }
    });
    let weir = Weir::start(Edge::simple(upstream.port()));
    let mut client = weir.client();
    for (target, status, body, length) in [
        ("/exact", 200, "hello", Length::Exact(5)),
        ("/empty", 200, "", Length::Exact(0)),
        ("/none", 204, "", Length::None),
        ("/chunked", 200, "hello", Length::Chunked),
        ("/early", 200, "hello", Length::Exact(5)),
    ] {
        let reply = client.get(target).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert_eq!((reply.status, reply.text().as_str(), reply.length), (status, body, length));
        if target == "/early" {
            assert_eq!(reply.interim[0].field("link"), Some("</a.css>; rel=preload"));
        }
        if target == "/chunked" {
            assert_eq!(reply.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        }
    }
    assert_eq!(client.get("/eof").map(|r| r.text()), Ok("hello".into()));
}

#[test]
fn old_clients_are_served() {
    let upstream = Upstream::tagged();
    let weir = Weir::start(Edge::simple(upstream.port()));
    let mut client = weir.client();
    client.send("GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").expect("sent");
    assert_eq!(client.reply("GET").text(), "GET /a 0");
    let mut client = weir.client();
    client.send("GET /a HTTP/1.0\r\nHost: a\r\n\r\n").expect("it is sent");
    assert_eq!(client.reply("GET").text(), "GET /a 0");
    assert_eq!(client.end(SOON), End::Closed(Vec::new()), "1.0 closes unless it asks otherwise");
    let mut client = weir.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it is sent");
    assert_eq!(client.reply("GET").field("connection"), Some("close"));
    assert_eq!(client.end(SOON), End::Closed(Vec::new()));
    // A client that is done sending still gets its reply.
    let mut client = weir.client();
    client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    client.finish();
    assert_eq!(client.reply("GET").text(), "GET /half 0");
}

#[test]
fn failures_are_told_in_the_form_that_is_accepted() {
    let weir = Weir::start(Edge::simple(crate::support::files::free_port()));
    for (accept, kind) in [("application/json", "application/json"), ("text/html", "text/html")] {
        let mut client = weir.client();
        let head = format!("GET /a HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
        client.send(head).expect("it is sent");
        let reply = client.reply("GET");
        assert_eq!(reply.status, 502);
        let told = reply.field("content-type").unwrap_or_default();
        assert!(told.starts_with(kind), "{accept}: {told}");
        if kind == "application/json" {
            let parsed = serde_json::from_slice::<serde_json::Value>(&reply.body);
            assert!(parsed.is_ok(), "{}", reply.text());
        }
    }
}

#[test]
fn big_bodies_pass_both_ways_with_bounded_memory() {
    const BODY: usize = 64 << 20;
    let upstream = Upstream::start(|conn: &mut Conn| {
        while let Some(request) = conn.request() {
            if request.target != "/big" {
                conn.answer(&request);
                continue;
            }
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
            let piece: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
            for _ in 0..BODY / piece.len() {
                if !conn.write(&piece) {
                    return;
                }
            }
        }
    });
    let weir = Weir::start(Edge::simple(upstream.port()));
    let mut client = weir.client();
    assert_eq!(client.get("/a").map(|r| r.status), Ok(200));
    let before = crate::support::meter::rss_kib(weir.pid());
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    while !client.exact(1).ends_with(b"\n") || client.exact(2) != b"\r\n" {}
    for n in 0..BODY >> 16 {
        let piece = client.exact(1 << 16);
        let right = piece.iter().enumerate().all(|(at, &byte)| byte == (at % 256) as u8);
        assert!(right, "piece {n} is not what was sent");
    }
    let grown = crate::support::meter::rss_kib(weir.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for a reply of 64 MiB");
    assert_eq!(client.get("/a").map(|r| r.text()), Ok("GET /a 0".into()), "still in step");
    let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), weir.web()).expect("ok");
    let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 8 << 20);
    client.send(head).expect("it is sent");
    client.send(vec![b'u'; 8 << 20]).expect("it is sent");
    assert_eq!(client.reply("POST").text(), format!("POST /up {}", 8 << 20));
}

#[test]
fn a_client_that_goes_away_lets_the_origin_go() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        while let Some(request) = conn.request() {
            if request.target == "/never" {
                return conn.drain();
            }
            conn.answer(&request);
        }
    });
    let weir = Weir::start(Edge::simple(upstream.port()));
    for n in 1..=3 {
        let mut client = weir.client();
        client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
        wait::until("it is in flight", SOON, || upstream.count() == n);
        client.reset();
        let gone = || upstream.logs().iter().all(|log| log.closed());
        wait::until("the request is given up at the origin", SOON, gone);
    }
    assert_eq!(weir.get("/b").map(|r| r.status), Ok(200));
}

#[test]
fn hosts_inherit_and_explain_says_from_where() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port());
    let edge = edge.runtime(
        "[account]\nresponse_headers = { set = { X-From = \"account\", X-Account = \"a\" } }\n\
         [[zone]]\nname = \"zone.test\"\nresponse_headers = { set = { X-From = \"zone\" } }\n\
         request_headers = { set = { X-Zone = \"z\" } }",
    );
    let edge = edge.balance("www.zone.test", "p", "redirect_https = false");
    let file = edge.write();
    let weir = Weir::start(edge);
    let mut client = weir.client();
    let mut check = |host: &str, from: &str, zone: Option<&str>| {
        upstream.take();
        client.send(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n")).expect("it is sent");
        let reply = client.reply("GET");
        assert_eq!((reply.field("x-from"), reply.field("x-account")), (Some(from), Some("a")));
        let seen = upstream.take().requests.pop().expect("the origin got it");
        assert_eq!(seen.field("x-zone"), zone, "{host}");
        let told = command().arg("explain").arg(&file).args([host, "--json"]).output();
        let told = told.expect("weir runs");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
        let value = &told[0]["values"]["response_headers.set.X-From"];
        assert_eq!((&value["value"], &value["layer"]), (&from.into(), &from.into()), "{told}");
    };
    check("www.zone.test", "zone", Some("z"));
    check("elsewhere.test", "account", None);
    let none = command().arg("explain").arg(&file).arg("a:80").output().expect("weir runs");
    assert_eq!(none.status.code(), Some(3));
    let words = command().args(["explain", "tcp", "1.2.3.4"]).output().expect("weir runs");
    assert_eq!(words.status.code(), Some(2), "{}", String::from_utf8_lossy(&words.stderr));
}
