//! The store in etcd, for several control planes at once.
//!
//! Below the prefix: `head` with the revision, `objects/KEY`, `history/REVISION`. A commit is one
//! transaction that compares `head`. One that is too large for that is written ahead in `parts/`;
//! the transaction then puts a head that names the parts, which is the commit, and the objects
//! follow. Who finds such a head reads the parts, and who writes finishes the objects first.
//!
//! etcd is spoken to over its JSON gateway: its gRPC clients need a compiler of protocol
//! definitions to build.

mod client;

use super::backend::{Dump, HISTORY_BYTES_MAX, HISTORY_PAGE_MAX};
use super::error::StoreError;
use super::key::Key;
use super::record::{Commit, Record, Revision, Stored};
use super::state::State;
use client::{Client, coded, number, octets};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Operations of one transaction. etcd takes 128 (`--max-txn-ops`), head and history among them.
const OPERATIONS_MAX: usize = 100;

/// Bytes of one transaction before base64. etcd takes 1.5 MiB (`--max-request-bytes`).
const TRANSACTION_BYTES_MAX: usize = 1 << 20;

/// Bytes of one part of a commit that is written ahead.
const PART_BYTES_MAX: usize = 512 << 10;

/// Bytes of one commit: 128 parts.
const COMMIT_BYTES_MAX: usize = 64 << 20;

/// Objects read by one call, so that a reply has at most 110 MB.
const PAGE_MAX: usize = 64;

/// How long a watch is listened to before the head is read again, for one that fell silent.
const WATCH_MAX: Duration = Duration::from_secs(5);

/// Bytes of a watch's reply without the end of a line; one event of a head has 500.
const WATCH_LINE_MAX: usize = 64 << 10;

/// How to reach etcd.
#[derive(Clone, Debug, Default)]
pub struct EtcdOptions {
    /// `http://HOST:PORT` or `https://HOST:PORT` of members.
    pub endpoints: Vec<String>,
    /// Authorities of the members' certificates, PEM; else the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The user of etcd.
    pub user: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
    /// What every key begins with, for example `/weir`.
    pub prefix: String,
}

/// A store in etcd.
#[derive(Clone, Debug)]
pub struct Etcd {
    client: Arc<Client>,
    prefix: Arc<str>,
}

/// What stands at `head`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    revision: Revision,
    /// A commit whose objects are not all written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Parts>,
}

/// A record that is written in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    name: String,
    count: usize,
}

/// What stands at `history/REVISION`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Parts { parts: Parts },
    Whole(Box<Record>),
}

/// A head as it was read.
struct Found {
    head: Head,
    /// Its very octets; none where there is no head.
    octets: Option<Vec<u8>>,
    /// The revision of etcd at which it was read.
    at: u64,
}

/// A page of a range: names without the prefix, with their values.
type Page = Vec<(String, Vec<u8>)>;

impl Etcd {
    /// Takes the files that `options` names. Nothing is asked of etcd yet.
    ///
    /// # Errors
    /// When an endpoint is none, or a file cannot be used.
    pub fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let client = Arc::new(Client::new(options)?);
        Ok(Self { client, prefix: options.prefix.trim_end_matches('/').into() })
    }

    /// The endpoints, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.client.place()
    }

    pub(crate) async fn load(&self) -> Result<State, StoreError> {
        let found = self.head().await?;
        let mut state = State { revision: found.head.revision, ..State::default() };
        if found.octets.is_none() {
            return Ok(state);
        }
        let (mut from, end) = self.folder("objects");
        loop {
            let page = self.range(&from, &end, PAGE_MAX, found.at).await?;
            let Some((last, _)) = page.last() else { break };
            from = format!("{}/{last}\0", self.prefix);
            for (name, value) in &page {
                let name = name.strip_prefix("objects/").unwrap_or(name);
                let key = Key::new(name).map_err(|error| self.corrupt(error.to_string()))?;
                state.objects.insert(key, self.parse::<Stored>(value)?);
            }
        }
        if let Some(parts) = &found.head.pending {
            let record = self.assemble(parts).await?;
            // Objects that are written already come out the same.
            state.apply(&record);
        }
        Ok(state)
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Result<Revision, StoreError> {
        let found = self.settled_head().await?;
        if found.head.revision != commit.base {
            let (base, head) = (commit.base, found.head.revision);
            return Err(StoreError::Conflict { base, head });
        }
        let revision = commit.revision();
        let record = serde_json::to_vec(&commit.record()).map_err(|e| self.json(&e))?;
        let mut objects = Vec::new();
        for write in &commit.writes {
            let name = format!("objects/{}", write.key);
            objects.push(self.write(&name, write.stored(revision).as_ref())?);
        }
        let bytes = objects.iter().map(|(_, bytes)| bytes).sum::<usize>() + record.len();
        if objects.len() <= OPERATIONS_MAX && bytes <= TRANSACTION_BYTES_MAX {
            let head = Head { revision, pending: None };
            let mut writes: Vec<_> = objects.into_iter().map(|(write, _)| write).collect();
            writes.push(self.put(&history(revision), &record));
            return self.advance(&found, &head, writes).await.map(|_| revision);
        }
        if record.len() > COMMIT_BYTES_MAX {
            let why = format!("a commit of {} bytes; at most {COMMIT_BYTES_MAX}", record.len());
            return Err(StoreError::TooLarge { place: self.place(), why });
        }
        self.commit_in_parts(&found, &commit, &record).await
    }

    pub(crate) async fn history(
        &self,
        range: RangeInclusive<Revision>,
    ) -> Result<Vec<Record>, StoreError> {
        let at = self.head().await?.at;
        let last = self.full(&history(range.end().saturating_add(1)));
        // The key after the greatest number is the end of the folder.
        let end = if *range.end() == Revision::MAX { self.folder("history").1 } else { last };
        let mut from = self.full(&history(*range.start()));
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < HISTORY_PAGE_MAX {
            let room = PAGE_MAX.min(HISTORY_PAGE_MAX - records.len());
            let page = self.range(&from, &end, room, at).await?;
            let Some((name, _)) = page.last() else { break };
            from = format!("{}/{name}\0", self.prefix);
            for (_, value) in &page {
                let (record, size) = match self.parse::<Entry>(value)? {
                    Entry::Whole(record) => (*record, value.len()),
                    Entry::Parts { parts } => {
                        (self.assemble(&parts).await?, parts.count * PART_BYTES_MAX)
                    }
                };
                records.push(record);
                bytes += size;
                if bytes >= HISTORY_BYTES_MAX {
                    return Ok(records);
                }
            }
        }
        Ok(records)
    }

    /// Waits until the head is another than `after`.
    pub(crate) async fn changed(&self, after: Revision) -> Result<(), StoreError> {
        loop {
            let found = self.head().await?;
            if found.head.revision != after {
                return Ok(());
            }
            let key = coded(self.full("head"));
            let from = (found.at + 1).to_string();
            let request = json!({"create_request": {"key": key, "start_revision": from}});
            let mut reply = self.client.stream("/v3/watch", &request).await?;
            let heard = timeout(WATCH_MAX, async {
                let mut line = Vec::new();
                while let Ok(Some(part)) = reply.part().await {
                    line.extend(part);
                    if has_event(&mut line) || line.len() > WATCH_LINE_MAX {
                        break;
                    }
                }
            });
            // Silence and the end of the watch alike: the head tells.
            let _ = heard.await;
        }
    }

    pub(crate) async fn compact(&self, first: Revision) -> Result<(), StoreError> {
        self.settled_head().await?;
        let folder =
            |name: &str| (self.full(&format!("{name}/")), self.full(&numbered(name, first)));
        for (from, end) in [folder("history"), folder("parts")] {
            self.delete(&from, &end).await?;
        }
        Ok(())
    }

    pub(crate) async fn fill(&self, dump: Dump) -> Result<(), StoreError> {
        let found = self.head().await?;
        if found.octets.is_some() {
            return Err(StoreError::Conflict { base: 0, head: found.head.revision });
        }
        // What an earlier attempt left, which had no head.
        for folder in ["objects", "history", "parts"] {
            let (from, end) = self.folder(folder);
            self.delete(&from, &end).await?;
        }
        let mut writes = Vec::new();
        for (key, stored) in &dump.state.objects {
            writes.push(self.write(&format!("objects/{key}"), Some(stored))?);
        }
        for record in &dump.history {
            let octets = serde_json::to_vec(record).map_err(|e| self.json(&e))?;
            let entry = if octets.len() > TRANSACTION_BYTES_MAX {
                let parts = self.write_parts(record, &octets).await?;
                serde_json::to_vec(&Entry::Parts { parts }).map_err(|e| self.json(&e))?
            } else {
                octets
            };
            let write = self.put(&history(record.revision), &entry);
            writes.push((write, entry.len()));
        }
        for batch in batches(writes) {
            let absent = json!({"key": coded(self.full("head")), "target": "VERSION",
                                "version": "0"});
            self.transact(&absent, batch).await?;
        }
        let head = Head { revision: dump.state.revision, pending: None };
        self.advance(&found, &head, Vec::new()).await.map(drop)
    }

    /// Writes the record ahead, commits by a head that names it, and writes the objects.
    async fn commit_in_parts(
        &self,
        found: &Found,
        commit: &Commit,
        octets: &[u8],
    ) -> Result<Revision, StoreError> {
        let record = commit.record();
        let parts = self.write_parts(&record, octets).await?;
        let entry = Entry::Parts { parts: parts.clone() };
        let entry = serde_json::to_vec(&entry).map_err(|e| self.json(&e))?;
        let head = Head { revision: record.revision, pending: Some(parts) };
        let writes = vec![self.put(&history(record.revision), &entry)];
        let committed = self.advance(found, &head, writes).await?;
        // From here on the commit stands; objects that are left over are the next writer's.
        let _ = self.settle(committed).await;
        Ok(record.revision)
    }

    async fn write_parts(&self, record: &Record, octets: &[u8]) -> Result<Parts, StoreError> {
        let name = format!("{}-{:016x}", numbered("parts", record.revision), record.id);
        let mut count = 0;
        for part in octets.chunks(PART_BYTES_MAX) {
            let key = coded(self.full(&format!("{name}/{count:06}")));
            let request = json!({"key": key, "value": coded(part)});
            self.client.call("write a part", "/v3/kv/put", &request).await?;
            count += 1;
        }
        Ok(Parts { name, count })
    }

    /// The record that was written in parts.
    async fn assemble(&self, parts: &Parts) -> Result<Record, StoreError> {
        let mut octets = Vec::new();
        let from = self.full(&format!("{}/", parts.name));
        let end = self.full(&format!("{}0", parts.name));
        let mut next = from;
        let mut count = 0;
        loop {
            let page = self.range(&next, &end, PAGE_MAX, 0).await?;
            let Some((last, _)) = page.last() else { break };
            next = format!("{}/{last}\0", self.prefix);
            count += page.len();
            page.iter().for_each(|(_, part)| octets.extend(part));
        }
        if count != parts.count {
            let what = format!("{} has {count} parts of {}", parts.name, parts.count);
            return Err(self.corrupt(what));
        }
        self.parse(&octets)
    }

    /// The head, with every object of its commit written.
    async fn settled_head(&self) -> Result<Found, StoreError> {
        let found = self.head().await?;
        if found.head.pending.is_some() { self.settle(found).await } else { Ok(found) }
    }

    /// Writes what a head has pending, and a head without it. Others may do the same at once: all
    /// write the same.
    async fn settle(&self, found: Found) -> Result<Found, StoreError> {
        let Some(parts) = &found.head.pending else { return Ok(found) };
        let record = self.assemble(parts).await?;
        let mut writes = Vec::new();
        for change in &record.changes {
            let name = format!("objects/{}", change.key);
            let stored = match &change.after {
                None => None,
                Some(value) => {
                    let old = self.one(&name).await?;
                    let old = old.map(|octets| self.parse::<Stored>(&octets)).transpose()?;
                    let created = old.map_or(record.revision, |old| old.created);
                    let modified = record.revision;
                    Some(Stored { value: value.clone(), created, modified })
                }
            };
            writes.push(self.write(&name, stored.as_ref())?);
        }
        for batch in batches(writes) {
            self.transact(&self.unmoved(&found), batch).await?;
        }
        let head = Head { revision: found.head.revision, pending: None };
        self.advance(&found, &head, Vec::new()).await
    }

    /// Puts a head in place of the one that was found, with `writes`, or nothing at all.
    async fn advance(
        &self,
        found: &Found,
        head: &Head,
        mut writes: Vec<Value>,
    ) -> Result<Found, StoreError> {
        let octets = serde_json::to_vec(head).map_err(|e| self.json(&e))?;
        writes.push(self.put("head", &octets));
        let base = found.head.revision;
        let at =
            self.transact(&self.unmoved(found), writes).await.map_err(|error| match error {
                StoreError::Conflict { head, .. } => StoreError::Conflict { base, head },
                other => other,
            })?;
        Ok(Found { head: head.clone(), octets: Some(octets), at })
    }

    /// The comparison that holds while the head is the one that was found.
    fn unmoved(&self, found: &Found) -> Value {
        let key = coded(self.full("head"));
        match &found.octets {
            Some(octets) => json!({"key": key, "target": "VALUE", "value": coded(octets)}),
            None => json!({"key": key, "target": "VERSION", "version": "0"}),
        }
    }

    /// One transaction; the revision of etcd that it made.
    async fn transact(&self, compare: &Value, writes: Vec<Value>) -> Result<u64, StoreError> {
        let head = json!({"request_range": {"key": coded(self.full("head"))}});
        let request = json!({"compare": [compare], "success": writes, "failure": [head]});
        let reply = self.client.call("commit", "/v3/kv/txn", &request).await?;
        if reply.get("succeeded").and_then(Value::as_bool) == Some(true) {
            return Ok(reply.get("header").map_or(0, |header| number(header, "revision")));
        }
        let there = reply.pointer("/responses/0/response_range/kvs/0");
        let head: Head = match there {
            Some(entry) => self.parse(&octets(entry, "value"))?,
            None => Head::default(),
        };
        Err(StoreError::Conflict { base: 0, head: head.revision })
    }

    async fn head(&self) -> Result<Found, StoreError> {
        let request = json!({"key": coded(self.full("head"))});
        let reply = self.client.call("read the head", "/v3/kv/range", &request).await?;
        let at = reply.get("header").map_or(0, |header| number(header, "revision"));
        match reply.pointer("/kvs/0").map(|entry| octets(entry, "value")) {
            None => Ok(Found { head: Head::default(), octets: None, at }),
            Some(octets) => Ok(Found { head: self.parse(&octets)?, octets: Some(octets), at }),
        }
    }

    async fn one(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let request = json!({"key": coded(self.full(name))});
        let reply = self.client.call("read an object", "/v3/kv/range", &request).await?;
        Ok(reply.pointer("/kvs/0").map(|entry| octets(entry, "value")))
    }

    /// Up to `limit` entries from `from` on before `end`, as they were at etcd's revision `at`.
    async fn range(
        &self,
        from: &str,
        end: &str,
        limit: usize,
        at: u64,
    ) -> Result<Page, StoreError> {
        let request = json!({
            "key": coded(from),
            "range_end": coded(end),
            "limit": limit.to_string(),
            "revision": at.to_string(),
        });
        let reply = self.client.call("read", "/v3/kv/range", &request).await?;
        let entries = reply.get("kvs").and_then(Value::as_array);
        let mut page = Vec::new();
        for entry in entries.into_iter().flatten() {
            let name = String::from_utf8(octets(entry, "key"));
            let name = name.map_err(|error| self.corrupt(error.to_string()))?;
            let name = name.strip_prefix(&*self.prefix).unwrap_or(&name);
            page.push((name.trim_start_matches('/').to_owned(), octets(entry, "value")));
        }
        Ok(page)
    }

    async fn delete(&self, from: &str, end: &str) -> Result<(), StoreError> {
        let request = json!({"key": coded(from), "range_end": coded(end)});
        self.client.call("delete", "/v3/kv/deleterange", &request).await.map(drop)
    }

    fn full(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// The first key of a folder and the first behind it; `0` is what follows `/`.
    fn folder(&self, name: &str) -> (String, String) {
        (self.full(&format!("{name}/")), self.full(&format!("{name}0")))
    }

    fn put(&self, name: &str, octets: &[u8]) -> Value {
        json!({"request_put": {"key": coded(self.full(name)), "value": coded(octets)}})
    }

    /// What writes or removes an object, and its bytes.
    fn write(&self, name: &str, stored: Option<&Stored>) -> Result<(Value, usize), StoreError> {
        let Some(stored) = stored else {
            let key = coded(self.full(name));
            return Ok((json!({"request_delete_range": {"key": key}}), 0));
        };
        let octets = serde_json::to_vec(stored).map_err(|e| self.json(&e))?;
        Ok((self.put(name, &octets), octets.len()))
    }

    fn parse<T: DeserializeOwned>(&self, octets: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(octets).map_err(|error| self.json(&error))
    }

    fn json(&self, error: &serde_json::Error) -> StoreError {
        self.corrupt(error.to_string())
    }

    fn corrupt(&self, what: String) -> StoreError {
        StoreError::Corrupt { place: format!("{}{}", self.place(), self.prefix), what }
    }
}

/// A name whose order is that of the revisions.
fn numbered(folder: &str, revision: Revision) -> String {
    format!("{folder}/{revision:020}")
}

fn history(revision: Revision) -> String {
    numbered("history", revision)
}

/// Writes in batches that etcd takes at once.
fn batches(writes: Vec<(Value, usize)>) -> Vec<Vec<Value>> {
    let mut all: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for (write, size) in writes {
        match all.last_mut() {
            Some(last) if last.len() < OPERATIONS_MAX && bytes + size <= TRANSACTION_BYTES_MAX => {
                bytes += size;
                last.push(write);
            }
            _ => {
                bytes = size;
                all.push(vec![write]);
            }
        }
    }
    all
}

/// Whether one of the whole lines tells an event; whole lines are taken off.
fn has_event(lines: &mut Vec<u8>) -> bool {
    while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = lines.drain(..=end).collect();
        let told: Option<Value> = serde_json::from_slice(&line).ok();
        let events = told.as_ref().and_then(|told| told.pointer("/result/events"));
        if events.is_some_and(Value::is_array) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
