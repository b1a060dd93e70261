//! Who calls, and what that token reaches.

use super::Site;
use super::reply::Refusal;
use super::route::{Route, Scope};
use super::token::{FOLDER, TOKEN_CHARACTERS, Token, id_of};
use crate::store::{Key, State};
use control_api::{Method, code, id};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::net::IpAddr;

/// Characters of a token or key that are looked at.
const SHOWN_MAX: usize = 256;
/// Cloudflare's other form: an e-mail address with the key of that user.
const EMAIL: &str = "x-auth-email";
const KEY: &str = "x-auth-key";

/// Whoever calls, by a token that is right.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The token.
    pub(crate) token: Token,
}

/// Where a call acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The account; for a zone, the one that it belongs to.
    pub(crate) account: Option<String>,
    /// The zone.
    pub(crate) zone: Option<String>,
}

impl Caller {
    /// Whether the token reaches all that belongs to an account.
    pub(crate) fn reaches_account(&self, account: &str) -> bool {
        self.token.zones == super::token::Reach::All && self.token.accounts.covers(account)
    }

    /// Whether the token reaches a zone of an account.
    pub(crate) fn reaches_zone(&self, account: &str, zone: &str) -> bool {
        self.token.accounts.covers(account) && self.token.zones.covers(zone)
    }

    /// Whether the token reaches every account there is and will be.
    pub(crate) fn reaches_all(&self) -> bool {
        use super::token::Reach::All;
        self.token.accounts == All && self.token.zones == All
    }
}

/// Finds out who calls. What is missing is told; which part of a wrong token is wrong is not.
pub(crate) fn authenticate(
    site: &Site,
    headers: &HeaderMap,
    source: IpAddr,
    now_us: u64,
) -> Result<Caller, Refusal> {
    let (text, email) = shown(headers)?;
    let key = Key::of(&[FOLDER, &id_of(text)]).map_err(|_| Refusal::denied())?;
    let stored = site.keeper.state().get(&key).map(|stored| stored.value.clone());
    let token = stored.and_then(|value| Token::from_json(&value)).ok_or_else(Refusal::denied)?;
    let right = token.is(text)
        && !token.ended(now_us)
        && token.comes_from(source)
        && email.is_none_or(|email| token.email.eq_ignore_ascii_case(email));
    if right { Ok(Caller { token }) } else { Err(Refusal::denied()) }
}

/// The token that a call shows, and the address that came with it.
fn shown(headers: &HeaderMap) -> Result<(&str, Option<&str>), Refusal> {
    let wrong =
        |what: &str| Refusal::new(code::HEADERS, format!("Invalid request headers: {what}"));
    let text = |name: &str| match headers.get(name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) if text.len() <= SHOWN_MAX => Ok(Some(text)),
            _ => Err(wrong(&format!("{name} is no text of at most {SHOWN_MAX} characters"))),
        },
    };
    if let Some(field) = text(AUTHORIZATION.as_str())? {
        let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Err(wrong("Authorization must be `Bearer` and a token"));
        }
        if token.len() != TOKEN_CHARACTERS || !token.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Refusal::denied());
        }
        return Ok((token, None));
    }
    match (text(EMAIL)?, text(KEY)?) {
        (Some(email), Some(key)) => Ok((key, Some(email))),
        (Some(_), None) => Err(wrong("X-Auth-Email without X-Auth-Key")),
        (None, Some(_)) => Err(wrong("X-Auth-Key without X-Auth-Email")),
        (None, None) => {
            Err(wrong("Authorization is missing, and so are X-Auth-Email and X-Auth-Key"))
        }
    }
}

/// Whether the caller may do this, and where it acts. An account or zone that the token does not
/// reach is denied whether it exists or not.
pub(crate) fn authorise(caller: &Caller, route: &Route, state: &State) -> Result<Place, Refusal> {
    let reads = route.operation.method == Method::Get;
    if !reads && !caller.token.edit {
        return Err(Refusal::denied());
    }
    match route.scope() {
        Scope::Any => Ok(Place::default()),
        Scope::User => user_place(caller, route, state),
        Scope::Account(account) => {
            let account = known_form(route, account)?;
            if !caller.reaches_account(&account) {
                return Err(Refusal::denied());
            }
            let key = Key::of(&["accounts", &account]).map_err(|_| Refusal::not_found())?;
            state.get(&key).ok_or_else(Refusal::not_found)?;
            Ok(Place { account: Some(account), zone: None })
        }
        Scope::Zone(zone) => {
            let zone = known_form(route, zone)?;
            let account = account_of_zone(state, &zone);
            match account {
                Some(account) if caller.reaches_zone(&account, &zone) => {
                    Ok(Place { account: Some(account), zone: Some(zone) })
                }
                None if caller.reaches_all() => Err(Refusal::not_found()),
                _ => Err(Refusal::denied()),
            }
        }
    }
}

/// An id that could be one.
fn known_form(route: &Route, text: String) -> Result<String, Refusal> {
    if id::is_id(&text) {
        return Ok(text);
    }
    let path = route.operation.path;
    let message = format!("Could not route to {path}, perhaps your object identifier is invalid?");
    Err(Refusal::new(code::NO_ROUTE, message))
}

/// The account that a zone belongs to.
pub(crate) fn account_of_zone(state: &State, zone: &str) -> Option<String> {
    let stored = state.get(&Key::of(&["zones", zone]).ok()?)?;
    stored.value.pointer("/account/id")?.as_str().map(str::to_owned)
}

/// `/user/load_balancers/…` is about the oldest account that the token reaches.
fn user_place(caller: &Caller, route: &Route, state: &State) -> Result<Place, Refusal> {
    if !route.operation.path.starts_with("/user/load_balancers") {
        return Ok(Place::default());
    }
    let folder = Key::new("accounts").map_err(|_| Refusal::not_found())?;
    let accounts = state.children(&folder);
    let own = accounts.iter().map(|(key, _)| key.id()).find(|id| caller.reaches_account(id));
    let account = own.ok_or_else(Refusal::denied)?.to_owned();
    Ok(Place { account: Some(account), zone: None })
}
