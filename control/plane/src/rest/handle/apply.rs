//! A configuration declared against the objects: planned, or applied in one change.

use crate::declare::{Declaration, DeclareError, declare};
use crate::rest::lifecycle::Call;
use crate::rest::reply::{Refusal, Reply};
use control_api::{Message, code};
use serde_json::to_value;

/// Does what a call asks.
pub(crate) async fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    let caller = call.caller()?;
    let declaration: Declaration = serde_json::from_value(call.body.clone()).map_err(|error| {
        Refusal::invalid(format!("the body must be a declaration: {error}"), None)
    })?;
    let allows = |account: Option<&str>| match account {
        Some(account) => caller.reaches_account(account),
        None => caller.reaches_all(),
    };
    let site = call.site;
    let (keeper, vault, who) = (&site.keeper, &site.vault, call.who());
    let plan = declare(keeper, vault, &who, call.now_us, &declaration, allows).await?;
    let revision = Some(plan.revision);
    let plan = to_value(plan).map_err(|error| Refusal::new(code::INTERNAL, error.to_string()))?;
    Ok(Reply { revision, ..Reply::of(plan) })
}

impl From<DeclareError> for Refusal {
    fn from(error: DeclareError) -> Self {
        let one = |code: u32| Self::new(code, error.to_string());
        match error {
            DeclareError::Faults(faults) => {
                let message = |fault| Message::new(code::VALIDATION, fault);
                Self::all(faults.into_iter().map(message).collect())
            }
            DeclareError::Account { .. } | DeclareError::Key(_) => one(code::VALIDATION),
            DeclareError::Moved => one(code::CHANGED),
            DeclareError::Denied => one(code::AUTHENTICATION),
            DeclareError::Contended => one(code::UNAVAILABLE),
            DeclareError::Store(error) => error.into(),
        }
    }
}
