//! A started peer: pinned, watched, and ended with everything it started.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use super::{Peer, Site, Style};
use crate::machine;

/// A peer under valgrind takes seconds to start.
const START: Duration = Duration::from_secs(60);
/// Between two looks at a state that is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// A peer told to end has this long before it is killed.
const STOP: Duration = Duration::from_secs(20);
/// A peer's answer to the first request.
const ANSWER: Duration = Duration::from_secs(10);

/// A running peer; dropping it kills its process tree.
#[derive(Debug)]
pub struct Running {
    /// Its column in the table.
    pub name: &'static str,
    /// Its addresses and files.
    pub site: Site,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a peer on a CPU and waits until both listeners answer a request.
    ///
    /// # Errors
    /// When it does not; the error carries the end of its log.
    pub fn start(peer: &dyn Peer, site: Site, style: Style, cpu: usize) -> Result<Self> {
        fs::create_dir_all(&site.folder)?;
        let mut words: Vec<OsString> =
            ["setpriv", "--pdeathsig", "KILL", "taskset", "-c"].map(OsString::from).to_vec();
        words.push(cpu.to_string().into());
        if style == Style::Counted {
            let count = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
            words.extend(count.map(OsString::from));
        }
        words.extend(peer.command(&site, style)?);
        let log = site.folder.join("output.log");
        let output = File::create(&log)?;
        let (program, arguments) = words.split_first().context("an empty command")?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", peer.name()))?;
        let mut running = Self { name: peer.name(), site, child, log };
        running.ready()?;
        Ok(running)
    }

    /// The root of its process tree.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            // The TLS listener is known by its port; its first handshake is part of the warm-up.
            let outcome = answers(self.site.plain)
                .and_then(|()| Ok(TcpStream::connect(self.site.tls).map(drop)?));
            let Err(error) = outcome else { return Ok(()) };
            let ended = self.child.try_wait()?.is_some();
            if ended || begin.elapsed() > START {
                let what = if ended { "ended" } else { "did not answer" };
                bail!("{} {what}: {error:#}\n{}", self.name, self.tail());
            }
            sleep(LOOK);
        }
    }

    /// Ends the peer in its own way, so that valgrind writes its sums, and gives all it has said.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(mut self) -> Result<String> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("process id")?;
        rustix::process::kill_process(pid, Signal::INT).context("SIGINT")?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > STOP {
                bail!("{} did not end within {STOP:?}\n{}", self.name, self.tail());
            }
            sleep(LOOK);
        }
        Ok(fs::read_to_string(&self.log)?)
    }

    fn tail(&self) -> String {
        let own = fs::read_to_string(self.site.folder.join(format!("{}.log", self.name)));
        let text = fs::read_to_string(&self.log).unwrap_or_default() + &own.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tree = machine::tree(self.pid()).unwrap_or_default();
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            for pid in tree.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// One request over a connection of its own.
fn answers(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let request = crate::row::ROWS[0].kind.requests().bytes(crate::tls::HOST);
    stream.write_all(&request)?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    if &start != b"HTTP/1.1 200" {
        bail!("it answered {:?}", String::from_utf8_lossy(&start));
    }
    Ok(())
}
