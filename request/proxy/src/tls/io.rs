//! A TLS stream: records in and out of lent buffers.

#[cfg(test)]
mod tests;

use super::record::{Agreed, RecordFault, Records};
use super::unbuffered::{Sealed, Step, advance, close, seal};
use crate::buffers::{BUFFER_BYTES, Lent};
use crate::tcp::Tcp;
use core_wire::client_hello::{self, Parsed};
use core_wire::tls_record::{self, Content, RecordError};
use process_runtime::metrics::Limit;
use rustls::HandshakeKind;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use std::error::Error;
use std::io::{self, IoSlice};
use std::mem;
use std::task::{Context, Poll, ready};

/// Most plain text of one record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// Sealed records that wait for the socket before more plain text is taken.
const SEALED_MAX: usize = 64 * 1024;

/// A fatal alert `unrecognized_name` in a record of its own (RFC 8446 §6.2, RFC 6066 §3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// Records of data to a client that rustls seals before its keys are taken: a connection of one
/// request does not repay taking them.
const RUSTLS_RECORDS: u8 = 2;
/// Received bytes that are held at most: the largest handshake with a record beside it.
const SEALED_IN_MAX: usize = super::HANDSHAKE_BYTES_MAX + BUFFER_BYTES;

/// Who speaks TLS here.
pub(crate) enum Session {
    /// rustls, as the server.
    Server(UnbufferedServerConnection),
    /// rustls, as the client.
    Client(UnbufferedClientConnection),
    /// The record layer of our own, with keys that rustls had as the server.
    Records(Records),
    /// Nobody: rustls did not give its keys.
    Lost,
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
    /// Records of data that rustls has sealed, up to [`RUSTLS_RECORDS`].
    rustls_records: u8,
    /// The limit that the peer went over.
    limit: Option<Limit>,
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
            rustls_records: 0,
            limit: None,
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
            Session::Records(records) => return records.certified(),
            Session::Lost => None,
        };
        chain.is_some_and(|chain| !chain.is_empty())
    }

    /// The limit that the peer went over, where it did.
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// What was agreed on with a client.
    pub(crate) fn agreed(&self) -> Agreed {
        match &self.session {
            Session::Server(tls) => {
                Agreed { version: tls.protocol_version(), suite: tls.negotiated_cipher_suite() }
            }
            Session::Records(records) => records.agreed(),
            Session::Client(_) | Session::Lost => Agreed::default(),
        }
    }

    /// Whether a client resumed a session; known right after the handshake.
    pub(crate) fn is_resumed(&self) -> bool {
        let Session::Server(tls) = &self.session else { return false };
        tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The protocol that ALPN chose.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match &self.session {
            Session::Server(tls) => tls.alpn_protocol(),
            Session::Client(tls) => tls.alpn_protocol(),
            Session::Records(records) => records.alpn(),
            Session::Lost => None,
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
                Ok(Step::Again | Step::Opened(_)) => {}
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
            let step = match self.open(into) {
                Ok(step) => step,
                Err(error) => {
                    // The alert tells the peer; whether it arrives decides nothing.
                    let _ = self.poll_flush(cx);
                    return Poll::Ready(Err(error));
                }
            };
            match step {
                Step::Again => {}
                Step::Opened(n) => return Poll::Ready(Ok(n)),
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

    /// Opens at most one received record, into `into` where it has the room.
    fn open(&mut self, into: &mut Lent) -> io::Result<Step> {
        let Session::Records(records) = &mut self.session else {
            return self.step().map_err(invalid);
        };
        let Some(sealed) = &mut self.sealed_in else { return Ok(Step::Open) };
        open(records, sealed, into, &mut self.plain_in).map_err(|fault| {
            self.plain_in.clear();
            if let RecordFault::Peer(RecordError::TooManyIdle) = fault {
                self.limit = Some(Limit::TlsIdleRecords);
            }
            if let RecordFault::Peer(error) = fault
                && !self.failed
            {
                let _ = records.refuse(error, self.sealed_out.get_or_insert_with(Lent::take));
            }
            self.failed = true;
            invalid(fault)
        })
    }

    /// Has rustls open at most one received record or seal one handshake message.
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
            Session::Records(_) | Session::Lost => (0, Err(rustls::Error::HandshakeNotComplete)),
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
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Session::Records(records) = &mut self.session else {
            return self.seal_by_rustls(plain);
        };
        if !plain.is_empty() {
            let out = self.sealed_out.get_or_insert_with(Lent::take);
            if let Err(fault) = records.seal(plain, out) {
                self.failed = true;
                return Err(invalid(fault));
            }
        }
        Ok(plain.len())
    }

    fn seal_by_rustls(&mut self, plain: &[u8]) -> io::Result<usize> {
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
                Session::Records(_) | Session::Lost => (0, Ok(Sealed::Refused)),
            };
            let (discard, sealed) = sealed;
            if let Some(buffer) = &mut self.sealed_in {
                buffer.consume(discard);
            }
            match sealed.map_err(invalid)? {
                Sealed::Done => {
                    if !plain.is_empty() {
                        self.take_records()?;
                    }
                    return Ok(plain.len());
                }
                Sealed::Again => {}
                Sealed::Ended => self.ended = true,
                Sealed::Refused => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Takes the keys from rustls where they can be taken. It has just sealed data; a record or a
    /// message that it has begun to read stays in `sealed_in`, and it is left alone then.
    fn take_records(&mut self) -> io::Result<()> {
        let Session::Server(tls) = &self.session else { return Ok(()) };
        self.rustls_records = (self.rustls_records + 1).min(RUSTLS_RECORDS);
        if self.rustls_records < RUSTLS_RECORDS
            || self.ended
            || self.failed
            || self.sealed_in.as_ref().is_some_and(|received| !received.is_empty())
            || !Records::fit(tls)
        {
            return Ok(());
        }
        if let Session::Server(tls) = mem::replace(&mut self.session, Session::Lost) {
            self.failed = true;
            self.session = Session::Records(Records::take(tls).map_err(invalid)?);
            self.failed = false;
        }
        Ok(())
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
                Session::Records(records) => {
                    let out = self.sealed_out.get_or_insert_with(Lent::take);
                    // Where no number is left, the end looks like a cut, which is the safe side.
                    let _ = records.close(out);
                }
                Session::Lost => {}
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

fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Opens the first record of `sealed`, into `into` where it has the room, else into `plain`.
fn open(
    records: &mut Records,
    sealed: &mut Lent,
    into: &mut Lent,
    plain: &mut Vec<u8>,
) -> Result<Step, RecordFault> {
    let Some(record) = tls_record::first(sealed.filled())? else { return Ok(Step::Open) };
    let (bytes, len) = (record.bytes(), record.sealed.len());
    let step = if let Some(room) = into.space().get_mut(..len) {
        match records.open(&record, room)? {
            Content::Closed => Step::Ended,
            Content::Data(n @ 1..) => {
                into.fill(n);
                Step::Opened(n)
            }
            _ => Step::Again,
        }
    } else {
        plain.resize(len, 0);
        let content = records.open(&record, plain)?;
        plain.truncate(if let Content::Data(n) = content { n } else { 0 });
        if content == Content::Closed { Step::Ended } else { Step::Again }
    };
    sealed.consume(bytes);
    Ok(step)
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
