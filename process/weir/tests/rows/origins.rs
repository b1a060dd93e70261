//! Rows 75, 79 and 90: nothing of an origin counts before its handshake is done, certificates that
//! only look right are refused, and a client learns nothing about either.

use crate::support::edge::{Edge, origin};
use crate::support::process::{Weir, workspace};
use crate::support::reader::Message;
use crate::support::tls::{Authority, EXPIRED, Pem, VALID, server};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use rcgen::{CertificateParams, DnType, GeneralSubtree, NameConstraints, SanType};

const NAME: &str = "origin.zone.test";

/// Weir before an origin that it trusts by `ca` and verifies as [`NAME`].
fn before(ca: &Authority, upstream: &Upstream) -> Weir {
    let edge = Edge::simple(upstream.port());
    let file = edge.file("ca.pem", &ca.pem);
    let pool = format!(
        "outlier_ejection = {{ consecutive_failures = 0 }}\nretries = {{ attempts = 0 }}\n\
         tls = {{ ca = {file:?}, server_name = \"{NAME}\" }}"
    );
    Weir::start(edge.pool("p", &pool, &[origin("o1", upstream.port())]))
}

#[track_caller]
fn failed(weir: &Weir, error: &str, what: &str) -> Message {
    let reply = weir.get("/secret").unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(reply.status, 502, "{what}: {reply:?}");
    let told = reply.field("proxy-status").unwrap_or_default();
    assert!(told.contains(error), "{what}: {told}");
    reply
}

const INJECTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Injected: 1\r\n\r\ninjected";

#[test]
fn row_75_plain_text_before_the_handshake_is_no_reply() {
    let ca = Authority::new();
    type Script = fn(&mut Conn);
    let scripts: [(&str, Script); 4] = [
        ("at once", |conn| {
            conn.write(INJECTED);
            conn.drain();
        }),
        ("after the hello", |conn| {
            conn.piece();
            conn.write(INJECTED);
            conn.drain();
        }),
        ("at once, then closed", |conn| {
            conn.write(INJECTED);
        }),
        ("as a record of plain application data", |conn| {
            conn.piece();
            let length = u16::try_from(INJECTED.len()).expect("it is short").to_be_bytes();
            conn.write([&[23, 3, 3], &length[..], INJECTED.as_bytes()].concat());
            conn.drain();
        }),
    ];
    for (what, script) in scripts {
        let upstream = Upstream::start(script);
        let weir = before(&ca, &upstream);
        for _ in 0..3 {
            let reply = failed(&weir, "tls_protocol_error", what);
            let text = format!("{reply:?}");
            assert!(!text.contains("njected"), "{what}: {text}");
        }
        for log in upstream.logs() {
            let bytes = log.bytes();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("secret"), "{what}: the request left without TLS: {text}");
        }
    }
}

/// What Weir says to an origin with this certificate.
#[track_caller]
fn judged(ca: &Authority, pem: &Pem, good: bool, what: &str) {
    let upstream = Upstream::tls(server(pem, None), Conn::serve);
    let weir = before(ca, &upstream);
    if good {
        assert_eq!(weir.get("/secret").map(|reply| reply.status), Ok(200), "{what}");
    } else {
        failed(&weir, "tls_certificate_error", what);
        assert_eq!(upstream.count(), 0, "{what}: the request was sent");
    }
}

fn named(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    // A name with any byte in it, which is not checked on this side.
    let name = |name: &&str| SanType::DnsName((*name).try_into().expect("it is ASCII"));
    params.subject_alt_names = names.iter().map(name).collect();
    params
}

#[test]
fn row_79_names_that_only_look_right() {
    let ca = Authority::new();
    for (what, names, good) in [
        ("the name", vec![NAME], true),
        ("a NUL behind it", vec!["origin.zone.test\0.evil.test"], false),
        ("a NUL in front", vec!["\0origin.zone.test"], false),
        ("a NUL at its end", vec!["origin.zone.test\0"], false),
        ("a wildcard for its parent", vec!["*.zone.test"], true),
        ("a wildcard with more in its label", vec!["o*.zone.test"], false),
        ("two wildcards", vec!["*.*.test"], false),
        ("a wildcard alone", vec!["*"], false),
        ("a wildcard for a child", vec!["*.origin.zone.test"], false),
        ("a name in front of it", vec!["x.origin.zone.test"], false),
        ("no name", vec![], false),
    ] {
        judged(&ca, &ca.issue_of(named(&names), VALID), good, what);
    }
    let mut common = named(&[]);
    common.distinguished_name.push(DnType::CommonName, NAME);
    judged(&ca, &ca.issue_of(common, VALID), false, "a common name");
}

#[test]
fn row_79_constraints_hold_for_wildcards() {
    let ca = Authority::new();
    let below = |permitted: &[&str], excluded: &[&str]| {
        let trees = |names: &[&str]| {
            names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect()
        };
        ca.below("constrained authority", |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: trees(permitted),
                excluded_subtrees: trees(excluded),
            });
        })
    };
    for (what, permitted, excluded, names, good) in [
        ("permitted", vec!["test"], vec![], vec![NAME], true),
        ("permitted, by a wildcard", vec!["test"], vec![], vec!["*.zone.test"], true),
        ("another name is permitted", vec!["good.test"], vec![], vec![NAME], false),
        (
            "a wildcard is wider than what is permitted",
            vec![NAME],
            vec![],
            vec!["*.zone.test"],
            false,
        ),
        ("one of the names is not permitted", vec![NAME], vec![], vec![NAME, "x.evil"], false),
        ("excluded", vec![], vec![NAME], vec![NAME], false),
        ("a wildcard that covers what is excluded", vec![], vec![NAME], vec!["*.zone.test"], false),
        ("excluded beside permitted", vec!["test"], vec![NAME], vec!["*.zone.test"], false),
        ("something else is excluded", vec![], vec!["good.test"], vec![NAME], true),
    ] {
        let pem = below(&permitted, &excluded).issue_of(named(&names), VALID);
        judged(&ca, &pem, good, what);
    }
}

#[test]
fn row_79_versions_without_known_faults() {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).expect("a lock file");
    let at_least = |package: &str, least: [u32; 3]| {
        let mut found = 0;
        let mut lines = lock.lines();
        while let Some(line) = lines.next() {
            if line != format!("name = \"{package}\"") {
                continue;
            }
            let version = lines.next().and_then(|line| line.split('"').nth(1)).expect("a version");
            let parts: Vec<u32> =
                version.split('.').map(|p| p.parse().expect("a number")).collect();
            assert!(parts[..] >= least[..], "{package} {version} is older than {least:?}");
            found += 1;
        }
        assert_eq!(found, 1, "one {package}");
    };
    at_least("rustls-webpki", [0, 103, 13]);
    at_least("aws-lc-sys", [0, 39, 0]);
    at_least("rustls", [0, 23, 18]);
}

#[test]
fn row_90_failures_of_origins_are_told_to_the_operator_alone() {
    let (ca, other) = (Authority::new(), Authority::new());
    for (what, pem, detail) in [
        ("expired", ca.issue(&[NAME], EXPIRED), "expired"),
        ("another name", ca.issue(&["internal-db-7.test"], VALID), "not valid for"),
        ("another authority", other.issue(&[NAME], VALID), "BadSignature"),
    ] {
        let upstream = Upstream::tls(server(&pem, None), Conn::serve);
        let weir = before(&ca, &upstream);
        for accept in ["text/html", "application/json"] {
            let mut client = weir.client();
            let head = format!("GET /a HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
            client.send(head).expect("it is sent");
            let reply = client.reply("GET");
            assert_eq!(reply.status, 502, "{what}: {reply:?}");
            let told = format!("{:?} {}", reply.fields, reply.text()).to_lowercase();
            let port = upstream.port().to_string();
            for inside in
                [port.as_str(), "127.0.0.1", "o1", "internal-db", NAME, "issuer", "expire"]
            {
                assert!(!told.contains(inside), "{what}: the client is told {inside:?}: {told}");
            }
        }
        let lower = detail.to_lowercase();
        wait::until("the operator is told", SOON, || {
            let status = weir.admin("/status").map(|reply| reply.text()).unwrap_or_default();
            let log = weir.stderr().to_lowercase();
            log.contains(&lower) && status.to_lowercase().contains(&lower)
        });
    }
}
