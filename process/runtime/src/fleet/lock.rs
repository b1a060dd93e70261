//! The lock of a state folder: one process at a time is this edge. It goes with the process,
//! however that ends; its file says which process has it.

use super::{FleetError, Folder};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// The file that is locked.
pub(super) const LOCK: &str = "lock";
/// Bytes of the file that are looked at: a process id has at most 10 digits.
const PID_BYTES: u64 = 16;
/// How long a folder is waited for that is about to be free: who hands over gives it up before the
/// other process starts, and a process that ends does so in moments.
const TAKE_WITHIN: Duration = Duration::from_secs(2);
/// From one try to the next.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// A state folder that is this process's until it is released.
#[derive(Debug)]
pub struct Lock {
    folder: Folder,
    file: File,
}

impl Lock {
    /// Takes the folder. A process that `takes_over` waits for the one before.
    ///
    /// # Errors
    /// Another process has it, or the file cannot be made.
    pub fn take(folder: &Folder, takes_over: bool) -> Result<Self, FleetError> {
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false).mode(0o600);
        let file = options.open(folder.file(LOCK)).map_err(folder.failed(LOCK, "opening it"))?;
        let mut lock = Self { folder: folder.clone(), file };
        match takes_over {
            true => lock.retake()?,
            false => lock.try_take()?,
        }
        Ok(lock)
    }

    /// Takes a folder that a process is about to release: the one before this, or a successor that
    /// did not come to serve. Waits for up to two seconds.
    ///
    /// # Errors
    /// Another process has it.
    pub fn retake(&mut self) -> Result<(), FleetError> {
        let begun = Instant::now();
        loop {
            match self.try_take() {
                Err(FleetError::Shared { .. }) if begun.elapsed() < TAKE_WITHIN => {
                    std::thread::sleep(TRY_AGAIN);
                }
                taken => return taken,
            }
        }
    }

    fn try_take(&mut self) -> Result<(), FleetError> {
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let folder = self.folder.path().to_owned();
                return Err(FleetError::Shared { folder, process: self.holder() });
            }
            Err(TryLockError::Error(cause)) => {
                return Err(self.folder.failed(LOCK, "locking it")(cause));
            }
        }
        let file = &mut self.file;
        let told = file.set_len(0).and_then(|()| file.rewind());
        let told = told.and_then(|()| writeln!(file, "{}", std::process::id()));
        told.map_err(self.folder.failed(LOCK, "writing to it"))
    }

    /// Leaves the folder to another process.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn release(&self) -> Result<(), FleetError> {
        self.file.unlock().map_err(self.folder.failed(LOCK, "unlocking it"))
    }

    /// The process that has it, by its own word.
    fn holder(&mut self) -> String {
        let mut text = String::new();
        let read = self
            .file
            .rewind()
            .and_then(|()| (&mut self.file).take(PID_BYTES).read_to_string(&mut text));
        match (read, text.trim().parse::<u32>()) {
            (Ok(_), Ok(id)) => format!("process {id}"),
            _ => "another process".to_owned(),
        }
    }
}
