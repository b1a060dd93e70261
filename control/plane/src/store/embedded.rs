//! The store in one file: redb, each commit on the disk before it is acknowledged.
//!
//! A commit is one transaction over three tables, so that a process that dies leaves all of it or
//! nothing. The file is locked: one process has it at a time.

use super::error::StoreError;
use super::key::Key;
use super::record::{Commit, Record, Revision, Stored, Write};
use super::state::State;
use super::{Dump, HISTORY_BYTES_MAX, HISTORY_PAGE_MAX};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Objects by key, as JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Records by revision, as JSON.
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
/// Numbers of the store itself.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// The revision of the objects.
const HEAD: &str = "head";
/// The version of what the tables hold.
const FORMAT: &str = "format";
/// The format that this program reads and writes.
const FORMAT_NUMBER: u64 = 1;

/// Bytes of the file that are kept in memory. Objects are read once, at the start.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// A store in a file.
#[derive(Clone, Debug)]
pub struct Embedded {
    file: Arc<Handle>,
}

/// The open file. A fault of the disk closes it, as redb asks for; the next use opens it again.
#[derive(Debug)]
struct Handle {
    path: PathBuf,
    open: Mutex<Option<Arc<Database>>>,
}

impl Embedded {
    /// Opens the store in `path`, made with mode 0600 where there is none.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self { file: Arc::new(Handle { path: path.to_owned(), open: None.into() }) };
        store.run("open", |_| Ok(())).await?;
        Ok(store)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Every object.
    pub(crate) async fn load(&self) -> Result<State, StoreError> {
        self.run("read the objects", |step| {
            let transaction = step.database.begin_read().map_err(|e| step.fault(e))?;
            let numbers = transaction.open_table(NUMBERS).map_err(|e| step.fault(e))?;
            let head = numbers.get(HEAD).map_err(|e| step.fault(e))?;
            let revision = head.map_or(0, |head| head.value());
            let mut state = State { revision, ..State::default() };
            let table = transaction.open_table(OBJECTS).map_err(|e| step.fault(e))?;
            for entry in table.iter().map_err(|e| step.fault(e))? {
                let (key, value) = entry.map_err(|e| step.fault(e))?;
                let key = Key::new(key.value()).map_err(|e| step.corrupt(e.to_string()))?;
                let stored: Stored = step.parse(value.value())?;
                state.objects.insert(key, stored);
            }
            Ok(state)
        })
        .await
    }

    /// Writes a commit to the disk.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Revision, StoreError> {
        self.run("commit", move |step| {
            let transaction = step.begin()?;
            step.expect_head(&transaction, commit.base)?;
            let revision = commit.revision();
            step.write_objects(&transaction, &commit.writes, revision)?;
            step.write_records(&transaction, &[commit.record()])?;
            step.set_head(&transaction, revision)?;
            transaction.commit().map_err(|e| step.fault(e))?;
            Ok(revision)
        })
        .await
    }

    /// The first records of a range.
    pub(crate) async fn history(
        &self,
        range: RangeInclusive<Revision>,
    ) -> Result<Vec<Record>, StoreError> {
        self.run("read the history", move |step| {
            let transaction = step.database.begin_read().map_err(|e| step.fault(e))?;
            let table = transaction.open_table(HISTORY).map_err(|e| step.fault(e))?;
            let entries = table.range(range).map_err(|e| step.fault(e))?;
            let (mut records, mut bytes) = (Vec::new(), 0);
            for entry in entries.take(HISTORY_PAGE_MAX) {
                let (_, value) = entry.map_err(|e| step.fault(e))?;
                bytes += value.value().len();
                records.push(step.parse(value.value())?);
                if bytes >= HISTORY_BYTES_MAX {
                    break;
                }
            }
            Ok(records)
        })
        .await
    }

    /// Removes the records before `first` and gives their room back to the file.
    pub(crate) async fn compact(&self, first: Revision) -> Result<(), StoreError> {
        self.run("compact", move |step| {
            let transaction = step.begin()?;
            {
                let mut table = transaction.open_table(HISTORY).map_err(|e| step.fault(e))?;
                table.retain_in(..first, |_, _| false).map_err(|e| step.fault(e))?;
            }
            transaction.commit().map_err(|e| step.fault(e))
        })
        .await
    }

    /// Fills an empty store.
    pub(crate) async fn fill(&self, dump: Dump) -> Result<(), StoreError> {
        self.run("restore", move |step| {
            let transaction = step.begin()?;
            step.expect_head(&transaction, 0)?;
            {
                let mut table = transaction.open_table(OBJECTS).map_err(|e| step.fault(e))?;
                for (key, stored) in &dump.state.objects {
                    let bytes = step.bytes(stored)?;
                    table.insert(key.as_str(), &*bytes).map_err(|e| step.fault(e))?;
                }
            }
            step.write_records(&transaction, &dump.history)?;
            step.set_head(&transaction, dump.state.revision)?;
            transaction.commit().map_err(|e| step.fault(e))
        })
        .await
    }

    /// Does `work` on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        attempt: &'static str,
        work: impl FnOnce(&Step) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = self.file.clone();
        let place = file.path.display().to_string();
        let task = tokio::task::spawn_blocking(move || {
            let step = Step { database: file.database()?, place: file.place(), attempt };
            let result = work(&step);
            if matches!(result, Err(StoreError::Unavailable { .. } | StoreError::Full { .. })) {
                file.close();
            }
            result
        });
        task.await.unwrap_or_else(|error| {
            Err(StoreError::Unavailable { place, attempt, why: error.to_string() })
        })
    }
}

impl Handle {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = open.as_ref() {
            return Ok(database.clone());
        }
        let fault = |error: io::Error| file_fault(&self.path, "make", &error);
        if !self.path.exists() {
            make(&self.path).map_err(fault)?;
        }
        let step = |attempt| move |error: redb::Error| of_redb(&self.place(), attempt, error);
        let database = builder().open(&self.path).map_err(|e| step("open")(e.into()))?;
        let format = format_of(&database).map_err(step("open"))?;
        if format != FORMAT_NUMBER {
            let what = format!("format {format}; this program knows {FORMAT_NUMBER}");
            return Err(StoreError::Corrupt { place: self.place(), what });
        }
        let database = Arc::new(database);
        *open = Some(database.clone());
        Ok(database)
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

fn format_of(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let numbers = transaction.open_table(NUMBERS)?;
    let format = numbers.get(FORMAT)?.map_or(0, |number| number.value());
    Ok(format)
}

/// Makes a store beside its place and links it there whole: a process that dies half-way leaves no
/// file that cannot be opened, and of two processes that start at once one wins.
fn make(path: &Path) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    // A process of the same number may have died here.
    let _ = fs::remove_file(&new);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
    let made = create_tables(file).map_err(io::Error::other);
    let linked = made.and_then(|()| match fs::hard_link(&new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&new)?;
    linked?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn create_tables(file: File) -> Result<(), redb::Error> {
    let database = builder().create_with_backend(redb::backends::FileBackend::new(file)?)?;
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(OBJECTS)?;
    transaction.open_table(HISTORY)?;
    transaction.open_table(NUMBERS)?.insert(FORMAT, FORMAT_NUMBER)?;
    transaction.commit()?;
    Ok(())
}

/// One use of the open file, with what its errors name.
struct Step {
    database: Arc<Database>,
    place: String,
    attempt: &'static str,
}

impl Step {
    fn fault(&self, error: impl Into<redb::Error>) -> StoreError {
        of_redb(&self.place, self.attempt, error.into())
    }

    fn corrupt(&self, what: String) -> StoreError {
        StoreError::Corrupt { place: self.place.clone(), what }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(bytes).map_err(|error| self.corrupt(error.to_string()))
    }

    fn bytes<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(value).map_err(|error| self.corrupt(error.to_string()))
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(|e| self.fault(e))?;
        // Both phases are flushed, and after a crash the file opens without being read through.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    fn expect_head(&self, to: &WriteTransaction, base: Revision) -> Result<(), StoreError> {
        let numbers = to.open_table(NUMBERS).map_err(|e| self.fault(e))?;
        let head = numbers.get(HEAD).map_err(|e| self.fault(e))?.map_or(0, |head| head.value());
        if head == base { Ok(()) } else { Err(StoreError::Conflict { base, head }) }
    }

    fn set_head(&self, to: &WriteTransaction, head: Revision) -> Result<(), StoreError> {
        let mut numbers = to.open_table(NUMBERS).map_err(|e| self.fault(e))?;
        numbers.insert(HEAD, head).map(drop).map_err(|e| self.fault(e))
    }

    fn write_objects(
        &self,
        to: &WriteTransaction,
        writes: &[Write],
        revision: Revision,
    ) -> Result<(), StoreError> {
        let mut table = to.open_table(OBJECTS).map_err(|e| self.fault(e))?;
        for write in writes {
            let done = match write.stored(revision) {
                Some(stored) => table.insert(write.key.as_str(), &*self.bytes(&stored)?),
                None => table.remove(write.key.as_str()),
            };
            done.map(drop).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }

    fn write_records(&self, to: &WriteTransaction, records: &[Record]) -> Result<(), StoreError> {
        let mut table = to.open_table(HISTORY).map_err(|e| self.fault(e))?;
        for record in records {
            let bytes = self.bytes(record)?;
            table.insert(record.revision, &*bytes).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }
}

fn file_fault(path: &Path, attempt: &'static str, error: &io::Error) -> StoreError {
    let place = path.display().to_string();
    let why = error.to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            let why = format!("{why}; free room, or move the store to a larger disk");
            StoreError::Full { place, why }
        }
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            StoreError::File { path: place, what: format!("{attempt}: {why}") }
        }
        _ => StoreError::Unavailable { place, attempt, why },
    }
}

fn of_redb(place: &str, attempt: &'static str, error: redb::Error) -> StoreError {
    let place = place.to_owned();
    match error {
        redb::Error::Io(error) => file_fault(Path::new(&place), attempt, &error),
        redb::Error::DatabaseAlreadyOpen => StoreError::Locked { place },
        redb::Error::Corrupted(what) => StoreError::Corrupt { place, what },
        redb::Error::ValueTooLarge(bytes) => {
            StoreError::TooLarge { place, why: format!("a value of {bytes} bytes") }
        }
        error @ (redb::Error::UpgradeRequired(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::RepairAborted) => StoreError::Corrupt { place, what: error.to_string() },
        other => StoreError::Unavailable { place, attempt, why: other.to_string() },
    }
}
