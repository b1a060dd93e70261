//! One HTTP/1.1 request read strictly, one reply written; the connection ends with it.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a request: head and the little that follows it. Browsers send about 1 KiB.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

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
    loop {
        let mut chunk = [0; 1024];
        let n = stream.read(&mut chunk).await.map_err(|_| ReadError::Gone)?;
        if n == 0 {
            return Err(ReadError::Gone);
        }
        bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = bytes.get(..end).unwrap_or_default();
            return parse(head).map_err(|why| {
                ReadError::Wrong(Reply::text(400, format!("bad request: {why}\n")))
            });
        }
        if bytes.len() >= REQUEST_BYTES_MAX {
            return Err(ReadError::Wrong(Reply::text(431, "the request is too large\n")));
        }
    }
}

/// A head without its empty line (RFC 9112 §2 to §5, without what this server has no use for).
fn parse(head: &[u8]) -> Result<Request, &'static str> {
    let head = std::str::from_utf8(head).map_err(|_| "the head is no text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the request line is not `METHOD TARGET VERSION`");
    };
    if version != "HTTP/1.1" && version != "HTTP/1.0" {
        return Err("only HTTP/1.1 is spoken here");
    }
    if !target.starts_with('/') {
        return Err("the target is not a path");
    }
    let (mut host, mut admin_mark) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a header line has no colon")?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || value.contains(['\r', '\n', '\0']) {
            return Err("a header line is not `name: value`");
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "host" if host.is_some() => return Err("Host comes twice"),
            "host" => host = Some(value.to_owned()),
            "x-weir-admin" => admin_mark = value == "1",
            "content-length" if value != "0" => return Err("a body has no meaning here"),
            "transfer-encoding" => return Err("a body has no meaning here"),
            _ => {}
        }
    }
    Ok(Request {
        method: method.to_owned(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        host: host.ok_or("Host is missing")?,
        admin_mark,
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
