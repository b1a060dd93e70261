//! What an operator does beside the API: the first account, and tokens.

use super::handle::{account_key, new_account};
use super::lifecycle::micros;
use super::reply::Refusal;
use super::token::{FOLDER, Fresh, Grant, NoRandomness, Reach, Token, random};
use crate::store::{ChangeError, Draft, Keeper, Key, KeyError, State, Who};
use control_api::id;
use core_model::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Tokens of one store.
const TOKENS_MAX: usize = 100_000;
/// The name of the account that a fresh store gets.
pub const FIRST_ACCOUNT: &str = "Weir";
/// The user of tokens for which none is named; `.invalid` is nobody's (RFC 2606 §2).
pub const FIRST_EMAIL: &str = "operator@weir.invalid";

/// Why an operator's command was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no account or zone of this name or id.
    #[error("there is no {kind} {asked}; there are: {known}")]
    Unknown {
        /// `account` or `zone`.
        kind: &'static str,
        /// What was asked for.
        asked: String,
        /// Some that are there.
        known: String,
    },
    /// There is no such token.
    #[error("there is no token {0}; `weir token list` shows those that are")]
    NoToken(String),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens; revoke some")]
    Many,
    /// The time of the end lies too far away.
    #[error("the token would never end; leave the time away")]
    Far,
    /// The system has no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A name cannot be part of a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error("{0}")]
    Store(String),
}

impl From<ChangeError<Self>> for OperatorError {
    fn from(error: ChangeError<Self>) -> Self {
        match error {
            ChangeError::Edit(own) => own,
            other => Self::Store(other.to_string()),
        }
    }
}

/// What a new token is to be, as an operator says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// What it is called.
    pub name: String,
    /// The user that it speaks for.
    pub email: String,
    /// Names or ids of accounts; empty is all.
    pub accounts: Vec<String>,
    /// Names or ids of zones; empty is all of the accounts.
    pub zones: Vec<String>,
    /// Whether it may only read.
    pub read_only: bool,
    /// Sources that it is taken from; empty is everywhere.
    #[serde(with = "nets")]
    pub sources: Vec<IpNet>,
    /// How long it lasts; none is until it is revoked.
    pub lasts: Option<Duration>,
}

/// Prefixes as texts.
mod nets {
    use core_model::IpNet;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(nets: &[IpNet], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(nets.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let wrong = |text: &String| D::Error::custom(format!("`{text}` is no prefix"));
        texts.iter().map(|text| text.parse().map_err(|_| wrong(text))).collect()
    }
}

/// Makes the account of a fresh store, so that there is something that tokens can reach.
///
/// # Errors
/// What the store says.
pub async fn first_account(keeper: &Keeper, who: &Who) -> Result<(), OperatorError> {
    let now_us = micros();
    let octets = random::<16>()?;
    let change = keeper.change(who, "first account", now_us / 1_000, |draft| {
        if !children(draft, "accounts")?.is_empty() {
            return Ok(());
        }
        let id = id::id(octets);
        let sent = Map::from_iter([("name".to_owned(), json!(FIRST_ACCOUNT))]);
        let key = account_key(&id).map_err(|refusal| OperatorError::Store(said(&refusal)))?;
        draft.put(key, Value::Object(new_account(&id, sent, now_us)));
        Ok(())
    });
    change.await.map(drop).map_err(OperatorError::from)
}

fn said(refusal: &Refusal) -> String {
    refusal.errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; ")
}

/// Makes a token. The answer has its text, which nobody can ask for again.
///
/// # Errors
/// See [`OperatorError`].
pub async fn create_token(keeper: &Keeper, who: &Who, wish: &Wish) -> Result<Fresh, OperatorError> {
    let now_us = micros();
    let user = id::id(random::<16>()?);
    let lasts = wish.lasts.map(|lasts| u64::try_from(lasts.as_micros()));
    let ends = match lasts.transpose().map_err(|_| OperatorError::Far)? {
        None => None,
        Some(lasts) => Some(now_us.checked_add(lasts).ok_or(OperatorError::Far)?),
    };
    let what = format!("token create {}", wish.name);
    let (fresh, _) = keeper
        .change(who, &what, now_us / 1_000, |draft| {
            if children(draft, FOLDER)?.len() >= TOKENS_MAX {
                return Err(OperatorError::Many);
            }
            let fresh = Token::make(Grant {
                name: wish.name.clone(),
                user: user_of(draft, &wish.email, &user)?,
                email: wish.email.clone(),
                accounts: reach(draft, "account", "accounts", &wish.accounts)?,
                zones: reach(draft, "zone", "zones", &wish.zones)?,
                edit: !wish.read_only,
                sources: wish.sources.clone(),
                created_us: now_us,
                expires_us: ends,
            })?;
            draft.put(fresh.token.key()?, fresh.token.to_json());
            Ok(fresh)
        })
        .await?;
    Ok(fresh)
}

/// All tokens, the oldest first.
///
/// # Errors
/// Never.
pub fn tokens(state: &State) -> Result<Vec<Token>, OperatorError> {
    Ok(children(state, FOLDER)?.into_iter().filter_map(|(_, v)| Token::from_json(v)).collect())
}

/// Takes a token back.
///
/// # Errors
/// [`OperatorError::NoToken`], and what the store says.
pub async fn revoke_token(keeper: &Keeper, who: &Who, id: &str) -> Result<(), OperatorError> {
    let none = || OperatorError::NoToken(id.to_owned());
    let key = Key::of(&[FOLDER, id]).map_err(|_| none())?;
    let what = format!("token revoke {id}");
    let change = keeper.change(who, &what, micros() / 1_000, |draft| {
        if draft.remove(&key) { Ok(()) } else { Err(none()) }
    });
    change.await.map(drop).map_err(OperatorError::from)
}

fn children<'a>(state: &'a State, folder: &str) -> Result<Vec<(&'a str, &'a Value)>, KeyError> {
    let children = state.children(&Key::new(folder)?);
    Ok(children.into_iter().map(|(key, stored)| (key.id(), stored.value.as_ref())).collect())
}

/// Some names, for people who typed another one.
const SHOWN_MAX: usize = 10;

fn reach(
    state: &State,
    kind: &'static str,
    folder: &str,
    asked: &[String],
) -> Result<Reach, OperatorError> {
    if asked.is_empty() {
        return Ok(Reach::All);
    }
    let all = children(state, folder)?;
    let name =
        |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut ids = Vec::new();
    for asked in asked {
        let found = all.iter().find(|(id, value)| id == asked || name(value) == *asked);
        let Some((id, _)) = found else {
            let known: Vec<String> = all.iter().take(SHOWN_MAX).map(|(_, v)| name(v)).collect();
            let known = known.join(", ");
            return Err(OperatorError::Unknown { kind, asked: asked.clone(), known });
        };
        ids.push((*id).to_owned());
    }
    Ok(Reach::Only(ids))
}

/// The user of an address, made where there is none.
fn user_of(draft: &mut Draft<'_>, email: &str, fresh: &str) -> Result<String, OperatorError> {
    let users = children(draft, "users")?;
    let same = |value: &Value| {
        value
            .get("email")
            .and_then(Value::as_str)
            .is_some_and(|own| own.eq_ignore_ascii_case(email))
    };
    if let Some((id, _)) = users.iter().find(|(_, value)| same(value)) {
        return Ok((*id).to_owned());
    }
    draft.put(Key::of(&["users", fresh])?, json!({ "id": fresh, "email": email }));
    Ok(fresh.to_owned())
}
