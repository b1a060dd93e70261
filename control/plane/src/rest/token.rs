//! Tokens: how one is made, what the store keeps of it, and what its holder may do.
//!
//! A token is 40 characters of 238 random bits, printed once. The store keeps its id and a salted
//! SHA-256: with that much randomness there is nothing to guess, so that a slow hash would protect
//! nothing. The id is the first half of another SHA-256 of the token, by which it is found; it
//! tells of the token as little as the hash does.

use crate::store::{Key, KeyError};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use control_api::time;
use core_model::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Characters of a token, as Cloudflare's have.
pub const TOKEN_CHARACTERS: usize = 40;
/// The characters: 62 of them, so that a token survives a double click and a URL.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Where tokens are kept.
pub(crate) const FOLDER: &str = "tokens";

/// What the holder may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything of its kind, also what is made later.
    All,
    /// These ids.
    Only(Vec<String>),
}

impl Reach {
    /// Whether an id is among them.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.iter().any(|own| own == id),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::All => json!("all"),
            Self::Only(ids) => json!(ids),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        if value.as_str() == Some("all") {
            return Some(Self::All);
        }
        let ids = value.as_array()?.iter().map(|id| id.as_str().map(str::to_owned));
        ids.collect::<Option<_>>().map(Self::Only)
    }
}

/// What the store has of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// The user that it speaks for.
    pub user: String,
    /// E-mail address of that user, for clients that send a key with it.
    pub email: String,
    /// Accounts that it reaches.
    pub accounts: Reach,
    /// Zones of these accounts that it reaches; with `Only`, nothing else of the accounts.
    pub zones: Reach,
    /// Whether it may change things, and not only read.
    pub edit: bool,
    /// Sources that it is taken from; empty is everywhere.
    pub sources: Vec<IpNet>,
    /// When it was made, in microseconds since 1970.
    pub created_us: u64,
    /// When it ends, in microseconds since 1970.
    pub expires_us: Option<u64>,
    /// Hexadecimal salt.
    salt: String,
    /// Hexadecimal SHA-256 of salt and token.
    hash: String,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What the operator calls it.
    pub name: String,
    /// The user that it speaks for.
    pub user: String,
    /// E-mail address of that user.
    pub email: String,
    /// Accounts that it reaches.
    pub accounts: Reach,
    /// Zones that it reaches.
    pub zones: Reach,
    /// Whether it may change things.
    pub edit: bool,
    /// Sources that it is taken from.
    pub sources: Vec<IpNet>,
    /// When it is made, in microseconds since 1970.
    pub created_us: u64,
    /// When it ends, in microseconds since 1970.
    pub expires_us: Option<u64>,
}

/// A token that was just made. Only whoever asked for it sees the text.
#[derive(Debug)]
pub struct Fresh {
    /// The token itself, to be shown once.
    pub text: String,
    /// What the store keeps.
    pub token: Token,
}

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes; see getrandom(2)")]
pub struct NoRandomness;

/// Random octets.
///
/// # Errors
/// [`NoRandomness`].
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

impl Token {
    /// Makes a token.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn make(grant: Grant) -> Result<Fresh, NoRandomness> {
        let mut text = String::with_capacity(TOKEN_CHARACTERS);
        while text.len() < TOKEN_CHARACTERS {
            for octet in random::<64>()? {
                // 248 is four times 62: below it every character is as likely as any other.
                let place = usize::from(octet % 62);
                if octet < 248 && text.len() < TOKEN_CHARACTERS {
                    text.extend(ALPHABET.get(place).map(|byte| char::from(*byte)));
                }
            }
        }
        let salt = hex(&random::<SALT_BYTES>()?);
        let token = Self {
            id: id_of(&text),
            name: grant.name,
            user: grant.user,
            email: grant.email,
            accounts: grant.accounts,
            zones: grant.zones,
            edit: grant.edit,
            sources: grant.sources,
            created_us: grant.created_us,
            expires_us: grant.expires_us,
            hash: hash_of(&salt, &text),
            salt,
        };
        Ok(Fresh { text, token })
    }

    /// Where the store has it.
    ///
    /// # Errors
    /// Never for a token that was made here.
    pub fn key(&self) -> Result<Key, KeyError> {
        Key::of(&[FOLDER, &self.id])
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        json!({
            "id": self.id, "name": self.name, "user": self.user, "email": self.email,
            "accounts": self.accounts.to_json(), "zones": self.zones.to_json(),
            "edit": self.edit, "sources": sources, "created_us": self.created_us,
            "expires_us": self.expires_us, "salt": self.salt, "hash": self.hash,
        })
    }

    /// As people are shown it: without what would let anybody use it.
    #[must_use]
    pub fn shown(&self) -> Value {
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        json!({
            "id": self.id,
            "name": self.name,
            "email": self.email,
            "accounts": self.accounts.to_json(),
            "zones": self.zones.to_json(),
            "permission": if self.edit { "edit" } else { "read" },
            "sources": sources,
            "created_on": time::timestamp(self.created_us),
            "expires_on": self.expires_us.map(time::timestamp),
        })
    }

    /// From the store; none where it is no token.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let sources = value.get("sources")?.as_array()?.iter();
        let sources = sources.map(|net| net.as_str()?.parse().ok()).collect::<Option<Vec<_>>>()?;
        Some(Self {
            id: text("id")?,
            name: text("name")?,
            user: text("user")?,
            email: text("email")?,
            accounts: Reach::from_json(value.get("accounts")?)?,
            zones: Reach::from_json(value.get("zones")?)?,
            edit: value.get("edit")?.as_bool()?,
            sources,
            created_us: value.get("created_us")?.as_u64()?,
            expires_us: value.get("expires_us").and_then(Value::as_u64),
            salt: text("salt")?,
            hash: text("hash")?,
        })
    }

    /// Whether `text` is this token, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let found = hash_of(&self.salt, text);
        verify_slices_are_equal(found.as_bytes(), self.hash.as_bytes()).is_ok()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ended(&self, now_us: u64) -> bool {
        self.expires_us.is_some_and(|end| end <= now_us)
    }

    /// Whether it is taken from this source.
    #[must_use]
    pub fn comes_from(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.sources.is_empty() || self.sources.iter().any(|net| net.contains(source))
    }
}

/// The id of the token of this text.
#[must_use]
pub(crate) fn id_of(text: &str) -> String {
    let mut id = hex(&sha256(&[b"weir token id\0", text.as_bytes()]));
    id.truncate(32);
    id
}

fn hash_of(salt: &str, text: &str) -> String {
    hex(&sha256(&[b"weir token\0", salt.as_bytes(), text.as_bytes()]))
}

/// SHA-256 of parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// Hexadecimal digits of octets.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            name: "n".to_owned(),
            user: "u".to_owned(),
            email: "a@b.test".to_owned(),
            accounts: Reach::All,
            zones: Reach::Only(vec!["z".to_owned()]),
            edit: true,
            sources: vec!["10.0.0.0/8".parse().expect("a net")],
            created_us: 5,
            expires_us: Some(9),
        }
    }

    #[test]
    fn a_token_is_shown_once_and_known_again() {
        let fresh = Token::make(grant()).expect("random");
        let stored = fresh.token.to_json();
        assert_eq!(fresh.text.len(), TOKEN_CHARACTERS);
        assert!(!stored.to_string().contains(&fresh.text), "the store has the token itself");
        let read = Token::from_json(&stored).expect("a token");
        assert_eq!(read, fresh.token);
        assert_eq!(read.id, id_of(&fresh.text));
        assert!(read.is(&fresh.text));
        assert!(!read.is(&fresh.text.to_lowercase()));
        assert!(!read.is(""));
    }

    #[test]
    fn a_token_ends_and_is_taken_from_its_sources() {
        let token = Token::make(grant()).expect("random").token;
        assert!(!token.ended(8) && token.ended(9));
        for (source, expect) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.1.2.3", false), ("::1", false)]
        {
            assert_eq!(token.comes_from(source.parse().expect("ip")), expect, "{source}");
        }
    }

    #[test]
    fn tokens_differ() {
        let one = Token::make(grant()).expect("random");
        let two = Token::make(grant()).expect("random");
        assert_ne!(one.text, two.text);
        assert!(!one.token.is(&two.text));
    }
}
