//! The first message of a TLS client, read from raw records: what it asks for and in which
//! order. Nothing is decided on it here, and nothing of it is authenticated.

mod read;

use crate::faults::faults;
use read::Reader;

/// Bytes of the handshake message: real ones with post-quantum keys stay below 2 KiB, and some
/// clients send a padding of up to 16 KiB.
pub const HELLO_BYTES_MAX: usize = 64 << 10;
/// Records that one hello may be cut into.
pub const HELLO_RECORDS_MAX: usize = 64;
/// Extensions of one hello; 40 are registered for it, and GREASE adds a few.
pub const EXTENSIONS_MAX: usize = 128;
/// Protocols that one hello may offer.
pub const ALPN_MAX: usize = 64;
/// Bytes of one plain-text record (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;

faults! {
    /// Why bytes are no ClientHello.
    HelloError {
        NotHandshake, "not_handshake", "the first record is no TLS handshake";
        BadRecord, "bad_record", "a record has an impossible version or length";
        TooManyRecords, "too_many_records", "the hello is cut into more records than the limit";
        NotHello, "not_hello", "the first handshake message is no ClientHello";
        TooLong, "too_long", "the hello is longer than its limit";
        Malformed, "malformed", "a length inside the hello does not fit";
        RepeatedExtension, "repeated_extension", "an extension is there twice";
        TooManyExtensions, "too_many_extensions", "there are more extensions than the limit";
        TooManyProtocols, "too_many_protocols", "ALPN has more names than the limit";
        BadServerName, "bad_server_name", "the server name is no host name";
    }
}

/// What a ClientHello says; lists are in the client's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// `legacy_version`: 0x0303 since TLS 1.2.
    pub legacy_version: u16,
    /// The cipher suites.
    pub cipher_suites: Vec<u16>,
    /// The types of the extensions.
    pub extensions: Vec<u16>,
    /// The host name of `server_name` in lower case.
    pub sni: Option<String>,
    /// The protocol names of ALPN.
    pub alpn: Vec<Vec<u8>>,
    /// The versions of `supported_versions`.
    pub versions: Vec<u16>,
    /// The groups of `supported_groups`.
    pub groups: Vec<u16>,
    /// The schemes of `signature_algorithms`.
    pub signature_algorithms: Vec<u16>,
}

/// What has been read of a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// What is there may start a hello; more is needed.
    Partial,
    /// All of it.
    Done(Box<ClientHello>),
}

/// True for a value that clients send to keep servers tolerant (RFC 8701).
#[must_use]
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Reads the hello that `buf` starts with; `buf` holds whole records or the start of one.
///
/// # Errors
/// The broken rule, as soon as it is certain.
pub fn parse(buf: &[u8]) -> Result<Parsed, HelloError> {
    let mut message = Vec::new();
    let mut rest = buf;
    for _ in 0..HELLO_RECORDS_MAX {
        let Some((fragment, behind)) = record(rest)? else {
            return Ok(Parsed::Partial);
        };
        rest = behind;
        if message.is_empty()
            && let Some(body) = hello_body(fragment)?
        {
            return hello(body).map(|hello| Parsed::Done(Box::new(hello)));
        }
        message.extend_from_slice(fragment);
        if let Some(body) = hello_body(&message)? {
            return hello(body).map(|hello| Parsed::Done(Box::new(hello)));
        }
    }
    Err(HelloError::TooManyRecords)
}

/// Bytes split in two, where there are enough of them.
type Split<'a> = Option<(&'a [u8], &'a [u8])>;

/// The content of the first record and what stands behind it; `None` where it is not all there.
fn record(buf: &[u8]) -> Result<Split<'_>, HelloError> {
    match buf.first() {
        None => return Ok(None),
        Some(22) => {}
        Some(_) => return Err(HelloError::NotHandshake),
    }
    if buf.get(1).is_some_and(|&major| major != 3) {
        return Err(HelloError::BadRecord);
    }
    let Some(([_, _, _, high, low], behind)) = buf.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if len == 0 || len > RECORD_BYTES_MAX {
        return Err(HelloError::BadRecord);
    }
    Ok(behind.split_at_checked(len))
}

/// The body of the handshake message that `message` starts with; `None` where more is needed.
fn hello_body(message: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    if message.first().is_some_and(|&kind| kind != 1) {
        return Err(HelloError::NotHello);
    }
    let Some(([_, a, b, c], behind)) = message.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    if len > HELLO_BYTES_MAX {
        return Err(HelloError::TooLong);
    }
    Ok(behind.get(..len))
}

fn hello(body: &[u8]) -> Result<ClientHello, HelloError> {
    let mut hello = ClientHello::default();
    let read = read_hello(&mut hello, &mut Reader::new(body));
    read.unwrap_or(Err(HelloError::Malformed)).map(|()| hello)
}

/// `None` where a length does not fit.
fn read_hello(hello: &mut ClientHello, body: &mut Reader<'_>) -> Option<Result<(), HelloError>> {
    const RANDOM: usize = 32;
    hello.legacy_version = body.u16()?;
    body.take(RANDOM)?;
    let session_id = body.short()?;
    hello.cipher_suites = Reader::new(body.long()?).numbers()?;
    let compression = body.short()?;
    if session_id.len() > 32 || hello.cipher_suites.is_empty() || compression.is_empty() {
        return None;
    }
    if body.is_empty() {
        return Some(Ok(()));
    }
    let mut extensions = Reader::new(body.long()?);
    if !body.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.long()?;
        if hello.extensions.contains(&kind) {
            return Some(Err(HelloError::RepeatedExtension));
        }
        if hello.extensions.len() == EXTENSIONS_MAX {
            return Some(Err(HelloError::TooManyExtensions));
        }
        hello.extensions.push(kind);
        if let Err(error) = extension(hello, kind, Reader::new(content))? {
            return Some(Err(error));
        }
    }
    Some(Ok(()))
}

/// Reads the content of those extensions that somebody asks about.
fn extension(
    hello: &mut ClientHello,
    kind: u16,
    mut content: Reader<'_>,
) -> Option<Result<(), HelloError>> {
    match kind {
        0 => {
            let mut names = Reader::new(content.long()?);
            let (kind, name) = (names.u8()?, names.long()?);
            if !names.is_empty() {
                return None;
            }
            match host_name(name) {
                Some(name) if kind == 0 => hello.sni = Some(name),
                _ => return Some(Err(HelloError::BadServerName)),
            }
        }
        10 => hello.groups = Reader::new(content.long()?).numbers()?,
        13 => hello.signature_algorithms = Reader::new(content.long()?).numbers()?,
        16 => {
            let mut names = Reader::new(content.long()?);
            while !names.is_empty() {
                if hello.alpn.len() == ALPN_MAX {
                    return Some(Err(HelloError::TooManyProtocols));
                }
                let name = names.short().filter(|name| !name.is_empty())?;
                hello.alpn.push(name.to_vec());
            }
        }
        43 => hello.versions = Reader::new(content.short()?).numbers()?,
        _ => return Some(Ok(())),
    }
    content.is_empty().then_some(Ok(()))
}

/// A host name of RFC 6066 §3 in lower case: letters, digits, `-`, `_` and dots, no empty label
/// and no dot at the end.
fn host_name(name: &[u8]) -> Option<String> {
    /// Bytes of a name: the 255 of RFC 1035 §2.3.4 without the length in front and the root.
    const NAME_MAX: usize = 253;
    let text = core::str::from_utf8(name).ok()?;
    let fits = text.len() <= NAME_MAX
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    fits.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
