//! Large bodies over plain connections, which go through pipes of the kernel: intact, in step,
//! bounded, and cut where the other side cuts them.

use crate::support::client::{Client, End};
use crate::support::edge::{Edge, origin};
use crate::support::meter;
use crate::support::process::Weir;
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const SPLICED: &str = "weir_spliced_bytes_total";
/// Writes of the test origin and client; prime, so that no buffer or page divides it.
const PIECE: usize = 65_521;

/// Bytes that differ at every offset of a piece, so that one lost, doubled or out of place shows.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..PIECE).map(byte).collect()
}

/// Gives `write` the pattern up to `total` bytes; stops when it says false.
fn generate(total: u64, mut write: impl FnMut(&[u8]) -> bool) {
    let pattern = pattern();
    let mut left = total;
    while left > 0 {
        let piece = &pattern[..left.min(PIECE as u64) as usize];
        if !write(piece) {
            return;
        }
        left -= piece.len() as u64;
    }
}

/// Compares what comes with the pattern.
struct Checker {
    pattern: Vec<u8>,
    seen: u64,
}

impl Checker {
    fn new() -> Self {
        Self { pattern: pattern(), seen: 0 }
    }

    #[track_caller]
    fn check(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let from = (self.seen % PIECE as u64) as usize;
            let len = bytes.len().min(PIECE - from);
            assert!(bytes[..len] == self.pattern[from..from + len], "differs after {}", self.seen);
            self.seen += len as u64;
            bytes = &bytes[len..];
        }
    }
}

/// Answers `/N` with N bytes of the pattern, `/cut/N` with half of them and FIN, `/reset/N` with
/// half of them and RST, an upload with what is wrong with it, all else with a tag.
fn serve(conn: &mut Conn, written: &AtomicU64) {
    while let Some(mut request) = conn.head() {
        if request.method != "GET" {
            let crate::support::reader::Length::Exact(total) = request.length else { return };
            let mut checker = Checker::new();
            while checker.seen < total as u64 {
                let piece = conn.piece();
                if piece.is_empty() {
                    return;
                }
                checker.check(&piece);
            }
            let text = format!("{} bytes", checker.seen);
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
            continue;
        }
        conn.body(&mut request);
        let (way, total) = request.target.rsplit_once('/').unwrap_or_default();
        let Ok(total) = total.parse::<u64>() else {
            conn.answer(&request);
            continue;
        };
        conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"));
        let cut = !way.is_empty();
        let mut open = true;
        generate(if cut { total / 2 } else { total }, |piece| {
            open = conn.write(piece);
            written.fetch_add(piece.len() as u64, Ordering::Relaxed);
            open
        });
        if cut || !open {
            if way == "/reset" {
                conn.reset();
            }
            return;
        }
    }
}

struct Rig {
    upstream: Upstream,
    weir: Weir,
    written: Arc<AtomicU64>,
}

fn rig(listener: &str) -> Rig {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let upstream = Upstream::start(move |conn: &mut Conn| serve(conn, &count));
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", listener));
    Rig { upstream, weir, written }
}

fn ask(client: &mut Client, target: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("it is sent");
}

/// Reads the head of a reply.
fn skip_head(client: &mut Client) {
    let mut head = client.exact(4);
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.exact(1));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
}

/// Reads `total` bytes of the pattern.
fn read_pattern(client: &mut Client, total: u64) {
    let mut checker = Checker::new();
    while checker.seen < total {
        let piece = client.exact((total - checker.seen).min(MIB / 4) as usize);
        checker.check(&piece);
    }
}

fn fetch(client: &mut Client, total: u64) {
    ask(client, &format!("/{total}"));
    skip_head(client);
    read_pattern(client, total);
}

#[test]
fn large_replies_come_intact_and_the_connections_stay_in_step() {
    let Rig { upstream, weir, .. } = rig("");
    let mut client = weir.client();
    for total in [64 * MIB, MIB + 1, 300_007, 128 * 1024, 5, 8 * MIB] {
        fetch(&mut client, total);
        let reply = client.get("/a").map(|reply| reply.text());
        assert_eq!(reply, Ok("GET /a 0".into()), "in step after {total} bytes");
    }
    assert_eq!(upstream.logs().len(), 1, "the connection to the origin is kept");
    weir.metric_reaches(SPLICED, &[], (71 * MIB) as f64);
    let sent = weir.metric("weir_sent_bytes_total", &[]);
    let most = (74 * MIB) as f64;
    assert!(sent >= weir.metric(SPLICED, &[]) && sent < most, "{sent} bytes are said to be sent");
}

#[test]
fn large_uploads_come_intact() {
    let Rig { upstream, weir, .. } = rig("");
    let mut client = weir.client();
    // The first bytes of a PUT are kept for a second try, those of a POST are not.
    for (method, total) in [("POST", 64 * MIB), ("PUT", 8 * MIB), ("PUT", 100_003)] {
        let head = format!("{method} /up HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n");
        client.send(head).expect("it is sent");
        generate(total, |piece| client.send(piece).is_ok());
        assert_eq!(client.reply(method).text(), format!("{total} bytes"), "{method}");
    }
    assert_eq!(upstream.logs().len(), 1, "the connection to the origin is kept");
    weir.metric_reaches(SPLICED, &[], (71 * MIB) as f64);
}

#[test]
fn a_reply_that_the_origin_cuts_is_cut_for_the_client() {
    let Rig { weir, upstream: _upstream, .. } = rig("");
    for way in ["cut", "reset"] {
        for total in [MIB, 16 * MIB] {
            let mut client = weir.client();
            ask(&mut client, &format!("/{way}/{total}"));
            let (End::Closed(got) | End::Reset(got)) = client.end(SOON) else {
                panic!("{way} {total}: the connection stays open");
            };
            let head = got.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
            Checker::new().check(&got[head..]);
            let most = head as u64 + total / 2;
            assert!(got.len() as u64 <= most, "{way}: {} of {total} bytes", got.len());
        }
    }
    weir.metric_reaches("weir_requests_aborted_total", &[], 4.0);
    fetch(&mut weir.client(), 2 * MIB);
}

#[test]
fn an_upload_that_the_client_cuts_is_cut_for_the_origin() {
    let Rig { upstream, weir, .. } = rig("");
    let mut client = weir.client();
    let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 16 * MIB);
    client.send(head).expect("it is sent");
    generate(8 * MIB, |piece| client.send(piece).is_ok());
    weir.metric_reaches(SPLICED, &[], MIB as f64);
    drop(client);
    let gone = || upstream.logs().iter().all(|log| log.closed());
    wait::until("the origin is let go", SOON, gone);
    fetch(&mut weir.client(), 2 * MIB);
}

#[test]
fn urgent_data_stops_nothing() {
    let Rig { upstream: _upstream, weir, .. } = rig("");
    let mut client = weir.client();
    let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 4 * MIB);
    client.send(head).expect("it is sent");
    let mut sent = 0;
    generate(4 * MIB, |piece| {
        // Urgent bytes are no part of the stream (RFC 9293 section 3.8.5).
        if sent == 2 * MIB / PIECE as u64 {
            socket2::SockRef::from(client.raw()).send_out_of_band(b"!").expect("it is sent");
        }
        sent += 1;
        client.send(piece).is_ok()
    });
    assert_eq!(client.reply("POST").text(), format!("{} bytes", 4 * MIB));
}

/// Waits until no bytes move: the origin's writes have stood still for a while.
fn stands_still(written: &AtomicU64) -> u64 {
    let mut last = (0, Instant::now());
    wait::until("the origin is held back", SOON, || {
        let now = written.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        now > 0 && last.1.elapsed() > Duration::from_millis(300)
    });
    last.0
}

#[test]
fn a_slow_reader_holds_the_origin_back_and_loses_nothing() {
    const BODY: u64 = 128 * MIB;
    let Rig { weir, written, upstream: _upstream } = rig("");
    let mut client = weir.client();
    assert_eq!(client.get("/a").map(|reply| reply.status), Ok(200));
    let before = meter::rss_kib(weir.pid());
    ask(&mut client, &format!("/{BODY}"));
    let ahead = stands_still(&written);
    assert!(ahead < BODY / 2, "{} MiB were taken for a client that takes none", ahead / MIB);
    let grown = meter::rss_kib(weir.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for a reply that waits");
    skip_head(&mut client);
    read_pattern(&mut client, BODY);
    assert_eq!(client.get("/a").map(|reply| reply.text()), Ok("GET /a 0".into()), "in step");
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    let Rig { upstream, weir, .. } = rig("timeouts = { body_idle = \"500ms\" }");
    let mut client = weir.client();
    ask(&mut client, &format!("/{}", 128 * MIB));
    weir.metric_reaches("weir_limit_hits_total", &[("limit", "body_idle")], 1.0);
    wait::until("the origin is let go", SOON, || upstream.logs().iter().all(|log| log.closed()));
    // What the kernel still holds for it may be read; the whole reply does not come.
    let got = match client.end(SOON) {
        End::Closed(got) | End::Reset(got) | End::Open(got) => got.len() as u64,
    };
    assert!(got < 128 * MIB, "{got} bytes");
}

#[test]
fn an_origin_that_stops_in_the_middle_is_given_up() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        if conn.request().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 4 * MIB));
            generate(2 * MIB, |piece| conn.write(piece));
            conn.drain();
        }
    });
    let pool = "timeouts = { idle = \"500ms\" }";
    let edge = Edge::simple(upstream.port()).pool("p", pool, &[origin("o", upstream.port())]);
    let weir = Weir::start(edge);
    let mut client = weir.client();
    ask(&mut client, "/a");
    let (End::Closed(got) | End::Reset(got)) = client.end(SOON) else {
        panic!("the connection stays open");
    };
    assert!(got.len() as u64 > MIB && (got.len() as u64) < 4 * MIB, "{} bytes", got.len());
    wait::until("the origin is let go", SOON, || upstream.logs().iter().all(|log| log.closed()));
}

#[test]
fn pipes_of_clients_that_go_away_are_closed_with_what_is_in_them() {
    const CLIENTS: usize = 12;
    let Rig { upstream, weir, written } = rig("");
    fetch(&mut weir.client(), 2 * MIB);
    let before = meter::descriptors(weir.pid());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| weir.client()).collect();
    for client in &mut clients {
        ask(client, &format!("/{}", 128 * MIB));
    }
    stands_still(&written);
    let during = meter::descriptors(weir.pid());
    assert!(during >= before + 3 * CLIENTS, "{before} descriptors before, {during} with pipes");
    clients.into_iter().for_each(Client::reset);
    wait::until("descriptors are given back", SOON, || {
        meter::descriptors(weir.pid()) <= before + CLIENTS
    });
    wait::until("origins are let go", SOON, || {
        upstream.logs().iter().skip(1).all(|log| log.closed())
    });
    // A pipe with remains of another body in it would show here.
    for _ in 0..4 {
        fetch(&mut weir.client(), 2 * MIB);
    }
}
