//! The origin behind every proxy: one epoll thread that answers with bytes made before the run.
//!
//! It is cheap on purpose, since it shares its CPU with the load. A connection that begins with the
//! preface of HTTP/2 is answered in HTTP/2.

mod stream;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use memchr::memmem;
use rustix::event::{Timespec, epoll};

use crate::h2;
use crate::reply::length_field;
pub use stream::{MESSAGE, message};
use stream::{Replies, Speaker};

/// Connections that may wait to be accepted: more than any row opens at once.
const BACKLOG: i32 = 4096;
/// A request head longer than this is refused by closing.
const HEAD_MAX: usize = 64 * 1024;
/// How often the thread looks whether it shall stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Bytes read at once.
const READ: usize = 256 * 1024;
const LISTENER: u64 = u64::MAX;
/// How a connection of HTTP/2 begins; a proxy sends more than these three bytes at once.
const PRI: &[u8] = h2::PREFACE.split_at(3).0;

/// The bodies: path and size in bytes.
pub const BODIES: [(&str, usize); 3] =
    [("/1k", 1024), ("/100k", 100 * 1024), ("/10m", 10 * 1024 * 1024)];

/// A running origin; dropping it stops it.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the port or the thread cannot be had.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("origin: bind")?;
        // The standard library asks for 128; asking again changes the length.
        rustix::net::listen(&listener, BACKLOG).context("origin: listen")?;
        listener.set_nonblocking(true).context("origin: nonblocking")?;
        let address = listener.local_addr().context("origin: address")?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let turn = Turn::new(listener, Arc::clone(&answered)).context("origin: epoll")?;
        let watched = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || turn.run(&watched))
            .context("origin: thread")?;
        Ok(Self { address, stop, answered, thread: Some(thread) })
    }

    /// Requests read whole since the start; each is answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    body_left: u64,
    /// For a connection that has begun with the preface of HTTP/2.
    speaker: Option<Box<Speaker>>,
    reply: Arc<[u8]>,
    /// Bytes of `reply` already sent; `None` while a request is being read.
    sent: Option<usize>,
    wants_write: bool,
}

enum Fate {
    Keep,
    Close,
}

struct Turn {
    listener: TcpListener,
    poll: OwnedFd,
    connections: HashMap<u64, Connection>,
    next: u64,
    replies: Vec<(&'static str, Arc<[u8]>)>,
    missing: Arc<[u8]>,
    streams: Replies,
    buffer: Vec<u8>,
    answered: Arc<AtomicU64>,
}

impl Turn {
    fn new(listener: TcpListener, answered: Arc<AtomicU64>) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&poll, &listener, data, epoll::EventFlags::IN)?;
        let replies = BODIES.iter().map(|(path, size)| (*path, ok(*size))).collect();
        let missing = Arc::from(&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..]);
        Ok(Self {
            listener,
            poll,
            connections: HashMap::new(),
            next: 0,
            replies,
            missing,
            streams: Replies::new(),
            buffer: vec![0; READ],
            answered,
        })
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut events = Vec::with_capacity(1024);
        while !stop.load(Ordering::Relaxed) {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.poll, spare, Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                let epoll::Event { data, .. } = *event;
                let token = data.u64();
                if token == LISTENER {
                    self.accept();
                } else if let Some(mut connection) = self.connections.remove(&token)
                    && let Ok(Fate::Keep) = self.serve(token, &mut connection)
                {
                    self.connections.insert(token, connection);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let token = self.next;
            self.next += 1;
            let data = epoll::EventData::new_u64(token);
            let ready = stream.set_nonblocking(true).is_ok()
                && stream.set_nodelay(true).is_ok()
                && epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN).is_ok();
            if ready {
                let connection = Connection {
                    stream,
                    head: Vec::new(),
                    body_left: 0,
                    speaker: None,
                    reply: Arc::clone(&self.missing),
                    sent: None,
                    wants_write: false,
                };
                self.connections.insert(token, connection);
            }
        }
    }

    fn serve(&mut self, token: u64, connection: &mut Connection) -> io::Result<Fate> {
        if connection.sent.is_some() {
            self.send(token, connection)?;
            return Ok(Fate::Keep);
        }
        let count = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return Ok(Fate::Close),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Keep),
            Err(error) => return Err(error),
        };
        let Some(bytes) = self.buffer.get(..count) else { return Ok(Fate::Close) };
        if connection.head.is_empty() && connection.body_left == 0 && bytes.starts_with(PRI) {
            connection.speaker = Some(Box::new(Speaker::new()));
        }
        if let Some(speaker) = &mut connection.speaker {
            let Ok(requests) = speaker.feed(bytes, &self.streams) else { return Ok(Fate::Close) };
            self.answered.fetch_add(requests, Ordering::Relaxed);
            if speaker.out.is_empty() {
                return Ok(Fate::Keep);
            }
            connection.reply = Arc::from(std::mem::take(&mut speaker.out));
            connection.sent = Some(0);
            self.send(token, connection)?;
            return Ok(Fate::Keep);
        }
        if connection.body_left > 0 {
            connection.body_left = connection.body_left.saturating_sub(count as u64);
        } else {
            connection.head.extend_from_slice(bytes);
            let Some(end) = memmem::find(&connection.head, b"\r\n\r\n") else {
                let short = connection.head.len() <= HEAD_MAX;
                return Ok(if short { Fate::Keep } else { Fate::Close });
            };
            let (head, body) = connection.head.split_at(end + 4);
            let length = length_field(head).unwrap_or(0);
            connection.body_left = length.saturating_sub(body.len() as u64);
            connection.reply = self.reply(head);
            connection.head.clear();
        }
        if connection.body_left == 0 {
            connection.sent = Some(0);
            self.answered.fetch_add(1, Ordering::Relaxed);
            self.send(token, connection)?;
        }
        Ok(Fate::Keep)
    }

    fn reply(&self, head: &[u8]) -> Arc<[u8]> {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let found = self.replies.iter().find(|(name, _)| name.as_bytes() == path);
        Arc::clone(found.map_or(&self.missing, |(_, reply)| reply))
    }

    fn send(&mut self, token: u64, connection: &mut Connection) -> io::Result<()> {
        while let Some(rest) = connection.sent.and_then(|sent| connection.reply.get(sent..)) {
            if rest.is_empty() {
                connection.sent = None;
                break;
            }
            match connection.stream.write(rest) {
                Ok(count) => connection.sent = connection.sent.map(|sent| sent + count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let wants_write = connection.sent.is_some();
        if wants_write != connection.wants_write {
            connection.wants_write = wants_write;
            let flags = if wants_write { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(token);
            epoll::modify(&self.poll, &connection.stream, data, flags)?;
        }
        Ok(())
    }
}

fn ok(size: usize) -> Arc<[u8]> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {size}\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    Arc::from(bytes)
}
