//! Records of an established TLS 1.3 connection, sealed and opened from buffer to buffer.
//!
//! rustls does the handshake and keeps the key schedule; this takes the keys from it
//! (docs/decisions, 0019). What a record may say is `core_wire::tls_record`'s to judge.

#[cfg(test)]
mod tests;

use crate::buffers::Lent;
use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use core_wire::tls_record::{
    self, ALERT, APPLICATION_DATA, CLOSE_NOTIFY, Content, HANDSHAKE, HEADER_BYTES, KEY_UPDATE,
    NONCE_BYTES, OVERHEAD_BYTES, PLAIN_BYTES_MAX, Receiving, Record, RecordError, Sending,
};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedCipherSuite};

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordFault {
    /// The peer's fault, or of whoever is between; it is told by an alert.
    #[error("the peer's record cannot be taken: {0}")]
    Peer(#[from] RecordError),
    /// The peer gave up.
    #[error("the peer ended the connection with TLS alert {0}")]
    Alert(u8),
    /// Ours: rustls gave no keys, or the cipher took none.
    #[error("no keys for the connection")]
    Keys(#[source] Option<rustls::Error>),
    /// Ours: no number is left, or more plain text was given than a record holds.
    #[error("a record cannot be sealed")]
    Seal,
}

/// The key of one direction.
struct Key {
    aead: LessSafeKey,
    iv: [u8; NONCE_BYTES],
}

impl Key {
    fn new(secrets: &ConnectionTrafficSecrets) -> Result<Self, RecordFault> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(RecordFault::Keys(None)),
        };
        let aead = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| RecordFault::Keys(None))?;
        let iv = iv.as_ref().try_into().map_err(|_| RecordFault::Keys(None))?;
        Ok(Self { aead: LessSafeKey::new(aead), iv })
    }
}

/// The sending direction. It seals each record under a number of its own, which it gives out once.
struct Sealer {
    key: Key,
    numbers: Sending,
}

impl Sealer {
    /// Goes on under a key that nothing was sealed with; the numbers start again with it.
    fn renew(&mut self, key: Key) {
        self.key = key;
        self.numbers.renew();
    }

    /// Appends a record to `out`; `plain` has at most [`PLAIN_BYTES_MAX`] bytes.
    fn seal(&mut self, kind: u8, plain: &[u8], out: &mut Lent) -> Result<(), RecordFault> {
        if plain.len() > PLAIN_BYTES_MAX {
            return Err(RecordFault::Seal);
        }
        let nonce = self.numbers.nonce(&self.key.iv).ok_or(RecordFault::Seal)?;
        let bytes = plain.len() + OVERHEAD_BYTES;
        let record = out.room(bytes).get_mut(..bytes).ok_or(RecordFault::Seal)?;
        let (header, rest) =
            record.split_first_chunk_mut::<HEADER_BYTES>().ok_or(RecordFault::Seal)?;
        *header = tls_record::header(plain.len());
        let (sealed, tail) = rest.split_at_mut_checked(plain.len()).ok_or(RecordFault::Seal)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .aead
            .seal_out_of_place_scatter(nonce, Aad::from(*header), plain, sealed, &[kind], tail)
            .map_err(|_| RecordFault::Seal)?;
        out.fill(bytes);
        Ok(())
    }
}

/// The receiving direction.
struct Opener {
    key: Key,
    numbers: Receiving,
}

impl Opener {
    /// Opens the next record into `into`, which has the length of its sealed part.
    fn open(&mut self, record: &Record<'_>, into: &mut [u8]) -> Result<Content, RecordError> {
        let nonce = Nonce::assume_unique_for_key(self.numbers.nonce(&self.key.iv));
        let aad = Aad::from(*record.header);
        self.key
            .aead
            .open_separate_gather(nonce, aad, record.sealed, record.tag, into)
            .map_err(|_| RecordError::Forged)?;
        self.numbers.take(into)
    }
}

/// What of a connection's handshake is asked for later.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) suite: Option<SupportedCipherSuite>,
}

/// An established connection of TLS 1.3 without its handshake.
pub(crate) struct Records {
    /// Makes the next keys out of these.
    schedule: KernelConnection<ServerConnectionData>,
    sealer: Sealer,
    opener: Opener,
    /// A KeyUpdate goes out before the next data.
    update_owed: bool,
    alpn: Option<Box<[u8]>>,
    certified: bool,
}

impl Records {
    /// Whether `session` is one whose keys can be taken: its handshake is over, it has nothing to
    /// send, and its records are of TLS 1.3 and a cipher that is known here.
    pub(crate) fn fit(session: &UnbufferedServerConnection) -> bool {
        !session.is_handshaking()
            && !session.wants_write()
            && matches!(session.negotiated_cipher_suite(), Some(SupportedCipherSuite::Tls13(_)))
    }

    /// Takes the keys of a connection. All that it has received must be used up, and the last that
    /// happened to it is that it sealed data, since only that makes it let go of an answer to a
    /// KeyUpdate.
    ///
    /// # Errors
    /// When rustls does not give them.
    pub(crate) fn take(session: UnbufferedServerConnection) -> Result<Self, RecordFault> {
        Self::take_for(session, u64::MAX)
    }

    /// The same, with `records` under one key at most.
    fn take_for(session: UnbufferedServerConnection, records: u64) -> Result<Self, RecordFault> {
        let alpn = session.alpn_protocol().map(Box::from);
        let certified = session.peer_certificates().is_some_and(|chain| !chain.is_empty());
        let taken = session.dangerous_into_kernel_connection();
        let (secrets, schedule) = taken.map_err(|error| RecordFault::Keys(Some(error)))?;
        let limit = match schedule.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit.min(records),
            SupportedCipherSuite::Tls12(_) => return Err(RecordFault::Keys(None)),
        };
        let ((sent, ours), (received, theirs)) = (secrets.tx, secrets.rx);
        Ok(Self {
            schedule,
            sealer: Sealer { key: Key::new(&ours)?, numbers: Sending::new(sent, limit) },
            opener: Opener { key: Key::new(&theirs)?, numbers: Receiving::new(received) },
            update_owed: false,
            alpn,
            certified,
        })
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Whether the peer showed a certificate.
    pub(crate) fn certified(&self) -> bool {
        self.certified
    }

    pub(crate) fn agreed(&self) -> Agreed {
        Agreed {
            version: Some(self.schedule.protocol_version()),
            suite: Some(self.schedule.negotiated_cipher_suite()),
        }
    }

    /// Appends data as one record to `out`, behind a KeyUpdate where one is due. `plain` has at
    /// most [`PLAIN_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// When nothing can be sealed any more.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Lent) -> Result<(), RecordFault> {
        if self.update_owed || self.sealer.numbers.is_worn() {
            self.sealer.seal(HANDSHAKE, &KEY_UPDATE, out)?;
            let next = self.schedule.update_tx_secret();
            let (_, secrets) = next.map_err(|error| RecordFault::Keys(Some(error)))?;
            self.sealer.renew(Key::new(&secrets)?);
            self.update_owed = false;
        }
        self.sealer.seal(APPLICATION_DATA, plain, out)
    }

    /// Appends the alert that ends our direction.
    ///
    /// # Errors
    /// When nothing can be sealed any more.
    pub(crate) fn close(&mut self, out: &mut Lent) -> Result<(), RecordFault> {
        self.sealer.seal(ALERT, &CLOSE_NOTIFY, out)
    }

    /// Appends the alert that tells the peer of its fault.
    ///
    /// # Errors
    /// When nothing can be sealed any more.
    pub(crate) fn refuse(&mut self, fault: RecordError, out: &mut Lent) -> Result<(), RecordFault> {
        self.sealer.seal(ALERT, &[2, fault.alert()], out)
    }

    /// Opens `record`, the next one received, into `into`, which has the length of its sealed part.
    ///
    /// # Errors
    /// When the connection is over: the peer broke a rule, or told us that it gave up.
    pub(crate) fn open(
        &mut self,
        record: &Record<'_>,
        into: &mut [u8],
    ) -> Result<Content, RecordFault> {
        let content = self.opener.open(record, into)?;
        match content {
            Content::KeyUpdate { asked } => {
                let next = self.schedule.update_rx_secret();
                let (_, secrets) = next.map_err(|error| RecordFault::Keys(Some(error)))?;
                self.opener.key = Key::new(&secrets)?;
                self.update_owed |= asked;
            }
            Content::Fatal(alert) => return Err(RecordFault::Alert(alert)),
            Content::Data(_) | Content::Closed | Content::Nothing => {}
        }
        Ok(content)
    }
}
