//! One HTTP/1.1 request read by the parser that clients of the edge meet, one reply written; the
//! connection ends with it.

use core_wire::h1::Framing;
use core_wire::h1::head::{self, HeadLimits, Known, RequestHead, RequestParser, Span, TargetForm};
use core_wire::h1::request;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a request may have: browsers send about 1 KiB in 20 fields.
const LIMITS: HeadLimits =
    HeadLimits { line_bytes: 2 * 1024, section_bytes: 6 * 1024, fields: 100 };

/// Bytes read and thrown away after the reply, so that closing does not reset it.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// A request without a body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path without its query.
    pub(super) path: String,
    /// The one `Host`.
    pub(super) host: String,
    /// Whether `X-Weir-Admin: 1` came.
    pub(super) admin_mark: bool,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The client closed or cannot be read.
    Gone,
    /// It said something wrong; this is the answer.
    Wrong(Reply),
}

/// A reply with all its body.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// Further fields, each with its line end.
    pub(super) fields: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, fields: String::new(), body: body.into() }
    }

    pub(super) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// A value that serializes without failing: our own types.
    pub(super) fn json(status: u16, value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self::new(status, "application/json", body)
            }
            Err(error) => Self::text(500, format!("{error}\n")),
        }
    }
}

/// Reads one request.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, ReadError> {
    let mut bytes = Vec::with_capacity(1024);
    let mut parser = RequestParser::new();
    loop {
        let mut chunk = [0; 1024];
        let n = stream.read(&mut chunk).await.map_err(|_| ReadError::Gone)?;
        if n == 0 {
            return Err(ReadError::Gone);
        }
        bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
        match parser.parse(&bytes, &LIMITS) {
            Ok(false) => {}
            Ok(true) => return meant(parser.head_mut(), &bytes),
            Err(error) if error.status() == 431 || error.status() == 414 => {
                return Err(ReadError::Wrong(Reply::text(431, "the request is too large\n")));
            }
            Err(error) => return Err(wrong(&error)),
        }
    }
}

fn wrong(why: &dyn std::fmt::Display) -> ReadError {
    ReadError::Wrong(Reply::text(400, format!("bad request: {why}\n")))
}

/// What a request asks for; it names a path of this server and has no body.
fn meant(head: &mut RequestHead, bytes: &[u8]) -> Result<Request, ReadError> {
    let meaning = request::meaning(head, bytes).map_err(|error| wrong(&error))?;
    if head.target.form != TargetForm::Origin {
        return Err(wrong(&"the target is not a path"));
    }
    if !matches!(meaning.framing, Framing::None | Framing::Exact(0)) {
        return Err(wrong(&"a body has no meaning here"));
    }
    let text = |span: Span| String::from_utf8_lossy(span.get(bytes)).into_owned();
    let host = head::find(&head.fields, Known::Host).ok_or_else(|| wrong(&"Host is missing"))?;
    let marked = head.fields.iter().any(|field| {
        field.name.get(bytes).eq_ignore_ascii_case(b"x-weir-admin")
            && field.value.get(bytes) == b"1"
    });
    Ok(Request {
        method: text(head.method_span),
        path: text(head.target.path),
        host: text(host.value),
        admin_mark: marked,
    })
}

/// Writes the reply and ends this side of the stream.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    reply: &Reply,
    head_only: bool,
) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n{}\r\n",
        reply.status,
        reason(reply.status),
        reply.content_type,
        reply.body.len(),
        reply.fields,
    );
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(&reply.body);
    }
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// Reads until the client's end: closing with unread bytes would reset the reply on its way.
pub(super) async fn linger(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let (mut chunk, mut left) = ([0; 1024], LINGER_BYTES_MAX);
    while left > 0 {
        match stream.read(&mut chunk).await? {
            0 => break,
            n => left = left.saturating_sub(n),
        }
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}
