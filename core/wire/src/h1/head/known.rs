//! Field names that the proxy treats by name, found by length and then by whole words of bytes.

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
}

/// One name of the table as the lookup compares it.
#[derive(Clone, Copy)]
struct Entry {
    ends: (u64, u64),
    name: &'static [u8],
    known: Known,
}

/// Every name of the table with its entry, for tables that are made at compile time.
pub(crate) const fn names() -> &'static [(&'static [u8], Known)] {
    NAMES
}

const COUNT: usize = NAMES.len();
const LONGEST: usize = longest();

/// Entries ordered by length; `STARTS[n]..STARTS[n + 1]` are those of length `n`.
static ENTRIES: [Entry; COUNT] = sorted().0;
static STARTS: [u8; LONGEST + 2] = sorted().1;
const _: () = assert!(COUNT < 256, "an index into the entries fits in one byte");

const fn longest() -> usize {
    let (mut i, mut most) = (0, 0);
    while i < COUNT {
        if NAMES[i].0.len() > most {
            most = NAMES[i].0.len();
        }
        i += 1;
    }
    most
}

const fn sorted() -> ([Entry; COUNT], [u8; LONGEST + 2]) {
    let mut entries = [Entry { ends: (0, 0), name: b"", known: Known::Other }; COUNT];
    let mut starts = [0u8; LONGEST + 2];
    let (mut len, mut filled) = (0, 0);
    while len <= LONGEST {
        starts[len] = filled as u8;
        let mut i = 0;
        while i < COUNT {
            let (name, known) = NAMES[i];
            if name.len() == len {
                entries[filled] = Entry { ends: bytes::folded_ends(name), name, known };
                filled += 1;
            }
            i += 1;
        }
        len += 1;
    }
    starts[LONGEST + 1] = filled as u8;
    (entries, starts)
}

impl Known {
    /// The entry for `name`, whatever its case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        if bytes::is_plain_name(name) { Self::of_plain(name) } else { Self::Other }
    }

    /// As [`Known::of`], for a name of `[A-Za-z0-9-]` only: other bytes could fold onto those.
    #[inline]
    pub(crate) fn of_plain(name: &[u8]) -> Self {
        let len = name.len();
        let (Some(&from), Some(&to)) = (STARTS.get(len), STARTS.get(len + 1)) else {
            return Self::Other;
        };
        let Some(entries) = ENTRIES.get(usize::from(from)..usize::from(to)) else {
            return Self::Other;
        };
        if entries.is_empty() {
            return Self::Other;
        }
        let ends = bytes::folded_ends(name);
        for entry in entries {
            if entry.ends == ends && (len <= 16 || entry.name.eq_ignore_ascii_case(name)) {
                return entry.known;
            }
        }
        Self::Other
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
