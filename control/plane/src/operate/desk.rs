//! Does what operators ask, on a keeper.

use super::effects::{Effects, effects};
use super::{Changed, NewToken, OperateError, Request};
use crate::declare::declare;
use crate::import::bring;
use crate::publish::{Attached, operator as edge};
use crate::rest::operator;
use crate::store::{ChangeError, Keeper, Key, Revision, State, StoreError, Stored, Vault, Who};
use serde::{Deserialize, Serialize};
use serde_json::{Value, to_value};
use std::fmt::Display;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of objects after which a page ends: enough that pages are few, far less than a message.
pub const OBJECTS_PAGE_BYTES: usize = 4 << 20;

/// The keys of secrets.
#[derive(Debug)]
pub enum Vaults {
    /// They are in memory.
    Open(Arc<Vault>),
    /// They are in this file, which is read, or made, once something is to be sealed.
    File(PathBuf),
}

/// Does requests on a keeper, one after the other.
#[derive(Debug)]
pub struct Desk {
    keeper: Arc<Keeper>,
    vaults: Vaults,
    attached: Attached,
    /// The objects that pages are of.
    snapshot: Option<State>,
}

/// A page of the objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Objects {
    /// The revision that all pages are of.
    pub revision: Revision,
    /// Objects by name.
    pub objects: Vec<(Key, Stored)>,
    /// Whether there are more.
    pub more: bool,
}

impl Desk {
    /// A desk of this keeper.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, vaults: Vaults) -> Self {
        Self { keeper, vaults, attached: Attached::default(), snapshot: None }
    }

    /// The same desk, which also knows how edges are doing.
    #[must_use]
    pub fn with_edges(self, attached: Attached) -> Self {
        Self { attached, ..self }
    }

    /// What the requests are done on.
    #[must_use]
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// The keys of secrets.
    ///
    /// # Errors
    /// When the file of keys cannot be read or made.
    pub fn vault(&mut self) -> Result<Arc<Vault>, StoreError> {
        if let Vaults::File(path) = &self.vaults {
            self.vaults = Vaults::Open(Arc::new(Vault::open(path)?));
        }
        match &self.vaults {
            Vaults::Open(vault) => Ok(vault.clone()),
            Vaults::File(path) => Vault::open(path).map(Arc::new),
        }
    }

    /// Does a request in the name of `who`.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn answer(&mut self, who: &Who, request: Request) -> Result<Value, OperateError> {
        let keeper = &self.keeper.clone();
        match request {
            Request::Head => told(keeper.state().revision),
            Request::Objects { after } => told(self.page(after.as_ref())),
            Request::Effects => told(self.effects().await?),
            Request::History { first, last } => told(keeper.history(first..=last).await?),
            Request::Compact { revision } => {
                let head = keeper.state().revision;
                if revision > head {
                    return Err(StoreError::Ahead { wanted: revision, head }.into());
                }
                // To roll back to a revision takes the record of the next one.
                keeper.compact(revision.saturating_add(1)).await?;
                Ok(Value::Null)
            }
            Request::Rollback { to } => changed(keeper.rollback(to, who, now_ms()).await),
            Request::Import { objects, prune } => {
                changed(keeper.import(&objects, prune, who, now_ms()).await)
            }
            Request::Declare(declaration) => {
                let vault = self.vault()?;
                let keeper = &self.keeper;
                operator::first_account(keeper, who).await.map_err(refused)?;
                let now_us = now_ms().saturating_mul(1_000);
                let plan = declare(keeper, &vault, who, now_us, &declaration, |_| true);
                told(plan.await.map_err(refused)?)
            }
            Request::Bring(bringing) => {
                let now_us = now_ms().saturating_mul(1_000);
                told(bring(keeper, who, now_us, &bringing).await.map_err(refused)?)
            }
            Request::CreateToken(wish) => {
                operator::first_account(keeper, who).await.map_err(refused)?;
                let fresh = operator::create_token(keeper, who, &wish).await.map_err(refused)?;
                told(NewToken { text: fresh.text, token: fresh.token.shown() })
            }
            Request::Tokens => {
                let tokens = operator::tokens(&keeper.state()).map_err(refused)?;
                Ok(tokens.iter().map(crate::rest::token::Token::shown).collect())
            }
            Request::RevokeToken { id } => {
                told(operator::revoke_token(keeper, who, &id).await.map_err(refused)?)
            }
            Request::Edge(request) => {
                let (vault, attached) = (self.vault()?, self.attached.edges());
                let done = edge::answer(keeper, &vault, &attached, who, request, now_ms()).await;
                told(done.map_err(refused)?)
            }
        }
    }

    /// What objects say and edges do not do. It takes a while where there are many.
    async fn effects(&mut self) -> Result<Effects, OperateError> {
        // To look at secrets is no reason to make their keys.
        let vault = match &self.vaults {
            Vaults::File(path) if !path.exists() => None,
            _ => Some(self.vault()?),
        };
        let state = self.keeper.state().clone();
        let found = tokio::task::spawn_blocking(move || {
            let open = |key: &Key, value: &Value| vault.as_ref()?.open_sealed(key, value).ok();
            effects(&state, &open)
        });
        found.await.map_err(refused)
    }

    fn page(&mut self, after: Option<&Key>) -> Objects {
        let fresh = || self.keeper.state().clone();
        let state = match after {
            None => self.snapshot.insert(fresh()),
            Some(_) => self.snapshot.get_or_insert_with(fresh),
        };
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_str()));
        let (mut objects, mut bytes, mut more) = (Vec::new(), 0, false);
        for (key, stored) in state.objects.range::<str, _>((from, Bound::Unbounded)) {
            if bytes >= OBJECTS_PAGE_BYTES {
                more = true;
                break;
            }
            bytes += key.as_str().len() + stored.value.to_string().len();
            objects.push((key.clone(), stored.clone()));
        }
        let revision = state.revision;
        if !more {
            self.snapshot = None;
        }
        Objects { revision, objects, more }
    }
}

fn told(answer: impl Serialize) -> Result<Value, OperateError> {
    Ok(to_value(answer)?)
}

fn changed<E: Display>(
    done: Result<(usize, Revision), ChangeError<E>>,
) -> Result<Value, OperateError> {
    let (objects, revision) = done.map_err(refused)?;
    told(Changed { objects, revision })
}

fn refused(error: impl Display) -> OperateError {
    OperateError::Refused(error.to_string())
}

/// The time, in milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
