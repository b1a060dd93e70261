//! Rows 28 and 29: what an origin sends, and what must not come of it.

use super::rig::{Rig, by_request};
use crate::support::client::Client;
use crate::support::upstream::Conn;
use crate::support::wait::SOON;
use std::time::Duration;

/// The bytes an origin sends by the target that is asked for.
fn reply(target: &str) -> Option<String> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    Some(match target {
        "/surplus" => format!("{ok}surplHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        "/second" => format!("{ok}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        "/big-status" => "HTTP/1.1 65736 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "/two-digits" => "HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "/zero-status" => "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "/signed-status" => "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "/version-2" => "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "/no-version" => "200 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "/bare-lf" => "HTTP/1.1 200 OK\nContent-Length: 0\n\n".into(),
        "/bad-name" => "HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 0\r\n\r\n".into(),
        "/nul" => "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n".into(),
        "/two-lengths" => {
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".into()
        }
        "/early" => format!("{early}{ok}"),
        "/early-length" => format!("HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\n{ok}"),
        "/twenty" => early.repeat(20) + ok,
        "/unasked-101" => {
            "HTTP/1.1 101 Switching\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n".into()
        }
        "/head" => {
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into()
        }
        _ => return None,
    })
}

fn script(conn: &mut Conn, mut request: crate::support::reader::Message) -> bool {
    conn.body(&mut request);
    match reply(&request.target) {
        Some(bytes) => conn.write(bytes),
        None => conn.answer(&request),
    }
}

fn ask(client: &mut Client, method: &str, target: &str) -> crate::support::reader::Message {
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("it is sent");
    client.reply_within(method, SOON).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

/// Each case several times: with and without idle connections to the origin.
const ROUNDS: usize = 5;

#[test]
fn row_28_bytes_after_the_reply() {
    let mut rig = Rig::scripted(28, script);
    for target in ["/surplus", "/second"] {
        for round in 0..ROUNDS {
            let before = rig.upstream.logs().len();
            let mut client = rig.weir.client();
            let reply = ask(&mut client, "GET", target);
            assert_eq!(reply.text(), "hello", "{target}");
            // The next requests, of this client and of another, get replies of their own.
            match client.get("/next") {
                Ok(next) => assert_eq!(next.text(), "GET /next 0", "I2: {target} {round}"),
                Err(_) => assert!(client.unread().is_empty(), "I2: {target} {round}"),
            }
            let taken = rig.taken(target);
            assert!(taken.partial.is_empty(), "I1: {target}: {taken:?}");
            let logs = rig.upstream.logs();
            assert!(logs.len() > before, "{target}: the connection with surplus bytes was used on");
            rig.count();
        }
    }
    rig.finish();
}

#[test]
fn row_28_encoded_line_ends_stay_encoded() {
    let script = by_request(script);
    let mut rig = Rig::with(28, script, |edge| edge.listener("redirects", "redirect_https = true"));
    let redirects = rig.weir.address("redirects");
    for target in ["/%0d%0aX-Evil:%20y", "/?a=%0D%0AX-Evil:y", "/%00", "/a%0a"] {
        let mut client = Client::connect(redirects);
        let reply = ask(&mut client, "GET", target);
        if reply.status != 400 {
            assert_eq!(reply.status, 308, "{target}");
            assert_eq!(reply.field("location"), Some(format!("https://a{target}").as_str()));
        }
        assert!(!reply.has("x-evil"), "{target}: {reply:?}");
        rig.count();
    }
    rig.taken("redirects");
    rig.finish();
}

#[test]
fn row_29_status_lines_and_interim_replies() {
    let mut rig = Rig::scripted(29, script);
    for target in [
        "/big-status",
        "/two-digits",
        "/zero-status",
        "/signed-status",
        "/version-2",
        "/no-version",
        "/bare-lf",
        "/bad-name",
        "/nul",
        "/two-lengths",
        "/twenty",
        "/unasked-101",
    ] {
        for round in 0..ROUNDS {
            let mut client = rig.weir.client();
            let reply = ask(&mut client, "GET", target);
            assert_eq!(reply.status, 502, "{target} {round}: {reply:?}");
            assert!(reply.has("proxy-status"), "{target}: {reply:?}");
            assert!(reply.interim.len() <= 16, "{target}: {} interim", reply.interim.len());
            let taken = rig.taken(target);
            assert!(taken.partial.is_empty(), "I1: {target}: {taken:?}");
            rig.count();
        }
    }
    for _ in 0..ROUNDS {
        let mut client = rig.weir.client();
        let reply = ask(&mut client, "GET", "/early");
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
        assert!(reply.interim.len() <= 1 && reply.interim.iter().all(|i| i.status == 103));
        // An interim reply has no body, whatever it announces.
        let reply = ask(&mut client, "GET", "/early-length");
        if reply.status == 200 {
            assert_eq!(reply.text(), "hello", "the body of the final reply");
        } else {
            assert_eq!(reply.status, 502, "{reply:?}");
        }
        let mut client = rig.weir.client();
        let reply = ask(&mut client, "HEAD", "/head");
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{reply:?}");
        let next = client.reply_within("GET", Duration::from_millis(1));
        assert!(next.is_err(), "I2: {next:?}");
        assert_eq!(client.get("/after").map(|r| r.text()), Ok("GET /after 0".into()), "I2");
        rig.taken("interim replies");
        rig.count();
    }
    rig.finish();
}
