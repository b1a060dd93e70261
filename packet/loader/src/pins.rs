//! Where everything is pinned, so that packets go on when the daemon dies:
//!
//! ```text
//! /sys/fs/bpf/weir/NAME/current -> set-7      changes by one rename
//! /sys/fs/bpf/weir/NAME/set-7/TRIE …          maps, programs and layout of one loading
//! /sys/fs/bpf/weir/NAME/links/xdp-eth0 …      what is attached
//! ```
//!
//! A set is complete before `current` points to it. Whoever changes anything holds the lock of the
//! folder; reading needs none. Pins and folders are root's alone.

use crate::sys::bpf;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Where BPF file systems are by convention.
pub const ROOT: &str = "/sys/fs/bpf";
/// Name of the pins unless the configuration says another.
pub const DEFAULT_NAME: &str = "default";
/// Octets of a name: it is one folder.
const NAME_LEN_MAX: usize = 64;
/// `f_type` of a BPF file system.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// What went wrong with a pin.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The name would leave its folder.
    #[error("`{0}` is no name for pins: take up to {NAME_LEN_MAX} letters, digits, `-` and `_`")]
    Name(String),
    /// No BPF file system.
    #[error(
        "{path} is no BPF file system and could not be made one: mount it with \
         `mount -t bpf bpf {path}`"
    )]
    Mount {
        /// Where it should be.
        path: PathBuf,
        /// Why it was not mounted.
        #[source]
        source: io::Error,
    },
    /// Another process changes the same pins.
    #[error(
        "another process holds {path}: one daemon runs for each name; stop it, or choose another \
         name"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing is there.
    #[error("nothing is loaded under {path}: start it with `weir packet run FILE`")]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// The kernel or the file system refused.
    #[error("the kernel did not {what} {path}")]
    Refused {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn refused(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError {
    move |source| PinError::Refused { what, path: path.to_owned(), source }
}

/// The folder of one name.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

/// Held by whoever changes what is pinned; given back on drop, and by death.
#[derive(Debug)]
pub struct Lock {
    folder: OwnedFd,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child that was forked in this moment and has not yet
        // begun its own program. An error leaves the lock to the close that follows.
        let _ = flock(&self.folder, FlockOperation::Unlock);
    }
}

impl Home {
    /// The folder of `name` below the BPF file system `root` ([`ROOT`]), whether it exists or not.
    ///
    /// # Errors
    /// [`PinError::Name`].
    pub fn at(root: &Path, name: &str) -> Result<Self, PinError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_LEN_MAX || !name.bytes().all(fits) {
            return Err(PinError::Name(name.to_owned()));
        }
        Ok(Self { path: root.join("weir").join(name) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, mounting a BPF file system if there is none, and takes its lock.
    ///
    /// # Errors
    /// [`PinError::Mount`], [`PinError::Locked`], [`PinError::Refused`].
    pub fn lock(&self) -> Result<Lock, PinError> {
        let root = self.path.ancestors().nth(2).unwrap_or(&self.path);
        ensure_mounted(root)?;
        let links = self.path.join("links");
        make_folder(&links).map_err(refused("make", &links))?;
        self.lock_folder()
    }

    /// Takes the lock where something is loaded; for what makes no sense without.
    ///
    /// # Errors
    /// [`PinError::Absent`], [`PinError::Locked`], [`PinError::Refused`].
    pub fn lock_existing(&self) -> Result<Lock, PinError> {
        if !self.path.is_dir() {
            return Err(PinError::Absent { path: self.path.clone() });
        }
        self.lock_folder()
    }

    fn lock_folder(&self) -> Result<Lock, PinError> {
        lock_folder(&self.path)
    }

    /// Opens a pin of the current set.
    ///
    /// # Errors
    /// [`PinError::Absent`], [`PinError::Refused`].
    pub fn open(&self, name: &str) -> Result<OwnedFd, PinError> {
        let path = self.path.join("current").join(name);
        bpf::open_pin(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => PinError::Absent { path: self.path.clone() },
            _ => PinError::Refused { what: "open", path, source },
        })
    }

    /// Opens a pin of the current set, if it is there.
    pub(crate) fn find(&self, name: &str) -> Result<Option<OwnedFd>, PinError> {
        match self.open(name) {
            Ok(fd) => Ok(Some(fd)),
            Err(PinError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the folder of a further set.
    pub(crate) fn new_set(&self, _lock: &Lock) -> Result<Set, PinError> {
        let highest = self.sets()?.into_iter().map(|(number, _)| number).max();
        let path = self.path.join(format!("set-{}", highest.unwrap_or(0) + 1));
        make_folder(&path).map_err(refused("make", &path))?;
        Ok(Set { home: self.clone(), path, in_use: false })
    }

    fn sets(&self) -> Result<Vec<(u64, PathBuf)>, PinError> {
        let entries = fs::read_dir(&self.path).map_err(refused("list", &self.path))?;
        Ok(entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name();
                let number = name.to_str()?.strip_prefix("set-")?.parse().ok()?;
                Some((number, entry.path()))
            })
            .collect())
    }

    /// The pins of links: their names, such as `xdp-eth0`.
    ///
    /// # Errors
    /// [`PinError::Refused`].
    pub fn links(&self) -> Result<Vec<String>, PinError> {
        let path = self.path.join("links");
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(refused("list", &path))?,
        };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        // What a death between pinning and renaming left behind.
        names.retain(|name| !name.ends_with('~'));
        names.sort();
        Ok(names)
    }

    /// Opens the pin of a link, if it is there.
    ///
    /// # Errors
    /// [`PinError::Refused`].
    pub fn link(&self, name: &str) -> Result<Option<OwnedFd>, PinError> {
        let path = self.path.join("links").join(name);
        match bpf::open_pin(&path) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PinError::Refused { what: "open", path, source }),
        }
    }

    /// Pins a link, in place of one of that name.
    pub(crate) fn pin_link(&self, name: &str, fd: BorrowedFd<'_>) -> Result<(), PinError> {
        let folder = self.path.join("links");
        let path = folder.join(name);
        match bpf::pin(fd, &path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(PinError::Refused { what: "pin", path, source }),
        }
        let fresh = folder.join(format!("{name}~"));
        remove_file(&fresh)?;
        bpf::pin(fd, &fresh).map_err(refused("pin", &fresh))?;
        fs::rename(&fresh, &path).map_err(refused("rename to", &path))
    }

    /// Removes the pin of a link.
    pub(crate) fn unpin_link(&self, name: &str) -> Result<(), PinError> {
        remove_file(&self.path.join("links").join(name))
    }

    /// Removes every pin and the folder itself.
    pub(crate) fn remove(&self, _lock: &Lock) -> Result<(), PinError> {
        remove_file(&self.path.join("current"))?;
        for (_, path) in self.sets()? {
            remove_folder(&path)?;
        }
        remove_folder(&self.path.join("links"))?;
        fs::remove_dir(&self.path).map_err(refused("remove", &self.path))
    }
}

/// The pins of one loading, before and after they are the current ones.
#[derive(Debug)]
pub struct Set {
    home: Home,
    path: PathBuf,
    /// Whether packets may go by it, so that it must stay.
    in_use: bool,
}

impl Set {
    /// Pins a map or program.
    pub(crate) fn pin(&self, name: &str, fd: BorrowedFd<'_>) -> Result<(), PinError> {
        let path = self.path.join(name);
        bpf::pin(fd, &path).map_err(refused("pin", &path))
    }

    /// Says that packets may go by it from here on. A chain whose last pin goes is emptied by the
    /// kernel, whoever runs it.
    pub(crate) const fn use_it(&mut self) {
        self.in_use = true;
    }

    /// Makes this the current set by one rename, then removes the others.
    pub(crate) fn make_current(&mut self, _lock: &Lock) -> Result<(), PinError> {
        let (fresh, current) = (self.home.path.join("current~"), self.home.path.join("current"));
        remove_file(&fresh)?;
        let target = self.path.file_name().map(PathBuf::from).unwrap_or_default();
        symlink(&target, &fresh).map_err(refused("link", &fresh))?;
        fs::rename(&fresh, &current).map_err(refused("rename to", &current))?;
        self.in_use = true;
        for (_, path) in self.home.sets()? {
            if path != self.path {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if !self.in_use {
            // What was never in force serves nobody; a failure leaves pins that the next set
            // removes.
            let _ = remove_folder(&self.path);
        }
    }
}

/// Takes the lock of a folder, and not that of another holder.
pub(crate) fn lock_folder(path: &Path) -> Result<Lock, PinError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder =
        open(path, flags, Mode::empty()).map_err(|error| refused("open", path)(error.into()))?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { folder }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(PinError::Locked { path: path.to_owned() }),
        Err(error) => Err(refused("lock", path)(error.into())),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_file(path: &Path) -> Result<(), PinError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(refused("remove", path)),
    }
}

fn remove_folder(path: &Path) -> Result<(), PinError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(refused("remove", path)),
    }
}

fn is_bpf(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == BPF_FS_MAGIC)
}

/// Mounts a BPF file system where there is none; only over an empty folder.
fn ensure_mounted(path: &Path) -> Result<(), PinError> {
    if is_bpf(path) {
        return Ok(());
    }
    mount(path).map_err(|source| PinError::Mount { path: path.to_owned(), source })
}

#[expect(unsafe_code, reason = "mount(2) takes addresses")]
fn mount(path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    if fs::metadata(path)?.uid() != 0 || fs::read_dir(path)?.next().is_some() {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    let target = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let (kind, options) = (c"bpf", c"mode=0700");
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    // SAFETY: all strings end in a zero and live until the call returns.
    let answer = unsafe {
        libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
