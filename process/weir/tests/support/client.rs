//! A client that sends the bytes it is given, cut as it is told, and reads replies strictly.

use super::reader::{self, Kind, Message};
use super::wait::SOON;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Plain TCP or TLS over it.
pub(crate) trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// How bytes are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// In one write.
    Whole,
    /// Each byte in a write of its own.
    Bytes,
    /// Two writes with a pause between them.
    At(usize),
}

/// Between the two writes of [`Cut::At`]: lets the other side read the first part alone.
const GAP: Duration = Duration::from_micros(600);
/// Up to this many bytes a message is split at every offset; a longer one at this many offsets.
const EVERY_OFFSET: usize = 160;

impl Cut {
    /// Whole, byte by byte, and split at every offset (long ones: at [`EVERY_OFFSET`] of them).
    pub(crate) fn all(len: usize) -> Vec<Self> {
        let mut cuts = vec![Self::Whole];
        // A long message byte by byte costs a system call a byte and shows nothing new.
        if len <= 4096 {
            cuts.push(Self::Bytes);
        }
        let step = len.div_ceil(EVERY_OFFSET).max(1);
        cuts.extend((1..len).step_by(step).map(Self::At));
        cuts
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN (over TLS: with or without close_notify), after these unread bytes.
    Closed(Vec<u8>),
    /// RST, after these unread bytes.
    Reset(Vec<u8>),
    /// Not ended within the bound.
    Open(Vec<u8>),
}

pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    raw: TcpStream,
    buffer: Vec<u8>,
    ended: Option<io::ErrorKind>,
    leaf: Vec<u8>,
    resumed: bool,
    alpn: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let raw = TcpStream::connect_timeout(&address, SOON)?;
        Self::plain(raw)
    }

    /// Over a TCP connection that is there already.
    pub(crate) fn plain(raw: TcpStream) -> io::Result<Self> {
        raw.set_nodelay(true)?;
        raw.set_read_timeout(Some(SOON))?;
        raw.set_write_timeout(Some(SOON))?;
        let stream = Box::new(raw.try_clone()?);
        Ok(Self {
            stream,
            raw,
            buffer: Vec::new(),
            ended: None,
            leaf: Vec::new(),
            alpn: Vec::new(),
            resumed: false,
        })
    }

    /// From another loopback address, to be another source.
    pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect_timeout(&address.into(), SOON)?;
        Self::plain(socket.into())
    }

    /// Over TLS; the handshake is done when this returns.
    pub(crate) fn tls(
        address: SocketAddr,
        name: &str,
        config: Arc<rustls::ClientConfig>,
    ) -> io::Result<Self> {
        let mut client = Self::try_connect(address)?;
        client.start_tls(name, config)?;
        Ok(client)
    }

    /// Goes over to TLS on the open connection.
    pub(crate) fn start_tls(
        &mut self,
        name: &str,
        config: Arc<rustls::ClientConfig>,
    ) -> io::Result<()> {
        let name = name.to_owned().try_into().map_err(io::Error::other)?;
        let session = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut tls = rustls::StreamOwned::new(session, self.raw.try_clone()?);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        let chain = tls.conn.peer_certificates().unwrap_or_default();
        self.leaf = chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        self.resumed = tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        self.alpn = tls.conn.alpn_protocol().unwrap_or_default().to_vec();
        self.stream = Box::new(tls);
        Ok(())
    }

    /// The certificate the server showed, DER; empty without TLS.
    pub(crate) fn leaf(&self) -> &[u8] {
        &self.leaf
    }

    /// Whether its TLS session continued an earlier one.
    pub(crate) fn resumed(&self) -> bool {
        self.resumed
    }

    /// The protocol that TLS agreed on; empty without one.
    pub(crate) fn alpn(&self) -> &[u8] {
        &self.alpn
    }

    pub(crate) fn raw(&self) -> &TcpStream {
        &self.raw
    }

    /// Sends bytes. An error means that the other side closed, which the reading side tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends bytes cut as told; stops without complaint when the other side closed meanwhile.
    pub(crate) fn send_cut(&mut self, bytes: &[u8], cut: Cut) {
        let sent = match cut {
            Cut::Whole => self.send(bytes),
            Cut::Bytes => bytes.iter().try_for_each(|byte| self.send([*byte])),
            Cut::At(at) => self.send(&bytes[..at]).and_then(|()| {
                std::thread::sleep(GAP);
                self.send(&bytes[at..])
            }),
        };
        drop(sent);
    }

    /// Half-closes: nothing more will be sent.
    pub(crate) fn finish(&self) {
        drop(self.raw.shutdown(Shutdown::Write));
    }

    /// Reads more into the buffer; false at the end or when nothing comes by the deadline.
    pub(crate) fn fill(&mut self, deadline: Instant) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        drop(self.raw.set_read_timeout(Some(left.max(Duration::from_millis(1)))));
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece) {
            Ok(0) => {
                self.ended = Some(io::ErrorKind::UnexpectedEof);
                false
            }
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                true
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                false
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => true,
            Err(e) => {
                self.ended = Some(e.kind());
                false
            }
        }
    }

    /// Waits until anything came that was not read yet, or the connection ended.
    pub(crate) fn some(&mut self, bound: Duration) {
        let deadline = Instant::now() + bound;
        while self.buffer.is_empty() && self.fill(deadline) {}
    }

    /// The next reply, to a request with `method`; an error says what came in its place.
    pub(crate) fn reply_within(
        &mut self,
        method: &str,
        bound: Duration,
    ) -> Result<Message, String> {
        let deadline = Instant::now() + bound;
        loop {
            let ended = self.ended == Some(io::ErrorKind::UnexpectedEof);
            let kind = Kind::Reply(method);
            if let Some((message, used)) = reader::message(&self.buffer, kind, ended)? {
                self.buffer.drain(..used);
                return Ok(message);
            }
            if !self.fill(deadline) {
                if self.ended == Some(io::ErrorKind::UnexpectedEof) && !ended {
                    continue;
                }
                let got = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(match self.ended {
                    Some(kind) => format!("connection ended ({kind}) after {got:?}"),
                    None => format!("nothing more within {bound:?} after {got:?}"),
                });
            }
        }
    }

    /// The next reply; fails the test when there is none.
    #[track_caller]
    pub(crate) fn reply(&mut self, method: &str) -> Message {
        self.reply_within(method, SOON).unwrap_or_else(|e| panic!("no reply: {e}"))
    }

    /// Sends a GET and reads its reply.
    pub(crate) fn get(&mut self, target: &str) -> Result<Message, String> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let sent = self.send(request);
        let reply = self.reply_within("GET", SOON);
        reply.map_err(|e| format!("GET {target}: {e} (sent: {sent:?})"))
    }

    /// Exactly `n` bytes, for what follows a 101.
    #[track_caller]
    pub(crate) fn exact(&mut self, n: usize) -> Vec<u8> {
        let deadline = Instant::now() + SOON;
        while self.buffer.len() < n {
            let ended = &self.ended;
            assert!(ended.is_none(), "connection ended: {ended:?}");
            let more = self.fill(deadline);
            let have = self.buffer.len();
            assert!(more || self.ended.is_some(), "{have} of {n} bytes came");
        }
        self.buffer.drain(..n).collect()
    }

    /// How the connection ended, if reading found it so.
    pub(crate) fn ended(&self) -> Option<io::ErrorKind> {
        self.ended
    }

    /// Takes bytes off the front of those that came.
    pub(crate) fn consume(&mut self, n: usize) {
        self.buffer.drain(..n);
    }

    /// Bytes that came and were not read as replies.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads to the end of the connection.
    pub(crate) fn end(&mut self, bound: Duration) -> End {
        let deadline = Instant::now() + bound;
        while self.fill(deadline) {}
        let rest = std::mem::take(&mut self.buffer);
        match self.ended {
            None => End::Open(rest),
            Some(io::ErrorKind::UnexpectedEof) => End::Closed(rest),
            Some(_) => End::Reset(rest),
        }
    }

    /// Closes with RST in place of FIN.
    pub(crate) fn reset(self) {
        drop(socket2::SockRef::from(&self.raw).set_linger(Some(Duration::ZERO)));
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Result<Message, String> {
    Client::try_connect(address).map_err(|e| format!("connect: {e}"))?.get(target)
}
