//! What `Connection`, `Content-Length` and `Transfer-Encoding` say, for requests and replies
//! alike. Only facts are gathered here; which of them is a fault differs between the two.

use super::head::{Field, HeadError, Known, Span, Version};
use crate::bytes;

/// Options in all `Connection` fields together: real ones have three, and each costs a pass over
/// the fields.
pub(super) const CONNECTION_OPTIONS_MAX: usize = 32;

/// Facts of one head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade_option: bool,
    pub(super) nominated_framing: bool,
    pub(super) lengths: u32,
    pub(super) length: Option<u64>,
    pub(super) coding: Option<Coding>,
    /// The only protocol of the only `Upgrade` field.
    pub(super) upgrade: Option<Span>,
    upgrades: u32,
    pub(super) te_trailers: bool,
    pub(super) hosts: u32,
    pub(super) host: Span,
    pub(super) expects: u32,
    pub(super) expect: Span,
}

/// What all `Transfer-Encoding` fields together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// One element, `chunked`.
    Chunked,
    /// Tokens of other codings, then `chunked` once.
    OthersThenChunked,
    /// Tokens of other codings only.
    Others,
    /// `chunked` once, but something behind it.
    ChunkedNotLast,
    /// Empty, no tokens, or `chunked` more than once.
    Broken,
}

/// Walks over the fields once, marks those that stay on this connection and gathers facts.
/// `facts` are those of no field. They are large, so they are filled where they lie, and what few
/// heads have is read by functions that stay out of line: the walk needs few registers then.
#[inline]
pub(super) fn gather(fields: &mut [Field], buf: &[u8], facts: &mut Facts) -> Result<(), HeadError> {
    let mut connections = false;
    for field in fields.iter_mut() {
        if field.known.is_end_to_end() {
            continue;
        }
        // The one that every request has.
        if field.known == Known::Host {
            facts.hosts += 1;
            facts.host = field.value;
            continue;
        }
        connections |= field.known == Known::Connection;
        facts.note(field, buf);
    }
    if facts.upgrades > 0 {
        facts.upgrade = facts.upgrade.filter(|span| is_protocol(span.get(buf)));
    }
    if connections { options(facts, fields, buf) } else { Ok(()) }
}

impl Facts {
    /// Takes in a field that says something of the connection or the framing, and marks it.
    #[inline(never)]
    fn note(&mut self, field: &mut Field, buf: &[u8]) {
        match field.known {
            Known::ContentLength => {
                self.lengths += 1;
                self.length = bytes::decimal(field.value.get(buf));
            }
            Known::TransferEncoding => {
                self.coding = Some(coding(self.coding, field.value.get(buf)));
            }
            Known::Upgrade => {
                self.upgrades += 1;
                self.upgrade = (self.upgrades == 1).then_some(field.value);
            }
            Known::Te => self.te_trailers |= names_trailers(field.value.get(buf)),
            Known::Expect => {
                self.expects += 1;
                self.expect = field.value;
            }
            _ => {}
        }
        field.hop = field.known.is_hop_by_hop();
    }

    /// Whether the sender lets the connection live on (RFC 9112 §9.3).
    pub(super) fn lives_on(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Reads the options of all `Connection` fields.
#[inline(never)]
fn options(facts: &mut Facts, fields: &mut [Field], buf: &[u8]) -> Result<(), HeadError> {
    let mut count = 0;
    for at in 0..fields.len() {
        let Some(field) = fields.get(at).filter(|field| field.known == Known::Connection) else {
            continue;
        };
        let value = field.value.get(buf);
        // Nearly all have this one option and nothing else.
        if value.eq_ignore_ascii_case(b"keep-alive") && count < CONNECTION_OPTIONS_MAX {
            facts.keep_alive = true;
            count += 1;
            continue;
        }
        for option in value.split(|&b| b == b',').map(bytes::trim) {
            if option.is_empty() {
                continue;
            }
            count += 1;
            if count > CONNECTION_OPTIONS_MAX {
                return Err(HeadError::TooManyOptions);
            }
            if !bytes::is_token_text(option) {
                return Err(HeadError::BadConnection);
            }
            if option.eq_ignore_ascii_case(b"keep-alive") {
                facts.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                facts.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                facts.upgrade_option = true;
            } else {
                nominate(facts, option, fields, buf);
            }
        }
    }
    Ok(())
}

/// Keeps the fields named by a connection option from being forwarded (RFC 9110 §7.6.1), except
/// those that the proxy answers for.
fn nominate(facts: &mut Facts, name: &[u8], fields: &mut [Field], buf: &[u8]) {
    let known = Known::of(name);
    if matches!(known, Known::TransferEncoding | Known::ContentLength | Known::Host) {
        facts.nominated_framing = true;
    }
    if !known.may_be_nominated() || is_owned(name) {
        return;
    }
    for field in fields {
        if field.known == known && field.name.get(buf).eq_ignore_ascii_case(name) {
            field.hop = true;
        }
    }
}

/// Families of names by which proxies tell origins about the client.
pub(super) fn is_owned(name: &[u8]) -> bool {
    let starts = |prefix: &[u8]| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    starts(b"x-forwarded-") || starts(b"cf-") || starts(b"x-weir-") || starts(b"x-auth-")
}

/// Whether a trailer field may be forwarded: one that neither changes the meaning of the message
/// nor speaks for the proxy, under whatever spelling.
pub(crate) fn is_trailer(field: &Field, name: &[u8]) -> bool {
    field.known == Known::Other && !field.odd_name && !is_owned(name)
}

#[inline(never)]
fn names_trailers(value: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|part| bytes::trim(part).eq_ignore_ascii_case(b"trailers"))
}

/// One protocol name, perhaps with a version (RFC 9110 §7.8), and none of HTTP/2: a client that
/// wants that speaks it from the start or by ALPN.
#[inline(never)]
pub(crate) fn is_protocol(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |&b| b == b'/');
    let name = parts.next().unwrap_or_default();
    bytes::is_token_text(name)
        && parts.next().is_none_or(bytes::is_token_text)
        && !name.eq_ignore_ascii_case(b"h2c")
        && !name.eq_ignore_ascii_case(b"h2")
        && !name.eq_ignore_ascii_case(b"http")
}

/// Adds one `Transfer-Encoding` value to what the values before it said.
#[inline(never)]
fn coding(mut before: Option<Coding>, value: &[u8]) -> Coding {
    if before.is_none() && value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    for part in value.split(|&b| b == b',').map(bytes::trim) {
        let chunked = part.eq_ignore_ascii_case(b"chunked");
        before = Some(match before {
            _ if !bytes::is_token_text(part) => Coding::Broken,
            None if chunked => Coding::Chunked,
            Some(Coding::Others) if chunked => Coding::OthersThenChunked,
            None | Some(Coding::Others) => Coding::Others,
            Some(Coding::Chunked | Coding::OthersThenChunked | Coding::ChunkedNotLast)
                if !chunked =>
            {
                Coding::ChunkedNotLast
            }
            Some(_) => Coding::Broken,
        });
        if before == Some(Coding::Broken) {
            break;
        }
    }
    before.unwrap_or(Coding::Broken)
}
