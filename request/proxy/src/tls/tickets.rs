//! Session tickets (RFC 5077, RFC 8446 §4.6.1) sealed under keys that rotate and may be shared.
//!
//! A ticket is `key name (16) ‖ nonce (12) ‖ AES-256-GCM(state)`. The listener's name and what it
//! asks of client certificates are authenticated with it: a ticket resumes nothing at another
//! listener, nor where other authorities vouch for clients or others are revoked, since no
//! certificate is shown again.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use core_model::config::{ClientAuth, PinnedBytes, RevocationLists};
use process_runtime::handover::TicketKeys;
use rustls::server::ProducesTickets;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a client may keep a ticket (rustls sends it as the lifetime), seconds.
const TICKET_LIFETIME_S: u32 = 12 * 3600;
/// Bytes of a key's name.
const NAME_BYTES: usize = 16;
/// Largest ticket that is looked at.
const TICKET_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the secret of a key made here.
const SECRET_BYTES: usize = 64;
/// Keys of a listener: a ticket lives three rotations of the default length.
const KEYS_MAX: usize = 4;

struct Key {
    name: [u8; NAME_BYTES],
    seal: LessSafeKey,
    /// Of a key made here, for the process that takes over.
    secret: Option<[u8; SECRET_BYTES]>,
}

impl Key {
    /// A key out of its secret. Its name is derived, so that a fleet agrees on it.
    fn new(secret: &[u8]) -> Option<Self> {
        let hashed = digest::digest(&digest::SHA512, secret);
        let (key, name) = hashed.as_ref().split_at(32);
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        Some(Self { name: name.get(..NAME_BYTES)?.try_into().ok()?, seal, secret: None })
    }

    fn own(secret: [u8; SECRET_BYTES]) -> Option<Self> {
        Some(Self { secret: Some(secret), ..Self::new(&secret)? })
    }

    fn random() -> Option<Self> {
        let mut secret = [0; SECRET_BYTES];
        rand::fill(&mut secret).ok()?;
        Self::own(secret)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

#[derive(Debug)]
struct Ring {
    /// The first one seals; all of them open.
    keys: Vec<Arc<Key>>,
    made: Instant,
    /// Rotation of keys made here; none for keys out of a file.
    rotation: Option<Duration>,
}

/// The ticket keys of one listener.
#[derive(Debug)]
pub(crate) struct Tickets {
    ring: Mutex<Ring>,
    /// Who is let in.
    clients: digest::Digest,
    /// What a ticket is bound to: that, and the listener.
    scope: digest::Digest,
}

/// A digest of parts, with lengths in front so that no two lists of parts give the same bytes.
fn digest_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish()
}

/// A digest of who is let in. A fleet with the same settings agrees on it.
fn clients(client_auth: &ClientAuth, crls: &[RevocationLists]) -> digest::Digest {
    let (mode, authorities) = match client_auth {
        ClientAuth::None => (0, &[][..]),
        ClientAuth::Optional { authorities, .. } => (1, authorities.as_slice()),
        ClientAuth::Required { authorities, .. } => (2, authorities.as_slice()),
    };
    let count = (authorities.len() as u64).to_be_bytes();
    let lists = crls.iter().flat_map(|file| &file.lists);
    let ders = authorities.iter().chain(lists).map(|der| &*der.0);
    digest_of([&[mode][..], &count].into_iter().chain(ders))
}

impl Tickets {
    /// Keys out of a file, newest first, or made here and rotated where there are none. `None`
    /// where the system gives no randomness.
    pub(crate) fn new(
        listener: &str,
        client_auth: &ClientAuth,
        crls: &[RevocationLists],
        keys: &[PinnedBytes],
        rotation: Duration,
    ) -> Option<Self> {
        let shared: Vec<_> = keys.iter().filter_map(|key| Key::new(&key.0).map(Arc::new)).collect();
        let own = shared.is_empty();
        let keys = if own { vec![Arc::new(Key::random()?)] } else { shared };
        let ring = Ring { keys, made: Instant::now(), rotation: own.then_some(rotation) };
        let clients = clients(client_auth, crls);
        let scope = digest_of([listener.as_bytes(), clients.as_ref()].into_iter());
        Some(Self { ring: Mutex::new(ring), clients, scope })
    }

    /// Whether both listeners let the same clients in.
    pub(crate) fn lets_in_the_same(&self, other: &Self) -> bool {
        self.clients.as_ref() == other.clients.as_ref()
    }

    /// Takes the keys that the process before this one made for the listener, in place of those
    /// made here. Keys of a file stay, and so do new ones where those make no sense.
    pub(crate) fn inherit(&self, keys: &TicketKeys) {
        let secrets = keys.secrets.iter().take(KEYS_MAX);
        let found = secrets.filter_map(|text| Key::own(secret_of(text)?).map(Arc::new));
        let found: Vec<_> = found.collect();
        let made = Instant::now().checked_sub(Duration::from_millis(keys.age_ms));
        let mut ring = self.ring();
        if ring.rotation.is_some()
            && let (Some(made), false) = (made, found.is_empty())
        {
            (ring.keys, ring.made) = (found, made);
        }
    }

    /// The keys, where they were made here: those of a file are read by whoever takes over.
    pub(crate) fn export(&self, listener: &str) -> Option<TicketKeys> {
        let ring = self.ring();
        ring.rotation?;
        let secrets = ring.keys.iter().filter_map(|key| key.secret.as_ref().map(text_of));
        Some(TicketKeys {
            listener: listener.to_owned(),
            age_ms: u64::try_from(ring.made.elapsed().as_millis()).unwrap_or(u64::MAX),
            secrets: secrets.collect(),
        })
    }

    /// Takes the lock for a copy of a pointer; once a handshake.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rotation) = ring.rotation
            && ring.made.elapsed() >= rotation
            && let Some(key) = Key::random()
        {
            ring.made = Instant::now();
            ring.keys.insert(0, Arc::new(key));
            ring.keys.truncate(KEYS_MAX);
        }
        ring
    }
}

fn text_of(secret: &[u8; SECRET_BYTES]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret_of(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.ring().keys.first()?.clone();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_LEN + plain.len() + 16);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        key.seal
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.scope.as_ref()),
                &mut sealed,
            )
            .ok()?;
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.ring().keys.iter().find(|key| key.name == name)?.clone();
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let scope = Aad::from(self.scope.as_ref());
        let len = key.seal.open_in_place(nonce, scope, &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(byte: u8) -> PinnedBytes {
        PinnedBytes(vec![byte; 80].into())
    }

    #[test]
    fn a_fleet_with_the_same_keys_opens_each_others_tickets() {
        let hour = Duration::from_secs(3600);
        let none = ClientAuth::None;
        let one = Tickets::new("web", &none, &[], &[pinned(1)], hour).unwrap();
        let two = Tickets::new("web", &none, &[], &[pinned(2), pinned(1)], hour).unwrap();
        let ticket = one.encrypt(b"state").unwrap();
        assert_eq!(two.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(one.decrypt(&two.encrypt(b"x").unwrap()), None);
    }

    #[test]
    fn a_ticket_of_another_listener_or_a_changed_one_opens_nothing() {
        let hour = Duration::from_secs(3600);
        let none = ClientAuth::None;
        let one = Tickets::new("web", &none, &[], &[pinned(1)], hour).unwrap();
        let other = Tickets::new("admin", &none, &[], &[pinned(1)], hour).unwrap();
        let mut ticket = one.encrypt(b"state").unwrap();
        assert_eq!(other.decrypt(&ticket), None);
        *ticket.last_mut().unwrap() ^= 1;
        assert_eq!(one.decrypt(&ticket), None);
        for short in 0..ticket.len() {
            assert_eq!(one.decrypt(&ticket[..short]), None);
        }
    }

    #[test]
    fn a_ticket_from_before_a_change_of_who_is_let_in_opens_nothing() {
        let required = |bytes: &[u8]| ClientAuth::Required {
            authorities: bytes.iter().map(|byte| pinned(*byte)).collect(),
            file: "ca.pem".into(),
        };
        let optional = ClientAuth::Optional { authorities: vec![pinned(7)], file: "ca.pem".into() };
        let all = [ClientAuth::None, optional, required(&[7]), required(&[8]), required(&[7, 8])];
        let hour = Duration::from_secs(3600);
        let revoked = |bytes: &[u8]| RevocationLists {
            file: "ca.crl".into(),
            lists: bytes.iter().map(|byte| pinned(*byte)).collect(),
            next_update: 0,
        };
        // The last one has the bytes of another: a list here, an authority there.
        let mut all: Vec<_> = all.into_iter().map(|auth| (auth, Vec::new())).collect();
        all.push((required(&[7]), vec![revoked(&[9])]));
        all.push((required(&[7]), vec![revoked(&[8])]));
        let keys = |(auth, crls): &(ClientAuth, Vec<RevocationLists>)| {
            Tickets::new("web", auth, crls, &[pinned(1)], hour).unwrap()
        };
        for (n, before) in all.iter().enumerate() {
            let ticket = keys(before).encrypt(b"state").unwrap();
            for (m, after) in all.iter().enumerate() {
                assert_eq!(keys(after).decrypt(&ticket).is_some(), n == m, "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn own_keys_rotate_and_old_ones_still_open() {
        let tickets = Tickets::new("web", &ClientAuth::None, &[], &[], Duration::ZERO).unwrap();
        let ticket = tickets.encrypt(b"state").unwrap();
        let next = tickets.encrypt(b"state").unwrap();
        assert_ne!(ticket.get(..16), next.get(..16));
        assert!(tickets.decrypt(&ticket).is_some());
    }

    #[test]
    fn keys_handed_over_open_the_tickets_of_the_process_before() {
        let (hour, none) = (Duration::from_secs(3600), ClientAuth::None);
        let own = |name: &str| Tickets::new(name, &none, &[], &[], hour).unwrap();
        let before = Tickets::new("web", &none, &[], &[], Duration::ZERO).unwrap();
        let tickets: Vec<_> = (0..3).map(|_| before.encrypt(b"state").unwrap()).collect();
        let keys = before.export("web").unwrap();
        assert_eq!(keys.secrets.len(), KEYS_MAX, "all that still open");
        let (after, third, other) = (own("web"), own("web"), own("other"));
        after.inherit(&keys);
        for ticket in &tickets {
            assert_eq!(after.decrypt(ticket).as_deref(), Some(&b"state"[..]));
        }
        // Both seal with the same key, so either opens what the other gives out meanwhile.
        let keys = after.export("web").unwrap();
        third.inherit(&keys);
        assert!(after.decrypt(&third.encrypt(b"x").unwrap()).is_some());
        assert!(!format!("{keys:?}").contains(&keys.secrets[0]), "no secret in a log");
        other.inherit(&keys);
        assert_eq!(other.decrypt(&tickets[0]), None, "of another listener");
    }

    #[test]
    fn keys_that_make_no_sense_and_keys_for_those_of_a_file_are_left() {
        let (hour, none) = (Duration::from_secs(3600), ClientAuth::None);
        for secrets in [vec![], vec!["".into()], vec!["é".repeat(64)], vec!["ab".repeat(63)]] {
            let keys = TicketKeys { listener: "web".into(), age_ms: 0, secrets };
            let tickets = Tickets::new("web", &none, &[], &[], hour).unwrap();
            let ticket = tickets.encrypt(b"state").unwrap();
            tickets.inherit(&keys);
            assert!(tickets.decrypt(&ticket).is_some(), "{keys:?}");
        }
        let shared = Tickets::new("web", &none, &[], &[pinned(1)], hour).unwrap();
        assert_eq!(shared.export("web"), None, "keys of a file are read again");
        let ticket = shared.encrypt(b"state").unwrap();
        shared.inherit(&Tickets::new("web", &none, &[], &[], hour).unwrap().export("web").unwrap());
        assert!(shared.decrypt(&ticket).is_some(), "keys of a file stay");
    }
}
