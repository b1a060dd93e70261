//! The access log: one line per request, written by a thread of its own.
//!
//! A worker formats a line into its batch and hands whole batches over, at most one per tick or
//! per [`BATCH_BYTES`]; it never waits. What may wait for the writer is bounded by lines
//! (`buffer_lines`) and by [`WAITING_BYTES_MAX`] per worker; further lines are dropped and counted.
//! Rotation is a matter of the operator: a reload opens the file again.

mod format;

use crate::live::LiveTable;
use crate::operator_log;
use core_model::config;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A batch is handed over at this size; large enough that a write costs little per line.
pub const BATCH_BYTES: usize = 64 * 1024;

/// Bytes that may wait for the writer, per worker: `buffer_lines` of ordinary lines fit, a flood
/// of requests with huge fields does not fill the memory.
pub const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of one value taken from a request before escaping; the rest is cut. A request target of
/// the default limit fits.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Written batches that a worker takes back; more would hold memory that a burst needed once.
const SPARE_BATCHES: usize = 4;

/// What is known of one request when it ended. Everything is borrowed; byte slices come from
/// strangers and may hold anything, `None` and empty mean that it is not known.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// End of the request, milliseconds since 1970-01-01T00:00:00Z.
    pub time_unix_ms: u64,
    /// Client, after PROXY protocol and trusted forwarding headers.
    pub client: IpAddr,
    /// Method.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host of the request.
    pub host: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0` or `HTTP/3.0`.
    pub protocol: &'a str,
    /// Status sent; 0 where the connection ended before one.
    pub status: u16,
    /// Bytes of the reply body sent.
    pub bytes_out: u64,
    /// Bytes of the request body received.
    pub bytes_in: u64,
    /// From the first byte of the head to the end of the reply, microseconds.
    pub duration_us: u64,
    /// From the first byte sent to the origin to the end of its reply's head, microseconds.
    pub upstream_us: Option<u64>,
    /// Listener.
    pub listener: &'a str,
    /// Load balancer that matched the host.
    pub load_balancer: Option<&'a str>,
    /// Pool chosen last.
    pub pool: Option<&'a str>,
    /// Origin chosen last.
    pub origin: Option<&'a str>,
    /// Further tries.
    pub retries: u32,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// TLS version, such as `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// TLS cipher suite.
    pub tls_cipher: Option<&'a str>,
    /// Why Weir answered itself or the request ended early, such as `connection_refused`.
    pub reason: Option<&'a str>,
    /// Who is at fault for it: `client`, `origin`, `weir` or `operator`.
    pub fault: Option<&'a str>,
}

/// An access log that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The file cannot be opened for appending.
    #[error(
        "logging.access: cannot open {path} for appending: {cause}; give the service user the \
         right to write there or name another file"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The system refuses another thread.
    #[error("cannot start the access log's thread: {0}; raise the limit of processes")]
    Thread(io::Error),
}

const OFF: u8 = 0;
const JSON: u8 = 1;
const COMBINED: u8 = 2;

/// What workers and writer share.
#[derive(Debug)]
struct Shared {
    /// [`OFF`], [`JSON`] or [`COMBINED`].
    mode: AtomicU8,
    lines_max: AtomicUsize,
    live: Arc<LiveTable>,
}

/// Lines and bytes of one worker that were not written yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

/// A batch on its way to the writer.
struct Batch {
    bytes: Vec<u8>,
    lines: usize,
    waiting: Arc<Waiting>,
    back: SyncSender<Vec<u8>>,
}

/// Neither kind is unbounded: batches by [`Waiting`], orders by the reloads of an operator.
enum Message {
    Batch(Batch),
    Target(Option<Target>),
    Flush(Sender<()>),
}

#[derive(Debug)]
enum Target {
    Stdout,
    File(File, PathBuf),
}

/// The handle of the control side. The writer ends when this handle and every [`WorkerLog`] are
/// gone; [`flush`](Self::flush) waits for it at the end of the process.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    messages: Sender<Message>,
    current: Mutex<Option<config::AccessLog>>,
}

impl AccessLog {
    /// Starts the writer's thread; without `config` nothing is logged until
    /// [`reconfigure`](Self::reconfigure) gives one.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be had.
    pub fn start(
        config: Option<&config::AccessLog>,
        live: Arc<LiveTable>,
    ) -> Result<Self, AccessLogError> {
        let shared = Arc::new(Shared {
            mode: AtomicU8::new(OFF),
            lines_max: AtomicUsize::new(0),
            live: live.clone(),
        });
        let (messages, inbox) = mpsc::channel();
        let log = Self { shared, messages, current: Mutex::new(None) };
        log.reconfigure(config)?;
        std::thread::Builder::new()
            .name("weir-access-log".into())
            .spawn(move || Writer { live, target: None, failing: false, torn: false }.run(&inbox))
            .map_err(AccessLogError::Thread)?;
        Ok(log)
    }

    /// Applies the configuration of a reload and opens the file again, so that a rotated one is
    /// let go. On an error the former target stays.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn reconfigure(&self, config: Option<&config::AccessLog>) -> Result<(), AccessLogError> {
        let target = config.map(|c| open(&c.target)).transpose()?;
        let mode = match config.map(|c| c.format) {
            None => OFF,
            Some(config::LogFormat::Json) => JSON,
            Some(config::LogFormat::Text) => COMBINED,
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = config.cloned();
        let lines = config.map_or(0, |c| c.buffer_lines);
        self.shared.lines_max.store(lines, Relaxed);
        // Lines written under the former configuration are ahead in the queue and go where it said.
        let _ = self.messages.send(Message::Target(target));
        self.shared.mode.store(mode, Relaxed);
        Ok(())
    }

    /// Opens the file again under the configuration in force.
    ///
    /// # Errors
    /// The file cannot be opened; the former one is kept.
    pub fn reopen(&self) -> Result<(), AccessLogError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.reconfigure(current.as_ref())
    }

    /// The part of one worker.
    #[must_use]
    pub fn worker(&self) -> WorkerLog {
        let (back, spare) = mpsc::sync_channel(SPARE_BATCHES);
        WorkerLog {
            shared: self.shared.clone(),
            messages: self.messages.clone(),
            batch: Vec::new(),
            lines: 0,
            waiting: Arc::default(),
            back,
            spare,
        }
    }

    /// Waits until everything handed over so far is written, at most for `limit`. A worker hands
    /// its last lines over when its [`WorkerLog`] is dropped. Says whether all was written.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, wait) = mpsc::channel();
        self.messages.send(Message::Flush(done)).is_ok() && wait.recv_timeout(limit).is_ok()
    }
}

fn open(target: &config::LogTarget) -> Result<Target, AccessLogError> {
    match target {
        config::LogTarget::Stdout => Ok(Target::Stdout),
        config::LogTarget::File(path) => open_file(path)
            .map(|file| Target::File(file, path.clone()))
            .map_err(|cause| AccessLogError::Open { path: path.clone(), cause }),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Addresses and paths of visitors are nobody's business but the operator's group.
    File::options().append(true).create(true).mode(0o640).open(path)
}

/// One worker's part: the batch it fills. Dropping it hands the batch over.
#[derive(Debug)]
pub struct WorkerLog {
    shared: Arc<Shared>,
    messages: Sender<Message>,
    batch: Vec<u8>,
    lines: usize,
    waiting: Arc<Waiting>,
    back: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

impl WorkerLog {
    /// Whether lines are written at all; spares making the record.
    #[must_use]
    #[inline]
    pub fn enabled(&self) -> bool {
        self.shared.mode.load(Relaxed) != OFF
    }

    /// Adds a line, or drops and counts it where too much waits for the writer.
    pub fn record(&mut self, record: &AccessRecord<'_>) {
        let mode = self.shared.mode.load(Relaxed);
        if mode == OFF {
            return;
        }
        let lines = self.waiting.lines.load(Relaxed).saturating_add(self.lines);
        let bytes = self.waiting.bytes.load(Relaxed).saturating_add(self.batch.len());
        if lines >= self.shared.lines_max.load(Relaxed) || bytes >= WAITING_BYTES_MAX {
            self.shared.live.process.access_log_dropped.inc_shared();
            return;
        }
        match mode {
            JSON => format::json(record, &mut self.batch),
            _ => format::combined(record, &mut self.batch),
        }
        self.lines += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.tick();
        }
    }

    /// Hands the lines so far to the writer. Called by the worker's coarse timer, so that a quiet
    /// edge's lines are seen soon; costs nothing where there are none.
    pub fn tick(&mut self) {
        if self.lines == 0 {
            return;
        }
        let spare = self.spare.try_recv().unwrap_or_default();
        let bytes = std::mem::replace(&mut self.batch, spare);
        let lines = std::mem::take(&mut self.lines);
        self.waiting.lines.fetch_add(lines, Relaxed);
        self.waiting.bytes.fetch_add(bytes.len(), Relaxed);
        let (waiting, back) = (self.waiting.clone(), self.back.clone());
        let batch = Batch { bytes, lines, waiting, back };
        if self.messages.send(Message::Batch(batch)).is_err() {
            self.shared.live.process.access_log_dropped.add_shared(lines as u64);
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.tick();
    }
}

/// The thread's state.
struct Writer {
    live: Arc<LiveTable>,
    target: Option<Target>,
    /// The last write failed; told once, until one succeeds.
    failing: bool,
    /// The last write ended within a line.
    torn: bool,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match message {
                Message::Batch(batch) => self.write(batch),
                Message::Target(target) => {
                    self.target = target;
                    (self.failing, self.torn) = (false, false);
                }
                Message::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }

    fn write(&mut self, batch: Batch) {
        let Batch { mut bytes, lines, waiting, back } = batch;
        match self.put(&bytes) {
            Ok(()) => self.failing = false,
            Err(cause) => {
                self.live.process.access_log_dropped.add_shared(lines as u64);
                if !std::mem::replace(&mut self.failing, true) {
                    self.tell(&cause);
                }
            }
        }
        waiting.lines.fetch_sub(lines, Relaxed);
        waiting.bytes.fetch_sub(bytes.len(), Relaxed);
        // A batch that grew far beyond its size is let go.
        if bytes.capacity() <= 4 * BATCH_BYTES {
            bytes.clear();
            let _ = back.try_send(bytes);
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(target) = &mut self.target else { return Ok(()) };
        let sink: &mut dyn Write = match target {
            Target::Stdout => &mut io::stdout().lock(),
            Target::File(file, _) => file,
        };
        if self.torn {
            sink.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.torn = rest.get(n.saturating_sub(1)) != Some(&b'\n');
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        sink.flush()
    }

    fn tell(&self, cause: &io::Error) {
        let target = match &self.target {
            Some(Target::File(_, path)) => path.display().to_string(),
            _ => "standard output".to_owned(),
        };
        operator_log::error(
            "access_log_write_failed",
            "lines of the access log are lost until it can be written again",
            &[("target", &target), ("cause", cause)],
        );
    }
}

#[cfg(test)]
mod tests;
