//! A configuration file declared against the store: what it would make of the objects, and making
//! it in one change.
//!
//! `raise` turns tables of the file into objects of the API, `make` puts them beside what is there.
//! Objects that a file declared are marked, so that they go when it declares them no more; objects
//! that were made elsewhere are left alone.

mod make;
mod raise;
#[cfg(test)]
mod tests;

use crate::rest::validate;
use crate::store::{ChangeError, Keeper, Key, KeyError, Revision, StoreError, Vault, Who};
use crate::store::{Draft, State};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The folder of the marks.
const MARKS: &str = "declared";

/// A configuration that is to be planned or applied.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Name or id of the account; the only one where none is named.
    #[serde(default)]
    pub account: Option<String>,
    /// Tables by their names in the file: lists of `monitor`, `pool`, `zone`, `load_balancer`,
    /// `server`, `trafficset`, `shield_rule`, and the fleet's part of `packet`.
    pub tables: Map<String, Value>,
    /// Whether objects of these kinds are removed that were made elsewhere.
    #[serde(default)]
    pub prune: bool,
    /// Whether to tell only what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// The fingerprint of the plan that was agreed to; a change that is another is not made.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It was declared before, and changes.
    Update,
    /// It was made elsewhere under this name, and is declared from here on.
    Adopt,
    /// It is declared no more, or pruned.
    Delete,
}

/// One property that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Its name.
    pub field: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What becomes of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// What is done.
    pub action: Action,
    /// The table of the file: `pool`, `load_balancer`.
    pub kind: String,
    /// Its name in the file.
    pub name: String,
    /// Its id in the API.
    pub id: String,
    /// Properties that change; secrets are `"(secret)"`.
    pub fields: Vec<FieldChange>,
}

/// What of a file the API cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staying {
    /// The table of the file.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// The keys that stay; empty where the whole object does.
    pub keys: Vec<String>,
    /// Why.
    pub why: String,
}

/// What a declaration makes of the objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The revision that it was made on, or made by applying it.
    pub revision: Revision,
    /// By which it is known again.
    pub fingerprint: String,
    /// Whether it is in force.
    pub applied: bool,
    /// What becomes of objects, in the order of its doing.
    pub changes: Vec<Planned>,
    /// What stays on the edge.
    pub staying: Vec<Staying>,
}

impl Plan {
    /// Whether objects of the packet path change, which are the whole fleet's.
    #[must_use]
    pub fn touches_packets(&self) -> bool {
        let packets = ["packet", "server", "trafficset", "shield_rule"];
        self.changes.iter().any(|change| packets.contains(&change.kind.as_str()))
    }
}

/// Why a declaration was not applied, or has no plan.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The account is not there, or none was named of several.
    #[error("{what}; there are: {known}")]
    Account {
        /// What is wrong.
        what: String,
        /// Some that are there.
        known: String,
    },
    /// What is declared is wrong.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// Somebody changed an object meanwhile.
    #[error("others changed these objects since they were planned: plan again")]
    Moved,
    /// It reaches further than whoever asks.
    #[error("objects of the packet path are the whole fleet's: it takes a token of all accounts")]
    Denied,
    /// A name cannot be part of a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others committed first, each time.
    #[error("others change the store all the time; try again")]
    Contended,
}

/// Why the change ended without a commit.
enum Stop {
    Planned(Plan),
    Failed(DeclareError),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned(_) => f.write_str("planned"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Plans or applies a declaration in the name of `who`, at a time in microseconds since 1970.
/// `allows` says whether the caller reaches the account, or the whole fleet where none is given.
///
/// # Errors
/// See [`DeclareError`].
pub async fn declare(
    keeper: &Keeper,
    vault: &Vault,
    who: &Who,
    now_us: u64,
    declaration: &Declaration,
    allows: impl Fn(Option<&str>) -> bool,
) -> Result<Plan, DeclareError> {
    let done = keeper.change(who, "apply", now_us / 1_000, |draft| {
        let revision = draft.revision;
        let plan = plan(draft, vault, now_us, declaration, &allows).map_err(Stop::Failed)?;
        let plan = Plan { revision, ..plan };
        if declaration.dry_run {
            let faults = validate(draft);
            return match faults.is_empty() {
                true => Err(Stop::Planned(plan)),
                false => {
                    let faults = faults.iter().map(ToString::to_string).collect();
                    Err(Stop::Failed(DeclareError::Faults(faults)))
                }
            };
        }
        let agreed = declaration.fingerprint.as_ref();
        if agreed.is_some_and(|agreed| *agreed != plan.fingerprint) {
            return Err(Stop::Failed(DeclareError::Moved));
        }
        Ok(plan)
    });
    match done.await {
        Ok((plan, revision)) => Ok(Plan { revision, applied: true, ..plan }),
        Err(ChangeError::Edit(Stop::Planned(plan))) => Ok(plan),
        Err(ChangeError::Edit(Stop::Failed(error))) => Err(error),
        Err(ChangeError::Invalid(faults)) => {
            Err(DeclareError::Faults(faults.iter().map(ToString::to_string).collect()))
        }
        Err(ChangeError::Store(error)) => Err(error.into()),
        Err(ChangeError::Contended { .. }) => Err(DeclareError::Contended),
    }
}

fn plan(
    draft: &mut Draft<'_>,
    vault: &Vault,
    now_us: u64,
    declaration: &Declaration,
    allows: &impl Fn(Option<&str>) -> bool,
) -> Result<Plan, DeclareError> {
    let account = account_of(draft, declaration.account.as_deref(), allows)?;
    let raised = raise::raise(&declaration.tables).map_err(DeclareError::Faults)?;
    let mut plan = make::make(draft, vault, now_us, &account, declaration, raised)?;
    if plan.touches_packets() && !allows(None) {
        return Err(DeclareError::Denied);
    }
    let text = serde_json::to_vec(&plan.changes).unwrap_or_default();
    plan.fingerprint = hex(digest(&SHA256, &text).as_ref());
    Ok(plan)
}

/// Some names, for people who typed another one.
const SHOWN_MAX: usize = 10;

/// The id of the account that is asked for, among those that whoever asks reaches.
fn account_of(
    state: &State,
    asked: Option<&str>,
    allows: &impl Fn(Option<&str>) -> bool,
) -> Result<String, DeclareError> {
    let accounts = state.children(&Key::new("accounts")?);
    let reached: Vec<(&str, &str)> = accounts
        .iter()
        .map(|(key, stored)| (key.id(), text(&stored.value, "name")))
        .filter(|(id, _)| allows(Some(id)))
        .collect();
    let found = match asked {
        Some(asked) => reached.iter().find(|(id, name)| *id == asked || *name == asked),
        None => reached.first().filter(|_| reached.len() == 1),
    };
    if let Some((id, _)) = found {
        return Ok((*id).to_owned());
    }
    let known: Vec<&str> = reached.iter().take(SHOWN_MAX).map(|(_, name)| *name).collect();
    let what = match asked {
        Some(asked) => format!("there is no account {asked}"),
        None => "name one of the accounts".to_owned(),
    };
    Err(DeclareError::Account { what, known: known.join(", ") })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn hex(octets: &[u8]) -> String {
    crate::rest::token::hex(octets)
}
