//! The request of a probe and the judgement of its reply.

use super::place::Place;
use super::plan::Plan;
use super::reason::{Failure, Phase, Reason};
use core_model::config::Monitor;
use core_wire::h1::body::{BodyDecoder, BodyLimits};
use core_wire::h1::head::{HeadLimits, Known, Method, ResponseParser, find};
use core_wire::h1::response;
use core_wire::h1::write::HeadWriter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a body in which `expected_body` is looked for (Cloudflare's figure).
pub(crate) const BODY_SEARCHED: usize = 10 * 1024;

/// What a reply head may hold; health endpoints need a few hundred bytes.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { line_bytes: 8_192, section_bytes: 32_768, fields: 128 };

/// Interim replies before the final one; one or two occur, more are a fault.
const INTERIM_MAX: u32 = 8;

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

/// The bytes of a request.
pub(crate) fn request(plan: &Plan, place: &Place, method: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(512);
    write(&mut bytes, plan, place, method).map_err(|what| {
        Failure::new(Reason::MonitorConfigError, format!("{what} cannot be sent"))
    })?;
    Ok(bytes)
}

/// The error names what cannot be sent.
fn write(out: &mut Vec<u8>, plan: &Plan, place: &Place, method: &str) -> Result<(), String> {
    let mut head = HeadWriter::new(out);
    head.request_line(method.as_bytes(), place.target.as_bytes())
        .map_err(|_| format!("the request line `{method} {}`", place.target))?;
    let agent = format!("Weir-Monitor/{} (pool {})", env!("CARGO_PKG_VERSION"), plan.pool);
    let own = [("Host", place.authority.as_str()), ("User-Agent", &agent), ("Accept", "*/*")];
    let has_accept = plan.monitor.header.iter().any(|(n, _)| n.eq_ignore_ascii_case("accept"));
    let own = own.into_iter().filter(|(name, _)| !(has_accept && *name == "Accept"));
    let held_back = |name: &str| {
        let is = |other: &&str| name.eq_ignore_ascii_case(other);
        OWN_FIELDS.iter().any(is) || (!place.own && SECRET_FIELDS.iter().any(is))
    };
    let monitor = plan.monitor.header.iter().filter(|(name, _)| !held_back(name));
    let monitor = monitor
        .flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())));
    for (name, value) in own.chain(monitor).chain([("Connection", "close")]) {
        head.field(name.as_bytes(), value.as_bytes()).map_err(|_| format!("the field `{name}`"))?;
    }
    if matches!(method, "POST" | "PUT" | "PATCH") {
        // Servers ask for a length where the method usually has a body (RFC 9110 §8.6).
        head.content_length(0);
    }
    head.finish();
    Ok(())
}

/// Sends `request` and judges the reply by the monitor.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &[u8],
    method: &str,
    monitor: &Monitor,
    follow: bool,
    phase: Phase,
) -> Result<Answer, Failure> {
    let sent = send(stream, request).await;
    let mut reader = Reader { stream, buf: Vec::new(), phase };
    // A peer that refuses the request may close before it read all of it; what it said counts.
    let head = reader.final_head(Method::of(method.as_bytes())).await;
    let (status, location, body) = match (head, sent) {
        (Err(f), Err(e)) if f.reason == Reason::HttpInvalidResponse && reader.buf.is_empty() => {
            return Err(phase.failed(&e));
        }
        (head, _) => head?,
    };
    if let Some(location) = location.filter(|_| follow && is_redirect(status)) {
        return Ok(Answer::Redirect { status, location });
    }
    let codes = &monitor.expected_codes;
    if !codes.is_empty() && !codes.iter().any(|c| (c.first..=c.last).contains(&status)) {
        return Err(Failure::new(Reason::ResponseCodeMismatch, format!("the reply was {status}")));
    }
    if !monitor.expected_body.is_empty() {
        reader.search_body(body, &monitor.expected_body).await?;
    }
    Ok(Answer::Accepted)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> std::io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn invalid(detail: impl Into<String>) -> Failure {
    Failure::new(Reason::HttpInvalidResponse, detail)
}

struct Reader<'a, S> {
    stream: &'a mut S,
    /// Bytes read that are not used up.
    buf: Vec<u8>,
    phase: Phase,
}

impl<S: AsyncRead + Unpin> Reader<'_, S> {
    /// Reads the head of the final reply: status, `Location`, and the decoder of its body.
    async fn final_head(
        &mut self,
        method: Method,
    ) -> Result<(u16, Option<String>, BodyDecoder), Failure> {
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
            let (status, len) = (head.status, head.len);
            let location = find(&head.fields, Known::Location)
                .map(|field| String::from_utf8_lossy(field.value.get(&self.buf)).into_owned());
            self.buf.drain(..len.min(self.buf.len()));
            if !meaning.interim {
                let body = BodyDecoder::new(meaning.framing, BodyLimits::default());
                return Ok((status, location, body));
            }
        }
        Err(invalid(format!("more than {INTERIM_MAX} interim replies")))
    }

    /// Reads until `expected` was seen, whatever its case, in the first [`BODY_SEARCHED`] bytes.
    async fn search_body(&mut self, mut body: BodyDecoder, expected: &str) -> Result<(), Failure> {
        let expected = expected.to_lowercase();
        let mut text = Vec::new();
        loop {
            let done = self.decode(&mut body, &mut text)?;
            text.truncate(BODY_SEARCHED);
            if String::from_utf8_lossy(&text).to_lowercase().contains(&expected) {
                return Ok(());
            }
            if done || text.len() == BODY_SEARCHED {
                let detail = format!("the text is not in the first {} bytes", text.len());
                return Err(Failure::new(Reason::ResponseBodyMismatch, detail));
            }
            if !self.more().await? {
                body.end().map_err(|e| invalid(e.to_string()))?;
                let detail = format!("the text is not in the body of {} bytes", text.len());
                return Err(Failure::new(Reason::ResponseBodyMismatch, detail));
            }
        }
    }

    /// Moves what is decoded of the buffer to `text`; whether the body is at its end.
    fn decode(&mut self, body: &mut BodyDecoder, text: &mut Vec<u8>) -> Result<bool, Failure> {
        loop {
            let part = body.decode(&self.buf).map_err(|e| invalid(e.to_string()))?;
            text.extend_from_slice(self.buf.get(part.data.clone()).unwrap_or_default());
            self.buf.drain(..part.consumed.min(self.buf.len()));
            if part.done || self.buf.is_empty() || part.consumed == 0 {
                return Ok(part.done);
            }
        }
    }

    /// Reads once; false at the end of the stream.
    async fn more(&mut self) -> Result<bool, Failure> {
        self.buf.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.buf).await {
            Ok(n) => Ok(n > 0),
            // A TLS peer that closes without saying so, which many do after a reply.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(self.phase.failed(&e)),
        }
    }
}
