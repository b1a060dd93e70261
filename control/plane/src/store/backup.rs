//! The whole store as one file, whatever it is kept in: lines of JSON, with a hash at the end.

use super::backend::Dump;
use super::error::StoreError;
use super::keeper::Keeper;
use super::key::Key;
use super::record::{Record, Revision, Stored};
use aws_lc_rs::digest::{self, Context};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The form of the file.
const FORM: u32 = 1;

/// A line of the file, in their order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The form and the revision.
    Backup { form: u32, revision: Revision },
    /// An object.
    Object { key: Key, stored: Stored },
    /// A record of the history.
    Record(Record),
    /// SHA-256 of all lines before, in hex.
    End(String),
}

impl Keeper {
    /// Fills this empty store from a backup: objects, revisions and history are as they were. The
    /// revision that it has.
    ///
    /// # Errors
    /// When the file is no whole backup, or the store is not empty.
    pub async fn restore(&self, path: &Path) -> Result<Revision, StoreError> {
        let dump = read(path)?;
        let place = self.backend().place();
        self.backend().fill(dump).await.map_err(|error| match error {
            StoreError::Conflict { head, .. } => StoreError::NotEmpty { place, head },
            other => other,
        })?;
        self.read_again().await?;
        Ok(self.state().revision)
    }
}

/// A backup being written: objects first, then the history.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    part: PathBuf,
    lines: Lines,
}

impl Backup {
    /// Begins one of this revision. `path` is not there before the backup is whole. Sealed secrets
    /// stay sealed: their keys are in another file.
    ///
    /// # Errors
    /// When the file is there already, or cannot be made.
    pub fn create(path: &Path, revision: Revision) -> Result<Self, StoreError> {
        let fault = |error: io::Error| file_fault(path, "write", &error);
        if path.exists() {
            return Err(fault(io::ErrorKind::AlreadyExists.into()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let lines = Lines::create(&part).map_err(fault)?;
        let mut backup = Self { path: path.to_owned(), part, lines };
        backup.write(&Line::Backup { form: FORM, revision })?;
        Ok(backup)
    }

    /// Writes an object.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn object(&mut self, key: Key, stored: Stored) -> Result<(), StoreError> {
        self.write(&Line::Object { key, stored })
    }

    /// Writes a record of the history; the oldest comes first.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&mut self, record: Record) -> Result<(), StoreError> {
        self.write(&Line::Record(record))
    }

    /// Puts the file in its place, once it is on the disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<(), StoreError> {
        let done = self.lines.finish().and_then(|()| fs::rename(&self.part, &self.path));
        done.map_err(|error| file_fault(&self.path, "write", &error))
    }

    fn write(&mut self, line: &Line) -> Result<(), StoreError> {
        self.lines.write(line).map_err(|error| file_fault(&self.path, "write", &error))
    }
}

struct Lines {
    out: BufWriter<File>,
    hash: Context,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

impl Lines {
    fn create(path: &Path) -> io::Result<Self> {
        // What an earlier attempt left is of no use.
        let _ = fs::remove_file(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { out: BufWriter::new(file), hash: Context::new(&digest::SHA256) })
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.out.write_all(&bytes)
    }

    fn finish(mut self) -> io::Result<()> {
        let end = Line::End(hex(self.hash.clone()));
        self.write(&end)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}

fn hex(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn read(path: &Path) -> Result<Dump, StoreError> {
    let wrong = |what: String| StoreError::File { path: path.display().to_string(), what };
    let file = File::open(path).map_err(|error| file_fault(path, "read", &error))?;
    let (mut hash, mut dump, mut begun) = (Context::new(&digest::SHA256), Dump::default(), false);
    let mut lines = BufReader::new(file);
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        let read = lines.read_until(b'\n', &mut bytes);
        if read.map_err(|error| file_fault(path, "read", &error))? == 0 {
            break;
        }
        let line: Line = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("line {number}: no line of a backup: {error}")))?;
        match line {
            Line::Backup { form: FORM, revision } if number == 1 => {
                (dump.state.revision, begun) = (revision, true);
            }
            Line::Object { key, stored } if begun => {
                dump.state.objects.insert(key, stored);
            }
            Line::Record(record) if begun => dump.history.push(record),
            Line::End(end) if begun => {
                if end == hex(hash) {
                    return Ok(dump);
                }
                return Err(wrong("was changed: its hash is another".to_owned()));
            }
            _ => return Err(wrong(format!("line {number}: not of a backup of form {FORM}"))),
        }
        hash.update(&bytes);
    }
    Err(wrong("is cut off: it has no end".to_owned()))
}

fn file_fault(path: &Path, attempt: &str, error: &io::Error) -> StoreError {
    StoreError::File { path: path.display().to_string(), what: format!("{attempt}: {error}") }
}
