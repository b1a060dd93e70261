//! One request and its reply as the stages see them, whatever the protocol of the connection.

use crate::buffers::Lent;
use crate::codec::h1_body::{Receiver, Sender};
use crate::plan::{HostPlan, ListenerPlan, RoutePlan};
use crate::reason::Reason;
use crate::stream::Stream;
use crate::timer::Timer;
use crate::worker::Worker;
use core_wire::h1::head::{Field, Known, Method, RequestHead, RequestParser, Span};
use core_wire::h1::request::RequestMeaning;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What every stage may look at.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) listener: &'a ListenerPlan,
    pub(crate) timer: &'a Timer,
}

/// Who is at the other end of a client connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The other end of the TCP connection.
    pub(crate) socket: SocketAddr,
    /// Who connected: from the PROXY header, else `socket`.
    pub(crate) address: SocketAddr,
    /// Where it connected to.
    pub(crate) local: SocketAddr,
    /// Whether its forwarding fields are believed.
    pub(crate) trusted: bool,
    /// Whether it came over TLS.
    pub(crate) https: bool,
}

/// The host in lower case, without a copy where it was sent so.
#[derive(Debug)]
pub(crate) enum Host {
    AsSent(Span),
    Lowered(String),
}

/// A client connection as the stages use it: body in, reply out.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    pub(crate) body: Receiver,
    pub(crate) reply: Sender,
}

/// One request and what became of it.
pub(crate) struct Exchange {
    /// The bytes of the head.
    pub(crate) head: Lent,
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
