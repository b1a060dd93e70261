//! Frames of RFC 9113 §4 and §6 as bytes. Nothing here stops a test from sending a wrong one.

/// Frame types.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 16;

/// Flags.
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;

/// Error codes (RFC 9113 §7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// Settings (RFC 9113 §6.5.2, RFC 8441 §3).
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Payload that a peer takes which said nothing else.
pub(crate) const MAX_PAYLOAD: usize = 16_384;
/// Length, type, flags and stream.
const HEAD: usize = 9;

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The big-endian number at this place of the payload; 0 beyond its end.
    pub(crate) fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).unwrap_or(&[0; 4]);
        bytes.iter().fold(0, |n, &byte| n << 8 | u32::from(byte))
    }
}

/// Takes a whole frame off the front of `bytes`: the frame, and how long it was.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head = bytes.get(..HEAD)?;
    let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let payload = bytes.get(HEAD..HEAD + len)?.to_vec();
    let stream = head[5..].iter().fold(0, |n, &byte| n << 8 | u32::from(byte)) & 0x7fff_ffff;
    Some((Frame { kind: head[3], flags: head[4], stream, payload }, HEAD + len))
}

/// Any frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a payload below 16 MiB");
    let mut bytes = len.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A whole field block in one HEADERS frame.
pub(crate) fn headers(stream: u32, block: &[u8], ends: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, stream, block)
}

/// A field block in as many frames as the peer's largest frame asks for.
pub(crate) fn headers_cut(stream: u32, block: &[u8], ends: bool) -> Vec<u8> {
    let mut pieces = block.chunks(MAX_PAYLOAD).peekable();
    let (mut bytes, mut kind) = (Vec::new(), HEADERS);
    let mut flags = if ends { END_STREAM } else { 0 };
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, flags | last, stream, piece));
        (kind, flags) = (CONTINUATION, 0);
    }
    bytes
}

pub(crate) fn data(stream: u32, payload: &[u8], ends: bool) -> Vec<u8> {
    frame(DATA, if ends { END_STREAM } else { 0 }, stream, payload)
}

/// DATA with padding: the length byte, the data, and `pad` zeros.
pub(crate) fn padded(stream: u32, payload: &[u8], pad: u8, ends: bool) -> Vec<u8> {
    let mut bytes = vec![pad];
    bytes.extend(payload);
    bytes.resize(bytes.len() + usize::from(pad), 0);
    frame(DATA, PADDED | if ends { END_STREAM } else { 0 }, stream, &bytes)
}

pub(crate) fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in list {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

pub(crate) fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, &payload)
}

pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PING, ACK, 0, payload)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    let payload: Vec<u8> = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// PRIORITY (RFC 9113 §6.3), of no effect, on another stream or on itself.
pub(crate) fn priority(stream: u32, depends_on: u32) -> Vec<u8> {
    let mut payload = depends_on.to_be_bytes().to_vec();
    payload.push(15);
    frame(PRIORITY, 0, stream, &payload)
}

/// PRIORITY_UPDATE (RFC 9218 §7.1).
pub(crate) fn priority_update(stream: u32, value: &str) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend(value.as_bytes());
    frame(PRIORITY_UPDATE, 0, 0, &payload)
}
