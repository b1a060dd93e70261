//! Row 80: a handshake in pieces of any size is finished or refused, within its limits.

use crate::support::client::{Client, End};
use crate::support::edge::Edge;
use crate::support::process::Weir;
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::Upstream;
use crate::support::wait::SOON;
use rustls::ClientConnection;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

/// Content types of records (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("it fits a record").to_be_bytes();
    [&[kind, 3, 3], &length[..], payload].concat()
}

/// The ClientHello of a client, without the header of its record.
fn hello(session: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a vector takes everything");
    assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), bytes.len() - 5);
    bytes.split_off(5)
}

fn in_records_of(size: usize, hello: &[u8]) -> Vec<u8> {
    hello.chunks(size).flat_map(|piece| record(HANDSHAKE, piece)).collect()
}

struct Rig {
    weir: Weir,
    _upstream: Upstream,
    ca: Authority,
}

impl Rig {
    fn new(lines: &str) -> Self {
        let ca = Authority::new();
        let upstream = Upstream::tagged();
        let edge = Edge::simple(upstream.port());
        let certificate = edge.certificate("a", &ca.issue(&["a.test"], VALID));
        let tls = format!(
            "timeouts = {{ handshake = \"2s\" }}\ntls = {{ certificates = [{certificate}]{lines} }}"
        );
        Self { weir: Weir::start(edge.listener("web", &tls)), _upstream: upstream, ca }
    }

    fn session(&self) -> ClientConnection {
        let name = "a.test".try_into().expect("a name");
        ClientConnection::new(self.ca.client(), name).expect("the settings are right")
    }

    /// Goes on with a handshake whose hello was sent in another form, and asks for a page.
    fn served(&self, mut session: ClientConnection, mut socket: TcpStream) -> bool {
        while session.is_handshaking() {
            if session.complete_io(&mut socket).is_err() {
                return false;
            }
        }
        let mut stream = rustls::StreamOwned::new(session, socket);
        let asked = stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut reply = Vec::new();
        asked.is_ok()
            && stream.read_to_end(&mut reply).is_ok()
            && reply.starts_with(b"HTTP/1.1 200")
    }

    #[track_caller]
    fn goes_on(&self, what: &str) {
        let config: Arc<rustls::ClientConfig> = self.ca.client();
        let mut client = Client::tls(self.weir.web(), "a.test", config).expect(what);
        assert_eq!(client.get("/a").map(|reply| reply.status), Ok(200), "{what}: others go on");
        assert_eq!(self.weir.metric("weir_panics_total", &[]), 0.0, "{what}");
    }
}

fn connect(weir: &Weir) -> TcpStream {
    let socket = TcpStream::connect(weir.web()).expect("it accepts");
    socket.set_read_timeout(Some(SOON)).expect("a time limit");
    socket.set_nodelay(true).expect("an option");
    socket
}

#[test]
fn row_80_hellos_in_pieces() {
    // With strict_sni the hello is read before rustls reads it.
    for lines in ["", ", strict_sni = true"] {
        let rig = Rig::new(lines);
        for size in [1, 2, 3, 7, 100, 16_384] {
            let mut session = rig.session();
            let bytes = in_records_of(size, &hello(&mut session));
            let mut socket = connect(&rig.weir);
            socket.write_all(&bytes).expect("it is sent");
            assert!(rig.served(session, socket), "records of {size} bytes in one write{lines}");
        }
        // Each record in a segment of its own, and segments that cut records.
        for (size, cut) in [(1, 6), (1, 5), (1, 1), (40, 7)] {
            let mut session = rig.session();
            let bytes = in_records_of(size, &hello(&mut session));
            let mut socket = connect(&rig.weir);
            for piece in bytes.chunks(cut) {
                socket.write_all(piece).expect("it is sent");
            }
            assert!(rig.served(session, socket), "records of {size} cut at {cut}{lines}");
        }
        rig.goes_on("after hellos in pieces");
    }
}

#[test]
fn row_80_handshakes_that_begin_wrongly_end() {
    let close_notify = record(ALERT, &[1, 0]);
    for lines in ["", ", strict_sni = true"] {
        let rig = Rig::new(lines);
        let whole = hello(&mut rig.session());
        let first = in_records_of(1, &whole[..1]);
        let half = in_records_of(1, &whole[..whole.len() / 2]);
        for (what, bytes) in [
            ("close_notify first", close_notify.clone()),
            ("close_notify behind a byte", [&first[..], &close_notify].concat()),
            ("close_notify within", [&half[..], &close_notify, &half].concat()),
            ("close_notify many times", close_notify.repeat(1000)),
            ("a fatal alert", record(ALERT, &[2, 40])),
            ("an alert cut short", record(ALERT, &[1])),
            ("empty records", record(HANDSHAKE, &[]).repeat(1000)),
            ("application data", record(23, b"GET / HTTP/1.1\r\n\r\n")),
            ("a change of cipher", record(20, &[1]).repeat(100)),
            ("a record of an unknown kind", record(99, &whole)),
            ("a record that is too long", [&[HANDSHAKE, 3, 3, 0xff, 0xff][..], &whole].concat()),
            ("a hello of 16 MiB", record(HANDSHAKE, &[1, 0xff, 0xff, 0xff])),
        ] {
            let begun = Instant::now();
            let mut client = Client::connect(rig.weir.web());
            // Weir may have closed by then.
            drop(client.send(&bytes));
            client.finish();
            match client.end(SOON) {
                End::Open(_) => panic!("{what}{lines}: the connection stays open"),
                End::Closed(rest) | End::Reset(rest) => {
                    let alert = rest.is_empty() || rest[0] == ALERT;
                    assert!(alert, "{what}{lines}: answered with {rest:?}");
                }
            }
            assert!(begun.elapsed() < SOON, "{what}{lines}");
            rig.goes_on(what);
        }
        // Held open without an end: cut by time, and by bytes.
        for (what, bytes, limit) in [
            ("half a hello", half.clone(), "handshake"),
            ("empty records without an end", record(HANDSHAKE, &[]).repeat(20_000), ""),
        ] {
            let mut client = Client::connect(rig.weir.web());
            drop(client.send(&bytes));
            assert!(!matches!(client.end(SOON), End::Open(_)), "{what}{lines}: is cut off");
            if !limit.is_empty() {
                rig.weir.metric_reaches("weir_limit_hits_total", &[("limit", limit)], 1.0);
            }
            rig.goes_on(what);
        }
    }
}
