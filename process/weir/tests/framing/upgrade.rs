//! Rows 1 to 6: tunnels open only where both sides agreed to one.

use super::rig::{Rig, X, parsed};
use crate::support::client::{Client, Cut, End};
use crate::support::edge::Edge;
use crate::support::reader::Message;
use crate::support::upstream::{Conn, Taken};
use crate::support::wait::SOON;
use std::time::Duration;

/// Long enough to see bytes that were sent together with a request.
const MOMENT: Duration = Duration::from_millis(15);

/// Replies until the connection ends or nothing comes: the first, and the second if there is one.
fn two_replies(client: &mut Client, what: &str) -> (Message, Option<Message>) {
    let first = client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
    (first, client.reply_within("GET", Duration::from_secs(2)).ok())
}

/// After a request that got no tunnel: `/x` is a request of its own, or nothing came of it.
fn no_tunnel(first: u16, (a, x): (Message, Option<Message>), taken: &Taken, what: &str) {
    assert_eq!(a.status, first, "{what}: {a:?}");
    assert!(taken.partial.is_empty(), "I1: {what}: {taken:?}");
    assert!(taken.requests.iter().all(parsed), "I1: {what}: unread bytes passed: {taken:?}");
    match x {
        Some(x) => {
            assert_eq!(x.text(), "GET /x 0", "I2: {what}");
            assert_eq!(taken.lines(), ["GET /a", "GET /x"], "I1: {what}");
        }
        None => assert_eq!(taken.lines(), ["GET /a"], "I1: {what}"),
    }
}

#[test]
fn row_01_upgrade_without_101() {
    let mut rig = Rig::scripted(1, |conn, mut request| {
        // Before the answer no byte beyond the request may come.
        let early = request.target == "/a" && !conn.quiet(MOMENT);
        if early {
            return conn.write("HTTP/1.1 299 Early bytes\r\nContent-Length: 0\r\n\r\n");
        }
        conn.body(&mut request) && conn.answer(&request)
    });
    let bytes =
        format!("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n{X}");
    rig.each(&bytes, two_replies, |replies, taken, what| no_tunnel(200, replies, &taken, what));
    rig.finish();
}

#[test]
fn row_02_upgrade_answered_with_200() {
    let mut rig = Rig::scripted(2, |conn, mut request| {
        if request.target == "/a" {
            return conn.write(
                "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: foo\r\n\
                 Content-Length: 2\r\n\r\nok",
            );
        }
        conn.body(&mut request) && conn.answer(&request)
    });
    let bytes =
        format!("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n{X}");
    rig.each(&bytes, two_replies, |replies, taken, what| {
        assert_eq!(replies.0.text(), "ok", "{what}");
        no_tunnel(200, replies, &taken, what);
    });
    rig.finish();
}

#[test]
fn row_03_connect_with_early_data() {
    let mut rig = Rig::new(3);
    let bytes = format!("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n{X}");
    rig.each(&bytes, two_replies, |(first, x), taken, what| {
        assert_eq!(first.status, 405, "{what}");
        assert!(taken.partial.is_empty(), "I1: {what}: {taken:?}");
        assert!(taken.requests.iter().all(parsed), "I1: {what}: {taken:?}");
        match x {
            Some(x) => assert_eq!(x.text(), "GET /x 0", "I2: {what}"),
            None => assert!(taken.requests.is_empty(), "I1: {what}: {taken:?}"),
        }
    });
    rig.refused(
        "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nContent-Length: 2\r\n\r\nhi",
        &[400, 405],
    );
    rig.finish();
}

#[test]
fn row_04_upgrade_with_a_body() {
    let mut rig = Rig::new(4);
    for framing in [
        format!("Content-Length: 28\r\n\r\n{X}"),
        format!("Transfer-Encoding: chunked\r\n\r\n1c\r\n{X}\r\n0\r\n\r\n"),
    ] {
        let bytes = format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{framing}"
        );
        rig.each(
            &bytes,
            |client, what| {
                client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("{what}: {e}"))
            },
            |reply, taken, what| match reply.status {
                400 => assert!(taken.requests.is_empty(), "I4: {what}: {taken:?}"),
                status => {
                    assert_eq!(status, 200, "{what}");
                    let [request] = &taken.requests[..] else { panic!("I1: {what}: {taken:?}") };
                    assert_eq!(request.text(), X, "I1: {what}");
                    assert!(!request.has("upgrade"), "{what}: {request:?}");
                }
            },
        );
    }
    rig.finish();
}

#[test]
fn row_05_half_an_upgrade() {
    let mut rig = Rig::new(5);
    for half in ["Connection: upgrade", "Upgrade: foo", "Connection: keep-alive\r\nUpgrade: foo"] {
        let bytes = format!("GET /a HTTP/1.1\r\nHost: a\r\n{half}\r\n\r\n");
        rig.passes(&bytes, |request, what| {
            assert!(!request.has("upgrade"), "{what}: {request:?}");
            let connection = request.field("connection").unwrap_or_default();
            assert!(!connection.to_ascii_lowercase().contains("upgrade"), "{what}: {request:?}");
        });
    }
    rig.finish();
}

#[test]
fn row_06_h2c_is_never_forwarded() {
    let only = |edge: Edge| edge.listener("web", "protocols = [\"http/1.1\"]");
    let mut rig = Rig::with(6, Conn::serve, only);
    let settings =
        "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
    for upgrade in [
        "Upgrade: h2c\r\nUpgrade: foo",
        "Upgrade: foo\r\nUpgrade: h2c",
        "Upgrade: h2c",
        "Upgrade: H2C",
        "Upgrade: h2",
        "Upgrade: h2c, foo",
        "Upgrade: foo, h2c",
        "Upgrade: foo,h2c/1",
    ] {
        for order in [format!("{upgrade}\r\n{settings}"), format!("{settings}\r\n{upgrade}")] {
            let bytes = format!("GET /a HTTP/1.1\r\nHost: a\r\n{order}\r\n\r\n");
            rig.each(
                &bytes,
                |client, what| {
                    let reply = client.reply_within("GET", SOON);
                    reply.unwrap_or_else(|e| panic!("{what}: {e}"))
                },
                |reply, taken, what| {
                    assert!([200, 400].contains(&reply.status), "{what}: {reply:?}");
                    for request in &taken.requests {
                        assert!(!request.has("http2-settings"), "{what}: {request:?}");
                        let tokens = request.field("upgrade").unwrap_or_default();
                        assert!(!tokens.to_ascii_lowercase().contains("h2"), "{what}: {tokens}");
                        let connection = request.field("connection").unwrap_or_default();
                        let connection = connection.to_ascii_lowercase();
                        assert!(!connection.contains("settings"), "{what}: {connection}");
                    }
                },
            );
        }
    }
    // Prior knowledge of HTTP/2 on a port that does not speak it.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for cut in Cut::all(preface.len()) {
        let mut client = rig.weir.client();
        client.send_cut(preface, cut);
        match client.end(SOON) {
            End::Closed(reply) => {
                let reply = String::from_utf8_lossy(&reply).into_owned();
                assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400 "), "{cut:?} {reply}");
            }
            end => panic!("{cut:?}: {end:?}"),
        }
        let taken = rig.taken("the preface of HTTP/2");
        assert!(taken.requests.is_empty() && taken.partial.is_empty(), "{taken:?}");
        rig.count();
    }
    rig.finish();
}
