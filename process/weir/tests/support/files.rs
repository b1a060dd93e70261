//! Temporary folders and ports that no other test of this process or another one uses.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below the range from which the kernel takes ports for outgoing connections, so that none of
/// those takes a port between its choice and its use.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

static NEXT_PORT: AtomicU32 = AtomicU32::new(0);
/// The locks of the ports that this process took.
static CLAIMED: Mutex<Vec<File>> = Mutex::new(Vec::new());
static NEXT_DIR: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 on which nothing listens.
pub(crate) fn free_port() -> u16 {
    let span = PORTS.end - PORTS.start;
    // A stride that is prime to the span sets processes that start at once far apart.
    let first = std::process::id().wrapping_mul(7919);
    for _ in 0..span {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + first.wrapping_add(step) % span;
        let port = u16::try_from(port).expect("the range lies below 65536");
        if claim(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// Keeps a port from all other tests until this process ends: between the look at a port and the
/// moment it is bound, another process would find it free too.
fn claim(port: u16) -> bool {
    let folder = std::env::temp_dir().join("weir-test-ports");
    let file =
        std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(port.to_string())));
    let file = file.expect("a file for a port can be made");
    let free = file.try_lock().is_ok();
    if free {
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }
    free
}

/// A folder that goes away with its owner.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let n = NEXT_DIR.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        // Renamed into place: a reload that reads meanwhile sees the one or the other.
        let draft = self.0.join(format!("{name}.draft"));
        std::fs::write(&draft, contents).expect("a temporary file can be written");
        std::fs::rename(&draft, &path).expect("a temporary file can be renamed");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
