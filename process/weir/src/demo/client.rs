//! One blocking HTTP/1.1 connection of the demo's load, plain or over TLS.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Silence after which a request has failed: far above what a retried one takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a reply's head; Weir's and the origins' take a few hundred.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Bytes of a reply's body; the origins' take a few hundred.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Where a client connects, and over what.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// Trust in the demo's certificate; plain without.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The field `Host`.
    pub(super) host: &'static str,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) body: Option<&'a [u8]>,
    /// Further fields, each with the end of its line.
    pub(super) fields: &'a str,
    /// Whether the connection is to be closed after the reply.
    pub(super) close: bool,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The field `X-Origin`: who made the reply.
    pub(super) origin: String,
    /// The field `Proxy-Status` (RFC 9209): what Weir says went wrong.
    pub(super) cause: String,
    pub(super) body: Vec<u8>,
    /// Whether the connection takes a further request.
    pub(super) kept: bool,
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// An open connection.
pub(super) struct Connection {
    stream: Box<dyn Duplex>,
    host: &'static str,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects; the handshake of TLS happens with the first request.
    pub(super) fn open(door: &Door) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&door.address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let stream: Box<dyn Duplex> = match &door.tls {
            None => Box::new(tcp),
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session = ClientConnection::new(config.clone(), name);
                Box::new(StreamOwned::new(session.map_err(io::Error::other)?, tcp))
            }
        };
        Ok(Self { stream, host: door.host, buffer: Vec::new() })
    }

    /// Sends a request and reads its reply, interim ones left out.
    pub(super) fn ask(&mut self, ask: Ask<'_>) -> io::Result<Reply> {
        let Ask { method, target, fields, .. } = ask;
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}", self.host);
        if ask.close {
            request.push_str("Connection: close\r\n");
        }
        if let Some(body) = ask.body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(ask.body.unwrap_or_default());
        self.stream.write_all(&request)?;
        self.stream.flush()?;
        loop {
            let head = self.head()?;
            if head.status >= 200 {
                let bodyless = ask.method == "HEAD" || matches!(head.status, 204 | 304);
                let length = if bodyless { Some(0) } else { head.length };
                let body = self.body(length.ok_or_else(|| wrong("no Content-Length"))?)?;
                let Head { status, origin, cause, kept, .. } = head;
                return Ok(Reply { status, origin, cause, body, kept: kept && !ask.close });
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        let n = self.stream.read(&mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(piece.get(..n).unwrap_or_default());
        Ok(())
    }

    fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Head::parse(&head);
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(wrong("a head without end"));
            }
            self.more()?;
        }
    }

    fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_BYTES_MAX {
            return Err(wrong("a body larger than any origin sends"));
        }
        while self.buffer.len() < length {
            self.more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The parts of a reply's head that matter here.
struct Head {
    status: u16,
    length: Option<usize>,
    origin: String,
    cause: String,
    kept: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("a head that is no text"))?;
        let mut lines = text.lines();
        let start = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = start.and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| wrong("no status line"))?;
        let (origin, cause) = (String::new(), String::new());
        let mut head = Self { status, length: None, origin, cause, kept: true };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().ok(),
                "connection" => head.kept &= !value.eq_ignore_ascii_case("close"),
                "x-origin" => value.clone_into(&mut head.origin),
                "proxy-status" => value.clone_into(&mut head.cause),
                _ => {}
            }
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What a client makes of a server that answers `reply` and closes.
    fn served(method: &str, reply: &'static str) -> Result<Reply, io::ErrorKind> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door { address, tls: None, host: "localhost" };
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(reply.as_bytes()).unwrap();
        });
        let ask = Ask { method, target: "/", body: None, fields: "", close: false };
        let got = Connection::open(&door).unwrap().ask(ask).map_err(|e| e.kind());
        server.join().unwrap();
        got
    }

    #[test]
    fn a_reply_ends_where_its_head_says() {
        let good = |origin: &str, body: &str, kept| {
            let (origin, cause) = (origin.into(), String::new());
            Ok(Reply { status: 200, origin, cause, body: body.into(), kept })
        };
        for (method, reply, expect) in [
            (
                "GET",
                "HTTP/1.1 200 OK\r\nX-Origin: alpha\r\nContent-Length: 2\r\n\r\nhi!",
                good("alpha", "hi", true),
            ),
            (
                "GET",
                "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n",
                good("", "", false),
            ),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", good("", "", true)),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", Err(EOF)),
            ("GET", "HTTP/1.1 200 OK\r\n\r\nhi", Err(INVALID)),
            ("GET", "HTTP/1.1 abc\r\n\r\n", Err(INVALID)),
            ("GET", "", Err(EOF)),
        ] {
            assert_eq!(served(method, reply), expect, "{reply}");
        }
    }

    const EOF: io::ErrorKind = io::ErrorKind::UnexpectedEof;
    const INVALID: io::ErrorKind = io::ErrorKind::InvalidData;
}
