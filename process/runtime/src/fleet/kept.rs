//! The last snapshot on disk: the messages that it came in, all of it first, then what changed
//! since. An edge starts from it with every control plane dead.

use super::folder::SNAPSHOT;
use super::parts::{Arrived, Parts};
use super::{FleetError, Folder};
use control_api::publish::{Change, Frames, Item, ItemKey, Items, PlaneMessage, SnapshotId, frame};
use std::fs::OpenOptions;
use std::io::{self, Write};

/// Bytes of items in one message: a message is taken up in a millisecond.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Changes behind a snapshot before all of it is written anew: reading them takes a start less than
/// a tenth of a second.
const DELTAS_MAX: u32 = 1_024;
/// Bytes of changes that are always borne before all of it is written anew.
const DELTA_BYTES: u64 = 1 << 20;
/// Bytes that are given to the reader of messages at once.
const READ_AT_ONCE: usize = 64 * 1024;

/// A snapshot that is whole.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which one.
    pub snapshot: SnapshotId,
    /// What it holds.
    pub items: Items,
}

/// The file of the last snapshot.
#[derive(Debug)]
pub struct Kept {
    folder: Folder,
    /// What the file says: none where all of it must be written.
    has: Option<SnapshotId>,
    /// Bytes of the whole snapshot that it begins with.
    whole: u64,
    /// Bytes of what follows it.
    since: u64,
    /// Changes that follow it.
    deltas: u32,
}

impl Kept {
    /// A file of which nothing is known.
    #[must_use]
    pub fn none(folder: &Folder) -> Self {
        Self { folder: folder.clone(), has: None, whole: 0, since: 0, deltas: 0 }
    }

    /// Reads what is there. A file that cannot be read is set aside, and told in the third place.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(folder: &Folder) -> Result<(Self, Option<Found>, Option<String>), FleetError> {
        let mut kept = Self::none(folder);
        let Some(octets) = kept.folder.read(SNAPSHOT)? else { return Ok((kept, None, None)) };
        match read(&octets) {
            Ok((found, true)) => {
                kept.has = Some(found.snapshot.clone());
                kept.whole = octets.len() as u64;
                Ok((kept, Some(found), None))
            }
            // A write was cut short. What was whole before it holds, and is written anew.
            Ok((found, false)) => Ok((kept, Some(found), None)),
            Err(what) => {
                let aside = kept.folder.set_aside(SNAPSHOT)?;
                Ok((kept, None, Some(format!("{what}; it is at {} now", aside.display()))))
            }
        }
    }

    /// Believes nothing of the file any more, since another process may have written it: the next
    /// call of [`Self::keep`] writes all of it.
    pub fn forget(&mut self) {
        self.has = None;
    }

    /// Writes what is in force: `changes` made it of `base`.
    ///
    /// # Errors
    /// It cannot be written; the next call writes all of it.
    pub fn keep(
        &mut self,
        snapshot: &SnapshotId,
        base: Option<&SnapshotId>,
        changes: &[Change],
        items: &Items,
    ) -> Result<(), FleetError> {
        let follows = base.is_some() && base == self.has.as_ref();
        let room = self.deltas < DELTAS_MAX && self.since <= DELTA_BYTES.max(self.whole);
        self.has = None;
        if follows && room {
            let failed = self.folder.failed(SNAPSHOT, "writing to it");
            let octets: io::Result<Vec<Vec<u8>>> =
                messages(snapshot, base, changes.to_vec()).collect();
            let octets = octets.map_err(&failed)?.concat();
            self.append(&octets, !changes.is_empty()).map_err(failed)?;
            self.since += octets.len() as u64;
            self.deltas += 1;
        } else {
            let all = items.iter().map(Change::Put).collect();
            self.whole = self.folder.write(SNAPSHOT, messages(snapshot, None, all))?;
            (self.since, self.deltas) = (0, 0);
        }
        self.has = Some(snapshot.clone());
        Ok(())
    }

    fn append(&self, octets: &[u8], sync: bool) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.folder.file(SNAPSHOT))?;
        file.write_all(octets)?;
        // Another number for the same items may be lost: a plane tells it again.
        if sync { file.sync_data() } else { Ok(()) }
    }
}

/// The last snapshot that the file has whole, and whether nothing stands behind it.
fn read(octets: &[u8]) -> Result<(Found, bool), String> {
    let mut frames = Frames::<PlaneMessage>::default();
    let (mut parts, mut last) = (Parts::default(), None);
    let (mut items, mut cut) = (Items::default(), false);
    'file: for chunk in octets.chunks(READ_AT_ONCE) {
        frames.push(chunk);
        loop {
            let arrived = match frames.take() {
                Ok(None) => break,
                Ok(Some(message)) => parts.take(message),
                Err(error) => Err(error.to_string()),
            };
            match arrived {
                Ok(None) => {}
                Ok(Some(arrived)) => match follow(&mut items, last.as_ref(), arrived) {
                    Some(snapshot) => last = Some(snapshot),
                    None => return Err("a change of a snapshot that is not there".to_owned()),
                },
                Err(what) if last.is_none() => return Err(what),
                Err(_) => {
                    cut = true;
                    break 'file;
                }
            }
        }
    }
    let snapshot = last.ok_or("no snapshot in it is whole")?;
    if items.hash() != snapshot.hash {
        return Err("its items do not have the hash that they should".to_owned());
    }
    let whole = !cut && !parts.open() && frames.is_empty();
    Ok((Found { snapshot, items }, whole))
}

fn follow(items: &mut Items, last: Option<&SnapshotId>, arrived: Arrived) -> Option<SnapshotId> {
    match &arrived.base {
        None => *items = Items::default(),
        base if base.as_ref() == last => {}
        Some(_) => return None,
    }
    arrived.changes.into_iter().for_each(|change| items.apply(change));
    Some(arrived.snapshot)
}

/// The messages of a snapshot.
fn messages(
    snapshot: &SnapshotId,
    base: Option<&SnapshotId>,
    changes: Vec<Change>,
) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let (items, base) = (changes.len(), base.cloned());
    let begin = PlaneMessage::Begin { snapshot: snapshot.clone(), base, items, committed_ms: 0 };
    let end = PlaneMessage::End { snapshot: snapshot.clone() };
    let mut changes = changes.into_iter().peekable();
    let parts = std::iter::from_fn(move || {
        changes.peek()?;
        let (mut put, mut remove, mut bytes) = (Vec::<Item>::new(), Vec::<ItemKey>::new(), 0);
        while bytes < MESSAGE_BYTES
            && let Some(change) = changes.next()
        {
            bytes += change.key().id.len();
            match change {
                Change::Put(item) => {
                    bytes += item.body.get().len();
                    put.push(item);
                }
                Change::Remove(key) => remove.push(key),
            }
        }
        Some(PlaneMessage::Items { put, remove })
    });
    let all = std::iter::once(begin).chain(parts).chain(std::iter::once(end));
    all.map(|message| frame(&message).map_err(io::Error::other))
}
