//! The program that an upgrade starts: the file this process was started from, as it is then.

use super::FROM_VARIABLE;
use super::channel::Channel;
use crate::privileges;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Variables that speak of the process they were set for: the sockets that the service manager
/// handed to it, and its watchdog's process id, without which the watchdog is any process's.
const OF_ANOTHER: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A program and what it was started with.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The file and the arguments of this process. To be asked at the start: later the file may
    /// have been replaced, and its path is then told no more.
    ///
    /// A path that was typed, links and all, is preferred to the one the kernel tells, as long as
    /// both lead to the same file: a link that is turned to another version is then followed.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let typed = arguments.next().map(PathBuf::from);
        let real = std::env::current_exe()?;
        let typed = typed.filter(|path| path.components().count() > 1);
        let typed = typed.and_then(|path| std::path::absolute(path).ok());
        let same = |path: &PathBuf| path.canonicalize().is_ok_and(|at| at == real);
        Ok(Self { path: typed.filter(same).unwrap_or(real), arguments: arguments.collect() })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it with the socket as its standard input, and with the rights that this process has
    /// for serving.
    pub(super) fn start(&self, socket: Channel) -> io::Result<Child> {
        let socket = socket.into_socket();
        // A standard input that does not wait is a surprise to programs that are no weir.
        rustix::io::ioctl_fionbio(&socket, false)?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(FROM_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(socket));
        for name in OF_ANOTHER {
            command.env_remove(name);
        }
        // In a thread of its own: rights are handed on by a thread to what it starts, and no other
        // one of this process is to hand on any.
        let starter = std::thread::Builder::new().name("weir-upgrade".to_owned());
        let started = starter.spawn(move || {
            privileges::hand_on(privileges::SERVING | privileges::PACKETS)?;
            command.spawn()
        })?;
        started.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it failed")))
    }
}
