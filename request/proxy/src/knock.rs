//! A process knocks at its own door: it connects to one of its listeners and sees that one of its
//! own workers accepts. While two processes share the sockets (binary upgrade) either may, so it is
//! tried again until the right one did.

use process_runtime::live::LiveTable;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::worker::Shared;

/// The time between two tries. A connection that the other process accepted is left to it until
/// the end, since a try costs either of them next to nothing.
const KNOCK_EVERY: Duration = Duration::from_millis(30);

/// What a worker answers.
const ANSWER: u8 = b'.';

/// Turns of its clock after which a worker is known to run: the first is taken before it does.
const BEATS: u64 = 2;

/// No worker accepted in time.
#[derive(Debug, thiserror::Error)]
pub enum KnockError {
    /// No connection came through.
    #[error("no connection to one of the listeners came through to a worker of this process")]
    Unanswered,
    /// Threads stand still.
    #[error("worker {0} does not run")]
    Stuck(usize),
}

/// The connections that are on their way, by the addresses they come from.
#[derive(Debug, Default)]
pub(crate) struct Knocks {
    any: AtomicBool,
    from: Mutex<Vec<SocketAddr>>,
}

/// A dual-stack socket shows IPv4 peers in the other form.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Knocks {
    fn from(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection that was accepted is one of them.
    #[inline]
    pub(crate) fn is(&self, peer: SocketAddr) -> bool {
        self.any.load(Ordering::Acquire) && self.from().contains(&plain(peer))
    }
}

/// Answers a connection that is one of our own.
pub(crate) async fn answer(stream: TcpStream) {
    // Who knocked may have heard another one, and be gone.
    if stream.writable().await.is_ok() {
        let _ = stream.try_write(&[ANSWER]);
    }
}

/// Connects to `addresses` in turn until a worker of this process answers, and sees that every
/// worker runs.
pub(crate) async fn knock(
    shared: &Arc<Shared>,
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<(), KnockError> {
    shared.knocks.any.store(true, Ordering::Release);
    let heard = tokio::time::timeout(within, heard(shared, addresses)).await;
    shared.knocks.any.store(false, Ordering::Release);
    shared.knocks.from().clear();
    if heard.is_err() && !addresses.is_empty() {
        return Err(KnockError::Unanswered);
    }
    let run = tokio::time::timeout(within, async {
        while stuck(&shared.live).is_some() {
            tokio::time::sleep(KNOCK_EVERY).await;
        }
    });
    match (run.await, stuck(&shared.live)) {
        (Err(_), Some(worker)) => Err(KnockError::Stuck(worker)),
        _ => Ok(()),
    }
}

fn stuck(live: &LiveTable) -> Option<usize> {
    live.worker_stats.iter().position(|worker| worker.beats.get() < BEATS)
}

async fn heard(shared: &Arc<Shared>, addresses: &[SocketAddr]) {
    let mut tries = JoinSet::new();
    for address in addresses.iter().cycle() {
        tries.spawn(one(shared.clone(), *address));
        let pause = tokio::time::sleep(KNOCK_EVERY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                Some(done) = tries.join_next() => if matches!(done, Ok(Ok(()))) {
                    return;
                },
                () = &mut pause => break,
            }
        }
    }
}

async fn one(shared: Arc<Shared>, address: SocketAddr) -> io::Result<()> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Bound first: a worker may accept before connect has returned.
    socket.bind(SocketAddr::new(ip, 0))?;
    shared.knocks.from().push(plain(socket.local_addr()?));
    let mut stream = socket.connect(SocketAddr::new(ip, address.port())).await?;
    match stream.read_u8().await? {
        ANSWER => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
