//! One connection of the load: opened, asked, and read until the reply ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::reply::Reply;
use crate::tls;

/// A client connection to a proxy.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    reply: Reply,
    /// When the request in flight was due.
    pub(super) due: Instant,
    /// Whether a request waits for its reply.
    pub(super) asked: bool,
}

/// What a readable connection brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Advance {
    /// Body bytes.
    pub body: u64,
    /// Whether the reply ended.
    pub answered: bool,
    /// Whether the proxy closed the connection.
    pub closed: bool,
}

impl Connection {
    /// Connects. Blocking costs nothing on loopback, where the kernel answers within the call.
    pub(super) fn open(target: SocketAddr, config: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let stream = TcpStream::connect(target).with_context(|| format!("connect to {target}"))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let tls = match config {
            None => None,
            Some(config) => {
                let client = ClientConnection::new(Arc::clone(config), tls::server_name()?)?;
                Some(Box::new(client))
            }
        };
        Ok(Self { stream, tls, reply: Reply::default(), due: Instant::now(), asked: false })
    }

    /// Sends a request that was due at `due`; over TLS it follows the handshake by itself.
    pub(super) fn ask(&mut self, request: &[u8], due: Instant) -> Result<()> {
        self.due = due;
        self.asked = true;
        match &mut self.tls {
            None => {
                let sent = self.stream.write(request).context("sending a request")?;
                if sent < request.len() {
                    bail!("only {sent} of a request's {} bytes were taken", request.len());
                }
            }
            Some(client) => {
                client.writer().write_all(request)?;
                flush(client, &mut self.stream)?;
            }
        }
        Ok(())
    }

    /// Reads what has come.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> Result<Advance> {
        let mut advance = Advance::default();
        match self.tls.take() {
            None => {
                let count = match self.stream.read(buffer) {
                    Ok(count) => count,
                    Err(error) if would_wait(&error) => return Ok(advance),
                    Err(error) => return Err(error).context("reading a reply"),
                };
                advance.closed = count == 0;
                self.take(buffer.get(..count).unwrap_or_default(), &mut advance)?;
            }
            Some(mut client) => {
                let outcome = self.advance_tls(&mut client, buffer, &mut advance);
                self.tls = Some(client);
                outcome?;
            }
        }
        if advance.closed && self.asked {
            bail!(
                "the proxy closed a connection {}",
                if self.reply.untouched() { "without answering" } else { "inside a reply" }
            );
        }
        Ok(advance)
    }

    fn advance_tls(
        &mut self,
        client: &mut ClientConnection,
        buffer: &mut [u8],
        advance: &mut Advance,
    ) -> Result<()> {
        match client.read_tls(&mut self.stream) {
            Ok(count) => advance.closed = count == 0,
            Err(error) if would_wait(&error) => {}
            Err(error) => return Err(error).context("reading TLS"),
        }
        client.process_new_packets().context("TLS")?;
        loop {
            match client.reader().read(buffer) {
                Ok(0) => {
                    advance.closed = true;
                    break;
                }
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default(), advance)?,
                Err(error) if would_wait(&error) => break,
                // The peer ended TCP without close_notify, after the whole reply or `advance`
                // finds it cut.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error).context("reading a reply over TLS"),
            }
        }
        if client.wants_write() && !advance.closed {
            flush(client, &mut self.stream)?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], advance: &mut Advance) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.asked {
            bail!("{} bytes came without a request", bytes.len());
        }
        let fed = self.reply.feed(bytes)?;
        advance.body += fed.body;
        if fed.ended {
            advance.answered = true;
            self.asked = false;
        }
        Ok(())
    }

    /// Whether the handshake took up an earlier session.
    pub(super) fn resumed(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|client| client.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Whether the proxy still holds the connection open: nothing to read, and no end.
    #[must_use]
    pub fn idle(&self) -> bool {
        let mut byte = [0; 1];
        matches!(self.stream.peek(&mut byte), Err(error) if would_wait(&error))
    }
}

fn flush(client: &mut ClientConnection, stream: &mut TcpStream) -> Result<()> {
    while client.wants_write() {
        match client.write_tls(stream) {
            Ok(_) => {}
            // The rest goes out with the next readable event; requests are far smaller than a
            // socket's buffer, so this happens only while a proxy does not read at all.
            Err(error) if would_wait(&error) => break,
            Err(error) => return Err(error).context("sending TLS"),
        }
    }
    Ok(())
}

fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
