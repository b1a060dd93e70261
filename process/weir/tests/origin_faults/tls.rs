//! TLS to origins: a wrong name, an expired or untrusted certificate, client certificates.

use super::{Edge, Weir, failed, origin};
use crate::support::tls::{Authority, EXPIRED, Pem, VALID, server};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::SOON;

const NAME: &str = "origin.test";

/// Weir before a TLS origin with this certificate, trusting `ca`.
fn over_tls(ca: &Authority, pem: &Pem, verify: bool) -> (Weir, Upstream) {
    let upstream = Upstream::tls(server(pem, None), Conn::serve);
    let edge = Edge::simple(upstream.port());
    let ca = edge.file("ca.pem", &ca.pem);
    let trust = if verify { format!("ca = {ca:?}") } else { "verify = false".to_owned() };
    let pool = format!(
        "outlier_ejection = {{ consecutive_failures = 0 }}\n\
         tls = {{ {trust}, server_name = \"{NAME}\" }}"
    );
    (Weir::start(edge.pool("p", &pool, &[origin("o1", upstream.port())])), upstream)
}

#[test]
fn certificates_are_verified() {
    let (ca, other) = (Authority::new(), Authority::new());
    for (what, pem) in [
        ("another name", ca.issue(&["other.test"], VALID)),
        ("expired", ca.issue(&[NAME], EXPIRED)),
        ("another authority", other.issue(&[NAME], VALID)),
    ] {
        let (weir, upstream) = over_tls(&ca, &pem, true);
        println!("{what}");
        failed(&weir.get("/a"), 502, "tls_certificate_error");
        assert_eq!(upstream.count(), 0, "{what}: the request was sent");
        let (weir, upstream) = over_tls(&ca, &pem, false);
        assert_eq!(weir.get("/a").map(|r| r.status), Ok(200), "{what}, unverified");
        assert_eq!(upstream.count(), 1);
    }
    let (weir, upstream) = over_tls(&ca, &ca.issue(&[NAME], VALID), true);
    for n in 0..5 {
        assert_eq!(weir.get(&format!("/{n}")).map(|r| r.text()), Ok(format!("GET /{n} 0")));
    }
    assert_eq!(upstream.logs().len(), 1, "TLS connections are used again");
}

#[test]
fn a_tls_failure_is_retried_elsewhere_for_any_method() {
    let ca = Authority::new();
    let bad = Upstream::tls(server(&ca.issue(&[NAME], EXPIRED), None), Conn::serve);
    let good = Upstream::tls(server(&ca.issue(&[NAME], VALID), None), Conn::serve);
    let edge = Edge::simple(1);
    let file = edge.file("ca.pem", &ca.pem);
    let pool = format!(
        "outlier_ejection = {{ consecutive_failures = 0 }}\n\
         retries = {{ budget_min = 1000 }}\n\
         tls = {{ ca = {file:?}, server_name = \"{NAME}\" }}"
    );
    let origins = [origin("o1", bad.port()), origin("o2", good.port())];
    let weir = Weir::start(edge.pool("p", &pool, &origins));
    for n in 0..20 {
        let mut client = weir.client();
        let head = format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        client.send(head).expect("it is sent");
        let reply = client.reply_within("POST", SOON).expect("a reply");
        assert_eq!(reply.text(), format!("POST /{n} 2"));
    }
    assert_eq!((bad.count(), good.count()), (0, 20));
}

#[test]
fn a_plain_origin_where_tls_is_expected() {
    let ca = Authority::new();
    let upstream = Upstream::start(|conn: &mut Conn| {
        conn.piece();
        conn.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let edge = Edge::simple(upstream.port());
    let file = edge.file("ca.pem", &ca.pem);
    let pool = format!("tls = {{ ca = {file:?}, server_name = \"{NAME}\" }}");
    let weir = Weir::start(edge.pool("p", &pool, &[origin("o1", upstream.port())]));
    failed(&weir.get("/a"), 502, "tls_");
}

#[test]
fn silent_in_the_handshake() {
    let ca = Authority::new();
    let upstream = Upstream::start(Conn::drain);
    let edge = Edge::simple(upstream.port());
    let file = edge.file("ca.pem", &ca.pem);
    let pool = format!(
        "retries = {{ attempts = 0 }}\ntimeouts = {{ handshake = \"300ms\" }}\n\
         tls = {{ ca = {file:?}, server_name = \"{NAME}\" }}"
    );
    let weir = Weir::start(edge.pool("p", &pool, &[origin("o1", upstream.port())]));
    failed(&weir.get("/a"), 504, "connection_timeout");
}

#[test]
fn client_certificates_are_shown() {
    let (ca, clients) = (Authority::new(), Authority::new());
    let config = server(&ca.issue(&[NAME], VALID), Some(&clients));
    let upstream = Upstream::tls(config, Conn::serve);
    let edge = Edge::simple(upstream.port());
    let ca_file = edge.file("ca.pem", &ca.pem);
    let pem = clients.issue(&["edge.test"], VALID);
    let (certificate, key) =
        (edge.file("client.pem", &pem.certificate), edge.file("client.key", &pem.key));
    let origins = [origin("o1", upstream.port())];
    let with = format!(
        "tls = {{ ca = {ca_file:?}, server_name = \"{NAME}\", certificate = {certificate:?}, \
         key = {key:?} }}"
    );
    let weir = Weir::start(edge.pool("p", &with, &origins));
    assert_eq!(weir.get("/a").map(|r| r.text()), Ok("GET /a 0".into()));
    let edge = Edge::simple(upstream.port());
    let without = format!("tls = {{ ca = {ca_file:?}, server_name = \"{NAME}\" }}");
    let weir = Weir::start(edge.pool("p", &without, &origins));
    let reply = weir.get("/a").expect("a reply of Weir's own");
    assert_eq!(reply.status, 502, "{reply:?}");
}
