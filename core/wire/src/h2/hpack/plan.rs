//! How the encoder treats each name. Only names whose values repeat from message to message go
//! into the table: any other would push those out again, and pay for Huffman coding besides.

use super::fixed;
use crate::bytes;
use crate::h1::head::{Known, known_names};

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Goes into the table.
    Index,
    /// Is written out each time.
    Plain,
    /// Is written out, and so must be by everyone behind (RFC 7541 §7.1.3): secrets, whose
    /// guesses could be confirmed by the length of a block.
    Never,
}

/// A name as the encoder sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Tells the names apart that go into the table.
    pub(super) id: u8,
    /// Index of a static entry with the name, or 0.
    pub(super) fixed: u8,
    pub(super) treatment: Treatment,
}

pub(super) const AUTHORITY: Plan = Plan { id: 255, fixed: 1, treatment: Treatment::Index };
pub(super) const STATUS: Plan = Plan { id: 254, fixed: 8, treatment: Treatment::Index };
/// Any name that no list has.
pub(super) const UNLISTED: Plan = Plan { id: 0, fixed: 0, treatment: Treatment::Plain };

const INDEXED: &[Known] = &[
    Known::Te,
    Known::Date,
    Known::Server,
    Known::Via,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::Forwarded,
    Known::CfConnectingIp,
    Known::CfIpCountry,
    Known::CfVisitor,
    Known::CacheControl,
    Known::ContentType,
    Known::ContentEncoding,
    Known::Accept,
    Known::AcceptEncoding,
    Known::AcceptLanguage,
    Known::UserAgent,
    Known::Referer,
    Known::Origin,
    Known::ProxyStatus,
    Known::StrictTransportSecurity,
    Known::Vary,
];

const SECRET: &[Known] = &[Known::Authorization, Known::ProxyAuthorization, Known::SetCookie];

const KNOWN_COUNT: usize = known_names().len() + 1;

static KNOWN: [Plan; KNOWN_COUNT] = known_plans();

const fn known_plans() -> [Plan; KNOWN_COUNT] {
    let mut plans = [UNLISTED; KNOWN_COUNT];
    let mut at = 0;
    while at < known_names().len() {
        let (name, known) = known_names()[at];
        let treatment = if among(known, INDEXED) {
            Treatment::Index
        } else if among(known, SECRET) {
            Treatment::Never
        } else {
            Treatment::Plain
        };
        plans[known as usize] = Plan { id: known as u8, fixed: fixed::index_of(name), treatment };
        at += 1;
    }
    plans
}

const fn among(known: Known, list: &[Known]) -> bool {
    let mut at = 0;
    while at < list.len() {
        if list[at] as u8 == known as u8 {
            return true;
        }
        at += 1;
    }
    false
}

/// Names that no other rule of the proxy is about, ordered by length.
const OTHERS: &[(&str, Treatment)] = &[
    ("dnt", Treatment::Index),
    ("nel", Treatment::Index),
    ("etag", Treatment::Plain),
    ("from", Treatment::Plain),
    ("link", Treatment::Index),
    ("allow", Treatment::Index),
    ("pragma", Treatment::Index),
    ("alt-svc", Treatment::Index),
    ("refresh", Treatment::Plain),
    ("priority", Treatment::Index),
    ("report-to", Treatment::Index),
    ("sec-ch-ua", Treatment::Index),
    ("content-md5", Treatment::Plain),
    ("grpc-status", Treatment::Index),
    ("grpc-timeout", Treatment::Index),
    ("x-powered-by", Treatment::Index),
    ("accept-ranges", Treatment::Index),
    ("grpc-encoding", Treatment::Index),
    ("last-modified", Treatment::Plain),
    ("sec-fetch-dest", Treatment::Index),
    ("sec-fetch-mode", Treatment::Index),
    ("sec-fetch-site", Treatment::Index),
    ("sec-fetch-user", Treatment::Index),
    ("accept-charset", Treatment::Index),
    ("referrer-policy", Treatment::Index),
    ("x-frame-options", Treatment::Index),
    ("content-language", Treatment::Index),
    ("content-location", Treatment::Plain),
    ("sec-ch-ua-mobile", Treatment::Index),
    ("x-requested-with", Treatment::Index),
    ("x-xss-protection", Treatment::Index),
    ("permissions-policy", Treatment::Index),
    ("sec-ch-ua-platform", Treatment::Index),
    ("content-disposition", Treatment::Plain),
    ("timing-allow-origin", Treatment::Index),
    ("grpc-accept-encoding", Treatment::Index),
    ("access-control-max-age", Treatment::Index),
    ("x-content-type-options", Treatment::Index),
    ("content-security-policy", Treatment::Index),
    ("upgrade-insecure-requests", Treatment::Index),
    ("cross-origin-opener-policy", Treatment::Index),
    ("access-control-allow-origin", Treatment::Index),
    ("access-control-allow-headers", Treatment::Index),
    ("access-control-allow-methods", Treatment::Index),
    ("cross-origin-resource-policy", Treatment::Index),
    ("access-control-expose-headers", Treatment::Index),
    ("access-control-request-method", Treatment::Index),
    ("access-control-request-headers", Treatment::Index),
    ("access-control-allow-credentials", Treatment::Index),
];

const LONGEST: usize = OTHERS[OTHERS.len() - 1].0.len();

/// Ids of the other names lie above those of the known ones and below the pseudo-header fields.
const _: () = assert!(KNOWN_COUNT + OTHERS.len() < STATUS.id as usize);

/// An other name as the lookup compares it: its [`bytes::ends`], and for each the bits to set in
/// another spelling.
#[derive(Clone, Copy)]
struct Other {
    ends: (u64, u64),
    case: (u64, u64),
    name: &'static str,
    plan: Plan,
}

static OTHER: [Other; OTHERS.len()] = others();
/// `STARTS[n]..STARTS[n + 1]` are the places of the other names of length `n`.
static STARTS: [u8; LONGEST + 2] = starts();

const fn starts() -> [u8; LONGEST + 2] {
    let mut starts = [0; LONGEST + 2];
    let (mut len, mut at) = (0, 0);
    while len <= LONGEST {
        starts[len] = at as u8;
        while at < OTHERS.len() && OTHERS[at].0.len() == len {
            at += 1;
        }
        len += 1;
    }
    assert!(at == OTHERS.len(), "the other names are ordered by length");
    starts[LONGEST + 1] = at as u8;
    starts
}

const fn others() -> [Other; OTHERS.len()] {
    let mut others = [Other { ends: (0, 0), case: (0, 0), name: "", plan: UNLISTED }; OTHERS.len()];
    let mut at = 0;
    while at < OTHERS.len() {
        let (name, treatment) = OTHERS[at];
        let id = (KNOWN_COUNT + at) as u8;
        let plan = Plan { id, fixed: fixed::index_of(name.as_bytes()), treatment };
        let ends = bytes::ends(name.as_bytes());
        let case = (bytes::case_of(ends.0), bytes::case_of(ends.1));
        others[at] = Other { ends, case, name, plan };
        at += 1;
    }
    others
}

/// The plan for a name of the proxy's table.
#[inline]
pub(super) fn known(known: Known) -> Plan {
    KNOWN.get(known as usize).copied().unwrap_or(UNLISTED)
}

/// The plan for a name that is not in that table, whatever its case.
#[inline]
pub(super) fn other(name: &[u8]) -> Plan {
    let (Some(&from), Some(&to)) = (STARTS.get(name.len()), STARTS.get(name.len() + 1)) else {
        return UNLISTED;
    };
    let Some(others) = OTHER.get(usize::from(from)..usize::from(to)) else { return UNLISTED };
    if others.is_empty() {
        return UNLISTED;
    }
    let (head, tail) = bytes::ends(name);
    for other in others {
        let same = || name.len() <= 16 || name.eq_ignore_ascii_case(other.name.as_bytes());
        if (head | other.case.0, tail | other.case.1) == other.ends && same() {
            return other.plan;
        }
    }
    UNLISTED
}
