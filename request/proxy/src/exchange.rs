//! One request and its reply as the stages see them, whatever the protocol of the connection.

use crate::buffers::{Lent, Out};
use crate::link::Link;
use crate::plan::{HostPlan, ListenerPlan, RoutePlan};
use crate::reason::Reason;
use crate::stage::record::{TlsFacts, tls_facts};
use crate::timer::{self, Timer};
use crate::tls::TlsPolicy;
use crate::worker::{Local, Worker};
use core_wire::h1::head::{Field, Known, Method, RequestHead, RequestParser, Span};
use core_wire::h1::request::RequestMeaning;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

/// What every stage may look at.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) listener: &'a ListenerPlan,
    pub(crate) timer: &'a Timer,
    /// What becomes of `listener`.
    pub(crate) local: &'a Local,
}

impl Stage<'_> {
    /// Whether connections of this listener end with the request they are serving, because the
    /// process drains or a reload has taken the listener away.
    pub(crate) fn ends(&self) -> bool {
        // A new plan that nobody has looked at may have removed it.
        self.worker.generation();
        self.worker.draining() || self.end() != timer::NEVER
    }

    /// Tick at which requests of this listener are broken off, since it is gone.
    pub(crate) fn end(&self) -> u32 {
        self.local.end()
    }

    /// Whether that tick has passed.
    pub(crate) fn is_over(&self) -> bool {
        timer::passed(self.end())
    }
}

/// Who is at the other end of a client connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Who connected: from the PROXY header, else the other end of the TCP connection.
    pub(crate) address: SocketAddr,
    /// Where it connected to, where any origin is told.
    pub(crate) local: Option<Rc<SocketAddr>>,
    /// Whether its forwarding fields are believed.
    pub(crate) trusted: bool,
    /// Whether it came over TLS.
    pub(crate) https: bool,
    /// The policy of the host that its handshake named.
    pub(crate) policy: TlsPolicy,
    /// Whether it showed a client certificate, which was verified.
    pub(crate) certified: bool,
}

/// The host in lower case, without a copy where it was sent so.
#[derive(Debug)]
pub(crate) enum Host {
    AsSent(Span),
    Lowered(String),
}

/// A client connection as the stages use it: body in, reply out.
pub(crate) struct Client<'a> {
    pub(crate) link: Link<'a>,
    /// Nothing more is read during this request: the stream ended, or enough is buffered.
    pub(crate) ended: bool,
}

impl Client<'_> {
    /// Whether the client has gone while it has nothing to send. A connection is looked at only
    /// where `closely` says so; a stream tells by itself.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, closely: bool) -> bool {
        match &mut self.link {
            Link::H1(h1) => closely && !self.ended && h1.poll_gone(cx, &mut self.ended),
            Link::H2(h2) => h2.is_gone(cx),
        }
    }
}

impl Client<'_> {
    /// Version and cipher suite of its TLS.
    pub(crate) fn tls(&self) -> TlsFacts {
        match &self.link {
            Link::H1(h1) => tls_facts(&h1.stream),
            Link::H2(h2) => h2.tls(),
        }
    }
}

/// The bytes that the spans of a head refer to.
pub(crate) enum HeadBytes {
    /// As they were read.
    Read(Lent),
    /// As a field section was decoded.
    Decoded(Out),
}

impl HeadBytes {
    /// The bytes.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        match self {
            HeadBytes::Read(buffer) => buffer.filled(),
            HeadBytes::Decoded(bytes) => bytes.bytes(),
        }
    }
}

/// One request and what became of it.
pub(crate) struct Exchange {
    /// The bytes of the head.
    pub(crate) head: HeadBytes,
    pub(crate) parser: Box<RequestParser>,
    pub(crate) meaning: RequestMeaning,
    pub(crate) host: Host,
    pub(crate) peer: Peer,
    /// Address of the client itself, behind trusted proxies.
    pub(crate) client: IpAddr,
    pub(crate) started: Instant,
    /// Whether the connection serves another request after this one.
    pub(crate) keep: bool,
    pub(crate) outcome: Outcome,
}

/// What became of a request, for the record stage.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Status sent; 0 where none was.
    pub(crate) status: u16,
    /// Why Weir answered itself, or broke off.
    pub(crate) reason: Option<Reason>,
    /// Particulars for the operator log.
    pub(crate) detail: Option<String>,
    /// Whether the reply was sent whole.
    pub(crate) complete: bool,
    pub(crate) retries: u32,
    pub(crate) bytes_out: u64,
    /// Microseconds until the head of the origin's reply.
    pub(crate) upstream_us: Option<u64>,
    /// Position of the pool and origin that were tried last.
    pub(crate) tried: Option<(core_model::config::PoolId, usize)>,
}

/// Where a request goes, once `route` has decided.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) host: &'a HostPlan,
    pub(crate) route: &'a RoutePlan,
}

impl Exchange {
    /// The parsed head.
    pub(crate) fn request(&self) -> &RequestHead {
        self.parser.head()
    }

    /// Bytes of a part of the head.
    pub(crate) fn text(&self, span: Span) -> &[u8] {
        span.get(self.head.filled())
    }

    /// The host in lower case, as bytes.
    #[inline]
    pub(crate) fn host_bytes(&self) -> &[u8] {
        match &self.host {
            Host::AsSent(span) => self.text(*span),
            Host::Lowered(host) => host.as_bytes(),
        }
    }

    /// The host in lower case.
    pub(crate) fn host(&self) -> &str {
        match &self.host {
            Host::AsSent(span) => std::str::from_utf8(self.text(*span)).unwrap_or_default(),
            Host::Lowered(host) => host,
        }
    }

    /// The path as it was sent; `/` where the target has none.
    pub(crate) fn path(&self) -> &str {
        match std::str::from_utf8(self.text(self.request().target.path)) {
            Ok("") | Err(_) => "/",
            Ok(path) => path,
        }
    }

    /// The query with its question mark, or nothing.
    pub(crate) fn query(&self) -> &str {
        let Some(query) = self.request().target.query else { return "" };
        let with_mark = Span { start: query.start.saturating_sub(1), end: query.end };
        std::str::from_utf8(self.text(with_mark)).unwrap_or_default()
    }

    /// The first field of a name.
    pub(crate) fn field(&self, known: Known) -> Option<&[u8]> {
        let fields: &[Field] = &self.request().fields;
        let field = core_wire::h1::head::find(fields, known)?;
        Some(self.text(field.value))
    }

    /// Whether the reply to this request has no body whatever it says.
    pub(crate) fn is_head(&self) -> bool {
        self.request().method == Method::Head
    }
}
