//! As much HTTP/2 (RFC 9113) as the load, the origin and the attacks need: frames, and header
//! blocks written in advance.
//!
//! Both ends of this harness say the same all the time, so blocks are bytes made before the run.
//! Blocks of a peer are not decoded: the field that matters, `:status`, stands first in them.

use std::ops::Range;

use anyhow::{Result, bail};

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes before a frame's payload.
pub const HEAD: usize = 9;
/// Payload of a frame unless settings allow more.
pub const PAYLOAD: usize = 16_384;
/// A window before any setting or update (RFC 9113 §6.9.2).
pub const WINDOW: i64 = 65_535;
/// A window that no run uses up soon.
pub const WIDE: u32 = 1 << 30;
/// A peer's frame longer than this is not one this harness has allowed.
const PAYLOAD_MAX: usize = 1 << 20;

/// Frame types (RFC 9113 §6).
pub mod kind {
    #![expect(missing_docs, reason = "the names are those of the RFC")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames; `ACK` is that of SETTINGS and PING.
pub mod flag {
    #![expect(missing_docs, reason = "the names are those of the RFC")]
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// Settings (RFC 9113 §6.5.2).
pub mod setting {
    #![expect(missing_docs, reason = "the names are those of the RFC")]
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type, of `kind`.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it carries, padding and all.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding and priority (RFC 9113 §6.1, §6.2).
    ///
    /// # Errors
    /// When the padding is longer than the frame.
    pub fn content(&self) -> Result<&[u8]> {
        let mut range = 0..self.payload.len();
        if self.has(flag::PADDED) {
            let padding = self.payload.first().copied().map_or(usize::MAX, usize::from);
            range = 1..range.end.saturating_sub(padding);
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            range.start += 5;
        }
        match self.payload.get(range) {
            Some(content) => Ok(content),
            None => bail!("a frame's padding is longer than the frame"),
        }
    }

    /// The first four bytes of the payload as a number, as in WINDOW_UPDATE and RST_STREAM.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// The settings of a SETTINGS frame.
    pub fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload.chunks_exact(6).filter_map(|pair| {
            let (name, value) = (pair.first_chunk::<2>()?, pair.last_chunk::<4>()?);
            Some((u16::from_be_bytes(*name), u32::from_be_bytes(*value)))
        })
    }
}

/// Bytes of a connection, cut into frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    read: usize,
}

impl Frames {
    /// Adds what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.drain(..self.read);
        }
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// When it says to be longer than any that was allowed.
    pub fn cut(&mut self) -> Result<Option<Frame<'_>>> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let Some([a, b, c, kind, flags, s, t, u, v]) = rest.first_chunk::<HEAD>().copied() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > PAYLOAD_MAX {
            bail!("a frame of {length} bytes: this is not HTTP/2");
        }
        let Some(payload) = rest.get(HEAD..HEAD + length) else { return Ok(None) };
        self.read += HEAD + length;
        let stream = u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff;
        Ok(Some(Frame { kind, flags, stream, payload }))
    }

    /// Whether the connection's first bytes are those a client sends; takes them.
    pub fn preface(&mut self) -> Option<bool> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let known = rest.get(..PREFACE.len())?;
        let is = known == PREFACE;
        self.read += if is { PREFACE.len() } else { 0 };
        Some(is)
    }
}

/// Writes a frame.
pub fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Writes a SETTINGS frame.
pub fn settings(out: &mut Vec<u8>, pairs: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(6 * pairs.len());
    for (name, value) in pairs {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(out, kind::SETTINGS, 0, 0, &payload);
}

/// Writes a frame whose payload is one number: WINDOW_UPDATE, RST_STREAM.
pub fn number(out: &mut Vec<u8>, kind: u8, stream: u32, value: u32) {
    frame(out, kind, 0, stream, &value.to_be_bytes());
}

/// A field of a block: how the name is written, and the value.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// Name and value, both at this place of the static table (RFC 7541 appendix A).
    Known(u8),
    /// The name at this place of the static table; not remembered, as for paths.
    Value(u8, &'a str),
    /// The name at this place of the static table; remembered by the decoder.
    Kept(u8, &'a str),
    /// Both as text; remembered by the decoder.
    KeptText(&'a str, &'a str),
}

/// The dynamic table's newest entry (RFC 7541 §2.3.3).
const NEWEST: usize = 62;
/// First byte of an indexed field.
const INDEXED: u8 = 0x80;

/// A header block as it is written over and over on one connection.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The first on a connection; the decoder remembers fields from it.
    pub first: Vec<u8>,
    /// Each one after, which refers to what is remembered.
    pub again: Vec<u8>,
    /// For a decoder that remembers nothing; before the first of these on a connection goes
    /// `FORGET`.
    pub plain: Vec<u8>,
}

/// Says that nothing will be remembered (RFC 7541 §6.3).
pub const FORGET: u8 = 0x20;

impl Block {
    /// Writes a block. `later` is how many fields the connection's other block, sent between this
    /// one's first and second time, makes the decoder remember.
    #[must_use]
    pub fn of(fields: &[Field<'_>], later: usize) -> Self {
        let mut block = Self::default();
        let kept = |field: &&Field<'_>| matches!(field, Field::Kept(..) | Field::KeptText(..));
        let mut place = NEWEST + later + fields.iter().filter(kept).count();
        for field in fields {
            match *field {
                Field::Known(index) => {
                    for out in [&mut block.first, &mut block.again, &mut block.plain] {
                        out.push(INDEXED | index);
                    }
                }
                Field::Value(index, value) => {
                    for out in [&mut block.first, &mut block.again, &mut block.plain] {
                        integer(out, 0, 4, usize::from(index));
                        string(out, value);
                    }
                }
                Field::Kept(index, value) => {
                    integer(&mut block.first, 0x40, 6, usize::from(index));
                    string(&mut block.first, value);
                    integer(&mut block.plain, 0, 4, usize::from(index));
                    string(&mut block.plain, value);
                }
                Field::KeptText(name, value) => {
                    for (out, start) in [(&mut block.first, 0x40), (&mut block.plain, 0)] {
                        out.push(start);
                        string(out, name);
                        string(out, value);
                    }
                }
            }
            if kept(&field) {
                place -= 1;
                integer(&mut block.again, INDEXED, 7, place);
            }
        }
        block
    }
}

/// An integer after the bits of a first byte (RFC 7541 §5.1).
pub fn integer(out: &mut Vec<u8>, first: u8, bits: u8, value: usize) {
    let most = (1_usize << bits) - 1;
    if value < most {
        out.push(first | value as u8);
        return;
    }
    out.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// A string without Huffman code (RFC 7541 §5.2).
pub fn string(out: &mut Vec<u8>, text: &str) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Whether a reply's header block begins with `:status: 200`, after updates of the table's size.
///
/// # Errors
/// When it does not: the status as far as it can be read without decoding.
pub fn ok(block: &[u8]) -> Result<()> {
    const STATUSES: Range<u8> = 0x88..0x8f;
    const NAMES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let mut rest = block;
    while let [first @ 0x20..=0x3f, more @ ..] = rest {
        rest = more;
        // A size of 31 and more goes on in bytes whose first bit says that another follows.
        if *first == 0x3f {
            let end = rest.iter().position(|byte| byte & 0x80 == 0).map_or(rest.len(), |at| at + 1);
            rest = rest.get(end..).unwrap_or_default();
        }
    }
    match rest {
        [0x88, ..] => Ok(()),
        [first, ..] if STATUSES.contains(first) => {
            bail!("the proxy answered {}", NAMES[usize::from(first - STATUSES.start)])
        }
        // A literal: name, length, three digits, or these in Huffman code.
        [_, 3, a, b, c, ..] if [a, b, c].iter().all(|byte| byte.is_ascii_digit()) => {
            bail!("the proxy answered {}", String::from_utf8_lossy(&[*a, *b, *c]))
        }
        [_, length @ 0x82..=0x83, coded @ ..] => {
            let coded = coded.get(..usize::from(length & 0x7f)).unwrap_or_default();
            bail!("the proxy answered {}", digits(coded))
        }
        _ => bail!("the proxy answered a status other than 200 ({rest:02x?})"),
    }
}

/// Digits in Huffman code (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 have six.
fn digits(coded: &[u8]) -> String {
    let bits = coded.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = 8 * coded.len() as u32;
    let mut text = String::new();
    let mut digit = |left: &mut u32| -> Option<()> {
        let five = bits >> left.checked_sub(5)? & 0x1f;
        if five < 3 {
            *left -= 5;
            text.push(char::from_digit(five, 10)?);
            return Some(());
        }
        let six = bits >> left.checked_sub(6)? & 0x3f;
        *left -= 6;
        text.push(char::from_digit(six.checked_sub(0x16)?, 10)?);
        Some(())
    };
    for _ in 0..3 {
        if digit(&mut left).is_none() {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut bytes = PREFACE.to_vec();
        settings(&mut bytes, &[(setting::INITIAL_WINDOW_SIZE, WIDE)]);
        frame(&mut bytes, kind::DATA, flag::END_STREAM, 3, b"body");
        for cut in 0..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            let mut greeted = false;
            for part in [first, second] {
                frames.feed(part);
                greeted = greeted || frames.preface() == Some(true);
                while greeted && let Some(frame) = frames.cut().unwrap() {
                    seen.push((frame.kind, frame.stream, frame.payload.len()));
                }
            }
            assert_eq!(seen, [(kind::SETTINGS, 0, 6), (kind::DATA, 3, 4)], "cut at {cut}");
        }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let payload = [2, 0, 0, 0, 0, 9, b'x', b'y', 0, 0];
        let flags = flag::PADDED | flag::PRIORITY;
        let head = Frame { kind: kind::HEADERS, flags, stream: 1, payload: &payload };
        assert_eq!(head.content().unwrap(), b"xy");
        assert!(Frame { payload: &[9, 1], ..head }.content().is_err());
    }

    #[test]
    fn blocks_follow_rfc_7541() {
        // Appendix C.3.1 and C.3.2: the second request names the authority by its place, 62.
        let fields =
            [Field::Known(2), Field::Known(6), Field::Known(4), Field::Kept(1, "www.example.com")];
        let block = Block::of(&fields, 0);
        assert_eq!(block.first, b"\x82\x86\x84\x41\x0fwww.example.com");
        assert_eq!(block.again, [0x82, 0x86, 0x84, 0xbe]);
        assert_eq!(block.plain, b"\x82\x86\x84\x01\x0fwww.example.com");
        let mut out = Vec::new();
        integer(&mut out, 0, 5, 1337);
        assert_eq!(out, [0x1f, 0x9a, 0x0a]);
    }

    #[test]
    fn a_status_is_read_from_the_start_of_a_block() {
        for (block, says) in [
            (&[0x88, 0x5f][..], ""),
            (&[0x20, 0x3f, 0xe1, 0x1f, 0x88], ""),
            (&[0x8d], "404"),
            (b"\x48\x03502", "502"),
            (&[0x48, 0x82, 0x64, 0x02], "302"),
            (&[0x48, 0x83, 0x6c, 0x0c, 0xff], "503"),
            (&[0xbe], "other than 200"),
            (&[], "other than 200"),
        ] {
            let told = ok(block).err().map_or(String::new(), |error| error.to_string());
            assert!(told.contains(says) && says.is_empty() == told.is_empty(), "{block:?} {told}");
        }
    }
}
