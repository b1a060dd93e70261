//! `weir history` and `weir rollback`: what was changed, by whom, and back.

use super::{on, reach_there, runtime};
use anyhow::Context;
use clap::{Args, Subcommand};
use control_api::time::timestamp;
use control_plane::operate::{Changed, Operator, Request};
use control_plane::store::{
    self, Difference, Record, Revision, StoreError, differences, redacted, together,
};
use process_runtime::config_file::ControlFile;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// What is asked of the history.
#[derive(Args, Debug)]
pub(crate) struct History {
    /// The file of `weir control`.
    #[arg(long = "control", global = true)]
    file: Option<PathBuf>,
    /// How many of the newest changes to show.
    #[arg(long, default_value_t = 20)]
    last: u64,
    /// As JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what changed from revision A to revision B, place by place.
    Diff {
        /// The earlier revision; 0 is the empty store.
        a: Revision,
        /// The later one; the newest where none is given.
        b: Option<Revision>,
    },
    /// Forget the changes before a revision: it stays the earliest that can be rolled back to.
    Compact {
        /// The revision.
        revision: Revision,
    },
}

/// Where to go back to.
#[derive(Args, Debug)]
pub(crate) struct Rollback {
    /// The file of `weir control`.
    #[arg(long = "control")]
    file: PathBuf,
    /// The revision whose objects are put in force again, by a new change.
    revision: Revision,
}

impl History {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let path = self.file.as_ref().context("--control FILE: the file of `weir control`")?;
        on(path, |file| runtime()?.block_on(self.answer(&file)))
    }

    async fn answer(&self, file: &ControlFile) -> anyhow::Result<()> {
        let mut store = reach_there(file).await?;
        let head = store.ask(&Request::Head).await?;
        match &self.command {
            None => self.list(&mut store, head).await,
            Some(Command::Diff { a, b }) => self.diff(&mut store, *a, *b, head).await,
            Some(Command::Compact { revision }) => {
                store.ask::<()>(&Request::Compact { revision: *revision }).await?;
                println!("history begins after revision {revision}");
                Ok(())
            }
        }
    }

    async fn list(&self, store: &mut Operator, head: Revision) -> anyhow::Result<()> {
        let first = head.saturating_sub(self.last).saturating_add(1);
        let records = store.records(first, head).await?;
        if self.json {
            let shown: Vec<_> = records.iter().map(shown).collect();
            println!("{:#}", Value::Array(shown));
            return Ok(());
        }
        for record in &records {
            println!("{}", line(record));
        }
        Ok(())
    }

    async fn diff(
        &self,
        store: &mut Operator,
        a: Revision,
        b: Option<Revision>,
        head: Revision,
    ) -> anyhow::Result<()> {
        let b = b.unwrap_or(head);
        if b > head {
            return Err(StoreError::Ahead { wanted: b, head }.into());
        }
        anyhow::ensure!(a <= b, "revision {a} is not before {b}: `weir history diff {b} {a}`");
        let records = store.records(a + 1, b).await?;
        if a < b && records.first().is_none_or(|record| record.revision != a + 1) {
            let first = records.first().map_or(head, |record| record.revision);
            return Err(StoreError::Compacted { wanted: a, first }.into());
        }
        let found = differences(&together(&records));
        if self.json {
            println!("{:#}", Value::Array(found.iter().map(shown_difference).collect()));
            return Ok(());
        }
        found.iter().for_each(|difference| println!("{difference}"));
        println!("{} places from revision {a} to {b}", found.len());
        Ok(())
    }
}

impl Rollback {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        on(&self.file, |file| {
            runtime()?.block_on(async {
                let mut store = reach_there(&file).await?;
                let to = self.revision;
                let done = store.ask(&Request::Rollback { to }).await;
                let Changed { objects, revision } = done.context("rollback")?;
                println!("{objects} objects are those of revision {to}; this is {revision}");
                Ok(())
            })
        })
    }
}

fn line(record: &Record) -> String {
    let time = timestamp(record.at_ms.saturating_mul(1_000));
    let count = record.changes.len();
    let objects = if count == 1 { "object" } else { "objects" };
    let text = format!("{} {time} {}: {}", record.revision, record.who, record.what);
    // What a client sent does not get to speak to the terminal.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("{text}: {count} {objects}")
}

fn shown(record: &Record) -> Value {
    let side = |value: Option<&Value>| value.map_or(Value::Null, redacted);
    let change = |change: &store::Changed| {
        json!({
            "key": change.key,
            "before": side(change.before.as_deref()),
            "after": side(change.after.as_deref()),
        })
    };
    json!({
        "revision": record.revision,
        "time": timestamp(record.at_ms.saturating_mul(1_000)),
        "actor": record.who.actor,
        "address": record.who.address,
        "what": record.what,
        "changes": record.changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn shown_difference(difference: &Difference) -> Value {
    json!({
        "place": difference.place,
        "before": difference.before,
        "after": difference.after,
    })
}
