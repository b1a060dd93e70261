//! HTTP/2 towards origins: many requests on few connections, what an origin refuses is asked
//! again elsewhere where that is allowed, and its limits are kept.

use crate::support::client::Client;
use crate::support::edge::{Edge, origin};
use crate::support::h2::client::H2;
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::h2::origin::{Options, Origin};
use crate::support::h2::wire::{Frames, value};
use crate::support::process::Weir;
use crate::support::tls::{Authority, VALID, server_alpn};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Lines of a pool whose origins speak HTTP/2.
const H2_POOL: &str = "protocols = [\"h2\"]\noutlier_ejection = { consecutive_failures = 0 }";

/// Weir before an origin that speaks HTTP/2 with prior knowledge.
pub(super) fn over_h2(origin: &Origin) -> Edge {
    before(origin.port(), "")
}

fn before(port: u16, lines: &str) -> Edge {
    let lines = format!("{H2_POOL}\n{lines}");
    Edge::simple(port).pool("p", &lines, &[origin("o1", port)])
}

/// Answers `/gate…` once the gate is open, and others at once.
fn gated(options: Options) -> (Origin, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let inner = gate.clone();
    let origin = Origin::with(options, move |mut exchange| {
        let gate = inner.clone();
        async move {
            while exchange.request.target.starts_with("/gate") && !gate.load(Ordering::Acquire) {
                if !exchange.pause(Duration::from_millis(5)).await {
                    return;
                }
            }
            exchange.serve().await;
        }
    });
    (origin, gate)
}

#[test]
fn requests_of_many_clients_share_a_connection() {
    let (origin, gate) = gated(Options::default());
    let weir = Weir::start(over_h2(&origin));
    assert_eq!(weir.get("/first").map(|reply| reply.text()), Ok("GET /first 0".into()));
    let mut clients: Vec<H2> = (0..10).map(|_| H2::connect(weir.web())).collect();
    let mut old: Vec<Client> = (0..10).map(|_| weir.client()).collect();
    let ids: Vec<u32> = clients
        .iter_mut()
        .enumerate()
        .map(|(n, client)| client.open(&Block::request("GET", &format!("/gate{n}")), true))
        .collect();
    for (n, client) in old.iter_mut().enumerate() {
        client.send(format!("GET /gate-old{n} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("it is sent");
    }
    wait::until("all are at the origin", SOON, || origin.live() == 20);
    assert!(origin.connections() <= 2, "{} connections for one worker", origin.connections());
    gate.store(true, Ordering::Release);
    for (n, (client, id)) in clients.iter_mut().zip(ids).enumerate() {
        assert_eq!(client.reply(id).map(|r| r.text()), Ok(format!("GET /gate{n} 0")), "I2");
    }
    for (n, client) in old.iter_mut().enumerate() {
        assert_eq!(client.reply("GET").text(), format!("GET /gate-old{n} 0"), "I2");
    }
    let seen = origin.request("/gate0").message;
    assert_eq!(seen.field(":authority"), Some("a"));
    assert_eq!(seen.field(":scheme"), Some("http"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert!(!seen.has("host") && !seen.has("connection"), "{seen:?}");
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn the_origins_limit_of_streams_is_kept() {
    let options = Options { max_streams: Some(5), ..Options::default() };
    let (origin, gate) = gated(options);
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    assert_eq!(client.get("/first").map(|reply| reply.status), Ok(200));
    let ids: Vec<u32> =
        (0..40).map(|n| client.open(&Block::request("GET", &format!("/gate{n}")), true)).collect();
    wait::until("some are at the origin", SOON, || origin.live() >= 5);
    client.send(frame::ping([0; 8]));
    client.until("all are taken up", |client| client.pongs == 1);
    gate.store(true, Ordering::Release);
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(client.reply(id).map(|r| r.text()), Ok(format!("GET /gate{n} 0")), "I2");
    }
    assert!(origin.most_live() <= 5 * origin.connections(), "more than 5 on a connection");
    assert_eq!(origin.resets(), 0);
    assert_eq!(origin.faults(), Vec::<String>::new(), "a stream too many");
}

#[test]
fn alpn_decides_towards_origins() {
    let ca = Authority::new();
    let pem = ca.issue(&["origin.test"], VALID);
    let origin = Origin::with(
        Options { tls: Some(server_alpn(&pem, &["h2"])), ..Options::default() },
        |mut exchange| async move { exchange.serve().await },
    );
    let old =
        Upstream::tls(server_alpn(&pem, &["http/1.1"]), crate::support::upstream::Conn::serve);
    let silent = Upstream::tls(server_alpn(&pem, &[]), crate::support::upstream::Conn::serve);
    let weir = |port: u16, protocols: &str| {
        let edge = Edge::simple(port);
        let file = edge.file("ca.pem", &ca.pem);
        let lines = format!(
            "protocols = {protocols}\noutlier_ejection = {{ consecutive_failures = 0 }}\n\
             tls = {{ server_name = \"origin.test\", ca = {file:?} }}"
        );
        Weir::start(edge.pool("p", &lines, &[crate::support::edge::origin("o1", port)]))
    };
    let both = "[\"h2\", \"http/1.1\"]";
    for (port, protocols, good, what) in [
        (origin.port(), both, true, "negotiated h2"),
        (old.port(), both, true, "negotiated http/1.1"),
        (silent.port(), both, true, "nothing negotiated"),
        (origin.port(), "[\"h2\"]", true, "h2 alone"),
        (old.port(), "[\"h2\"]", false, "h2 alone, not spoken"),
        (old.port(), "[\"http/1.1\"]", true, "http/1.1 alone"),
    ] {
        let weir = weir(port, protocols);
        let mut client = H2::connect(weir.web());
        for n in 0..3 {
            let reply = client.get(&format!("/{n}")).unwrap_or_else(|e| panic!("{what}: {e}"));
            if good {
                assert_eq!(reply.text(), format!("GET /{n} 0"), "{what}");
            } else {
                assert_eq!(reply.status, 502, "{what}");
            }
        }
    }
    assert_eq!(origin.seen()[0].message.field(":scheme"), Some("https"));
}

/// An origin by hand that refuses the first requests and answers the rest.
fn refusing(
    refusal: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
    first: usize,
) -> (Upstream, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let inner = count.clone();
    let upstream = Upstream::start(move |conn| {
        let Some(mut frames) = Frames::accept(conn, &[]) else { return };
        while let Some((id, fields)) = frames.request() {
            if inner.fetch_add(1, Ordering::AcqRel) < first {
                let bytes = refusal(id);
                let ends = bytes.get(3) == Some(&frame::GOAWAY);
                if !frames.send(bytes) {
                    return;
                }
                if ends {
                    return frames.drain();
                }
                continue;
            }
            let path = value(&fields, ":path").to_owned();
            if !frames.answer(id, &path) {
                return;
            }
        }
    });
    (upstream, count)
}

#[test]
fn what_was_not_processed_is_asked_again() {
    type Refusal = fn(u32) -> Vec<u8>;
    let cases: [(&str, Refusal); 3] = [
        ("REFUSED_STREAM", |id| frame::reset(id, frame::REFUSED_STREAM)),
        ("GOAWAY below it", |_| frame::go_away(0, frame::NO_ERROR)),
        ("GOAWAY for a fault", |_| frame::go_away(0, frame::ENHANCE_YOUR_CALM)),
    ];
    for (what, refusal) in cases {
        for method in ["GET", "POST"] {
            let (upstream, count) = refusing(refusal, 1);
            let weir = Weir::start(before(upstream.port(), ""));
            let mut client = H2::connect(weir.web());
            // RFC 9113 §8.7: it was not processed, so even what is not idempotent may be repeated.
            let reply = client.ask(&Block::request(method, "/again"), &[]);
            assert_eq!(reply.map(|r| r.text()), Ok("/again".into()), "{what}: {method}");
            assert_eq!(count.load(Ordering::Acquire), 2, "{what}: {method}");
        }
        // A refusal each time is an error in the end, and not a loop.
        let (upstream, count) = refusing(refusal, usize::MAX);
        let weir = Weir::start(before(upstream.port(), ""));
        let reply = weir.get("/never").expect("a reply");
        assert!(reply.status == 502 || reply.status == 503, "{what}: {reply:?}");
        let asked = count.load(Ordering::Acquire);
        assert!(asked <= 4, "{what}: asked {asked} times");
    }
}

#[test]
fn what_may_have_been_processed_is_not_asked_again() {
    for code in [frame::INTERNAL_ERROR, frame::CANCEL, frame::PROTOCOL_ERROR] {
        let (upstream, count) = refusing(move |id| frame::reset(id, code), usize::MAX);
        let weir = Weir::start(before(upstream.port(), ""));
        let mut client = H2::connect(weir.web());
        let reply = client.ask(&Block::request("POST", "/once"), b"body").expect("a reply");
        assert_eq!(reply.status, 502, "code {code}");
        assert_eq!(count.load(Ordering::Acquire), 1, "code {code}: asked again");
    }
}

#[test]
fn an_origin_that_says_goodbye_loses_nothing() {
    let origin = Origin::start(|mut exchange| async move {
        // Every tenth request is followed by a graceful GOAWAY.
        if exchange.request.target.ends_with('5') {
            exchange.go_away();
        }
        exchange.serve().await;
    });
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    for turn in 0..20 {
        let ids: Vec<u32> = (0..20)
            .map(|n| client.open(&Block::request("POST", &format!("/{turn}-{n}")), true))
            .collect();
        for (n, id) in ids.into_iter().enumerate() {
            let text = client.reply(id).map(|reply| reply.text());
            assert_eq!(text, Ok(format!("POST /{turn}-{n} 0")), "{:?}", origin.faults());
        }
    }
    assert!(origin.connections() > 5, "{} connections", origin.connections());
    let open = || origin.open_connections() <= 4;
    wait::until("connections that said goodbye are closed", SOON, open);
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn a_client_that_goes_takes_only_its_own_stream_along() {
    let (origin, gate) = gated(Options::default());
    let weir = Weir::start(over_h2(&origin));
    let mut stays = H2::connect(weir.web());
    let id = stays.open(&Block::request("GET", "/gate-stays"), true);
    wait::until("it is at the origin", SOON, || origin.live() == 1);
    let mut goes = H2::connect(weir.web());
    goes.open(&Block::request("GET", "/gate-goes"), true);
    let reset = goes.open(&Block::request("GET", "/gate-reset"), true);
    let mut old = weir.client();
    old.send("GET /gate-old HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    wait::until("they are at the origin", SOON, || origin.live() == 4);
    goes.send(frame::reset(reset, frame::CANCEL));
    wait::until("one stream is cancelled", SOON, || origin.live() == 3);
    drop(goes);
    wait::until("the other one as well", SOON, || origin.live() == 2);
    old.reset();
    wait::until("and that of HTTP/1.1", SOON, || origin.live() == 1);
    gate.store(true, Ordering::Release);
    assert_eq!(stays.reply(id).map(|reply| reply.text()), Ok("GET /gate-stays 0".into()));
    assert_eq!(origin.connections(), 1, "a connection was given up for a stream");
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn small_windows_of_an_origin_are_kept() {
    let options = Options { window: Some(1_000), ..Options::default() };
    let origin = Origin::with(options, |mut exchange| async move { exchange.serve().await });
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    let body = super::features::pattern(300_000);
    let reply = client.ask(&Block::request("POST", "/up"), &body).expect("a reply");
    assert_eq!(reply.text(), "POST /up 300000");
    super::features::same(&origin.request("/up").message.body, &body, "upload");
    assert_eq!(origin.faults(), Vec::<String>::new());
}
