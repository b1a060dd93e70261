//! The Unix socket of a running plane: messages of JSON behind their length, for its own user and
//! root.
//!
//! A lock beside the socket says whether a plane runs; it goes with the process, however that ends.
//! Whoever has the lock replaces a socket that was left behind.

use super::{Desk, OperateError, Request, Vaults};
use crate::publish::Attached;
use crate::store::{Keeper, Vault, Who};
use process_runtime::operator_log;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::future::Future;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Bytes of a message. The largest are imports, and records of history that tell before and after
/// of one: changes have at most 64 MiB on etcd.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Operators at once: people and their scripts. Others wait.
pub const OPERATORS_MAX: usize = 16;
/// How long an operator may take for a message once it began, and between two.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failed `accept` (no descriptors left) the next try comes this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is wrong with the socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another plane has it.
    #[error("{path}: another control plane answers there; set another `socket` in [control]")]
    Taken {
        /// The socket.
        path: String,
    },
    /// It cannot be made.
    #[error("{path}: {attempt}: {cause}; set `socket` in [control] to a path that can be made")]
    Make {
        /// The socket.
        path: String,
        /// What was tried.
        attempt: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The plane does not answer.
    #[error("{path}: {attempt}: {cause}; the control plane's log tells more")]
    Lost {
        /// The socket.
        path: String,
        /// What was tried.
        attempt: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// A message is too large.
    #[error("{bytes} bytes of {MESSAGE_BYTES_MAX}; do it in parts")]
    Large {
        /// Its bytes.
        bytes: usize,
    },
}

/// A socket that is bound and not served yet.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    listener: UnixListener,
    /// Held as long as the socket is this process's.
    _lock: File,
}

impl Listener {
    /// Makes the socket, with mode 0600. Needs a runtime.
    ///
    /// # Errors
    /// Another plane has it, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let name = || path.display().to_string();
        let fault = |attempt| move |cause| SocketError::Make { path: name(), attempt, cause };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let mut options = OpenOptions::new();
        let lock = options.create(true).write(true).truncate(false).mode(0o600).open(beside);
        let lock = lock.map_err(fault("make its lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SocketError::Taken { path: name() },
            TryLockError::Error(cause) => {
                SocketError::Make { path: name(), attempt: "lock", cause }
            }
        })?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(fault("replace what was left behind")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(fault("listen"))?;
        // Until then the check of who calls keeps others out.
        let mode = std::fs::set_permissions(path, Permissions::from_mode(0o600));
        mode.map_err(fault("chmod"))?;
        Ok(Self { path: path.to_owned(), listener, _lock: lock })
    }

    /// Serves operators until `stop` ends.
    pub async fn serve(
        self,
        keeper: Arc<Keeper>,
        vault: Arc<Vault>,
        attached: Attached,
        stop: impl Future<Output = ()>,
    ) {
        let slots = Arc::new(Semaphore::new(OPERATORS_MAX));
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accept = async {
                let slot = slots.clone().acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                () = &mut stop => break,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let desk = Desk::new(keeper.clone(), Vaults::Open(vault.clone()));
                    let desk = desk.with_edges(attached.clone());
                    tasks.spawn(async move {
                        let _slot = slot;
                        serve_one(stream, desk).await;
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
            while tasks.try_join_next().is_some() {}
        }
        // A request that is being done ends with its commit, which has a task of its own.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a plane answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Value),
    Refused(String),
}

/// Does the requests of one operator.
async fn serve_one(mut stream: UnixStream, mut desk: Desk) {
    let Some(who) = who(&stream) else {
        let told = "only the control plane's own user and root are answered here";
        operator_log::warn("operator_denied", told, &[]);
        let _ = send(&mut stream, &Answer::Refused(told.to_owned())).await;
        return;
    };
    loop {
        let Ok(Ok(Some(message))) =
            tokio::time::timeout(MESSAGE_TIMEOUT, receive(&mut stream)).await
        else {
            return;
        };
        let answer = match serde_json::from_slice::<Request>(&message) {
            Err(error) => Answer::Refused(format!(
                "the control plane that runs is of another version, restart it: {error}"
            )),
            Ok(request) => match desk.answer(&who, request).await {
                Ok(value) => Answer::Done(value),
                Err(error) => Answer::Refused(error.to_string()),
            },
        };
        let sent = tokio::time::timeout(MESSAGE_TIMEOUT, send(&mut stream, &answer));
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(Sent::Large(bytes))) => {
                let told = SocketError::Large { bytes }.to_string();
                if send(&mut stream, &Answer::Refused(told)).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Who calls, as history has it; none where that is another user.
fn who(stream: &UnixStream) -> Option<Who> {
    let uid = stream.peer_cred().ok()?.uid();
    let own = rustix::process::geteuid().as_raw();
    (uid == own || uid == 0).then(|| Who::operator(uid))
}

/// Why a message was not sent.
#[derive(Debug)]
enum Sent {
    Large(usize),
    Lost(io::Error),
}

async fn send(stream: &mut UnixStream, message: &impl Serialize) -> Result<(), Sent> {
    let bytes = serde_json::to_vec(message).map_err(|error| Sent::Lost(error.into()))?;
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MESSAGE_BYTES_MAX);
    let length = length.ok_or(Sent::Large(bytes.len()))?;
    stream.write_all(&length.to_be_bytes()).await.map_err(Sent::Lost)?;
    stream.write_all(&bytes).await.map_err(Sent::Lost)
}

/// The next message; none where the other side went away between two.
async fn receive(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = u32::from_be_bytes(length);
    if usize::try_from(length).map_or(true, |length| length > MESSAGE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes")));
    }
    // The buffer grows with what comes, not with what was promised.
    let mut message = Vec::new();
    (&mut *stream).take(u64::from(length)).read_to_end(&mut message).await?;
    if message.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

/// A way to a plane that runs.
#[derive(Debug)]
pub struct Connection {
    path: PathBuf,
    stream: UnixStream,
}

impl Connection {
    /// Connects to the plane that has this socket; none where no plane runs. Needs a runtime.
    ///
    /// # Errors
    /// Something is there that does not take connections from this user.
    pub async fn open(path: &Path) -> Result<Option<Self>, SocketError> {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        match UnixStream::connect(path).await {
            Ok(stream) => Ok(Some(Self { path: path.to_owned(), stream })),
            Err(error) if matches!(error.kind(), ConnectionRefused | NotFound) => Ok(None),
            Err(cause) => {
                let path = path.display().to_string();
                Err(SocketError::Lost { path, attempt: "connect", cause })
            }
        }
    }

    /// Has a request done.
    ///
    /// # Errors
    /// What the plane says, or that it went away.
    pub async fn ask(&mut self, request: &Request) -> Result<Value, OperateError> {
        let lost = |attempt, cause| {
            let path = self.path.display().to_string();
            SocketError::Lost { path, attempt, cause }
        };
        send(&mut self.stream, request).await.map_err(|error| match error {
            Sent::Large(bytes) => SocketError::Large { bytes },
            Sent::Lost(cause) => lost("ask", cause),
        })?;
        let gone = || lost("wait for the answer", io::ErrorKind::UnexpectedEof.into());
        let message = receive(&mut self.stream).await;
        let message = message.map_err(|cause| lost("wait for the answer", cause))?;
        match serde_json::from_slice(&message.ok_or_else(gone)?)? {
            Answer::Done(value) => Ok(value),
            Answer::Refused(why) => Err(OperateError::Refused(why)),
        }
    }
}
