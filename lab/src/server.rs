//! One edge server: its namespace and the programs that run in it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::config::{self, PACKET_ADMIN, PROXY_ADMIN};
use crate::namespace::Namespace;
use crate::tool;

/// How long a program may take to be ready: a debug build, whose programs the kernel verifies for
/// most of a second, beside three of its like and twenty other busy processes on two cores.
pub const READY_LIMIT: Duration = Duration::from_secs(45);
/// Between two looks at whether something is so.
const LOOK: Duration = Duration::from_millis(20);
/// How long an answer of an admin listener may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The programs of a run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This crate's.
    pub lab: PathBuf,
    /// Weir's.
    pub weir: PathBuf,
}

impl Programs {
    /// The given lab and the `weir` beside it.
    ///
    /// # Errors
    /// When that is not built.
    pub fn beside(lab: &Path) -> Result<Self> {
        let weir = lab.with_file_name("weir");
        if !weir.is_file() {
            bail!("{} is missing: run `cargo build --package process-weir`", weir.display());
        }
        Ok(Self { lab: lab.to_owned(), weir })
    }
}

/// A server's namespace, its files and its processes. The guard kills what is left.
#[derive(Debug)]
pub struct Server {
    /// Its number, from 1 on.
    pub id: u16,
    /// Where its interfaces are.
    pub space: Namespace,
    pub(crate) site: Site,
    folder: PathBuf,
    programs: Programs,
    running: Vec<(&'static str, Child)>,
}

/// What is particular about a server.
#[derive(Clone, Debug)]
pub struct Site {
    /// The namespace of its sockets, where that is another one.
    pub sockets: Option<Namespace>,
    /// Its proxy, as a part of a configuration file.
    pub proxy: String,
    /// Whether one process is the proxy and looks after packets.
    pub joined: bool,
}

/// What the services' process is called.
const SERVICE: &str = "service";
/// What the proxy's process is called.
const PROXY: &str = "proxy";

impl Server {
    /// A server on which nothing runs. Its files go into a folder of `folder`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(
        id: u16,
        space: Namespace,
        site: Site,
        folder: &Path,
        programs: Programs,
    ) -> Result<Self> {
        let folder = folder.join(format!("s{id}"));
        std::fs::create_dir_all(&folder).context("making a server's folder")?;
        Ok(Self { id, space, site, folder, programs, running: Vec::new() })
    }

    /// The namespace of its sockets.
    fn inside(&self) -> &Namespace {
        self.site.sockets.as_ref().unwrap_or(&self.space)
    }

    /// Starts the services and waits until they serve.
    ///
    /// # Errors
    /// When they do not.
    pub fn start_service(&mut self) -> Result<()> {
        let mut command = Command::new(&self.programs.lab);
        command.args(["service", &self.id.to_string()]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(self.log(SERVICE)?);
        let mut child = self.inside().spawn(&mut command)?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        self.running.push((SERVICE, child));
        match line.trim() {
            "ready" => Ok(()),
            _ => bail!("the services of server {} did not start: {}", self.id, self.said(SERVICE)),
        }
    }

    /// Starts Weir as a proxy, unless the process that looks after packets is to be it;
    /// [`Server::wait_proxy`] waits for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_proxy(&mut self) -> Result<()> {
        if self.site.joined {
            return Ok(());
        }
        let text = config::admin(PROXY_ADMIN) + &self.site.proxy;
        let file = self.write("proxy.toml", &text)?.to_string_lossy().into_owned();
        self.start(&self.inside().clone(), PROXY, &["run", &file])
    }

    /// Starts Weir with arguments in a namespace, under a name by which its output is found.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        &mut self,
        space: &Namespace,
        name: &'static str,
        arguments: &[&str],
    ) -> Result<()> {
        let mut command = Command::new(&self.programs.weir);
        command.args(arguments).stdin(Stdio::null()).current_dir(&self.folder);
        command.stdout(Stdio::null()).stderr(self.log(name)?);
        let child = space.spawn(&mut command)?;
        self.running.push((name, child));
        Ok(())
    }

    /// Waits until the proxy serves.
    ///
    /// # Errors
    /// When it does not in time, with what it said.
    pub fn wait_proxy(&mut self) -> Result<()> {
        if self.site.joined {
            return self.wait_packet();
        }
        self.wait("the proxy", PROXY, |server| {
            let ready = server.ask(server.inside(), PROXY_ADMIN, "/ready");
            Ok(ready.is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")))
        })
    }

    /// Waits until something is so on this server, which the process of that name brings about.
    ///
    /// # Errors
    /// When it is not in time, with what that process said.
    pub fn wait(
        &mut self,
        what: &str,
        name: &'static str,
        so: impl Fn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            if so(self)? {
                return Ok(());
            }
            let id = self.id;
            let process = self.running.iter_mut().rev().find(|(other, _)| *other == name);
            if let Some((_, process)) = process
                && let Some(status) = process.try_wait()?
            {
                bail!("{what} of server {id} ended with {status}: {}", self.said(name));
            }
            if start.elapsed() > READY_LIMIT {
                bail!("{what} of server {id} is not ready: {}", self.said(name));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Hands the proxy over to a new process of its program, as `weir upgrade` does.
    ///
    /// # Errors
    /// When it is refused, with what Weir said.
    pub fn upgrade_proxy(&self) -> Result<String> {
        let admin = if self.site.joined { PACKET_ADMIN } else { PROXY_ADMIN };
        self.weir(self.inside(), &["upgrade", "--admin", admin])
    }

    /// Runs a verb of Weir to its end in a namespace and gives what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn weir(&self, space: &Namespace, arguments: &[&str]) -> Result<String> {
        space.inside(|| tool::program(&self.programs.weir, arguments))
    }

    /// Asks an admin listener of this server for a page and gives the whole reply.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn ask(&self, space: &Namespace, admin: &str, path: &str) -> Result<String> {
        space.inside(|| {
            let mut stream = TcpStream::connect(admin)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            let head = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply)?;
            Ok(String::from_utf8_lossy(&reply).into_owned())
        })
    }

    /// Ends one process by its name with a signal, and waits for its end.
    ///
    /// # Errors
    /// When there is none of the name, or the signal does not end it.
    pub fn kill(&mut self, name: &'static str, signal: Signal) -> Result<()> {
        let at = self.running.iter().rposition(|(other, _)| *other == name);
        let at = at.with_context(|| format!("no {name} runs on server {}", self.id))?;
        let (_, mut child) = self.running.remove(at);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("signalling {name}"))?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > READY_LIMIT {
                bail!("{name} of server {} outlives {signal:?}: {}", self.id, self.said(name));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Kills every process on it, as a power cut does.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn kill_all(&mut self) -> Result<()> {
        for space in std::iter::once(&self.space).chain(&self.site.sockets) {
            let pids = tool::run(&format!("ip netns pids {}", space.name()))?;
            for pid in pids.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
                // It may have ended since it was listed.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        for (name, mut child) in self.running.drain(..) {
            child.wait().with_context(|| format!("waiting for {name}"))?;
        }
        Ok(())
    }

    /// Writes a file into this server's folder and gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        // Renamed into place: whoever reads sees the old text or the new one.
        let next = self.folder.join(format!("{name}.new"));
        std::fs::write(&next, text).with_context(|| format!("writing {}", next.display()))?;
        std::fs::rename(&next, &path).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn log(&self, name: &str) -> Result<File> {
        let path = self.folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&path);
        file.with_context(|| format!("writing {}", path.display()))
    }

    /// What a process has said so far.
    #[must_use]
    pub fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default()
    }
}
