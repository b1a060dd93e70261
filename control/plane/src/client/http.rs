//! One connection to a server: a request, a reply, and the next request. What etcd and the API of
//! another control plane are asked by.

use core_wire::h1::body::{BodyDecoder, BodyLimits};
use core_wire::h1::head::{Field, HeadLimits, Method, ResponseParser};
use core_wire::h1::response;
use core_wire::h1::write::HeadWriter;
use core_wire::write::{Scheme, WriteHead};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of a reply. A page of objects has at most 110 MB of JSON in base64.
const REPLY_BYTES_MAX: u64 = 256 << 20;

/// What a reply head may hold; etcd's are a few hundred bytes, Cloudflare's some thousand.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { line_bytes: 8_192, section_bytes: 32_768, fields: 128 };

/// Interim replies before the final one; nobody that is asked sends any.
const INTERIM_MAX: u32 = 4;

/// The field by which a server asks for patience (RFC 9110 §10.2.3).
const RETRY_AFTER: &str = "retry-after";
/// Who asks.
const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// Bytes asked for by one read.
const READ_SIZE: usize = 64 << 10;

/// Where a server answers.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// As it was written.
    pub(crate) text: String,
    /// Host and port.
    pub(crate) authority: String,
    /// The host alone, without brackets.
    pub(crate) host: String,
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
}

impl Endpoint {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        let fits = !host.is_empty() && !host.contains(['/', '@', '[', ']', ' ']);
        let (text, authority, host) = (text.to_owned(), authority.to_owned(), host.to_owned());
        fits.then_some(Self { text, authority, host, tls })
    }
}

/// A stream, in TLS or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection without a request on it.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    authority: String,
    buf: Vec<u8>,
}

/// A reply whose body is read as it comes.
pub(crate) struct Reply {
    connection: Connection,
    body: BodyDecoder,
    reusable: bool,
    pub(crate) status: u16,
    /// Seconds to wait, where the server says so.
    pub(crate) retry_after: Option<u64>,
}

impl Connection {
    pub(crate) async fn open(to: &Endpoint, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let tcp = TcpStream::connect(&to.authority).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if to.tls {
            let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
            Box::new(TlsConnector::from(tls).connect(name, tcp).await?)
        } else {
            Box::new(tcp)
        };
        Ok(Self { stream, authority: to.authority.clone(), buf: Vec::new() })
    }

    /// Posts JSON and reads the head of the reply.
    pub(crate) async fn post(
        self,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> io::Result<Reply> {
        self.ask("POST", path, token, Some(body)).await
    }

    /// Sends a request, with JSON where there is a body, and reads the head of the reply. The token
    /// is the value of `Authorization`.
    pub(crate) async fn ask(
        mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&[u8]>,
    ) -> io::Result<Reply> {
        let mut bytes = Vec::with_capacity(512 + body.map_or(0, <[u8]>::len));
        let mut head = HeadWriter::new(&mut bytes);
        let bad = |error| io::Error::other(format!("the request cannot be written: {error:?}"));
        let (name, authority) = (method.as_bytes(), self.authority.as_bytes());
        head.request(name, Scheme::Http, authority, path.as_bytes()).map_err(bad)?;
        if body.is_some() {
            head.field(b"Content-Type", b"application/json").map_err(bad)?;
        }
        if let Some(token) = token {
            head.field(b"Authorization", token.as_bytes()).map_err(bad)?;
        }
        head.field(b"User-Agent", USER_AGENT.as_bytes()).map_err(bad)?;
        if let Some(body) = body {
            head.content_length(body.len() as u64);
        }
        head.finish();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        for _ in 0..=INTERIM_MAX {
            let mut parser = ResponseParser::new();
            while !parser.parse(&self.buf, &HEAD_LIMITS).map_err(invalid)? {
                self.more().await?;
            }
            let head = parser.head_mut();
            // Replies to GET end as those to POST do.
            let meaning = response::meaning(head, &self.buf, Method::Post).map_err(invalid)?;
            let (status, length) = (head.status, head.len);
            let named = |field: &&Field| {
                field.name.get(&self.buf).eq_ignore_ascii_case(RETRY_AFTER.as_bytes())
            };
            let retry = head.fields.iter().find(named).map(|field| field.value.get(&self.buf));
            let retry_after = retry.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            self.buf.drain(..length.min(self.buf.len()));
            if !meaning.interim {
                let limits = BodyLimits { body_bytes: REPLY_BYTES_MAX, ..BodyLimits::default() };
                let body = BodyDecoder::new(meaning.framing, limits);
                let reusable = meaning.reusable;
                return Ok(Reply { connection: self, body, reusable, status, retry_after });
            }
        }
        Err(io::Error::other("too many interim replies"))
    }

    async fn more(&mut self) -> io::Result<()> {
        self.buf.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.buf).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Reply {
    /// The next part of the body; none at its end.
    pub(crate) async fn part(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let part = self.body.decode(&self.connection.buf).map_err(invalid)?;
            let data = self.connection.buf.get(part.data.clone()).unwrap_or_default().to_vec();
            self.connection.buf.drain(..part.consumed.min(self.connection.buf.len()));
            if !data.is_empty() {
                return Ok(Some(data));
            }
            if part.done {
                return Ok(None);
            }
            if part.consumed == 0 || self.connection.buf.is_empty() {
                self.connection.more().await?;
            }
        }
    }

    /// The whole body, and the connection where it can be used again.
    pub(crate) async fn whole(mut self) -> io::Result<(Vec<u8>, Option<Connection>)> {
        let mut body = Vec::new();
        while let Some(part) = self.part().await? {
            body.extend(part);
        }
        Ok((body, self.reusable.then_some(self.connection)))
    }
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("no valid reply: {error}"))
}
