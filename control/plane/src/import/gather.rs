//! Reads the objects of an account: page by page from its API, or from files with its replies.

use super::Gathered;
use crate::client::{Api, ClientError};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of one file.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Files of one folder: three for each zone.
const FILES_MAX: usize = 300_000;

/// Folders of an account's objects: where they are kept here, their path there, and whether an
/// account may be without.
const OF_ACCOUNT: [(&str, &str, bool); 6] = [
    ("monitors", "load_balancers/monitors", false),
    ("monitor_groups", "load_balancers/monitor_groups", true),
    ("pools", "load_balancers/pools", false),
    ("load_balancers", "load_balancers", true),
    ("webhooks", "alerting/v3/destinations/webhooks", true),
    ("policies", "alerting/v3/policies", true),
];
/// Folders of a zone's objects.
const OF_ZONE: [(&str, bool); 2] = [("load_balancers", false), ("healthchecks", true)];

/// Why objects could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The API.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The account has no such zone.
    #[error("the account has no zone {asked}; it has: {known}")]
    Zone {
        /// What was asked for.
        asked: String,
        /// Some that are there.
        known: String,
    },
    /// A file.
    #[error("{path}: {what}")]
    File {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads an account by its API: the zones of these names or ids, or all of them.
///
/// # Errors
/// See [`GatherError`].
pub async fn from_api(
    api: &mut Api,
    account: &str,
    zones: &[String],
) -> Result<Gathered, GatherError> {
    let mut gathered = Gathered::default();
    let envelope = api.get(&format!("/accounts/{account}")).await?;
    gathered.account = envelope.get("result").cloned().unwrap_or_default();
    for (folder, path, optional) in OF_ACCOUNT {
        let rows = api.list(&format!("/accounts/{account}/{path}")).await;
        gathered.take(folder.to_owned(), rows, optional)?;
    }
    let all = api.list(&format!("/zones?account.id={account}")).await?;
    for asked in zones {
        if !all.iter().any(|zone| is_called(zone, asked)) {
            let known: Vec<&str> = all.iter().take(10).map(|zone| text(zone, "name")).collect();
            return Err(GatherError::Zone { asked: asked.clone(), known: known.join(", ") });
        }
    }
    let wanted = |zone: &Value| zones.is_empty() || zones.iter().any(|one| is_called(zone, one));
    let wanted: Vec<Value> = all.into_iter().filter(wanted).collect();
    for zone in &wanted {
        let id = text(zone, "id");
        for (folder, optional) in OF_ZONE {
            let path = format!("zones/{id}/{folder}");
            let rows = api.list(&format!("/{path}")).await;
            gathered.take(path, rows, optional)?;
        }
    }
    gathered.objects.insert("zones".to_owned(), wanted);
    Ok(gathered)
}

impl Gathered {
    /// Takes a list; one that a plan or a token may be without is told where it is refused.
    fn take(
        &mut self,
        folder: String,
        rows: Result<Vec<Value>, ClientError>,
        optional: bool,
    ) -> Result<(), ClientError> {
        match rows {
            Ok(rows) => drop(self.objects.insert(folder, rows)),
            Err(ClientError::Refused { status, told, .. }) if optional && status < 500 => {
                self.unread.push(format!("{folder}: {status}: {}", told.join("; ")));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn is_called(zone: &Value, asked: &str) -> bool {
    text(zone, "id") == asked || text(zone, "name") == asked
}

/// Reads a folder of files, or one file. A file of a folder is named by what it holds:
/// `pools.json`, `zones.json`, `zones/ID/load_balancers.json`, `account.json`; one file has these
/// names, without their ending, as keys. Lists stand there as they are or as replies of the API.
///
/// # Errors
/// What cannot be read, or is no such file.
pub fn from_files(path: &Path) -> Result<Gathered, GatherError> {
    let mut gathered = Gathered::default();
    if path.is_dir() {
        for name in files(path)? {
            let value = read(&path.join(&name))?;
            let key = name.with_extension("").to_string_lossy().into_owned();
            gathered.hold(&path.join(&name), key, value)?;
        }
        return Ok(gathered);
    }
    let Value::Object(members) = read(path)? else {
        return Err(fault(path, "no object whose keys say what it holds: account, pools, zones"));
    };
    for (key, value) in members {
        gathered.hold(path, key, value)?;
    }
    Ok(gathered)
}

impl Gathered {
    fn hold(&mut self, path: &Path, key: String, value: Value) -> Result<(), GatherError> {
        let value = match value {
            Value::Object(mut reply) if reply.contains_key("result") => {
                reply.remove("result").unwrap_or_default()
            }
            other => other,
        };
        let mut steps = key.split('/');
        let of_zone = steps.next() == Some("zones")
            && steps.next().is_some()
            && steps.next().is_some_and(|folder| OF_ZONE.iter().any(|(own, _)| *own == folder))
            && steps.next().is_none();
        let known = of_zone || key == "zones" || OF_ACCOUNT.iter().any(|(own, ..)| *own == key);
        match value {
            account @ Value::Object(_) if key == "account" => self.account = account,
            Value::Array(rows) if known => drop(self.objects.insert(key, rows)),
            _ if known || key == "account" => {
                let what = if known { "a list" } else { "an object" };
                return Err(fault(path, format!("{key}: must be {what}, or a reply with one")));
            }
            _ => {
                let known: Vec<&str> = OF_ACCOUNT.iter().map(|(own, ..)| *own).collect();
                let known = known.join(", ");
                let known = format!("account, zones, {known}, zones/ID/load_balancers");
                return Err(fault(path, format!("{key}: holds nothing that is known: {known}")));
            }
        }
        Ok(())
    }
}

/// The files of a folder that end in `.json`, at most three folders deep.
fn files(folder: &Path) -> Result<Vec<PathBuf>, GatherError> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = open.pop() {
        let here = folder.join(&below);
        let told = |error: io::Error| fault(&here, format!("read: {error}"));
        for entry in fs::read_dir(&here).map_err(told)? {
            let entry = entry.map_err(told)?;
            let name = below.join(entry.file_name());
            let kind = entry.file_type().map_err(told)?;
            if kind.is_dir() && name.components().count() < 3 {
                open.push(name);
            } else if kind.is_file() && name.extension().is_some_and(|ending| ending == "json") {
                found.push(name);
            }
            if found.len() + open.len() > FILES_MAX {
                return Err(fault(folder, format!("more than {FILES_MAX} files")));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Value, GatherError> {
    let told = |error: io::Error| fault(path, format!("read: {error}"));
    let bytes = fs::metadata(path).map_err(told)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(fault(path, format!("{bytes} bytes of {FILE_BYTES_MAX}")));
    }
    let bytes = fs::read(path).map_err(told)?;
    serde_json::from_slice(&bytes).map_err(|error| fault(path, format!("no JSON: {error}")))
}

fn fault(path: &Path, what: impl Into<String>) -> GatherError {
    GatherError::File { path: path.display().to_string(), what: what.into() }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
