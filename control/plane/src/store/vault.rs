//! Secrets at rest: what must not lie on a disk in the clear is sealed before it is stored.
//!
//! A sealed secret is `{"$secret": BASE64}` in its object: version, number of the key, nonce, and
//! AES-256-GCM-SIV over the text, bound to the name of the object, so that it opens nowhere else.
//! The keys are lines of a file that only its owner reads; the first seals, all open, so that a new
//! first line is a new key.

use super::error::StoreError;
use super::key::Key;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The only member of a sealed secret.
const MEMBER: &str = "$secret";
/// The first octet of a sealed secret.
const VERSION: u8 = 1;
/// Octets of a key.
const KEY_LEN: usize = 32;
/// Octets by which the key is found that sealed: the first ones of its SHA-256.
const NUMBER_LEN: usize = 4;
/// Keys in a file: one that seals, and those that are being replaced.
const KEYS_MAX: usize = 16;

/// The keys of a control plane.
pub struct Vault {
    place: String,
    keys: Vec<([u8; NUMBER_LEN], LessSafeKey)>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Vault {
    /// Reads the keys in `path`, made with one key and mode 0600 where there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, others may read it, or a line is no key.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let fault = |what: String| StoreError::File { path: place.clone(), what };
        if !path.exists() {
            make(path).map_err(|error| fault(format!("make a key: {error}")))?;
        }
        let unreadable = |error: io::Error| fault(format!("read: {error}"));
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            let what = format!("mode {:o}: others may read the keys; chmod 600", mode & 0o777);
            return Err(fault(what));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let octets = STANDARD.decode(text.trim()).unwrap_or_default();
            let unbound = UnboundKey::new(&AES_256_GCM_SIV, &octets)
                .map_err(|_| fault(format!("line {line}: not {KEY_LEN} octets in base64")))?;
            keys.push((number(&octets), LessSafeKey::new(unbound)));
        }
        match keys.len() {
            0 => Err(fault("holds no key; restore it, or remove the file for a new one".into())),
            1..=KEYS_MAX => Ok(Self { place, keys }),
            more => Err(fault(format!("{more} keys; at most {KEYS_MAX}"))),
        }
    }

    /// Seals `secret` for the object `key`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, key: &Key, secret: &str) -> Result<Value, StoreError> {
        let failed = || self.fault(key, "cannot be sealed: no randomness");
        let (number, first) = self.keys.first().ok_or_else(failed)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| failed())?;
        let mut octets = vec![VERSION];
        octets.extend(number);
        octets.extend(nonce);
        let mut text = secret.as_bytes().to_vec();
        let (nonce, bound) = (Nonce::assume_unique_for_key(nonce), Aad::from(key.as_str()));
        first.seal_in_place_append_tag(nonce, bound, &mut text).map_err(|_| failed())?;
        octets.extend(text);
        Ok(json!({ MEMBER: STANDARD.encode(octets) }))
    }

    /// The secret that was sealed for the object `key`.
    ///
    /// # Errors
    /// When `sealed` is none, was made for another object, was changed, or its key is gone.
    pub fn open_sealed(&self, key: &Key, sealed: &Value) -> Result<String, StoreError> {
        let text = sealed_text(sealed).ok_or_else(|| self.fault(key, "is no sealed secret"))?;
        let octets = STANDARD.decode(text).unwrap_or_default();
        let broken = || self.fault(key, "cannot be opened: changed, or made for another object");
        let (head, rest) = octets.split_at_checked(1 + NUMBER_LEN).ok_or_else(broken)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
        if head.first() != Some(&VERSION) {
            return Err(broken());
        }
        let found = self.keys.iter().find(|(number, _)| head.ends_with(number));
        let missing = || self.fault(key, "cannot be opened: its key is not in the file of keys");
        let (_, opener) = found.ok_or_else(missing)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut text = rest.to_vec();
        let open = opener.open_in_place(nonce, Aad::from(key.as_str()), &mut text);
        let open = open.map_err(|_| broken())?;
        String::from_utf8(open.to_vec()).map_err(|_| broken())
    }

    fn fault(&self, key: &Key, what: &str) -> StoreError {
        StoreError::File { path: self.place.clone(), what: format!("a secret of {key} {what}") }
    }
}

/// Whether a value is a sealed secret.
#[must_use]
pub fn is_sealed(value: &Value) -> bool {
    sealed_text(value).is_some()
}

/// `value` with `(secret)` in place of sealed secrets, for people.
#[must_use]
pub fn redacted(value: &Value) -> Value {
    match value {
        sealed if is_sealed(sealed) => Value::from("(secret)"),
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(members) => {
            let redact = |(name, value): (&String, &Value)| (name.clone(), redacted(value));
            Value::Object(members.iter().map(redact).collect::<Map<_, _>>())
        }
        plain => plain.clone(),
    }
}

fn sealed_text(value: &Value) -> Option<&str> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.get(MEMBER)?.as_str()
}

fn number(octets: &[u8]) -> [u8; NUMBER_LEN] {
    let hash = digest::digest(&digest::SHA256, octets);
    let mut number = [0; NUMBER_LEN];
    number.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    number
}

fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_LEN];
    rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", STANDARD.encode(key))?;
    file.sync_all()
}
