//! Objects as files that people and version control read: one JSON file per object, folders as
//! keys: `accounts/ID/pools/ID.json`.
//!
//! Credentials are not exported. Sealed secrets are, sealed: they open where the keys are.

use super::error::{ChangeError, StoreError};
use super::keeper::Keeper;
use super::key::{KEY_BYTES_MAX, Key};
use super::record::{OBJECT_BYTES_MAX, Revision, Who};
use super::rollback::is_credential;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The ending of a file that holds an object.
const ENDING: &str = ".json";

/// Bytes of one file: an object, indented.
const FILE_BYTES_MAX: u64 = 8 * OBJECT_BYTES_MAX as u64;

/// A folder that objects are written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    written: usize,
}

impl Folder {
    /// A folder that is new or empty.
    ///
    /// # Errors
    /// When something is in it, or it cannot be made.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let fault = |error: io::Error| file_fault(path, "write", &error);
        fs::create_dir_all(path).map_err(fault)?;
        if fs::read_dir(path).map_err(fault)?.next().is_some() {
            let what = "is not empty; name a folder that is new".to_owned();
            return Err(StoreError::File { path: path.display().to_string(), what });
        }
        Ok(Self { path: path.to_owned(), written: 0 })
    }

    /// Writes an object, unless it is a credential.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn write(&mut self, key: &Key, value: &Value) -> Result<(), StoreError> {
        if is_credential(key) {
            return Ok(());
        }
        let path = self.path.join(format!("{key}{ENDING}"));
        write_object(&path, value).map_err(|error| file_fault(&path, "write", &error))?;
        self.written += 1;
        Ok(())
    }

    /// Objects that were written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }
}

fn write_object(path: &Path, value: &Value) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")
}

/// Reads the objects below `folder`.
///
/// # Errors
/// Every file that holds none: its path is no key, or its content is no JSON.
pub fn read(folder: &Path) -> Result<BTreeMap<Key, Value>, Vec<StoreError>> {
    let (mut objects, mut faults) = (BTreeMap::new(), Vec::new());
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let here = folder.join(&below);
        let entries = fs::read_dir(&here).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.unwrap_or_else(|error| {
            faults.push(file_fault(&here, "read", &error));
            Vec::new()
        });
        for entry in entries {
            let (name, path) = (below.join(entry.file_name()), entry.path());
            // Names that begin with a dot belong to version control.
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if name.as_os_str().len() <= KEY_BYTES_MAX {
                    open.push(name);
                }
                continue;
            }
            match read_object(&name, &path) {
                Ok((key, value)) => drop(objects.insert(key, value)),
                Err(what) => {
                    faults.push(StoreError::File { path: path.display().to_string(), what });
                }
            }
        }
    }
    if faults.is_empty() { Ok(objects) } else { Err(faults) }
}

fn read_object(name: &Path, path: &Path) -> Result<(Key, Value), String> {
    let name = name.to_str().and_then(|name| name.strip_suffix(ENDING));
    let name = name.ok_or_else(|| format!("no object: its name does not end in {ENDING}"))?;
    let key = Key::new(name).map_err(|error| error.to_string())?;
    let told = |error: io::Error| format!("read: {error}");
    let kind = fs::symlink_metadata(path).map_err(told)?;
    if !kind.is_file() || kind.len() > FILE_BYTES_MAX {
        return Err(format!("no file of at most {FILE_BYTES_MAX} bytes"));
    }
    let bytes = fs::read(path).map_err(told)?;
    let value = serde_json::from_slice(&bytes).map_err(|error| format!("no JSON: {error}"))?;
    Ok((key, value))
}

impl Keeper {
    /// Makes the objects those of `objects`, in one commit. Others are left alone, or removed with
    /// `prune`, but for credentials. How many objects changed, and the revision.
    ///
    /// # Errors
    /// When the state would be invalid, or what the store says.
    pub async fn import(
        &self,
        objects: &BTreeMap<Key, Value>,
        prune: bool,
        who: &Who,
        at_ms: u64,
    ) -> Result<(usize, Revision), ChangeError<Infallible>> {
        self.change(who, "import", at_ms, |draft| {
            for (key, value) in objects {
                draft.put(key.clone(), value.clone());
            }
            if prune {
                let others = draft.objects.keys();
                let others =
                    others.filter(|key| !objects.contains_key(*key) && !is_credential(key));
                for key in others.cloned().collect::<Vec<_>>() {
                    draft.remove(&key);
                }
            }
            Ok(draft.writes().len())
        })
        .await
    }
}

fn file_fault(path: &Path, attempt: &str, error: &io::Error) -> StoreError {
    StoreError::File { path: path.display().to_string(), what: format!("{attempt}: {error}") }
}
