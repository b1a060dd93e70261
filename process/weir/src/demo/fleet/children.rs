//! The processes of the demo: started so that they end with it, their output in files, and told of
//! when they end by themselves.

use crate::beside;
use crate::demo::tally::say;
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether a child has ended.
const LOOK: Duration = Duration::from_millis(100);
/// How long children may take to end in order: edges drain for 2 s.
const END_WITHIN: Duration = Duration::from_secs(8);
/// Lines of a child's log that are shown when it cannot start.
const LINES_SHOWN: usize = 12;

/// A program to run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// What it is called; its output goes to a file of this name.
    pub(super) name: String,
    /// The program and its arguments.
    pub(super) words: Vec<String>,
}

#[derive(Debug)]
struct Running {
    program: Program,
    child: Child,
}

/// All of them, in the order of their start.
#[derive(Debug)]
pub(super) struct Children {
    folder: PathBuf,
    running: Mutex<Vec<Running>>,
}

impl Children {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Starts a program; gives its process.
    pub(super) fn start(&self, program: &Program) -> anyhow::Result<u32> {
        let name = &program.name;
        let log = OpenOptions::new().create(true).append(true).open(self.log(name));
        let log = log.with_context(|| format!("a file for what {name} says"))?;
        let mut command = beside::command().context("the program's own file")?;
        command.args(&program.words).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let pid = child.id();
        self.running().push(Running { program: program.clone(), child });
        Ok(pid)
    }

    /// Kills one, as the kernel would where memory is short.
    pub(super) fn kill(&self, name: &str) -> anyhow::Result<Program> {
        let mut running = self.running();
        let at = running.iter().position(|one| one.program.name == name);
        let mut one = running.remove(at.with_context(|| format!("{name} does not run"))?);
        drop(running);
        one.child.kill()?;
        one.child.wait()?;
        Ok(one.program)
    }

    /// The process of one.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        let running = self.running();
        running.iter().find(|one| one.program.name == name).map(|one| one.child.id())
    }

    /// The one that has ended by itself, if any has.
    pub(super) fn ended(&self) -> Option<(Program, ExitStatus)> {
        let mut running = self.running();
        for at in 0..running.len() {
            let status = running.get_mut(at).and_then(|one| one.child.try_wait().ok().flatten());
            if let Some(status) = status {
                return Some((running.remove(at).program, status));
            }
        }
        None
    }

    /// Waits until a child is what `ready` looks for, which it is asked again and again.
    ///
    /// # Errors
    /// One ended, or this took too long: with the last lines of its log.
    pub(super) async fn wait(
        &self,
        name: &str,
        within: Duration,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + within;
        while !ready().await {
            if let Some((program, status)) = self.ended() {
                let name = &program.name;
                anyhow::bail!("{name} ended ({status}):\n{}", self.last_lines(name));
            }
            if Instant::now() > until {
                anyhow::bail!(
                    "{name} is not ready within {} s:\n{}",
                    within.as_secs(),
                    self.last_lines(name)
                );
            }
            tokio::time::sleep(LOOK / 2).await;
        }
        Ok(())
    }

    fn last_lines(&self, name: &str) -> String {
        let text = fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LINES_SHOWN);
        lines.get(first..).unwrap_or_default().join("\n")
    }

    /// Tells of those that end by themselves, for ever.
    pub(super) async fn watch(&self) {
        loop {
            while let Some((program, status)) = self.ended() {
                let how = match status.signal() {
                    Some(signal) => format!("by signal {signal}"),
                    None => format!("with {status}"),
                };
                let words = program.words.join(" ");
                say(&format!("{} has ended {how}. Started again: {words}", program.name));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends all of them in order, those last that were started first.
    pub(super) fn end(&self) {
        let until = Instant::now() + END_WITHIN;
        let mut all = std::mem::take(&mut *self.running());
        // At once, so that draining is waited for once. A second order would cut it short.
        all.iter().filter(|one| one.program.drains()).for_each(|one| signal(&one.child));
        for Running { program, child } in all.iter_mut().rev() {
            if !program.drains() {
                signal(child);
            }
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(LOOK / 10);
            }
            // An error means that it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Program {
    /// Whether it may be told to end while others are still there.
    fn drains(&self) -> bool {
        self.words.iter().any(|word| word == "run")
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for one in self.running().iter_mut() {
            let _ = one.child.kill();
            let _ = one.child.wait();
        }
    }
}

fn signal(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // An error means that it has ended.
        let _ = kill_process(pid, Signal::TERM);
    }
}
