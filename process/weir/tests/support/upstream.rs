//! A recording origin: keeps the bytes of each connection, answers by script, and tags each reply
//! with the request it belongs to.

use super::client::Duplex;
use super::files::free_port;
use super::reader::{self, Kind, Message};
use super::wait::SOON;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one connection received.
#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: Mutex<Vec<u8>>,
    closed: AtomicBool,
    taken: AtomicUsize,
}

impl Log {
    /// Everything received.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
    }

    /// Whether the script is done with the connection, or Weir closed it.
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// One accepted connection, in the hands of the script.
pub(crate) struct Conn {
    stream: Box<dyn Duplex>,
    raw: TcpStream,
    buffer: Vec<u8>,
    log: Arc<Log>,
    /// Position among the connections of this origin.
    pub(crate) id: usize,
    /// Requests read from it.
    pub(crate) served: usize,
}

impl Conn {
    fn fill(&mut self, bound: Duration) -> bool {
        drop(self.raw.set_read_timeout(Some(bound.max(Duration::from_millis(1)))));
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece) {
            Ok(n) if n > 0 => {
                self.buffer.extend_from_slice(&piece[..n]);
                lock(&self.log.bytes).extend_from_slice(&piece[..n]);
                true
            }
            _ => false,
        }
    }

    /// The head of the next request; `None` when the connection ended or the head is broken,
    /// which [`Upstream::take`] tells.
    pub(crate) fn head(&mut self) -> Option<Message> {
        loop {
            if let Some((message, used)) = reader::head(&self.buffer, Kind::Request).ok()? {
                self.buffer.drain(..used);
                self.served += 1;
                return Some(message);
            }
            if !self.fill(IDLE) {
                return None;
            }
        }
    }

    /// Reads the body of `request` to its end.
    pub(crate) fn body(&mut self, request: &mut Message) -> bool {
        loop {
            match reader::body(request, &self.buffer, false) {
                Ok(Some(used)) => {
                    self.buffer.drain(..used);
                    return true;
                }
                Ok(None) if self.fill(IDLE) => {}
                _ => return false,
            }
        }
    }

    /// The next request with its body.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut request = self.head()?;
        self.body(&mut request).then_some(request)
    }

    /// What is not read stays on the other side, but for about this many bytes (SO_RCVBUF).
    pub(crate) fn holds_at_most(&self, bytes: usize) {
        SockRef::from(&self.raw).set_recv_buffer_size(bytes).expect("it can be set");
    }

    /// Writes; false when the other side closed.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// The tagged reply: names the request it answers.
    pub(crate) fn answer(&mut self, request: &Message) -> bool {
        let body = if request.method == "HEAD" { String::new() } else { tag(request) };
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Tag: {}\r\nX-Conn: {}\r\n\r\n{body}",
            tag(request).len(),
            tag(request),
            self.id,
        ))
    }

    /// Answers every request with its tag until the connection ends.
    pub(crate) fn serve(&mut self) {
        while let Some(request) = self.request() {
            if !self.answer(&request) {
                return;
            }
        }
    }

    /// Whether nothing more comes for this long.
    pub(crate) fn quiet(&mut self, bound: Duration) -> bool {
        self.buffer.is_empty() && !self.fill(bound)
    }

    /// Reads on until the other side closes; what comes is logged.
    pub(crate) fn drain(&mut self) {
        while self.fill(IDLE) {
            self.buffer.clear();
        }
    }

    /// Raw bytes that came, at least one; empty at the end.
    pub(crate) fn piece(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill(IDLE);
        }
        std::mem::take(&mut self.buffer)
    }

    /// Closes with RST in place of FIN when the script returns.
    pub(crate) fn reset(&self) {
        drop(socket2::SockRef::from(&self.raw).set_linger(Some(Duration::ZERO)));
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.log.closed.store(true, Ordering::Release);
    }
}

/// How long a script waits for bytes.
const IDLE: Duration = Duration::from_secs(60);

/// What a reply to `request` must carry.
pub(crate) fn tag(request: &Message) -> String {
    format!("{} {} {}", request.method, request.target, request.body.len())
}

type Script = dyn Fn(&mut Conn) + Send + Sync;

/// Whole requests and remains that connections received since the last look.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Whole requests, by connection.
    pub(crate) requests: Vec<Message>,
    /// Bytes of requests that did not come whole.
    pub(crate) partial: Vec<Vec<u8>>,
}

impl Taken {
    /// Method and target of each request.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests.iter().map(|r| format!("{} {}", r.method, r.target)).collect()
    }
}

#[derive(Default)]
struct Shared {
    logs: Mutex<Vec<Arc<Log>>>,
    open: Mutex<BTreeMap<usize, TcpStream>>,
    stop: AtomicBool,
}

/// The origin; stops with its owner.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Answers everything with tags.
    pub(crate) fn tagged() -> Self {
        Self::start(Conn::serve)
    }

    /// Runs `script` for each connection.
    pub(crate) fn start(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::start_at(free_port(), script)
    }

    pub(crate) fn start_at(port: u16, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, port).into(), None, Arc::new(script))
    }

    /// At another loopback address.
    pub(crate) fn start_on(
        address: SocketAddr,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        Self::listen(address, None, Arc::new(script))
    }

    /// Over TLS.
    pub(crate) fn tls(
        config: Arc<rustls::ServerConfig>,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        let address = (Ipv4Addr::LOCALHOST, free_port()).into();
        Self::listen(address, Some(config), Arc::new(script))
    }

    fn listen(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        script: Arc<Script>,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let shared = Arc::new(Shared::default());
        let (inner, tls) = (shared.clone(), tls);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(stream) = stream {
                    accept(&inner, stream, tls.clone(), script.clone());
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections accepted so far.
    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        lock(&self.shared.logs).clone()
    }

    /// Whole requests received so far, over all connections.
    pub(crate) fn count(&self) -> usize {
        let whole = |log: &Arc<Log>| reader::requests(&log.bytes()).map_or(0, |(l, _)| l.len());
        self.logs().iter().map(whole).sum()
    }

    /// I1: what came since the last call, parsed strictly; bytes that are no HTTP fail the test.
    #[track_caller]
    pub(crate) fn take(&self) -> Taken {
        let mut taken = Taken::default();
        for log in self.logs() {
            let bytes = log.bytes();
            let from = log.taken.load(Ordering::Acquire);
            let fresh = &bytes[from..];
            let (requests, rest) = reader::requests(fresh).unwrap_or_else(|e| {
                panic!("I1: the origin got no HTTP ({e}): {:?}", String::from_utf8_lossy(fresh))
            });
            taken.requests.extend(requests);
            if !rest.is_empty() {
                taken.partial.push(rest.to_vec());
            }
            // Remains of a closed connection are told once; of an open one they may yet complete.
            let used = if log.closed() { bytes.len() } else { bytes.len() - rest.len() };
            log.taken.store(used, Ordering::Release);
        }
        taken
    }

    /// As if the process were killed: closes its connections and refuses others.
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // The connection wakes the thread that accepts.
        drop(TcpStream::connect_timeout(&self.address, SOON));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        for stream in lock(&self.shared.open).values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn accept(
    shared: &Arc<Shared>,
    raw: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    script: Arc<Script>,
) {
    drop(raw.set_nodelay(true));
    drop(raw.set_write_timeout(Some(IDLE)));
    let (Ok(stream), Ok(kill)) = (raw.try_clone(), raw.try_clone()) else { return };
    let log = Arc::new(Log::default());
    let id = {
        let mut logs = lock(&shared.logs);
        logs.push(log.clone());
        logs.len() - 1
    };
    lock(&shared.open).insert(id, kill);
    let inner = shared.clone();
    std::thread::spawn(move || {
        let mut stream: Box<dyn Duplex> = Box::new(stream);
        if let Some(config) = tls {
            let (Ok(session), Ok(sock)) = (rustls::ServerConnection::new(config), raw.try_clone())
            else {
                return;
            };
            stream = Box::new(rustls::StreamOwned::new(session, sock));
        }
        let mut conn = Conn { stream, raw, buffer: Vec::new(), log, id, served: 0 };
        script(&mut conn);
        // The last handle is the script's own: its drop closes the connection, or resets it.
        drop(lock(&inner.open).remove(&id));
    });
}
