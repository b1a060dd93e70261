//! Idle connections to origins: who may use which, and that workers share them.

use crate::support::edge::{Edge, origin};
use crate::support::process::Weir;
use crate::support::tls::{Authority, VALID, server};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use std::time::{Duration, Instant};

const NAME: &str = "origin.test";
const LOOKUPS: &str = "weir_origin_connection_lookups_total";

/// Time after which an idle connection has been offered to all workers.
const RESTED: Duration = Duration::from_millis(500);
/// Client connections; that the kernel gives all of them to one of two workers happens once in
/// two thousand runs, and is no failure then.
const CLIENTS: usize = 12;

/// Asks over one new client connection after the other, with a rest between. Whichever worker
/// gets them, one connection to the origin is enough.
#[track_caller]
fn shared(weir: &Weir, upstream: &Upstream) {
    for n in 0..CLIENTS {
        assert_eq!(weir.get("/a").map(|r| r.text()), Ok("GET /a 0".into()), "client {n}");
        let since = Instant::now();
        wait::until("the connection has rested", SOON, || since.elapsed() > RESTED);
    }
    assert_eq!(upstream.logs().len(), 1, "connections to the origin");
    assert!(weir.metric(LOOKUPS, &[("result", "shared")]) >= 1.0);
}

#[test]
fn one_workers_idle_connection_serves_another() {
    let upstream = Upstream::start(Conn::serve);
    shared(&Weir::start(Edge::simple(upstream.port()).workers(2)), &upstream);
}

#[test]
fn tls_travels_with_its_connection() {
    let ca = Authority::new();
    let upstream = Upstream::tls(server(&ca.issue(&[NAME], VALID), None), Conn::serve);
    let edge = Edge::simple(1).workers(2);
    let file = edge.file("ca.pem", &ca.pem);
    let tls = format!("tls = {{ ca = {file:?}, server_name = \"{NAME}\" }}");
    shared(&Weir::start(edge.pool("p", &tls, &[origin("o1", upstream.port())])), &upstream);
}

#[test]
fn what_was_proved_otherwise_is_another_connection() {
    // Two pools lead to one address. The second one verifies, so what the first one opened
    // without verifying may not carry its requests; a third one like the first may share.
    let ca = Authority::new();
    let upstream = Upstream::tls(server(&ca.issue(&[NAME], VALID), None), Conn::serve);
    let edge = Edge::simple(1);
    let file = edge.file("ca.pem", &ca.pem);
    let origins = [origin("o1", upstream.port())];
    let edge = edge
        .pool("p", "tls = { verify = false }", &origins)
        .pool("q", &format!("tls = {{ ca = {file:?}, server_name = \"{NAME}\" }}"), &origins)
        .pool("r", "tls = { verify = false }", &origins)
        .balance("q.test", "q", "")
        .balance("r.test", "r", "");
    let weir = Weir::start(edge);
    let ask = |host: &str| {
        let mut client = weir.client();
        let head = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(head).expect("it is sent");
        assert_eq!(client.reply("GET").status, 200, "{host}");
    };
    for (host, connections) in [("p.test", 1), ("p.test", 1), ("q.test", 2), ("q.test", 2)] {
        ask(host);
        assert_eq!(upstream.logs().len(), connections, "{host}");
    }
    ask("r.test");
    assert_eq!(upstream.logs().len(), 2, "equal settings share");
}
