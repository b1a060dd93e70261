//! Frames (RFC 9113 §4, §6): their header, kinds, flags and error codes, and the small ones
//! written out. What a frame does to a connection is the business of [`super::connection`].

/// Length of a frame header.
pub const HEADER_BYTES: usize = 9;

/// The largest payload that is accepted and sent: the initial value of SETTINGS_MAX_FRAME_SIZE
/// (RFC 9113 §6.5.2). A larger one would let one stream hold the connection for longer, and would
/// make every reader's buffer grow.
pub const PAYLOAD_MAX: usize = 16_384;

/// The largest stream identifier, window and window increment: 31 bits (RFC 9113 §5.1.1, §6.9.1).
pub const U31_MAX: u32 = 0x7fff_ffff;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// END_STREAM on DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// ACK on SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// END_HEADERS on HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// PADDED on DATA and HEADERS.
pub const PADDED: u8 = 0x8;
/// PRIORITY on HEADERS.
pub const PRIORITY: u8 = 0x20;

/// Why a stream or a connection ends (RFC 9113 §7); codes that are not registered are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// NO_ERROR
    pub const NO_ERROR: Self = Self(0x0);
    /// PROTOCOL_ERROR
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// INTERNAL_ERROR
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// FLOW_CONTROL_ERROR
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS_TIMEOUT
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// STREAM_CLOSED
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// FRAME_SIZE_ERROR
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// REFUSED_STREAM
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// CANCEL
    pub const CANCEL: Self = Self(0x8);
    /// COMPRESSION_ERROR
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// CONNECT_ERROR
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// ENHANCE_YOUR_CALM
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// INADEQUATE_SECURITY
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// HTTP_1_1_REQUIRED
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// True for a code with which one side accuses the other, so that a reset with it is charged
    /// to the peer.
    #[must_use]
    pub fn accuses(self) -> bool {
        matches!(
            self,
            Self::PROTOCOL_ERROR
                | Self::FLOW_CONTROL_ERROR
                | Self::STREAM_CLOSED
                | Self::FRAME_SIZE_ERROR
                | Self::REFUSED_STREAM
                | Self::COMPRESSION_ERROR
                | Self::ENHANCE_YOUR_CALM
        )
    }
}

/// The kinds of frames that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DATA
    Data,
    /// HEADERS
    Headers,
    /// PRIORITY
    Priority,
    /// RST_STREAM
    RstStream,
    /// SETTINGS
    Settings,
    /// PUSH_PROMISE
    PushPromise,
    /// PING
    Ping,
    /// GOAWAY
    GoAway,
    /// WINDOW_UPDATE
    WindowUpdate,
    /// CONTINUATION
    Continuation,
    /// PRIORITY_UPDATE (RFC 9218 §7.1)
    PriorityUpdate,
    /// Any other, which is ignored (RFC 9113 §5.5).
    Unknown,
}

impl Kind {
    fn of(code: u8) -> Self {
        match code {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::RstStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            0x10 => Self::PriorityUpdate,
            _ => Self::Unknown,
        }
    }

    /// The code of the kind; an unknown one has none of its own and gives 0xff.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Data => 0x0,
            Self::Headers => 0x1,
            Self::Priority => 0x2,
            Self::RstStream => 0x3,
            Self::Settings => 0x4,
            Self::PushPromise => 0x5,
            Self::Ping => 0x6,
            Self::GoAway => 0x7,
            Self::WindowUpdate => 0x8,
            Self::Continuation => 0x9,
            Self::PriorityUpdate => 0x10,
            Self::Unknown => 0xff,
        }
    }
}

/// A frame header (RFC 9113 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload in bytes, 24 bits.
    pub length: u32,
    /// The kind of frame.
    pub kind: Kind,
    /// The flags, whose meaning depends on the kind.
    pub flags: u8,
    /// The stream, 31 bits; 0 is the connection.
    pub stream: u32,
}

impl Header {
    /// The header at the start of `bytes`; `None` where they are fewer than nine.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & U31_MAX,
        })
    }

    /// True where `flag` is set.
    #[inline]
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The nine bytes of the header.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind.code(), self.flags, s0, s1, s2, s3]
    }
}

/// A 31-bit number at the start of `bytes`, its reserved bit ignored.
#[inline]
pub(crate) fn u31(bytes: &[u8]) -> Option<u32> {
    u32_at(bytes).map(|value| value & U31_MAX)
}

/// A 32-bit number at the start of `bytes`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|chunk| u32::from_be_bytes(*chunk))
}

/// Appends a frame whose payload is at hand.
pub(crate) fn write(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let header = Header { length: payload.len() as u32, kind, flags, stream };
    out.extend_from_slice(&header.bytes());
    out.extend_from_slice(payload);
}

/// The content of a padded payload, and how many bytes of it were padding with its length octet
/// (RFC 9113 §6.1); `None` where the padding is longer than what it stands in.
#[inline]
pub(crate) fn unpad(payload: &[u8], padded: bool) -> Option<(&[u8], usize)> {
    if !padded {
        return Some((payload, 0));
    }
    let (&length, rest) = payload.split_first()?;
    let content = rest.len().checked_sub(usize::from(length))?;
    Some((rest.get(..content)?, usize::from(length) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_writing_and_reading() {
        let header = Header { length: 0x01_0203, kind: Kind::Headers, flags: 0x25, stream: 77 };
        assert_eq!(Header::parse(&header.bytes()), Some(header));
        assert_eq!(Header::parse(&header.bytes()[..8]), None);
    }

    #[test]
    fn the_reserved_bit_of_a_stream_is_ignored() {
        let header = Header::parse(&[0, 0, 0, 0x77, 0, 0x80, 0, 0, 1]).unwrap();
        assert_eq!((header.stream, header.kind), (1, Kind::Unknown));
    }

    #[test]
    fn padding_is_taken_off_or_too_long() {
        for (payload, padded, expect) in [
            (&b"abc"[..], false, Some((&b"abc"[..], 0))),
            (b"\x02abcd", true, Some((b"ab", 3))),
            (b"\x00", true, Some((b"", 1))),
            (b"\x02ab", true, Some((b"", 3))),
            (b"\x03ab", true, None),
            (b"\xffab", true, None),
            (b"", true, None),
        ] {
            assert_eq!(unpad(payload, padded), expect, "{payload:?}");
        }
    }
}
