//! The demo's origins: small HTTP/1.1 servers on a thread of their own that can die and come back.
//!
//! They read requests without Weir's parsers, so that the demo shows Weir and not itself.

use process_runtime::sockets;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, oneshot, watch};

/// The origins' names.
pub(super) const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
/// How long `/slow` takes: long enough to be in flight when an origin dies.
pub(super) const SLOW: Duration = Duration::from_millis(250);
/// Open connections of an origin: Weir keeps at most 256 idle, and few are busy.
const CONNECTIONS_MAX: usize = 512;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 512;
/// Silence after which a connection is closed; longer than Weir keeps an idle one (55 s), so that
/// Weir is the side that closes.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Bytes of a request's head; Weir refuses longer ones (32 KiB by default).
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// The body of a reply; the load knows it too and compares.
pub(super) fn answer(name: &str, method: &str, target: &str, bytes: usize) -> String {
    let bytes = if bytes > 0 { format!("You sent {bytes} bytes.\n") } else { String::new() };
    format!("Hello from origin {name}.\nYou asked: {method} {target}\n{bytes}")
}

/// One origin.
#[derive(Debug)]
pub(super) struct Origin {
    /// One of [`NAMES`].
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    alive: watch::Sender<bool>,
    in_flight: watch::Sender<u32>,
    /// Replies since it came to life.
    answered: watch::Sender<u64>,
    /// Bound and not listening: while the origin is dead, nobody else gets its port, neither a
    /// listener nor a connection that the kernel gives a local port to.
    _reserved: TcpSocket,
    room: Arc<Semaphore>,
}

impl Origin {
    /// One at an address of its own, since a pool of the API has no address twice: the whole of
    /// 127.0.0.0/8 is this machine.
    fn new(name: &'static str, index: u8) -> io::Result<Self> {
        let reserved = bound((Ipv4Addr::new(127, 0, 0, 1 + index), 0).into())?;
        Ok(Self {
            name,
            address: reserved.local_addr()?,
            alive: watch::Sender::new(true),
            in_flight: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            _reserved: reserved,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Closes the listener and resets every connection; gives how many requests that hit.
    pub(super) fn kill(&self) -> u32 {
        self.alive.send_replace(false);
        *self.in_flight.borrow()
    }

    /// Listens again, on the same port.
    pub(super) fn revive(&self) {
        self.answered.send_replace(0);
        self.alive.send_replace(true);
    }

    /// Waits until a request is in flight, or for `limit`.
    pub(super) async fn busy(&self, limit: Duration) {
        let mut in_flight = self.in_flight.subscribe();
        let _ = tokio::time::timeout(limit, in_flight.wait_for(|count| *count > 0)).await;
    }

    /// Waits until it has answered since it came to life, or for `limit`.
    pub(super) async fn back(&self, limit: Duration) {
        let mut answered = self.answered.subscribe();
        let _ = tokio::time::timeout(limit, answered.wait_for(|count| *count > 0)).await;
    }

    /// Waits until it dies.
    async fn death(&self) {
        // The sender lives in `self`, so this cannot end for another reason.
        let _ = self.alive.subscribe().wait_for(|alive| !alive).await;
    }

    async fn birth(&self) {
        let _ = self.alive.subscribe().wait_for(|alive| *alive).await;
    }

    /// Lives and dies, for ever.
    async fn run(self: Arc<Self>, first: TcpListener) {
        let mut listener = Some(first);
        loop {
            if let Some(listener) = listener.take() {
                self.accept(&listener).await;
            }
            self.birth().await;
            match listen(self.address) {
                Ok(open) => listener = Some(open),
                Err(error) => {
                    eprintln!("origin {} cannot come back: {error}", self.name);
                    self.kill();
                }
            }
        }
    }

    /// Accepts until the origin dies.
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let next = async {
                let permit = self.room.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            let accepted = tokio::select! {
                biased;
                () = self.death() => return,
                accepted = next => accepted,
            };
            // A failed accept concerns a connection that is gone already.
            let (Ok(permit), Ok((stream, _))) = accepted else { continue };
            let origin = self.clone();
            tokio::spawn(async move {
                origin.connection(stream).await;
                drop(permit);
            });
        }
    }

    async fn connection(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        let died = tokio::select! {
            biased;
            () = self.death() => true,
            _ = self.converse(&mut stream) => false,
        };
        if died {
            let _ = sockets::reset_on_close(stream.get_ref());
        }
    }

    async fn converse(&self, stream: &mut BufReader<TcpStream>) -> io::Result<()> {
        loop {
            let head = tokio::time::timeout(SILENCE_MAX, Head::read(stream)).await??;
            let Some(head) = head else { return Ok(()) };
            let _in_flight = InFlight::new(&self.in_flight);
            if head.expects {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            let bytes = tokio::time::timeout(SILENCE_MAX, drain(stream, head.length)).await??;
            let reply = self.reply(&head, bytes).await;
            stream.write_all(reply.as_bytes()).await?;
            self.answered.send_modify(|count| *count += 1);
            if head.close {
                return stream.shutdown().await;
            }
        }
    }

    async fn reply(&self, head: &Head, bytes: usize) -> String {
        let Head { method, target, .. } = head;
        let path = target.split('?').next().unwrap_or_default();
        let body = match path {
            "/health" => "ok\n".to_owned(),
            _ => answer(self.name, method, target, bytes),
        };
        if path == "/slow" {
            tokio::time::sleep(SLOW).await;
        }
        let connection = if head.close { "Connection: close\r\n" } else { "" };
        format!(
            "HTTP/1.1 200 OK\r\nX-Origin: {}\r\nContent-Type: text/plain\r\n{connection}\
             Content-Length: {}\r\n\r\n{}",
            self.name,
            body.len(),
            if method == "HEAD" { "" } else { &body },
        )
    }
}

/// Counts a request for as long as it lives.
struct InFlight<'a>(&'a watch::Sender<u32>);

impl<'a> InFlight<'a> {
    fn new(count: &'a watch::Sender<u32>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug)]
enum Length {
    Exact(u64),
    Chunked,
}

/// The parts of a request's head that matter here.
#[derive(Debug)]
struct Head {
    method: String,
    target: String,
    length: Length,
    close: bool,
    expects: bool,
}

impl Head {
    /// The next one; `None` at the end of the connection.
    async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut left = HEAD_BYTES_MAX;
        let start = line(stream, &mut left).await?;
        let mut words = start.split_ascii_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let length = Length::Exact(0);
        let mut head = Self { method, target, length, close: false, expects: false };
        loop {
            let line = line(stream, &mut left).await?;
            if line.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                    head.length = Length::Exact(length);
                }
                "transfer-encoding" => head.length = Length::Chunked,
                "connection" => head.close |= value.eq_ignore_ascii_case("close"),
                "expect" => head.expects = true,
                _ => {}
            }
        }
    }
}

/// A line without its end; empty at the end of the connection too.
async fn line(stream: &mut BufReader<TcpStream>, left: &mut u64) -> io::Result<String> {
    let mut line = String::new();
    let n = stream.take(*left).read_line(&mut line).await?;
    *left = left.saturating_sub(n as u64);
    if n > 0 && !line.ends_with('\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

/// Reads a body and gives its length.
async fn drain(stream: &mut BufReader<TcpStream>, length: Length) -> io::Result<usize> {
    let exactly = async |stream: &mut BufReader<TcpStream>, n: u64| -> io::Result<usize> {
        let read = tokio::io::copy(&mut stream.take(n), &mut tokio::io::sink()).await?;
        let whole = usize::try_from(read).ok().filter(|_| read == n);
        whole.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    if let Length::Exact(n) = length {
        return exactly(stream, n).await;
    }
    let mut sum = 0usize;
    loop {
        // Weir sends sizes without extensions and no trailers that were not sent to it.
        let mut left = HEAD_BYTES_MAX;
        let size = line(stream, &mut left).await?;
        let size = u64::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        sum = sum.saturating_add(exactly(stream, size).await?);
        while !line(stream, &mut left).await?.is_empty() {}
        if size == 0 {
            return Ok(sum);
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // Lets the listener be bound beside the reservation.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG)
}

/// All origins, running until this is dropped.
pub(super) struct Origins {
    pub(super) all: Vec<Arc<Origin>>,
    /// Runs tasks on the thread of the origins.
    pub(super) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Origins {
    /// Starts them; they listen when this returns.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let all = spawn(&runtime)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("demo-origins".into());
        let thread = thread.spawn(move || {
            // Ends by the sender's drop as well.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { all, handle, stop: Some(stop), thread: Some(thread) })
    }
}

fn spawn(runtime: &Runtime) -> io::Result<Vec<Arc<Origin>>> {
    let _inside = runtime.enter();
    let mut all = Vec::new();
    for (name, index) in NAMES.into_iter().zip(0..) {
        let origin = Arc::new(Origin::new(name, index)?);
        runtime.spawn(origin.clone().run(listen(origin.address)?));
        all.push(origin);
    }
    Ok(all)
}

impl Drop for Origins {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been told by the hook; the origins are gone either way.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn connect(origin: &Origin) -> TcpStream {
        let stream = TcpStream::connect(origin.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn check(origin: &Origin, request: &str, body: &str) {
        let mut stream = connect(origin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, found) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("X-Origin: alpha"), "{request}: {head}");
        assert_eq!(found, body, "{request}");
    }

    #[test]
    fn requests_are_answered() {
        let origins = Origins::start().unwrap();
        let origin = &origins.all[0];
        let close = "HTTP/1.1\r\nConnection: close\r\n";
        check(origin, &format!("GET /health {close}\r\n"), "ok\n");
        check(origin, &format!("HEAD / {close}\r\n"), "");
        check(origin, &format!("GET /a?b {close}\r\n"), &answer("alpha", "GET", "/a?b", 0));
        let exact = format!("POST /a {close}Content-Length: 3\r\n\r\nabc");
        check(origin, &exact, &answer("alpha", "POST", "/a", 3));
        let chunked = format!(
            "PUT /a {close}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        );
        check(origin, &chunked, &answer("alpha", "PUT", "/a", 3));
    }

    #[test]
    fn a_killed_origin_resets_and_refuses_until_it_is_back() {
        let origins = Origins::start().unwrap();
        let origin = &origins.all[0];
        let mut stream = connect(origin);
        stream.write_all(b"GET /slow HTTP/1.1\r\n\r\n").unwrap();
        origins.handle.block_on(origin.busy(Duration::from_secs(10)));
        assert_eq!(origin.kill(), 1);
        let error = stream.read(&mut [0; 99]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let becomes = |refused: bool| {
            let until = std::time::Instant::now() + Duration::from_secs(10);
            loop {
                let error = TcpStream::connect(origin.address).err().map(|error| error.kind());
                if error == refused.then_some(io::ErrorKind::ConnectionRefused) {
                    return;
                }
                assert!(std::time::Instant::now() < until, "refused: {refused}, got {error:?}");
            }
        };
        becomes(true);
        origin.revive();
        becomes(false);
        let request = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        check(origin, request, &answer("alpha", "GET", "/", 0));
    }
}
