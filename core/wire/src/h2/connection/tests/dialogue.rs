//! Two connections of this crate that talk to each other.

use super::*;
use crate::h2::connection::StreamEnd;

/// A client, a server, and the bytes between them.
pub(super) struct Pair {
    pub(super) client: Wire,
    pub(super) server: Wire,
}

impl Pair {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut pair = Self {
            client: Wire::new(Role::Client, limits),
            server: Wire::new(Role::Server, limits),
        };
        pair.talk();
        pair
    }

    /// Moves bytes until neither side has any; gives the events of client and server.
    #[track_caller]
    pub(super) fn talk(&mut self) -> (Vec<Event>, Vec<Event>) {
        let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
        loop {
            let up = self.client.it.output().to_vec();
            self.client.it.sent(up.len());
            at_server.extend(self.server.feed(&up));
            let down = self.server.it.output().to_vec();
            self.server.it.sent(down.len());
            at_client.extend(self.client.feed(&down));
            if up.is_empty() && down.is_empty() {
                return (at_client, at_server);
            }
        }
    }

    /// Sends a request for `/`; gives its keys at client and server.
    #[track_caller]
    pub(super) fn request(&mut self, ends: bool) -> (StreamKey, StreamKey) {
        let key = self.client.it.open().expect("a stream is free");
        let head = |w: &mut HeadWriter<'_>| w.request(b"POST", Scheme::Https, b"a.example", b"/");
        self.client.it.head(key, ends, head).expect("a head can be sent");
        let (_, events) = self.talk();
        let head = events.iter().find_map(|event| match event {
            Event::Head { stream, .. } => Some(*stream),
            _ => None,
        });
        (key, head.expect("the request comes out"))
    }
}

#[test]
fn a_message_goes_there_and_one_comes_back() {
    let mut pair = Pair::new(&Limits::default());
    let (up, down) = pair.request(false);
    let content: Vec<u8> = (0..200_000u32).map(|nth| nth as u8).collect();
    let (mut rest, mut got) = (&content[..], Vec::new());
    loop {
        while let Some(key) = pair.client.it.next_writable() {
            assert_eq!(key, up);
        }
        let sent = pair.client.it.data(up, rest).unwrap();
        rest = &rest[sent..];
        if rest.is_empty() {
            pair.client.it.finish(up, b"x-sum: 1\r\n").unwrap();
        }
        pair.talk();
        let piece = pair.server.taken(down);
        pair.server.it.release(down, piece.len());
        got.extend_from_slice(&piece);
        pair.talk();
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(got, content);
    assert_eq!(pair.server.it.trailers(down), b"x-sum: 1\r\n");
    pair.server.it.head(down, false, |w| w.status(200)).unwrap();
    pair.server.it.data(down, b"ok").unwrap();
    pair.server.it.finish(down, &[]).unwrap();
    let (events, _) = pair.talk();
    assert_eq!(events[0], Event::Head { stream: up, ends: false });
    assert_eq!(pair.client.taken(up), b"ok");
    pair.client.it.close(up);
    pair.server.it.close(down);
    pair.talk();
    for wire in [&pair.client, &pair.server] {
        assert_eq!((wire.it.live, wire.it.active(), wire.it.ledger.used()), (0, 0, 0));
        assert_eq!(wire.it.recv.promised(), 256 << 10);
        assert!(wire.it.is_idle());
    }
}

#[test]
fn an_idle_connection_gives_its_memory_back_and_goes_on() {
    let mut pair = Pair::new(&Limits::default());
    for _ in 0..3 {
        let (up, down) = pair.request(true);
        pair.server.it.head(down, true, |w| w.status(200)).unwrap();
        pair.talk();
        pair.client.it.close(up);
        pair.server.it.close(down);
        pair.talk();
        for wire in [&mut pair.client, &mut pair.server] {
            wire.it.shrink();
            assert!(wire.it.ledger_bytes() < 4 << 10, "{}", wire.it.ledger_bytes());
        }
    }
}

#[test]
fn two_goodbyes_end_a_connection_and_lose_no_request() {
    let mut pair = Pair::new(&Limits::default());
    let (up, down) = pair.request(true);
    pair.server.it.shut_down();
    let (events, at_server) = pair.talk();
    assert!(matches!(events[0], Event::GoAway { last: frame::U31_MAX, .. }), "{events:?}");
    assert_eq!(at_server, [Event::PingAck]);
    assert_eq!(pair.client.it.status(up), None, "what was taken is answered");
    pair.server.it.head(down, true, |w| w.status(200)).unwrap();
    let (events, _) = pair.talk();
    assert_eq!(events, [Event::Head { stream: up, ends: true }]);
}

#[test]
fn a_lost_transport_loses_every_stream() {
    let mut pair = Pair::new(&Limits::default());
    let (up, _) = pair.request(true);
    pair.client.it.disconnect();
    assert_eq!(pair.client.it.status(up), Some(StreamEnd::Lost));
    assert!(pair.client.it.output().is_empty());
    pair.client.it.close(up);
    assert_eq!(pair.client.it.active(), 0);
}

#[test]
fn a_ping_is_answered() {
    let mut pair = Pair::new(&Limits::default());
    pair.client.it.ping();
    pair.client.it.ping();
    assert_eq!(pair.talk().0, [Event::PingAck]);
}
