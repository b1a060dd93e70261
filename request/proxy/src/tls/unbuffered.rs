//! One step of rustls' unbuffered connection, whichever end it is: what it wants is done, with
//! bytes of the caller's buffers.

use crate::buffers::Lent;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

/// What a step over the received records came to.
pub(super) enum Step {
    /// Something was done; another step may do more.
    Again,
    /// This many bytes of plain text are in the reader's buffer.
    Opened(usize),
    /// Received bytes are used up and plain text may be sent.
    Open,
    /// Received bytes are used up in the middle of the handshake.
    Handshaking,
    /// The peer ended its direction.
    Ended,
}

/// One step; also says how many received bytes are used up.
pub(super) fn advance<D>(
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

/// What came of sealing.
pub(super) enum Sealed {
    /// It is in the output.
    Done,
    /// Something else came first.
    Again,
    /// The peer ended its direction.
    Ended,
    /// Nothing can be sealed any more.
    Refused,
}

/// Seals `plain` where the connection is open for it.
pub(super) fn seal<D>(
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
                Step::Again | Step::Opened(_) | Step::Open => Sealed::Again,
            });
            (discard, sealed)
        }
    }
}

/// Seals a close_notify where one may be sent.
pub(super) fn close<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Option<Lent>) {
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        let out = out.get_or_insert_with(Lent::take);
        let n = traffic.queue_close_notify(out.room(64)).unwrap_or(0);
        out.fill(n);
    }
}
