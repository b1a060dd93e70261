//! One connection of the load: opened, asked, and read until replies end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::session::{Script, Session};
use crate::reply::Reply;
use crate::tls;

/// What is said on the connections of a plan.
#[derive(Clone, Debug)]
pub enum Talk {
    /// HTTP/1.1: the bytes of every request, one in flight.
    H1(Arc<[u8]>),
    /// HTTP/2.
    H2(Arc<Script>),
}

/// Where a connection stands in it.
#[derive(Debug)]
enum State {
    H1 { reply: Reply, due: Option<Instant> },
    H2(Box<Session>),
}

/// A client connection to a proxy.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    state: State,
}

/// What a readable connection brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Advance {
    /// Body bytes.
    pub body: u64,
    /// Whether the proxy closed the connection.
    pub closed: bool,
}

impl Connection {
    /// Connects. Blocking costs nothing on loopback, where the kernel answers within the call.
    pub(super) fn open(
        target: SocketAddr,
        config: Option<&Arc<ClientConfig>>,
        talk: &Talk,
    ) -> Result<Self> {
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
        let state = match talk {
            Talk::H1(_) => State::H1 { reply: Reply::default(), due: None },
            Talk::H2(script) => State::H2(Box::new(Session::new(Arc::clone(script)))),
        };
        Ok(Self { stream, tls, state })
    }

    /// Takes a request that was due at `due`; `flush` sends it.
    pub(super) fn ask(&mut self, talk: &Talk, due: Instant) -> Result<()> {
        match (&mut self.state, talk) {
            (State::H2(session), _) => session.ask(due),
            (State::H1 { due: waiting, .. }, Talk::H1(request)) => {
                *waiting = Some(due);
                self.send(request)
            }
            (State::H1 { .. }, Talk::H2(_)) => bail!("HTTP/2 on a connection of HTTP/1.1"),
        }
    }

    /// Sends a whole request; over TLS it follows the handshake by itself.
    fn send(&mut self, request: &[u8]) -> Result<()> {
        match &mut self.tls {
            None => {
                let sent = self.stream.write(request).context("sending a request")?;
                if sent < request.len() {
                    bail!("only {sent} of a request's {} bytes were taken", request.len());
                }
            }
            Some(client) => client.writer().write_all(request)?,
        }
        Ok(())
    }

    /// Sends what asking and reading have left to be sent, in one piece.
    pub(super) fn flush(&mut self) -> Result<()> {
        if let State::H2(session) = &mut self.state
            && !session.out.is_empty()
        {
            let out = std::mem::take(&mut session.out);
            self.send(&out)?;
        }
        match &mut self.tls {
            Some(client) => flush(client, &mut self.stream),
            None => Ok(()),
        }
    }

    /// Requests that wait for their reply.
    pub(super) fn in_flight(&self) -> usize {
        match &self.state {
            State::H1 { due, .. } => usize::from(due.is_some()),
            State::H2(session) => session.in_flight(),
        }
    }

    /// Reads what has come; the times at which requests were due that are answered go to `ended`.
    pub(super) fn advance(
        &mut self,
        buffer: &mut [u8],
        ended: &mut Vec<Instant>,
    ) -> Result<Advance> {
        let mut advance = Advance::default();
        match self.tls.take() {
            None => {
                let count = match self.stream.read(buffer) {
                    Ok(count) => count,
                    Err(error) if would_wait(&error) => return Ok(advance),
                    Err(error) => return Err(error).context("reading a reply"),
                };
                advance.closed = count == 0;
                self.take(buffer.get(..count).unwrap_or_default(), &mut advance, ended)?;
            }
            Some(mut client) => {
                let outcome = self.advance_tls(&mut client, buffer, &mut advance, ended);
                self.tls = Some(client);
                outcome?;
            }
        }
        if advance.closed && self.in_flight() > 0 {
            let untouched = matches!(&self.state, State::H1 { reply, .. } if reply.untouched());
            bail!(
                "the proxy closed a connection {}",
                if untouched { "without answering" } else { "inside a reply" }
            );
        }
        Ok(advance)
    }

    fn advance_tls(
        &mut self,
        client: &mut ClientConnection,
        buffer: &mut [u8],
        advance: &mut Advance,
        ended: &mut Vec<Instant>,
    ) -> Result<()> {
        match client.read_tls(&mut self.stream) {
            Ok(count) => advance.closed = count == 0,
            Err(error) if would_wait(&error) => {}
            Err(error) => return Err(error).context("reading TLS"),
        }
        client.process_new_packets().context("TLS")?;
        if matches!(self.state, State::H2(_))
            && client.alpn_protocol().is_some_and(|name| name != b"h2")
        {
            bail!("the proxy chose HTTP/1.1");
        }
        loop {
            match client.reader().read(buffer) {
                Ok(0) => {
                    advance.closed = true;
                    break;
                }
                Ok(count) => {
                    self.take(buffer.get(..count).unwrap_or_default(), advance, ended)?;
                }
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

    fn take(
        &mut self,
        bytes: &[u8],
        advance: &mut Advance,
        ended: &mut Vec<Instant>,
    ) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            State::H2(session) => session.feed(bytes, advance, ended),
            State::H1 { due: None, .. } => bail!("{} bytes came without a request", bytes.len()),
            State::H1 { reply, due } => {
                let fed = reply.feed(bytes)?;
                advance.body += fed.body;
                if fed.ended {
                    ended.extend(due.take());
                }
                Ok(())
            }
        }
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
