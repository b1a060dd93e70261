//! The request of a probe and the judgement of its reply, and how both go over HTTP/1.1; over
//! HTTP/2 they go in `http2`.

use super::place::{Place, Scheme};
use super::plan::Plan;
use super::reason::{Failure, Phase, Reason};
use core_wire::h1::Framing;
use core_wire::h1::body::{BodyDecoder, BodyLimits};
use core_wire::h1::head::{HeadLimits, Known, Method, ResponseHead, ResponseParser, find};
use core_wire::h1::response;
use core_wire::h1::write::HeadWriter;
use core_wire::write::{self, WriteError, WriteHead};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a body in which `expected_body` is looked for (Cloudflare's figure).
pub(crate) const BODY_SEARCHED: usize = 10 * 1024;

/// What a reply head may hold; health endpoints need a few hundred bytes.
pub(crate) const HEAD_LIMITS: HeadLimits =
    HeadLimits { line_bytes: 8_192, section_bytes: 32_768, fields: 128 };

/// Interim replies before the final one; one or two occur, more are a fault.
pub(crate) const INTERIM_MAX: u32 = 8;

/// Bytes asked for by one read.
const READ_SIZE: usize = 4_096;

/// Fields of the monitor's header that are not sent: the prober's own, and those that frame the
/// message or the connection.
const OWN_FIELDS: [&str; 6] =
    ["host", "user-agent", "connection", "content-length", "transfer-encoding", "upgrade"];

/// Secrets that another host, where a redirect leads, does not get.
const SECRET_FIELDS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// What a reply leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is what the monitor expects.
    Accepted,
    /// It names another place, and redirects are followed.
    Redirect { status: u16, location: String },
}

/// One request of a try.
pub(crate) struct Request<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) place: &'a Place,
    pub(crate) method: &'a str,
    /// Whether a redirect is followed.
    pub(crate) follow: bool,
}

/// What matters of the head of a final reply.
pub(crate) struct Reply {
    status: u16,
    location: Option<String>,
    pub(crate) framing: Framing,
}

impl Reply {
    /// `head` was read from `buf`.
    pub(crate) fn new(head: &ResponseHead, buf: &[u8], framing: Framing) -> Self {
        let location = find(&head.fields, Known::Location)
            .map(|field| String::from_utf8_lossy(field.value.get(buf)).into_owned());
        Self { status: head.status, location, framing }
    }
}

impl Request<'_> {
    pub(crate) fn method(&self) -> Method {
        Method::of(self.method.as_bytes())
    }

    /// Writes the head but for its end; the error names what cannot be sent.
    pub(crate) fn write(&self, head: &mut impl WriteHead) -> Result<(), Failure> {
        let Self { plan, place, method, .. } = self;
        let scheme = match place.scheme {
            Scheme::Http => write::Scheme::Http,
            Scheme::Https => write::Scheme::Https,
        };
        let (authority, target) = (place.authority.as_bytes(), place.target.as_bytes());
        head.request(method.as_bytes(), scheme, authority, target).map_err(|e| match e {
            WriteError::Value => unsendable("the field `Host`"),
            _ => unsendable(&format!("the request line `{method} {}`", place.target)),
        })?;
        let agent = format!("Weir-Monitor/{} (pool {})", env!("CARGO_PKG_VERSION"), plan.pool);
        let header = &plan.monitor.header;
        let has_accept = header.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept"));
        let own = [("User-Agent", agent.as_str()), ("Accept", "*/*")];
        let own = own.into_iter().filter(|(name, _)| !(has_accept && *name == "Accept"));
        let held_back = |name: &str| {
            let is = |other: &&str| name.eq_ignore_ascii_case(other);
            OWN_FIELDS.iter().any(is) || (!place.own && SECRET_FIELDS.iter().any(is))
        };
        let monitor =
            header.iter().filter(|(name, _)| !held_back(name)).flat_map(|(name, values)| {
                values.iter().map(move |value| (name.as_str(), value.as_str()))
            });
        for (name, value) in own.chain(monitor) {
            head.field(name.as_bytes(), value.as_bytes())
                .map_err(|_| unsendable(&format!("the field `{name}`")))?;
        }
        head.connection(b"close").map_err(|_| unsendable("the field `Connection`"))?;
        if matches!(*method, "POST" | "PUT" | "PATCH") {
            // Servers ask for a length where the method usually has a body (RFC 9110 §8.6).
            head.content_length(0);
        }
        Ok(())
    }

    /// What the head of the final reply decides; `None` where its body does.
    pub(crate) fn judge(&self, reply: &Reply) -> Result<Option<Answer>, Failure> {
        let (status, monitor) = (reply.status, &self.plan.monitor);
        if let Some(location) = reply.location.clone()
            && self.follow
            && is_redirect(status)
        {
            return Ok(Some(Answer::Redirect { status, location }));
        }
        let codes = &monitor.expected_codes;
        if !codes.is_empty() && !codes.iter().any(|c| (c.first..=c.last).contains(&status)) {
            let detail = format!("the reply was {status}");
            return Err(Failure::new(Reason::ResponseCodeMismatch, detail));
        }
        Ok(monitor.expected_body.is_empty().then_some(Answer::Accepted))
    }

    /// The judgement of the body.
    pub(crate) fn search(&self) -> Search {
        Search { expected: self.plan.monitor.expected_body.to_lowercase(), text: Vec::new() }
    }
}

/// Looks for the text that is expected, whatever its case, in the first [`BODY_SEARCHED`] bytes.
pub(crate) struct Search {
    expected: String,
    text: Vec<u8>,
}

impl Search {
    /// Takes the next bytes of the body.
    pub(crate) fn add(&mut self, data: &[u8]) {
        let room = BODY_SEARCHED.saturating_sub(self.text.len());
        self.text.extend_from_slice(data.get(..room).unwrap_or(data));
    }

    /// Whether the text was there; an error where it cannot come any more, as it cannot once
    /// `done` says that the body is at its end.
    pub(crate) fn look(&self, done: bool) -> Result<bool, Failure> {
        if String::from_utf8_lossy(&self.text).to_lowercase().contains(&self.expected) {
            return Ok(true);
        }
        if !done && self.text.len() < BODY_SEARCHED {
            return Ok(false);
        }
        let detail = format!("the text is not in the first {} bytes", self.text.len());
        Err(Failure::new(Reason::ResponseBodyMismatch, detail))
    }
}

/// Sends `request` and judges the reply.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request<'_>,
    phase: Phase,
) -> Result<Answer, Failure> {
    let mut bytes = Vec::with_capacity(512);
    let mut head = HeadWriter::new(&mut bytes);
    request.write(&mut head)?;
    head.finish();
    let sent = send(stream, &bytes).await;
    let mut reader = Reader { stream, buf: Vec::new(), phase };
    // A peer that refuses the request may close before it read all of it; what it said counts.
    let reply = match (reader.final_head(request.method()).await, sent) {
        (Err(f), Err(e)) if f.reason == Reason::HttpInvalidResponse && reader.buf.is_empty() => {
            return Err(phase.failed(&e));
        }
        (reply, _) => reply?,
    };
    if let Some(answer) = request.judge(&reply)? {
        return Ok(answer);
    }
    reader.search_body(reply.framing, request.search()).await?;
    Ok(Answer::Accepted)
}

pub(crate) async fn send<S: AsyncWrite + Unpin>(stream: &mut S, data: &[u8]) -> io::Result<()> {
    stream.write_all(data).await?;
    stream.flush().await
}

/// Reads once; false at the end of the stream.
pub(crate) async fn read_more<S: AsyncRead + Unpin>(
    stream: &mut S,
    buf: &mut Vec<u8>,
    phase: Phase,
) -> Result<bool, Failure> {
    buf.reserve(READ_SIZE);
    match stream.read_buf(buf).await {
        Ok(n) => Ok(n > 0),
        // A TLS peer that closes without saying so, which many do after a reply.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(phase.failed(&e)),
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn unsendable(what: &str) -> Failure {
    Failure::new(Reason::MonitorConfigError, format!("{what} cannot be sent"))
}

pub(crate) fn invalid(detail: impl Into<String>) -> Failure {
    Failure::new(Reason::HttpInvalidResponse, detail)
}

pub(crate) fn too_many_interim() -> Failure {
    invalid(format!("more than {INTERIM_MAX} interim replies"))
}

struct Reader<'a, S> {
    stream: &'a mut S,
    /// Bytes read that are not used up.
    buf: Vec<u8>,
    phase: Phase,
}

impl<S: AsyncRead + Unpin> Reader<'_, S> {
    /// Reads the head of the final reply.
    async fn final_head(&mut self, method: Method) -> Result<Reply, Failure> {
        for _ in 0..=INTERIM_MAX {
            let mut parser = ResponseParser::new();
            while !parser.parse(&self.buf, &HEAD_LIMITS).map_err(|e| invalid(e.to_string()))? {
                if !self.more().await? {
                    return Err(invalid(match self.buf.len() {
                        0 => "the connection was closed without a reply".to_owned(),
                        n => format!("the connection was closed after {n} bytes of a reply head"),
                    }));
                }
            }
            let head = parser.head_mut();
            let meaning = response::meaning(head, &self.buf, method);
            let meaning = meaning.map_err(|e| invalid(e.to_string()))?;
            let reply = Reply::new(head, &self.buf, meaning.framing);
            self.buf.drain(..head.len.min(self.buf.len()));
            if !meaning.interim {
                return Ok(reply);
            }
        }
        Err(too_many_interim())
    }

    /// Reads until the search is over.
    async fn search_body(&mut self, framing: Framing, mut search: Search) -> Result<(), Failure> {
        let mut body = BodyDecoder::new(framing, BodyLimits::default());
        loop {
            let done = self.decode(&mut body, &mut search)?;
            if search.look(done)? {
                return Ok(());
            }
            if !self.more().await? {
                body.end().map_err(|e| invalid(e.to_string()))?;
                return search.look(true).map(drop);
            }
        }
    }

    /// Moves what is decoded of the buffer to the search; whether the body is at its end.
    fn decode(&mut self, body: &mut BodyDecoder, search: &mut Search) -> Result<bool, Failure> {
        loop {
            let part = body.decode(&self.buf).map_err(|e| invalid(e.to_string()))?;
            search.add(self.buf.get(part.data.clone()).unwrap_or_default());
            self.buf.drain(..part.consumed.min(self.buf.len()));
            if part.done || self.buf.is_empty() || part.consumed == 0 {
                return Ok(part.done);
            }
        }
    }

    async fn more(&mut self) -> Result<bool, Failure> {
        read_more(self.stream, &mut self.buf, self.phase).await
    }
}
