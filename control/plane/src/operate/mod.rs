//! What operators do with the store beside the API: one request, one answer, whoever has it open.
//!
//! A [`Desk`] does requests on a keeper. A running plane has one for each connection of its Unix
//! socket ([`Listener`]); where none runs, the command line opens the store and has one itself.
//! [`Operator`] is either, so that a command is written once.

mod desk;
mod effects;
mod socket;
#[cfg(test)]
mod tests;

pub use desk::{Desk, OBJECTS_PAGE_BYTES, Objects, Vaults};
pub use effects::{Effect, Effects, REMARKS_MAX, Remark};
pub use socket::{Connection, Listener, MESSAGE_BYTES_MAX, OPERATORS_MAX, SocketError};

use crate::declare::Declaration;
use crate::import::Bringing;
use crate::publish::operator::EdgeRequest;
use crate::rest::operator::Wish;
use crate::store::files::Folder;
use crate::store::{Backup, Key, Record, Revision, StoreError, Stored, Who};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What an operator asks for. Who may ask may ask for everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The revision of the objects: a [`Revision`].
    Head,
    /// A page of the objects: [`Objects`]. The first page takes a snapshot, later ones are of it.
    Objects {
        /// The last key of the page before.
        after: Option<Key>,
    },
    /// What objects say and edges do not do: [`Effects`].
    Effects,
    /// The first records of a range: a list of [`Record`].
    History {
        /// The first revision.
        first: Revision,
        /// The last one.
        last: Revision,
    },
    /// Forgets the history up to this revision, which can still be gone back to: null.
    Compact {
        /// The revision.
        revision: Revision,
    },
    /// Makes the objects what they were: [`Changed`].
    Rollback {
        /// The revision whose objects come back.
        to: Revision,
    },
    /// Makes the objects those of a folder: [`Changed`].
    Import {
        /// The objects.
        objects: BTreeMap<Key, Value>,
        /// Whether others are removed.
        prune: bool,
    },
    /// Plans or applies a configuration: a [`Plan`](crate::declare::Plan).
    Declare(Declaration),
    /// Brings objects of another account: a [`Brought`](crate::import::Brought).
    Bring(Bringing),
    /// Makes a token: [`NewToken`].
    CreateToken(Wish),
    /// All tokens, without what would let anybody use them: a list of objects.
    Tokens,
    /// Takes a token back: null.
    RevokeToken {
        /// Its id.
        id: String,
    },
    /// Join tokens and edges: an [`EdgeAnswer`](crate::publish::operator::EdgeAnswer).
    Edge(EdgeRequest),
}

/// How far a change went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Objects that it changed.
    pub objects: usize,
    /// The revision that is in force after it.
    pub revision: Revision,
}

/// A token that was just made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// The token itself, which nobody can ask for again.
    pub text: String,
    /// What the store has of it, without what would let anybody use it.
    pub token: Value,
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Whoever has the store open says no, in words for people.
    #[error("{0}")]
    Refused(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The way to the plane that runs.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// An answer is not of the form that the request has.
    #[error("the control plane that runs is of another version, restart it: {0}")]
    Form(#[from] serde_json::Error),
}

/// Whoever does requests.
#[derive(Debug)]
pub enum Operator {
    /// This process, which has the store open.
    Own(Box<Desk>, Who),
    /// A plane that runs, by its socket.
    Running(Connection),
}

impl Operator {
    /// Does a request.
    ///
    /// # Errors
    /// See [`OperateError`].
    pub async fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, OperateError> {
        let answer = match self {
            Self::Own(desk, who) => desk.answer(who, request.clone()).await?,
            Self::Running(connection) => connection.ask(request).await?,
        };
        Ok(serde_json::from_value(answer)?)
    }

    /// All records of a range that there are.
    ///
    /// # Errors
    /// See [`OperateError`].
    pub async fn records(
        &mut self,
        first: Revision,
        last: Revision,
    ) -> Result<Vec<Record>, OperateError> {
        let (mut all, mut next) = (Vec::new(), first);
        while next <= last {
            let page: Vec<Record> = self.ask(&Request::History { first: next, last }).await?;
            let Some(record) = page.last() else { break };
            next = record.revision + 1;
            all.extend(page);
        }
        Ok(all)
    }

    /// All objects of one revision, given to `each` by name. The revision.
    ///
    /// # Errors
    /// What `each` says, and see [`OperateError`].
    pub async fn objects<E: From<OperateError>>(
        &mut self,
        mut each: impl FnMut(Revision, Key, Stored) -> Result<(), E>,
    ) -> Result<Revision, E> {
        let mut after = None;
        loop {
            let page: Objects = self.ask(&Request::Objects { after }).await?;
            after = page.objects.last().map(|(key, _)| key.clone());
            for (key, stored) in page.objects {
                each(page.revision, key, stored)?;
            }
            if !page.more {
                return Ok(page.revision);
            }
        }
    }

    /// Writes objects and history to `path`. The revision that was written.
    ///
    /// # Errors
    /// The file is there already or cannot be written, and see [`OperateError`].
    pub async fn backup(&mut self, path: &Path) -> Result<Revision, OperateError> {
        let mut backup = None;
        let begun = |backup: &mut Option<Backup>, revision| match backup.take() {
            Some(begun) => Ok(begun),
            None => Backup::create(path, revision),
        };
        let object = |revision, key, stored| {
            let written = begun(&mut backup, revision)?;
            Ok::<_, OperateError>(backup.insert(written).object(key, stored)?)
        };
        let revision = self.objects(object).await?;
        let mut backup = begun(&mut backup, revision)?;
        let mut next = 1;
        while next <= revision {
            let page = Request::History { first: next, last: revision };
            let page: Vec<Record> = self.ask(&page).await?;
            let Some(last) = page.last() else { break };
            next = last.revision + 1;
            for record in page {
                backup.record(record)?;
            }
        }
        backup.finish()?;
        Ok(revision)
    }

    /// Writes each object to a file of its own, below a folder that is new or empty. How many.
    ///
    /// # Errors
    /// Something is in the folder, a file cannot be written, and see [`OperateError`].
    pub async fn export(&mut self, path: &Path) -> Result<usize, OperateError> {
        let mut folder = Folder::create(path)?;
        let write =
            |_, key, stored: Stored| Ok::<_, OperateError>(folder.write(&key, &stored.value)?);
        self.objects(write).await?;
        Ok(folder.written())
    }
}
