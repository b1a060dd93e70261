//! Rows about connections. A [`Wire`] feeds frames that a test wrote by hand and reads what comes
//! out; a [`Pair`] lets two connections of this crate talk to each other.

mod dialogue;
mod floods;
mod model;
mod rules;
mod sending;
mod windows;

use super::{Connection, Event, Fault, Limits, Role, StreamKey};
use crate::h2::frame::{self, END_HEADERS, END_STREAM, ErrorCode, HEADER_BYTES, Header, Kind};
use crate::h2::hpack::Encoder;
use crate::h2::section::Section;
use crate::h2::write::HeadWriter;
use crate::write::{Scheme, WriteHead};

/// A frame that came out of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// The frames of some output.
#[track_caller]
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    bytes = bytes.strip_prefix(&frame::PREFACE[..]).unwrap_or(bytes);
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(bytes).expect("output ends with a whole frame");
        let end = HEADER_BYTES + header.length as usize;
        frames.push(Frame {
            kind: header.kind,
            flags: header.flags,
            stream: header.stream,
            payload: bytes[HEADER_BYTES..end].to_vec(),
        });
        bytes = &bytes[end..];
    }
    frames
}

/// One frame.
pub(super) fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub(super) fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in parameters {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    raw(4, 0, 0, &payload)
}

/// A connection, and the bytes that a peer made by hand would exchange with it.
pub(super) struct Wire {
    pub(super) it: Connection,
    pub(super) section: Section,
    pub(super) encoder: Encoder,
    pub(super) tick: u32,
}

impl Wire {
    /// A server that got preface and SETTINGS, its own first frames taken away.
    pub(super) fn server(limits: &Limits) -> Self {
        let mut wire = Self::new(Role::Server, limits);
        wire.feed(frame::PREFACE);
        wire.greet();
        wire
    }

    /// A client that got SETTINGS.
    pub(super) fn client(limits: &Limits) -> Self {
        let mut wire = Self::new(Role::Client, limits);
        wire.greet();
        wire
    }

    pub(super) fn new(role: Role, limits: &Limits) -> Self {
        let it = Connection::new(role, limits, 0);
        Self { it, section: Section::default(), encoder: Encoder::new(), tick: 0 }
    }

    fn greet(&mut self) {
        self.feed(&settings(&[]));
        self.feed(&raw(4, 1, 0, &[]));
        self.drain();
    }

    /// Feeds bytes that the connection takes in whole; gives the events.
    #[track_caller]
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.try_feed(bytes).expect("the bytes break no rule")
    }

    pub(super) fn try_feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::new();
        loop {
            let step = self.it.receive(bytes, &mut self.section, self.tick)?;
            bytes = &bytes[step.consumed..];
            events.extend(step.event);
            if step.event.is_none() {
                assert!(bytes.is_empty() || self.it.is_choked(), "whole frames are dealt with");
                return Ok(events);
            }
        }
    }

    /// Takes the output away.
    #[track_caller]
    pub(super) fn drain(&mut self) -> Vec<Frame> {
        let out = frames(self.it.output());
        self.it.sent(self.it.output().len());
        out
    }

    /// A field block of a request.
    pub(super) fn request(&mut self) -> Vec<u8> {
        let mut block = Vec::new();
        let mut writer = HeadWriter::new(&mut self.encoder, &mut block);
        writer.request(b"GET", Scheme::Https, b"a.example", b"/").unwrap();
        writer.finish();
        block
    }

    /// A field block of a reply.
    pub(super) fn reply(&mut self, status: u16) -> Vec<u8> {
        let mut block = Vec::new();
        let mut writer = HeadWriter::new(&mut self.encoder, &mut block);
        writer.status(status).unwrap();
        writer.finish();
        block
    }

    /// A block that goes on with one field.
    pub(super) fn field(&mut self, mut block: Vec<u8>, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut writer = HeadWriter::new(&mut self.encoder, &mut block);
        writer.field(name, value).unwrap();
        writer.finish();
        block
    }

    /// Opens a stream towards a server; gives its key.
    #[track_caller]
    pub(super) fn opened(&mut self, id: u32, ends: bool) -> StreamKey {
        let block = self.request();
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        let events = self.feed(&raw(1, flags, id, &block));
        match events[..] {
            [Event::Head { stream, ends: got }] if got == ends => stream,
            _ => panic!("a request was expected: {events:?}"),
        }
    }

    /// Replies with a head alone.
    #[track_caller]
    pub(super) fn answer(&mut self, s: StreamKey, ends: bool) {
        self.it.head(s, ends, |writer| writer.status(200)).expect("a head can be sent");
    }

    /// Takes what came on a stream.
    pub(super) fn taken(&mut self, s: StreamKey) -> Vec<u8> {
        let mut into = Vec::new();
        self.it.take(s, &mut into);
        into
    }
}

/// The code of the last GOAWAY in these frames.
pub(super) fn goaway(frames: &[Frame]) -> Option<ErrorCode> {
    let last = frames.iter().rfind(|frame| frame.kind == Kind::GoAway)?;
    frame::u32_at(&last.payload[4..]).map(ErrorCode)
}

/// Feeds frames behind the greeting of a server; expects this fault and its GOAWAY.
#[track_caller]
pub(super) fn refuses(wire: &mut Wire, bytes: &[u8], fault: Fault) {
    let got = wire.try_feed(bytes);
    assert_eq!(got.err(), Some(fault));
    assert_eq!(goaway(&wire.drain()), Some(fault.code()), "the peer is told why");
    assert_eq!(wire.try_feed(b"x").err(), Some(fault), "nothing is dealt with behind it");
}
