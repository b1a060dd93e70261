//! A network namespace: made by name, entered by threads, left to the guard to remove.
//!
//! A socket belongs to the namespace of the thread that opened it, a process to that of the thread
//! that started it. So the lab needs one process: a thread that enters, opens and comes back.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tool;

/// Where ip(8) keeps the names.
pub const FOLDER: &str = "/run/netns";

/// A namespace that exists as long as the guard of its run lets it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
}

impl Namespace {
    /// Makes one, with its loopback up.
    ///
    /// # Errors
    /// When the rights for it are missing, or the name is taken.
    pub fn create(name: String) -> Result<Self> {
        tool::run(&format!("ip netns add {name}"))?;
        let path = format!("{FOLDER}/{name}");
        let file = Arc::new(File::open(&path).with_context(|| format!("opening {path}"))?);
        let made = Self { name, file };
        // An address is usable at once: nobody else can have it.
        made.set(&[("ipv6/conf/default/accept_dad", "0"), ("ipv6/conf/all/accept_dad", "0")])?;
        made.ip("link set dev lo up\n")?;
        Ok(made)
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("{FOLDER}/{}", self.name))
    }

    /// Moves the calling thread into it for good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn move_in(&self) -> Result<()> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("entering the namespace {}", self.name))
    }

    /// Does some work inside, on a thread of its own.
    ///
    /// # Errors
    /// Those of entering, and those of the work.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                self.move_in()?;
                work()
            });
            entered.join().map_err(|_| anyhow!("work in the namespace {} panicked", self.name))?
        })
    }

    /// Starts a program inside.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.inside(|| command.spawn().with_context(|| format!("starting {command:?}")))
    }

    /// Runs lines of ip(8) inside.
    ///
    /// # Errors
    /// The first line that fails, with what ip said.
    pub fn ip(&self, lines: &str) -> Result<()> {
        tool::feed(&format!("ip -n {} -batch -", self.name), lines).map(drop)
    }

    /// Runs a tool inside.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn tool(&self, line: &str) -> Result<String> {
        self.inside(|| tool::run(line))
    }

    /// Sets a kernel setting below `/proc/sys/net`; what is there belongs to the thread's
    /// namespace.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn set(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.inside(|| {
            for (key, value) in settings {
                let path = format!("/proc/sys/net/{key}");
                std::fs::write(&path, value)
                    .with_context(|| format!("writing {value} to {path}"))?;
            }
            Ok(())
        })
    }
}
