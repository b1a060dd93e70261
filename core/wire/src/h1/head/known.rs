//! Field names that the proxy treats by name, found by a hash of their first and last bytes.

use crate::bytes;

macro_rules! known {
    ($($variant:ident = $name:literal,)+) => {
        /// A field name that some rule of the proxy is about.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            /// Any name that is not in the table.
            #[default]
            Other,
            $(#[doc = $name] $variant,)+
        }

        const NAMES: &[(&[u8], Known)] = &[$(($name.as_bytes(), Known::$variant),)+];

        impl Known {
            /// The name in its usual spelling; empty for [`Known::Other`].
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::Other => "",
                    $(Self::$variant => $name,)+
                }
            }

            /// The name in its usual spelling with colon and space, as a line starts.
            #[inline]
            pub(crate) fn label(self) -> &'static [u8] {
                match self {
                    Self::Other => b"",
                    $(Self::$variant => concat!($name, ": ").as_bytes(),)+
                }
            }
        }
    };
}

known! {
    Connection = "Connection",
    TransferEncoding = "Transfer-Encoding",
    ContentLength = "Content-Length",
    Host = "Host",
    KeepAlive = "Keep-Alive",
    ProxyConnection = "Proxy-Connection",
    Te = "TE",
    Trailer = "Trailer",
    Upgrade = "Upgrade",
    Expect = "Expect",
    Http2Settings = "HTTP2-Settings",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    Date = "Date",
    Server = "Server",
    Via = "Via",
    Cookie = "Cookie",
    Authorization = "Authorization",
    XForwardedFor = "X-Forwarded-For",
    XForwardedProto = "X-Forwarded-Proto",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XRealIp = "X-Real-IP",
    Forwarded = "Forwarded",
    CfConnectingIp = "CF-Connecting-IP",
    CfConnectingIpv6 = "CF-Connecting-IPv6",
    CfIpCountry = "CF-IPCountry",
    CfVisitor = "CF-Visitor",
    CfRay = "CF-Ray",
    TrueClientIp = "True-Client-IP",
    XRequestId = "X-Request-ID",
    Location = "Location",
    SetCookie = "Set-Cookie",
    CacheControl = "Cache-Control",
    ContentType = "Content-Type",
    ContentEncoding = "Content-Encoding",
    ContentRange = "Content-Range",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    UserAgent = "User-Agent",
    Referer = "Referer",
    Origin = "Origin",
    ProxyStatus = "Proxy-Status",
    StrictTransportSecurity = "Strict-Transport-Security",
    Range = "Range",
    IfMatch = "If-Match",
    IfNoneMatch = "If-None-Match",
    IfModifiedSince = "If-Modified-Since",
    IfUnmodifiedSince = "If-Unmodified-Since",
    IfRange = "If-Range",
    MaxForwards = "Max-Forwards",
    Age = "Age",
    Expires = "Expires",
    Vary = "Vary",
    RetryAfter = "Retry-After",
    WwwAuthenticate = "WWW-Authenticate",
    EarlyData = "Early-Data",
    XHttpMethodOverride = "X-HTTP-Method-Override",
    SecWebSocketKey = "Sec-WebSocket-Key",
    SecWebSocketAccept = "Sec-WebSocket-Accept",
    Priority = "Priority",
}

/// One name of the table as the lookup compares it: the words of [`bytes::ends`] in lower case, and
/// for each the bits to set in another spelling. A letter equals itself in both cases then, and any
/// other byte only itself.
#[derive(Clone, Copy)]
struct Entry {
    ends: (u64, u64),
    case: (u64, u64),
    name: &'static [u8],
    known: Known,
}

/// Every name of the table with its entry, for tables that are made at compile time.
pub(crate) const fn names() -> &'static [(&'static [u8], Known)] {
    NAMES
}

const COUNT: usize = NAMES.len();
/// Places for entries; so many that a multiplier is soon found under which each has its own.
const SLOTS: usize = 512;
const MULTIPLIER: u64 = multiplier();

/// The entries, behind one that no name is equal to.
static ENTRIES: [Entry; COUNT + 1] = entries();
/// Where in [`ENTRIES`] the only one stands that a name with this hash can be.
static PLACES: [u8; SLOTS] = places(MULTIPLIER).0;
const _: () = assert!(COUNT < 256, "an index into the entries fits in one byte");
const _: () = assert!(places(MULTIPLIER).1, "each entry has a place of its own");

const fn slot((head, tail): (u64, u64), multiplier: u64) -> usize {
    // Overlapping words of a name would cancel each other out without the turn.
    let both = (head | bytes::CASE) ^ (tail | bytes::CASE).rotate_left(29);
    (both.wrapping_mul(multiplier) >> (64 - SLOTS.ilog2())) as usize
}

/// The first of a sequence of odd numbers under which the names have different hashes.
const fn multiplier() -> u64 {
    let mut multiplier: u64 = 0x9e37_79b9_7f4a_7c15;
    while !places(multiplier).1 {
        multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2);
    }
    multiplier
}

/// The place of each name, and whether no two have the same.
const fn places(multiplier: u64) -> ([u8; SLOTS], bool) {
    let mut places = [0; SLOTS];
    let mut i = 0;
    while i < COUNT {
        let at = slot(bytes::ends(NAMES[i].0), multiplier);
        if places[at] != 0 {
            return (places, false);
        }
        places[at] = i as u8 + 1;
        i += 1;
    }
    (places, true)
}

const fn entries() -> [Entry; COUNT + 1] {
    let none = Entry { ends: (0, 0), case: (0, 0), name: b"", known: Known::Other };
    let mut entries = [none; COUNT + 1];
    let mut i = 0;
    while i < COUNT {
        let (name, known) = NAMES[i];
        let ends = (lower(bytes::ends(name).0), lower(bytes::ends(name).1));
        let case = (bytes::case_of(ends.0), bytes::case_of(ends.1));
        entries[i + 1] = Entry { ends, case, name, known };
        i += 1;
    }
    entries
}

const fn lower(word: u64) -> u64 {
    let mut bytes = word.to_le_bytes();
    bytes.make_ascii_lowercase();
    u64::from_le_bytes(bytes)
}

impl Known {
    /// The entry for `name`, whatever its case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        Self::with_ends(name, bytes::ends(name))
    }

    /// As [`Known::of`], for a name with these [`bytes::ends`].
    #[inline]
    pub(super) fn with_ends(name: &[u8], ends: (u64, u64)) -> Self {
        let place = PLACES.get(slot(ends, MULTIPLIER)).copied().unwrap_or_default();
        let Some(entry) = ENTRIES.get(usize::from(place)) else { return Self::Other };
        let (head, tail) = (ends.0 | entry.case.0, ends.1 | entry.case.1);
        // The words have all of a name of up to 16 bytes.
        let same = name.len() == entry.name.len()
            && (head, tail) == entry.ends
            && (name.len() <= 16 || name.eq_ignore_ascii_case(entry.name));
        if same { entry.known } else { Self::Other }
    }

    /// True for names whose value says who a client is, how it came or what it may do. A peer
    /// may not have them removed by naming them in `Connection`.
    #[must_use]
    pub fn may_be_nominated(self) -> bool {
        matches!(
            self,
            Self::Other
                | Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Upgrade
                | Self::Http2Settings
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
        )
    }

    /// True for names that say nothing of the connection or the framing, most of all names. The
    /// table starts with those that do.
    #[inline]
    #[must_use]
    pub(crate) fn is_end_to_end(self) -> bool {
        self == Self::Other || self as u8 > Self::ProxyAuthorization as u8
    }

    /// True for fields that never leave the connection they came on (RFC 9110 §7.6.1), and for
    /// the framing fields, which the serializer makes anew.
    #[inline]
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::TransferEncoding
                | Self::ContentLength
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Upgrade
                | Self::Http2Settings
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
        )
    }
}
