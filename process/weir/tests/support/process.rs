//! A running Weir: started from a file, stopped with its owner, its output shown when a test fails.

use super::client::{self, Client};
use super::edge::Edge;
use super::reader::Message;
use super::wait::{self, SOON};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Within this the clocks of all workers have told their counts.
const TOLD: Duration = Duration::from_millis(300);

/// The command under test.
pub(crate) fn command() -> Command {
    Command::new(std::env::var("FAKE").unwrap_or(env!("CARGO_BIN_EXE_weir").into()))
}

/// Output collected line by line, so that a test can look at it while the process runs.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<String>>);

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let inner = output.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line);
                inner.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                line.clear();
            }
        });
        output
    }

    /// Whether the program has closed it and all of it is here.
    pub(crate) fn ended(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A child process that is killed with its owner.
pub(crate) struct Guard {
    child: Child,
    what: String,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Guard {
    pub(crate) fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
        let stdout = Output::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::of(child.stderr.take().expect("stderr is piped"));
        Self { child, what, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, what: Signal) {
        // An error means that it ended, which its exit status tells.
        signal(self.pid(), what);
    }

    /// The exit status, if it ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be asked")
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn exit(&mut self, bound: Duration) -> ExitStatus {
        let what = format!("`{}` ends", self.what);
        wait::value(&what, bound, || self.ended())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- stdout of {}\n{}", self.what, self.stdout.text());
            eprintln!("--- stderr of {}\n{}", self.what, self.stderr.text());
        }
    }
}

/// Processes that a Weir started to take its place; ended with their owner.
struct Heirs {
    /// A path that is in the command line of all of them and of no other process.
    mark: PathBuf,
    pids: Vec<u32>,
}

impl Drop for Heirs {
    fn drop(&mut self) {
        let mark = self.mark.as_os_str().as_encoded_bytes();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if let Some(pid) = pid.filter(|_| memmem(&line, mark)) {
                signal(pid, Signal::KILL);
            }
        }
    }
}

fn memmem(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Signals a process, which may have ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ended = kill_process(pid.expect("a process id is positive"), signal);
}

/// Whether a process runs; one that waits to be noticed as ended does not.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A Weir that serves.
pub(crate) struct Weir {
    /// The first process; others may have taken over from it.
    pub(crate) guard: Guard,
    pub(crate) edge: Edge,
    heirs: Heirs,
}

impl Weir {
    /// Starts and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(edge: Edge) -> Self {
        Self::start_by(edge, &mut command())
    }

    /// As [`start`](Self::start), by this command, to which `run FILE` is added.
    #[track_caller]
    pub(crate) fn start_by(edge: Edge, command: &mut Command) -> Self {
        let file = edge.write();
        let guard = Guard::start(command.arg("run").arg(&file));
        let heirs = Heirs { mark: file, pids: Vec::new() };
        let mut weir = Self { guard, edge, heirs };
        let mut listening = weir.edge.addresses();
        wait::until("Weir is ready", SOON, || {
            if let Some(status) = weir.guard.ended() {
                panic!("Weir ended at once ({status}):\n{}", weir.guard.stderr.text());
            }
            listening.retain(|address| std::net::TcpStream::connect(address).is_err());
            listening.is_empty() && weir.admin("/ready").is_ok_and(|reply| reply.status == 200)
        });
        weir
    }

    /// The process that serves.
    pub(crate) fn pid(&self) -> u32 {
        self.heirs.pids.last().copied().unwrap_or(self.guard.pid())
    }

    /// Runs `weir upgrade`: the process that serves then, or why it is the same.
    #[track_caller]
    pub(crate) fn upgrade(&mut self) -> Result<u32, String> {
        let admin = self.edge.admin.to_string();
        let (good, out, err) = run(command().args(["upgrade", "--admin", &admin]));
        if !good {
            return Err(err);
        }
        let pid =
            out.strip_prefix("process ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let pid = pid.unwrap_or_else(|| panic!("no process in {out:?}"));
        self.heirs.pids.push(pid);
        Ok(pid)
    }

    /// The first listener.
    pub(crate) fn web(&self) -> SocketAddr {
        self.edge.addresses()[0]
    }

    #[track_caller]
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.edge.address(listener).unwrap_or_else(|| panic!("no listener {listener}"))
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.web())
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Result<Message, String> {
        client::get(self.web(), target)
    }

    /// A GET to the admin listener.
    pub(crate) fn admin(&self, target: &str) -> Result<Message, String> {
        let mut client = Client::try_connect(self.edge.admin).map_err(|e| e.to_string())?;
        let admin = self.edge.admin;
        let head = format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        client.send(head).map_err(|e| e.to_string())?;
        client.reply_within("GET", SOON)
    }

    /// The sum of the series of a metric whose labels include all of these; 0 without any.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let reply = self.admin("/metrics").unwrap_or_else(|e| panic!("/metrics: {e}"));
        let text = reply.text();
        let matching = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, set) = series.split_once('{').unwrap_or((series, ""));
            let all = labels.iter().all(|(k, v)| set.contains(&format!("{k}=\"{v}\"")));
            (found == name && all).then(|| value.parse::<f64>().ok()).flatten()
        });
        matching.sum()
    }

    /// Blocks that the workers have asked the allocator for. Their clocks tell it ten times a
    /// second, so this waits until nothing more comes.
    #[track_caller]
    pub(crate) fn allocations(&self) -> u64 {
        let (mut last, mut since) = (-1.0, Instant::now());
        wait::value("no more allocations are told", SOON, || {
            let made = self.metric("weir_allocations_total", &[]);
            if made != last {
                (last, since) = (made, Instant::now());
            }
            (since.elapsed() > TOLD).then_some(made as u64)
        })
    }

    /// Waits until a metric is at least `least`.
    #[track_caller]
    pub(crate) fn metric_reaches(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        wait::until(&format!("{name}{labels:?} reaches {least}"), SOON, || {
            self.metric(name, labels) >= least
        });
    }

    fn reloads(&self) -> f64 {
        self.metric("weir_config_reloads_total", &[])
    }

    /// Sends SIGHUP and waits until the reload is done, well or not.
    #[track_caller]
    pub(crate) fn hup(&self) {
        let before = self.reloads();
        signal(self.pid(), Signal::HUP);
        wait::until("the reload is counted", SOON, || self.reloads() > before);
    }

    /// Writes the changed file and reloads it.
    #[track_caller]
    pub(crate) fn reload(&mut self, edge: Edge) {
        edge.write();
        let good = [("result", "applied")];
        let before = self.metric("weir_config_reloads_total", &good);
        self.hup();
        let after = self.metric("weir_config_reloads_total", &good);
        assert!(after > before, "the reload was refused:\n{}", self.guard.stderr.text());
        self.edge = edge;
    }

    pub(crate) fn stderr(&self) -> String {
        self.guard.stderr.text()
    }
}

/// Runs a command to its end; gives whether it succeeded, its output and its errors.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> (bool, String, String) {
    let mut guard = Guard::start(command);
    let status = guard.exit(Duration::from_secs(60));
    // The pipes are read by threads that may be a moment behind the end of the process.
    let (mut out, mut err) = (guard.stdout.text(), guard.stderr.text());
    wait::until("the output is complete", SOON, || {
        let before = (out.len(), err.len());
        (out, err) = (guard.stdout.text(), guard.stderr.text());
        before == (out.len(), err.len()) && guard.stdout.ended() && guard.stderr.ended()
    });
    (status.success(), out, err)
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
