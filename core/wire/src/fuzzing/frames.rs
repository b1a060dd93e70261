//! What must hold for a connection of HTTP/2 whatever its peer sends.

use crate::h2::connection::{Connection, Counters, Event, Fault, Limits, Role, StreamKey};
use crate::h2::frame::{self, ErrorCode};
use crate::h2::section::Section;
use crate::write::{Scheme, WriteHead};

/// SETTINGS without parameters, and the ACK of ours.
const GREETING: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// Content of each reply: more than the first window, so that windows matter.
static REPLY: [u8; 70_000] = [b'r'; 70_000];

/// Everything a caller sees of a connection.
#[derive(Debug, PartialEq)]
struct Story {
    events: Vec<Event>,
    heads: Vec<Section>,
    contents: Vec<u8>,
    fault: Option<Fault>,
    counters: Counters,
    active: usize,
}

/// A connection comes to the same verdict however its input is cut, holds no more memory than its
/// ledger allows, and keeps its output within bounds. The first byte chooses role, limits and how
/// far the connection is before the others come.
pub fn h2_frames(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let whole = tell(role, first, data, data.len().max(1));
    for piece in [1, 3, 10, 100] {
        let pieces = tell(role, first, data, piece);
        assert_eq!(pieces, whole, "{role:?} differs in pieces of {piece}");
    }
}

fn tell(role: Role, how: u8, data: &[u8], piece: usize) -> Story {
    let limits = limits(how);
    let mut teller = Teller::new(role, limits, how);
    if how & 2 == 0 {
        if role == Role::Server {
            teller.feed(frame::PREFACE, frame::PREFACE.len());
        }
        teller.feed(GREETING, GREETING.len());
    }
    teller.feed(data, piece);
    teller.end()
}

/// The usual limits, or some that small inputs meet.
fn limits(how: u8) -> Limits {
    if how & 4 == 0 {
        return Limits::default();
    }
    Limits {
        max_concurrent_streams: 2,
        stream_window: 100,
        header_block_bytes: 200,
        continuation_frames: 2,
        reset_burst: 3,
        control_burst: 10,
        requests_max: 4,
        enable_connect: true,
        ..Limits::default()
    }
}

struct Teller {
    it: Connection,
    limits: Limits,
    how: u8,
    open: Vec<StreamKey>,
    story: Story,
}

impl Teller {
    fn new(role: Role, limits: Limits, how: u8) -> Self {
        let story = Story {
            events: Vec::new(),
            heads: Vec::new(),
            contents: Vec::new(),
            fault: None,
            counters: Counters::default(),
            active: 0,
        };
        let it = Connection::new(role, &limits, 0);
        let mut teller = Self { it, limits, how, open: Vec::new(), story };
        if role == Role::Client {
            for nth in 0..3 {
                teller.ask(nth);
            }
        }
        teller
    }

    fn ask(&mut self, nth: u8) {
        let Ok(key) = self.it.open() else { return };
        let head = self.it.head(key, nth != 1, |writer| {
            writer.request(b"POST", Scheme::Https, b"a.example", b"/")
        });
        assert_eq!(head, Ok(()), "a request can be sent");
        if nth == 1 {
            let _ = self.it.data(key, &REPLY);
        }
        self.open.push(key);
    }

    /// Feeds `data` in pieces until it is used up or the connection is over.
    fn feed(&mut self, data: &[u8], piece: usize) {
        let mut waiting = Vec::new();
        let mut section = Section::default();
        for piece in data.chunks(piece) {
            waiting.extend_from_slice(piece);
            loop {
                let step = match self.it.receive(&waiting, &mut section, 0) {
                    Ok(step) => step,
                    Err(fault) => {
                        self.story.fault = Some(fault);
                        self.bounds();
                        assert_eq!(self.it.receive(&[], &mut section, 0), Err(fault));
                        return;
                    }
                };
                assert!(step.consumed <= waiting.len(), "no more is consumed than there is");
                waiting.drain(..step.consumed);
                self.bounds();
                if let Some(event) = step.event {
                    self.on(event, &mut section);
                }
                let choked = self.it.is_choked();
                self.it.sent(self.it.output().len());
                if step.event.is_none() && step.consumed == 0 && !choked {
                    break;
                }
            }
            assert!(waiting.len() < frame::PAYLOAD_MAX + frame::HEADER_BYTES, "a frame is enough");
        }
    }

    /// Answers what can be answered, so that streams come into all of their states.
    fn on(&mut self, event: Event, section: &mut Section) {
        self.story.events.push(event);
        match event {
            Event::Head { stream, .. } => {
                self.story.heads.push(core::mem::take(section));
                if !self.open.contains(&stream) {
                    self.open.push(stream);
                    self.answer(stream);
                }
            }
            Event::Readable(stream) => {
                let mut content = Vec::new();
                let inbox = self.it.take(stream, &mut content);
                self.story.contents.extend_from_slice(&content);
                if self.how & 8 == 0 {
                    self.it.release(stream, content.len());
                }
                if inbox.ends && self.how & 16 == 0 {
                    self.close(stream);
                }
            }
            Event::Reset(stream) => {
                assert!(self.it.status(stream).is_some(), "a reset stream has an end");
                if self.how & 32 == 0 {
                    self.close(stream);
                }
            }
            _ => {}
        }
        while let Some(stream) = self.it.next_writable() {
            let _ = self.it.data(stream, &REPLY);
        }
    }

    fn answer(&mut self, stream: StreamKey) {
        match stream.id / 2 % 4 {
            0 => {
                let _ = self.it.head(stream, false, |writer| writer.status(200));
                let _ = self.it.data(stream, &REPLY);
            }
            1 => {
                let _ = self.it.head(stream, true, |writer| writer.status(404));
            }
            2 => self.it.reset(stream, ErrorCode::PROTOCOL_ERROR),
            _ => {}
        }
    }

    fn close(&mut self, stream: StreamKey) {
        self.it.close(stream);
        self.open.retain(|&key| key != stream);
    }

    fn bounds(&self) {
        let over_one_head = self.limits.section.bytes * 4;
        assert!(self.it.ledger_bytes() <= self.limits.ledger_max + over_one_head, "memory");
        let bound = self.limits.out_high_water + 32 * 1024;
        assert!(self.it.output().len() <= bound, "the output is bounded");
    }

    fn end(mut self) -> Story {
        for stream in core::mem::take(&mut self.open) {
            self.it.close(stream);
        }
        assert_eq!(self.it.active(), 0, "every stream was told of");
        self.it.sent(self.it.output().len());
        self.it.shrink();
        assert!(self.it.ledger_bytes() < 80 << 10, "what is closed holds nothing");
        self.story.counters = *self.it.counters();
        self.story.active = self.it.active();
        self.story
    }
}
