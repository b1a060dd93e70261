//! Rows 89 and 91: lists of several fields are read as one, and what a stranger sends neither
//! writes a line of a log nor makes a metric.

use crate::support::client::Client;
use crate::support::edge::{Edge, origin};
use crate::support::process::Weir;
use crate::support::reader::Message;
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};

fn seen(weir: &Weir, upstream: &Upstream, lines: &str) -> Message {
    upstream.take();
    let mut client = weir.client();
    client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")).expect("it is sent");
    assert_eq!(client.reply("GET").status, 200, "{lines}");
    upstream.take().requests.pop().expect("the origin got it")
}

#[test]
fn row_89_the_rightmost_untrusted_address_is_the_client() {
    let upstream = Upstream::tagged();
    let lines = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    for (lines, client) in [
        ("X-Forwarded-For: 203.0.113.9", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9", "203.0.113.9"),
        ("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2", "203.0.113.9"),
        ("x-forwarded-for: 6.6.6.6\r\nX-FORWARDED-FOR: 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("X-Forwarded-For: 6.6.6.6, \"10.0.0.2\"", "127.0.0.1"),
        ("X-Forwarded-For: ,", "127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.9:99", "203.0.113.9"),
        ("Forwarded: for=6.6.6.6, for=\"203.0.113.9:80\";proto=https", "203.0.113.9"),
        ("Forwarded: for=6.6.6.6\r\nForwarded: for=203.0.113.9, for=10.0.0.2", "203.0.113.9"),
        ("Forwarded: for=203.0.113.9;host=\"a, for=6.6.6.6\"", "203.0.113.9"),
        ("Forwarded: for=203.0.113.9;host=\"a\\\", for=6.6.6.6\"", "203.0.113.9"),
        ("Forwarded: for=6.6.6.6, for=_hidden", "127.0.0.1"),
        ("Forwarded: for=6.6.6.6, for=\"203.0.113.9", "127.0.0.1"),
        // Where both are sent, they are not mixed.
        ("Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 203.0.113.9", "203.0.113.9"),
    ] {
        let request = seen(&weir, &upstream, lines);
        assert_eq!(request.field("cf-connecting-ip"), Some(client), "{lines}");
        let lists = |name| request.fields.iter().filter(|(field, _)| field == name).count();
        assert_eq!(lists("x-forwarded-for"), 1, "{lines}: one list goes on");
        assert_eq!(lists("cf-connecting-ip"), 1, "{lines}");
        let list = request.field("x-forwarded-for").unwrap_or_default();
        assert!(list.ends_with("127.0.0.1"), "{lines}: the peer is the last one: {list}");
        assert!(lists("forwarded") <= 1, "{lines}");
    }
    // Every element goes on, in order.
    let lines = "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Other: 1\r\nX-Forwarded-For: 10.0.0.3";
    let request = seen(&weir, &upstream, lines);
    let list = request.field("x-forwarded-for");
    assert_eq!(list, Some("1.1.1.1, 2.2.2.2, 10.0.0.3, 127.0.0.1"));
}

#[test]
fn row_89_fields_sent_twice_stay_two_and_rules_mean_all() {
    let upstream = Upstream::tagged();
    let rules = "request_headers = { set = { X-Team = \"edge\" }, remove = [\"X-Debug\"] }";
    let weir = Weir::start(Edge::simple(upstream.port()).balance("*", "p", rules));
    let request = seen(
        &weir,
        &upstream,
        "X-Role: a\r\nX-Team: a\r\nX-Debug: 1\r\nX-Role: admin\r\nx-team: b\r\nX-DEBUG: 2\r\n\
         X_Team: c\r\nX_Debug: 3",
    );
    let all = |name: &str| -> Vec<&str> {
        let fields = request.fields.iter().filter(|(field, _)| field == name);
        fields.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(all("x-role"), ["a", "admin"], "neither joined nor dropped");
    assert_eq!(all("x-team"), ["edge"], "a rule replaces every one");
    assert!(all("x-debug").is_empty() && all("x_debug").is_empty() && all("x_team").is_empty());
}

/// Bytes that end a line, steer a terminal or turn the direction of text.
fn forges(text: &str) -> Option<char> {
    let bad = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().find(bad)
}

#[test]
fn row_91_logs_cannot_be_forged() {
    let upstream = Upstream::tagged();
    for format in ["json", "combined"] {
        let edge = Edge::simple(upstream.port());
        let log = edge.file("access.log", "");
        let logging = format!("[logging]\naccess = {{ path = {log:?}, format = \"{format}\" }}");
        let weir = Weir::start(edge.runtime(&logging));
        let requests: [&[u8]; 10] = [
            b"GET /plain HTTP/1.1\r\nHost: a\r\nUser-Agent: plain\r\n\r\n",
            b"GET /lf HTTP/1.1\r\nHost: a\r\nUser-Agent: x\nGET /forged HTTP/1.1\r\n\r\n",
            b"GET /cr HTTP/1.1\r\nHost: a\r\nUser-Agent: x\rGET /forged\r\n\r\n",
            b"GET /esc HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b[2J\x1b]0;forged\x07\r\n\r\n",
            b"GET /quote HTTP/1.1\r\nHost: a\r\nUser-Agent: \" 200 \"forged\\\r\n\r\n",
            b"GET /c1 HTTP/1.1\r\nHost: a\r\nUser-Agent: \xc2\x9b2Jforged\xc2\x85x\r\n\r\n",
            b"GET /bad HTTP/1.1\r\nHost: a\r\nReferer: \xff\xfe\x80forged\r\n\r\n",
            b"GET /bidi HTTP/1.1\r\nHost: a\r\nUser-Agent: \xe2\x80\xaeforged\xe2\x81\xa6\r\n\r\n",
            b"GET /%0a%1b[2J?%0d%0aforged HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /host HTTP/1.1\r\nHost: a\x1b[2Jforged\r\n\r\n",
        ];
        for request in requests {
            let mut client = weir.client();
            client.send(request).expect("it is sent");
            client.reply("GET");
        }
        // Its line is behind those of all others.
        assert_eq!(weir.get("/last").map(|reply| reply.status), Ok(200));
        let read = || std::fs::read(&log).expect("there is a log");
        let count = requests.len() + 1;
        wait::until("every request is in the log", SOON, || {
            read().iter().filter(|b| **b == b'\n').count() >= count
        });
        let text = String::from_utf8(read()).expect("the log is UTF-8");
        assert_eq!(text.lines().count(), count, "{format}: a line for each request:\n{text}");
        assert_eq!(forges(&text), None, "{format}:\n{text}");
        for line in text.lines() {
            if format == "json" {
                let parsed: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
                assert!(parsed["status"].is_number(), "{line}");
            } else {
                assert!(line.is_ascii() && line.ends_with('"'), "{line}");
                assert_eq!(line.matches('"').count(), 6, "{line}: three quoted parts");
            }
            assert!(!line.starts_with("GET"), "{line}");
        }
        assert_eq!(forges(&weir.stderr()), None, "the operator log: {}", weir.stderr());
    }
}

/// Hosts of a run; `WEIR_SOAK=1` asks for a million.
fn hosts() -> usize {
    if std::env::var_os("WEIR_SOAK").is_some_and(|v| v == "1") { 1_000_000 } else { 5_000 }
}

#[test]
fn row_91_metrics_do_not_grow_with_what_is_asked() {
    const TOGETHER: usize = 50;
    let upstream = Upstream::tagged();
    let edge = Edge::new()
        .listener("web", "")
        .pool("p", "", &[origin("o1", upstream.port())])
        .balance("a", "p", "");
    let weir = Weir::start(edge);
    let series = || -> Vec<String> {
        let text = weir.admin("/metrics").expect("metrics").text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| line.rsplit_once(' '));
        names.map(|(series, _)| series.to_owned()).collect()
    };
    // One of each kind of outcome first, as some series begin with their first event.
    let burst = |client: &mut Client, from: usize| {
        let one = |n: usize| match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: h{n}.test\r\n\r\n"),
            1 => format!("M{n} / HTTP/1.1\r\nHost: h{n}.test\r\nX-{n}: 1\r\n\r\n"),
            _ => format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: agent{n}\r\n\r\n"),
        };
        let all: String = (from..from + TOGETHER).map(one).collect();
        client.send(all).expect("they are sent");
        for _ in 0..TOGETHER {
            client.reply("GET");
        }
    };
    burst(&mut weir.client(), 0);
    let before = series();
    let rss = crate::support::meter::rss_kib(weir.pid());
    for from in (TOGETHER..hosts()).step_by(TOGETHER) {
        burst(&mut weir.client(), from);
    }
    let after = series();
    assert_eq!(before, after, "series before and after");
    let strange = |s: &&String| ["h1.test", "agent", "M1"].iter().any(|part| s.contains(part));
    assert_eq!(after.iter().find(strange), None, "a stranger's word is a label");
    let grown = crate::support::meter::rss_kib(weir.pid()).saturating_sub(rss);
    assert!(grown < 16 * 1024, "I3: {grown} KiB for hosts that nobody serves");
}
