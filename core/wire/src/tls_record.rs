//! Records of TLS 1.3 after the handshake (RFC 8446 §5): the header before a sealed record, the
//! content type and the padding inside of it, nonces, and what a peer may still say. Sealing and
//! opening are the caller's, who has the keys.

#[cfg(test)]
mod tests;

use crate::faults::faults;

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 5;
/// Bytes of the tag of every suite of TLS 1.3 with 128-bit tags, which are all but CCM_8.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce (RFC 8446 §5.3).
pub const NONCE_BYTES: usize = 12;
/// Most bytes of content in one record (RFC 8446 §5.1).
pub const PLAIN_BYTES_MAX: usize = 1 << 14;
/// Most bytes after the header of one record (RFC 8446 §5.2).
pub const SEALED_BYTES_MAX: usize = PLAIN_BYTES_MAX + 256;
/// Bytes that a record has beside its content: header, content type, tag.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// Records in a row that bring no data: empty ones, KeyUpdates, warnings. Other implementations
/// allow 32 too; each costs us a derivation of keys or an opening.
pub const IDLE_RECORDS_MAX: u32 = 32;

/// The content type of a sealed record, whatever is in it, and of data.
pub const APPLICATION_DATA: u8 = 23;
/// The content type of alerts.
pub const ALERT: u8 = 21;
/// The content type of handshake messages.
pub const HANDSHAKE: u8 = 22;

/// A KeyUpdate that asks for none in return (RFC 8446 §4.6.3).
pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// The alert that ends our direction (RFC 8446 §6.1).
pub const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// An alert that TLS 1.3 ignores (RFC 8446 §6.1).
const USER_CANCELED: u8 = 90;

faults! {
    /// What is wrong with a received record; the peer's fault, or that of whoever is between.
    RecordError {
        Unprotected, "unprotected", "a record without protection follows the handshake";
        TooLong, "too_long", "a record is longer than any may be";
        TooShort, "too_short", "a sealed record is shorter than its tag and its content type";
        Forged, "forged", "a record does not open: it was changed on its way or has other keys";
        NoContent, "no_content", "a record has padding and no content type";
        BadContent, "bad_content", "a record has a content type that may not follow the handshake";
        Empty, "empty", "a handshake message or an alert is empty";
        BadAlert, "bad_alert", "an alert is not two bytes long";
        BadMessage, "bad_message", "a KeyUpdate is malformed, cut, or not the last of its record";
        BadRequest, "bad_request", "a KeyUpdate asks for what does not exist";
        UnexpectedMessage, "unexpected_message", "a handshake message other than KeyUpdate";
        TooManyIdle, "too_many_idle", "more records in a row bring no data than the limit";
        Exhausted, "exhausted", "more records than numbers for them";
    }
}

impl RecordError {
    /// The description of the alert that tells the peer (RFC 8446 §6.2).
    #[must_use]
    pub fn alert(self) -> u8 {
        match self {
            Self::Unprotected
            | Self::NoContent
            | Self::BadContent
            | Self::Empty
            | Self::UnexpectedMessage
            | Self::TooManyIdle => 10,
            Self::TooShort | Self::Forged => 20,
            Self::TooLong => 22,
            Self::BadRequest => 47,
            Self::BadAlert | Self::BadMessage => 50,
            Self::Exhausted => 80,
        }
    }
}

/// A sealed record in received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its header, which is authenticated with it.
    pub header: &'a [u8; HEADER_BYTES],
    /// The sealed content, its type and padding.
    pub sealed: &'a [u8],
    /// The tag.
    pub tag: &'a [u8; TAG_BYTES],
}

impl Record<'_> {
    /// Bytes of the whole record.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.sealed.len() + TAG_BYTES
    }
}

/// The record that `received` starts with; `None` while it is not whole.
///
/// # Errors
/// As soon as its header is there, when no record after a handshake starts like that.
pub fn first(received: &[u8]) -> Result<Option<Record<'_>>, RecordError> {
    let Some((header, rest)) = received.split_first_chunk::<HEADER_BYTES>() else {
        return match received.first() {
            Some(kind) if *kind != APPLICATION_DATA => Err(RecordError::Unprotected),
            _ => Ok(None),
        };
    };
    // The version says nothing (RFC 8446 §5.1); it is authenticated with the rest.
    let [kind, _, _, high, low] = *header;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if kind != APPLICATION_DATA {
        return Err(RecordError::Unprotected);
    }
    if len > SEALED_BYTES_MAX {
        return Err(RecordError::TooLong);
    }
    if len <= TAG_BYTES {
        return Err(RecordError::TooShort);
    }
    let Some((sealed, tag)) = rest.get(..len).and_then(<[u8]>::split_last_chunk) else {
        return Ok(None);
    };
    Ok(Some(Record { header, sealed, tag }))
}

/// The header of a record with `content` bytes of content, which are at most
/// [`PLAIN_BYTES_MAX`]; more give a length that no peer takes.
#[must_use]
pub fn header(content: usize) -> [u8; HEADER_BYTES] {
    let sealed = u16::try_from(content + 1 + TAG_BYTES).unwrap_or(u16::MAX);
    let [high, low] = sealed.to_be_bytes();
    [APPLICATION_DATA, 3, 3, high, low]
}

/// What an opened record brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// This many bytes of data, at the front of what was opened.
    Data(usize),
    /// The peer's next records have its next keys; `asked` where it wants ours to change too.
    KeyUpdate {
        /// Whether we are to send one as well.
        asked: bool,
    },
    /// The peer sends nothing more.
    Closed,
    /// Nothing that matters.
    Nothing,
    /// The peer gave up, for the reason of this alert.
    Fatal(u8),
}

/// The number of the next record under one key.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn nonce(&self, iv: &[u8; NONCE_BYTES]) -> [u8; NONCE_BYTES] {
        let [a, b, c, d, low @ ..] = *iv;
        let [e, f, g, h, i, j, k, l] = (u64::from_be_bytes(low) ^ self.0).to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// The receiving direction: numbers records and judges what was in them.
#[derive(Debug)]
pub struct Receiving {
    next: Numbers,
    idle: u32,
}

impl Receiving {
    /// A direction whose next record has the number `next`.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self { next: Numbers(next), idle: 0 }
    }

    /// The nonce that opens the next record.
    #[must_use]
    pub fn nonce(&self, iv: &[u8; NONCE_BYTES]) -> [u8; NONCE_BYTES] {
        self.next.nonce(iv)
    }

    /// Says what the next record brought; `opened` is its content with type and padding. After a
    /// KeyUpdate the numbers start again.
    ///
    /// # Errors
    /// When no peer may send that; the connection is over.
    pub fn take(&mut self, opened: &[u8]) -> Result<Content, RecordError> {
        let next = self.next.0.checked_add(1).ok_or(RecordError::Exhausted)?;
        let content = content(opened)?;
        self.idle = match content {
            Content::Data(1..) => 0,
            _ if self.idle == IDLE_RECORDS_MAX => return Err(RecordError::TooManyIdle),
            _ => self.idle + 1,
        };
        self.next.0 = if let Content::KeyUpdate { .. } = content { 0 } else { next };
        Ok(content)
    }
}

/// What is in a record.
fn content(opened: &[u8]) -> Result<Content, RecordError> {
    // The type and the padding count (RFC 8446 §5.4).
    if opened.len() > PLAIN_BYTES_MAX + 1 {
        return Err(RecordError::TooLong);
    }
    let last = opened.iter().rposition(|byte| *byte != 0).ok_or(RecordError::NoContent)?;
    let (bytes, kind) = opened.split_at(last);
    match (kind.first(), bytes) {
        (Some(&APPLICATION_DATA), _) => Ok(Content::Data(last)),
        (Some(&(ALERT | HANDSHAKE)), []) => Err(RecordError::Empty),
        // All alerts but two are fatal, whatever level they tell (RFC 8446 §6).
        (Some(&ALERT), [_, 0]) => Ok(Content::Closed),
        (Some(&ALERT), [_, USER_CANCELED]) => Ok(Content::Nothing),
        (Some(&ALERT), [_, description]) => Ok(Content::Fatal(*description)),
        (Some(&ALERT), _) => Err(RecordError::BadAlert),
        // New keys begin with a record (RFC 8446 §5.1), and five bytes are cut by nobody.
        (Some(&HANDSHAKE), [24, 0, 0, 1, asked @ (0 | 1)]) => {
            Ok(Content::KeyUpdate { asked: *asked == 1 })
        }
        (Some(&HANDSHAKE), [24, 0, 0, 1, _]) => Err(RecordError::BadRequest),
        (Some(&HANDSHAKE), [24, ..]) => Err(RecordError::BadMessage),
        (Some(&HANDSHAKE), _) => Err(RecordError::UnexpectedMessage),
        _ => Err(RecordError::BadContent),
    }
}

/// The sending direction: no number is given out twice under one key.
#[derive(Debug)]
pub struct Sending {
    next: Numbers,
    /// Records under one key at most, for the sake of the cipher (RFC 8446 §5.5).
    limit: u64,
}

impl Sending {
    /// A direction whose next record has the number `next`; `limit` is the number of records that
    /// the cipher stays safe for, at least 2.
    #[must_use]
    pub fn new(next: u64, limit: u64) -> Self {
        Self { next: Numbers(next), limit }
    }

    /// Whether the next record has to be a KeyUpdate.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.next.0 >= self.limit.saturating_sub(1)
    }

    /// The nonce that seals the next record, given out once; `None` where none is left.
    pub fn nonce(&mut self, iv: &[u8; NONCE_BYTES]) -> Option<[u8; NONCE_BYTES]> {
        let nonce = self.next.nonce(iv);
        self.next.0 = self.next.0.checked_add(1)?;
        Some(nonce)
    }

    /// Starts the numbers again, for new keys.
    pub fn renew(&mut self) {
        self.next.0 = 0;
    }
}
