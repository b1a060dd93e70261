//! A TLS stream: records in and out of lent buffers.

use crate::buffers::{BUFFER_BYTES, Lent};
use crate::tcp::Tcp;
use core_wire::client_hello::{self, Parsed};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

/// Most plain text of one record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// Sealed records that wait for the socket before more plain text is taken.
const SEALED_MAX: usize = 64 * 1024;

/// A fatal alert `unrecognized_name` in a record of its own (RFC 8446 §6.2, RFC 6066 §3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// Received bytes that are held at most: the largest handshake with a record beside it.
const SEALED_IN_MAX: usize = super::HANDSHAKE_BYTES_MAX + BUFFER_BYTES;

/// Which end of the handshake this is.
pub(crate) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What a step over the received records came to.
enum Step {
    /// Something was done; another step may do more.
    Again,
    /// Received bytes are used up and plain text may be sent.
    Open,
    /// Received bytes are used up in the middle of the handshake.
    Handshaking,
    /// The peer ended its direction.
    Ended,
}

/// A TLS connection over TCP.
pub(crate) struct TlsStream {
    tcp: Tcp,
    session: Session,
    /// Received records not yet opened.
    sealed_in: Option<Lent>,
    /// Opened bytes that nobody has taken.
    plain_in: Vec<u8>,
    plain_taken: usize,
    /// Sealed bytes not yet sent.
    sealed_out: Option<Lent>,
    ended: bool,
    failed: bool,
    handshake_bytes: usize,
}

impl TlsStream {
    pub(crate) fn new(tcp: Tcp, session: Session) -> Self {
        Self {
            tcp,
            session,
            sealed_in: None,
            plain_in: Vec::new(),
            plain_taken: 0,
            sealed_out: None,
            ended: false,
            failed: false,
            handshake_bytes: 0,
        }
    }

    pub(crate) fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut Tcp {
        &mut self.tcp
    }

    /// Whether the peer showed a certificate, in this handshake or the one that it resumes.
    pub(crate) fn peer_certified(&self) -> bool {
        let chain = match &self.session {
            Session::Server(tls) => tls.peer_certificates(),
            Session::Client(tls) => tls.peer_certificates(),
        };
        chain.is_some_and(|chain| !chain.is_empty())
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The protocol that ALPN chose.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match &self.session {
            Session::Server(tls) => tls.alpn_protocol(),
            Session::Client(tls) => tls.alpn_protocol(),
        }
    }

    /// Puts bytes in front of what the socket will give (left over from a PROXY header).
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.sealed_in.get_or_insert_with(Lent::take).extend(bytes);
        }
    }

    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_plain() || self.ended || self.sealed_in.as_ref().is_some_and(|b| !b.is_empty())
        {
            return Poll::Ready(Ok(()));
        }
        // Tickets sealed at the end of the handshake leave with the first reply or here.
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        self.plain_in = Vec::new();
        self.sealed_in = None;
        self.tcp.poll_read_ready(cx)
    }

    /// Sealed bytes that wait to be sent.
    fn sealed(&self) -> usize {
        self.sealed_out.as_ref().map_or(0, Lent::len)
    }

    fn has_plain(&self) -> bool {
        self.plain_taken < self.plain_in.len()
    }

    /// Runs the handshake to its end. `limit` bounds the bytes a peer may send for it.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<(), HandshakeError>> {
        loop {
            match self.step() {
                Ok(Step::Again) => {}
                Ok(Step::Open) => return Poll::Ready(Ok(())),
                Ok(Step::Ended) => return Poll::Ready(Err(HandshakeError::Closed)),
                Err(error) => {
                    // The alert tells the peer; whether it arrives decides nothing.
                    let _ = self.poll_flush(cx);
                    return Poll::Ready(Err(HandshakeError::Tls(error)));
                }
                Ok(Step::Handshaking) => {
                    ready!(self.poll_flush(cx)).map_err(HandshakeError::Io)?;
                    let n = ready!(self.poll_receive(cx)).map_err(HandshakeError::Io)?;
                    if n == 0 {
                        return Poll::Ready(Err(HandshakeError::Closed));
                    }
                    self.handshake_bytes += n;
                    if self.handshake_bytes > limit {
                        return Poll::Ready(Err(HandshakeError::TooLarge));
                    }
                }
            }
        }
    }

    /// Waits for the ClientHello and gives the name it asks for, empty where there is none; refuses
    /// one whose name is not `known`.
    pub(crate) fn poll_name(
        &mut self,
        cx: &mut Context<'_>,
        known: impl Fn(&str) -> bool,
    ) -> Poll<Result<String, HandshakeError>> {
        loop {
            let received = self.sealed_in.as_ref().map_or(&[][..], Lent::filled);
            match client_hello::parse(received) {
                // rustls tells the peer what is wrong with it.
                Err(_) => return Poll::Ready(Ok(String::new())),
                Ok(Parsed::Done(hello)) => {
                    let name = hello.sni.as_deref().unwrap_or_default();
                    if name.is_empty() || known(name) {
                        return Poll::Ready(Ok(name.to_owned()));
                    }
                    self.sealed_out.get_or_insert_with(Lent::take).extend(&UNRECOGNIZED_NAME);
                    self.failed = true;
                    let _ = self.poll_flush(cx);
                    return Poll::Ready(Err(HandshakeError::UnknownName));
                }
                Ok(Parsed::Partial) => {
                    if ready!(self.poll_receive(cx)).map_err(HandshakeError::Io)? == 0 {
                        return Poll::Ready(Err(HandshakeError::Closed));
                    }
                }
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let buffer = self.sealed_in.get_or_insert_with(Lent::take);
        if buffer.space().is_empty() {
            // A handshake message may span records, which are kept until it is whole; nothing
            // legal fills more than the limit of handshake bytes and a record.
            if buffer.len() >= SEALED_IN_MAX {
                let error = "TLS message larger than any legal one";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            buffer.grow((buffer.len() * 2).min(SEALED_IN_MAX));
        }
        self.tcp.poll_read(cx, buffer)
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Lent,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.has_plain() {
                return Poll::Ready(Ok(self.take_plain(into)));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            match self.step().map_err(invalid)? {
                Step::Again => {}
                Step::Ended => self.ended = true,
                Step::Open | Step::Handshaking => {
                    if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                        return Poll::Ready(Err(error));
                    }
                    match self.poll_receive(cx) {
                        Poll::Pending => {
                            if self.sealed_in.as_ref().is_some_and(Lent::is_empty) {
                                self.sealed_in = None;
                            }
                            return Poll::Pending;
                        }
                        // An end without close_notify cannot be told from a cut.
                        Poll::Ready(Ok(0)) => {
                            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                        }
                        Poll::Ready(result) => {
                            result?;
                        }
                    }
                }
            }
        }
    }

    fn take_plain(&mut self, into: &mut Lent) -> usize {
        let have = self.plain_in.get(self.plain_taken..).unwrap_or_default();
        let room = into.space();
        let n = have.len().min(room.len());
        if let (Some(room), Some(have)) = (room.get_mut(..n), have.get(..n)) {
            room.copy_from_slice(have);
        }
        into.fill(n);
        self.plain_taken += n;
        if self.plain_taken == self.plain_in.len() {
            self.plain_in.clear();
            self.plain_taken = 0;
        }
        n
    }

    /// Opens at most one received record or seals one handshake message.
    fn step(&mut self) -> Result<Step, rustls::Error> {
        let received = match &mut self.sealed_in {
            Some(buffer) => buffer.filled_mut(),
            None => &mut [],
        };
        let (discard, step) = match &mut self.session {
            Session::Server(tls) => {
                advance(tls.process_tls_records(received), &mut self.plain_in, &mut self.sealed_out)
            }
            Session::Client(tls) => {
                advance(tls.process_tls_records(received), &mut self.plain_in, &mut self.sealed_out)
            }
        };
        if let Some(buffer) = &mut self.sealed_in {
            buffer.consume(discard);
        }
        if step.is_err() && !self.failed {
            // rustls has queued an alert; one more step seals it.
            self.failed = true;
            let _ = self.step();
        }
        step
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.sealed() >= SEALED_MAX {
            ready!(self.poll_flush(cx))?;
        }
        let mut taken = 0;
        if let [one] = slices {
            if one.len() > RECORD_BYTES && self.sealed_out.is_none() {
                self.sealed_out = Some(Lent::take_large());
            }
            for record in one.chunks(RECORD_BYTES) {
                taken += self.seal(record)?;
                if self.sealed() >= SEALED_MAX {
                    break;
                }
            }
        } else {
            let mut gathered = Lent::take();
            for slice in slices {
                let room = RECORD_BYTES - gathered.len();
                gathered.extend(slice.get(..room.min(slice.len())).unwrap_or_default());
            }
            taken = self.seal(gathered.filled())?;
        }
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Seals one record's worth of plain text.
    fn seal(&mut self, plain: &[u8]) -> io::Result<usize> {
        loop {
            let received = match &mut self.sealed_in {
                Some(buffer) => buffer.filled_mut(),
                None => &mut [],
            };
            let sealed = match &mut self.session {
                Session::Server(tls) => seal(
                    tls.process_tls_records(received),
                    plain,
                    &mut self.plain_in,
                    &mut self.sealed_out,
                ),
                Session::Client(tls) => seal(
                    tls.process_tls_records(received),
                    plain,
                    &mut self.plain_in,
                    &mut self.sealed_out,
                ),
            };
            let (discard, sealed) = sealed;
            if let Some(buffer) = &mut self.sealed_in {
                buffer.consume(discard);
            }
            match sealed.map_err(invalid)? {
                Sealed::Done => return Ok(plain.len()),
                Sealed::Again => {}
                Sealed::Ended => self.ended = true,
                Sealed::Refused => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sealed) = &mut self.sealed_out {
            while !sealed.is_empty() {
                let n = ready!(self.tcp.poll_write(cx, &[IoSlice::new(sealed.filled())]))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                sealed.consume(n);
            }
            self.sealed_out = None;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.failed {
            self.failed = true;
            match &mut self.session {
                Session::Server(tls) => {
                    close(tls.process_tls_records(&mut []), &mut self.sealed_out)
                }
                Session::Client(tls) => {
                    close(tls.process_tls_records(&mut []), &mut self.sealed_out)
                }
            }
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.tcp.shutdown())
    }

    /// Whether nothing is buffered in either direction.
    pub(crate) fn is_clean(&self) -> bool {
        !self.has_plain()
            && !self.ended
            && !self.failed
            && self.sealed() == 0
            && self.sealed_in.as_ref().is_none_or(Lent::is_empty)
    }

    /// Takes the stream apart, so that another worker can put it together again.
    pub(crate) fn into_parts(self) -> (Tcp, Session) {
        (self.tcp, self.session)
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// One step of either end.
fn advance<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Vec<u8>,
    out: &mut Option<Lent>,
) -> (usize, Result<Step, rustls::Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut result = Ok(Step::Again);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            result
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let out = out.get_or_insert_with(Lent::take);
            let mut sealed = message.encode(out.room(1024));
            if let Err(EncodeError::InsufficientSize(size)) = &sealed {
                sealed = message.encode(out.room(size.required_size));
            }
            out.fill(sealed.unwrap_or(0));
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(flight)) => {
            // The bytes wait in `out`, which is always sent before anything is awaited.
            flight.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Handshaking),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Open),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Ended),
        // Early data is never offered (max_early_data_size is 0).
        Ok(_) => Err(rustls::Error::General("unexpected TLS state".into())),
    };
    (discard, step)
}

enum Sealed {
    Done,
    Again,
    Ended,
    Refused,
}

/// Seals `plain` where the connection is open for it.
fn seal<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &[u8],
    opened: &mut Vec<u8>,
    out: &mut Option<Lent>,
) -> (usize, Result<Sealed, rustls::Error>) {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let out = out.get_or_insert_with(Lent::take);
            // Header, explicit nonce or content type, and tag of one record.
            let mut sealed = traffic.encrypt(plain, out.room(plain.len() + 64));
            if let Err(EncryptError::InsufficientSize(size)) = &sealed {
                sealed = traffic.encrypt(plain, out.room(size.required_size));
            }
            out.fill(sealed.as_ref().copied().unwrap_or(0));
            let sealed = sealed.map(|_| Sealed::Done).unwrap_or(Sealed::Refused);
            (status.discard, Ok(sealed))
        }
        Ok(ConnectionState::Closed) => (status.discard, Ok(Sealed::Refused)),
        _ => {
            let (discard, step) = advance(status, opened, out);
            let sealed = step.map(|step| match step {
                Step::Ended => Sealed::Ended,
                Step::Handshaking => Sealed::Refused,
                Step::Again | Step::Open => Sealed::Again,
            });
            (discard, sealed)
        }
    }
}

/// Seals a close_notify where one may be sent.
fn close<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Option<Lent>) {
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        let out = out.get_or_insert_with(Lent::take);
        let n = traffic.queue_close_notify(out.room(64)).unwrap_or(0);
        out.fill(n);
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the peer closed the connection during the handshake")]
    Closed,
    #[error("the peer sent more handshake bytes than the limit")]
    TooLarge,
    #[error("no certificate covers the name that the client asks for")]
    UnknownName,
    #[error("the handshake took longer than its time limit")]
    Timeout,
    #[error("the connection failed during the handshake")]
    Io(#[source] io::Error),
    #[error("{0}")]
    Tls(rustls::Error),
}
