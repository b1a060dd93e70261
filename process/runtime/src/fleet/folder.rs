//! The state folder of an edge: who it is, and how often it was started. It belongs to the service
//! user, and its files are for nobody else.

use super::lock::LOCK;
use super::{FleetError, now_unix};
use crate::accounts::ServiceUser;
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The state folder where none is set and the service manager names none.
pub const FOLDER_DEFAULT: &str = "/var/lib/weir";

const IDENTITY: &str = "identity.json";
const STARTS: &str = "starts.json";
pub(super) const SNAPSHOT: &str = "snapshot";
/// What is put behind the name of a file until all of it is on disk.
const UNFINISHED: &str = ".new";
/// What is put behind the name of a file that cannot be read.
const DAMAGED: &str = ".damaged";
/// Everything that may be in the folder: what is given to the service user.
const FILES: [&str; 4] = [IDENTITY, STARTS, SNAPSHOT, LOCK];

/// Who this edge is to its control planes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The edge's id: 32 hexadecimal digits.
    pub edge: String,
    /// Its certificate (PEM).
    pub certificate: String,
    /// The key of it (PEM). It was made here and is nowhere else.
    pub key: String,
    /// The authorities of control planes (PEM).
    pub authorities: String,
    /// When the certificate ends, in seconds since 1970.
    pub ends: u64,
    /// When it is to be renewed, in seconds since 1970.
    pub renew: u64,
    /// The id of the token that it joined with: another one is an order to join anew.
    pub token: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.edge)
    }
}

impl Identity {
    /// How long ago the certificate ended, where it has.
    #[must_use]
    pub fn ended(&self) -> Option<std::time::Duration> {
        let ago = now_unix().checked_sub(self.ends)?;
        Some(std::time::Duration::from_secs(ago))
    }
}

/// How often the process was started.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Starts {
    /// Starts that nobody ordered, and the first one.
    starts: u64,
    /// Whether one runs that has not ended in order.
    running: bool,
}

/// A state folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, made where it is not there. Started as root, it is made the service
    /// user's with what is in it.
    ///
    /// # Errors
    /// It cannot be made, given away or looked at.
    pub fn open(path: &Path, owner: Option<&ServiceUser>) -> Result<Self, FleetError> {
        let folder = Self { path: path.to_owned() };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(folder.failed("", "making it"))?;
        if let Some(owner) = owner {
            folder.give_all(owner)?;
        }
        Ok(folder)
    }

    /// Gives the folder and what is in it to the service user, where this process is root.
    pub(super) fn give_all(&self, owner: &ServiceUser) -> Result<(), FleetError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        self.give("", owner)?;
        FILES.iter().try_for_each(|file| self.give(file, owner))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    pub(super) fn failed(
        &self,
        name: &str,
        step: &'static str,
    ) -> impl Fn(io::Error) -> FleetError + use<> {
        let path = self.file(name);
        move |cause| FleetError::Folder { path: path.clone(), step, cause }
    }

    /// Gives a file to the service user, where it is there and another's.
    fn give(&self, name: &str, owner: &ServiceUser) -> Result<(), FleetError> {
        let path = self.file(name);
        let failed = self.failed(name, "giving it to the service user");
        match fs::symlink_metadata(&path) {
            Ok(found) if (found.uid(), found.gid()) == (owner.uid, owner.gid) => Ok(()),
            Ok(_) => {
                let (user, group) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                chownat(CWD, &path, Some(user), Some(group), flags).map_err(|e| failed(e.into()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    /// What a file holds, where it is there.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FleetError> {
        match fs::read(self.file(name)) {
            Ok(octets) => Ok(Some(octets)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(name, "reading it")(e)),
        }
    }

    /// Writes a file as a whole: after a crash the old one is there, or the new one.
    pub(super) fn write(
        &self,
        name: &str,
        octets: impl Iterator<Item = io::Result<Vec<u8>>>,
    ) -> Result<u64, FleetError> {
        let (path, unfinished) = (self.file(name), self.file(&format!("{name}{UNFINISHED}")));
        let failed = self.failed(name, "writing it");
        let mut length = 0;
        let write = || -> io::Result<u64> {
            match fs::remove_file(&unfinished) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&unfinished)?;
            let mut file = io::BufWriter::with_capacity(1 << 18, file);
            for part in octets {
                let part = part?;
                length += part.len() as u64;
                file.write_all(&part)?;
            }
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&unfinished, &path)?;
            // The new name is a change of the folder.
            File::open(&self.path)?.sync_all()?;
            Ok(length)
        };
        write().map_err(failed)
    }

    /// Puts a file that cannot be read out of the way, and says where it is then.
    pub(super) fn set_aside(&self, name: &str) -> Result<PathBuf, FleetError> {
        let aside = self.file(&format!("{name}{DAMAGED}"));
        let failed = self.failed(name, "setting it aside");
        fs::rename(self.file(name), &aside).map_err(failed)?;
        Ok(aside)
    }

    /// Who this edge is, where it has joined.
    ///
    /// # Errors
    /// The file cannot be read, or is none of this version.
    pub fn identity(&self) -> Result<Option<Identity>, FleetError> {
        let Some(octets) = self.read(IDENTITY)? else { return Ok(None) };
        let identity = serde_json::from_slice(&octets);
        identity
            .map(Some)
            .map_err(|cause| FleetError::Identity { path: self.file(IDENTITY), cause })
    }

    /// Keeps who this edge is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_identity(&self, identity: &Identity) -> Result<(), FleetError> {
        let octets = serde_json::to_vec_pretty(identity)
            .map_err(|cause| FleetError::Identity { path: self.file(IDENTITY), cause })?;
        self.write(IDENTITY, std::iter::once(Ok(octets))).map(drop)
    }

    /// Counts a start, and gives the count: the first start, and each one that follows an end that
    /// nobody ordered. A process that `takes_over` from another one is an ordered start.
    ///
    /// # Errors
    /// The count cannot be written.
    pub fn started(&self, takes_over: bool) -> Result<u64, FleetError> {
        // A count that cannot be read begins anew: it is no reason not to serve.
        let octets = self.read(STARTS)?.unwrap_or_default();
        let mut starts: Starts = serde_json::from_slice(&octets).unwrap_or_default();
        if starts.starts == 0 || (starts.running && !takes_over) {
            starts.starts = starts.starts.saturating_add(1);
        }
        starts.running = true;
        self.keep_starts(starts)?;
        Ok(starts.starts)
    }

    /// Notes that the process ends in order.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn ended(&self) -> Result<(), FleetError> {
        let octets = self.read(STARTS)?.unwrap_or_default();
        let starts: Starts = serde_json::from_slice(&octets).unwrap_or_default();
        self.keep_starts(Starts { running: false, ..starts })
    }

    fn keep_starts(&self, starts: Starts) -> Result<(), FleetError> {
        let octets = serde_json::to_vec(&starts)
            .map_err(|cause| FleetError::Identity { path: self.file(STARTS), cause })?;
        self.write(STARTS, std::iter::once(Ok(octets))).map(drop)
    }
}
