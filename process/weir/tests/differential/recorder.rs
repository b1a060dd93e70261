//! Stands between Weir and the origin, passes bytes both ways as they come, and keeps those of
//! each connection that go to the origin.

use crate::support::files::free_port;
use crate::support::wait::SOON;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What went to the origin on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    /// Address of the recorder on that connection, by which the origin's log names it. No other
    /// connection has it, as would be the case with ports.
    pub(crate) peer: String,
    pub(crate) bytes: Vec<u8>,
    /// Offset and number of each piece, which gives an order over all connections.
    pieces: Vec<(usize, u64)>,
}

impl Recorded {
    /// A number that grows with the time at which the byte at `offset` came.
    pub(crate) fn order(&self, offset: usize) -> (u64, usize) {
        let at = self.pieces.partition_point(|(start, _)| *start <= offset);
        (self.pieces[at - 1].1, offset)
    }
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Recorded>>,
    open: AtomicUsize,
    pieces: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<Recorded>) -> T) -> T {
        act(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The recorder; stops with its owner.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// In front of the origin that listens on this port of 127.0.0.1.
    pub(crate) fn start(origin: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(stream) = stream {
                    accept(&inner, stream, origin);
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Everything so far, a connection each.
    pub(crate) fn connections(&self) -> Vec<Recorded> {
        self.shared.with(|connections| connections.clone())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // The connection wakes the thread that accepts.
        drop(TcpStream::connect_timeout(&self.address, SOON));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn accept(shared: &Arc<Shared>, weir: TcpStream, origin: u16) {
    let id = shared.with(|connections| {
        connections.push(Recorded::default());
        connections.len() - 1
    });
    let octet = |n: usize| u8::try_from(n % 250).expect("below 250");
    let peer = Ipv4Addr::new(127, 1 + octet(id / 62_500), octet(id / 250), 1 + octet(id));
    shared.with(|connections| connections[id].peer = peer.to_string());
    // Without its origin the connection ends, which the case then tells.
    let Ok(origin) = connect(peer, origin) else { return };
    let (Ok(back), Ok(forth)) = (weir.try_clone(), origin.try_clone()) else { return };
    drop(weir.set_nodelay(true));
    drop(origin.set_nodelay(true));
    shared.open.fetch_add(1, Ordering::AcqRel);
    let inner = shared.clone();
    let up = std::thread::spawn(move || {
        pump(weir, origin, |piece| {
            let number = inner.pieces.fetch_add(1, Ordering::AcqRel);
            inner.with(|connections| {
                let recorded = &mut connections[id];
                recorded.pieces.push((recorded.bytes.len(), number));
                recorded.bytes.extend_from_slice(piece);
            });
        });
    });
    let inner = shared.clone();
    std::thread::spawn(move || {
        pump(forth, back, |_| {});
        drop(up.join());
        inner.open.fetch_sub(1, Ordering::AcqRel);
    });
}

fn connect(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket.into())
}

/// Moves bytes until the end of `from`, and passes that end on in its kind.
fn pump(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut piece = [0; 16_384];
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => {
                look(&piece[..n]);
                if to.write_all(&piece[..n]).is_err() {
                    // Whoever sends to one that is gone learns of it.
                    drop(from.shutdown(Shutdown::Both));
                    return;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => {
                drop(socket2::SockRef::from(&to).set_linger(Some(Duration::ZERO)));
                drop(to.shutdown(Shutdown::Both));
                return;
            }
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
