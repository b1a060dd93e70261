//! A running attack: one thread of the lowest priority, so that it takes from good clients on the
//! same CPU only what they leave.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::kind::{Attack, Voice};

/// A connection that the proxy closed is opened again after this: the attacker's ports must last.
const REOPEN: Duration = Duration::from_millis(10);
/// Not the good clients' address: a limit for each source is to meet the attacker alone.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Pause when no connection took or gave a byte.
const PAUSE: Duration = Duration::from_micros(200);
/// The lowest priority there is.
const LEAST: i32 = 19;
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// What an attack spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Frames, or pieces of heads, that were sent.
    pub frames: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Connections that the proxy closed.
    pub closed: u64,
}

/// A running attack; dropping it stops it.
#[derive(Debug)]
pub struct Siege {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Spent>>,
}

impl Siege {
    /// Begins an attack on a listener.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn begin(attack: &'static Attack, target: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("attack".to_owned())
            .spawn(move || run(attack, target, &watched))
            .context("attack: thread")?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it and tells what it spent.
    #[must_use]
    pub fn end(mut self) -> Spent {
        self.join()
    }

    fn join(&mut self) -> Spent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

struct Line {
    stream: TcpStream,
    voice: Voice,
    sent: usize,
    due: Instant,
}

enum Slot {
    Open(Line),
    Closed(Instant),
}

fn run(attack: &Attack, target: SocketAddr, stop: &AtomicBool) -> Spent {
    // Refused only where the priority is lower already.
    let _ = rustix::process::nice(LEAST);
    let mut spent = Spent::default();
    let mut buffer = vec![0; READ];
    let now = Instant::now();
    let mut slots: Vec<Slot> = (0..attack.connections).map(|_| Slot::Closed(now)).collect();
    while !stop.load(Ordering::Relaxed) {
        let mut moved = false;
        for slot in &mut slots {
            match slot {
                Slot::Closed(since) if since.elapsed() >= REOPEN || *since == now => {
                    *slot = connect(attack, target);
                    moved = true;
                }
                Slot::Closed(_) => {}
                Slot::Open(line) => match turn(attack, line, &mut buffer, &mut spent) {
                    Ok(bytes) => moved |= bytes > 0,
                    Err(_) => {
                        spent.closed += 1;
                        *slot = Slot::Closed(Instant::now());
                    }
                },
            }
        }
        if !moved {
            sleep(PAUSE.max(attack.pace / 20));
        }
    }
    spent
}

fn connect(attack: &Attack, target: SocketAddr) -> Slot {
    let Ok(stream) = from_elsewhere(target) else { return Slot::Closed(Instant::now()) };
    let mut voice = Voice::new();
    (attack.open)(&mut voice);
    Slot::Open(Line { stream, voice, sent: 0, due: Instant::now() })
}

/// Begins a connection from the attacker's address; until it stands, writing would wait.
fn from_elsewhere(target: SocketAddr) -> rustix::io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::from((ADDRESS, 0)))?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(TcpStream::from(socket))
}

/// Says and reads what can be said and read; tells how many bytes that were.
fn turn(
    attack: &Attack,
    line: &mut Line,
    buffer: &mut [u8],
    spent: &mut Spent,
) -> std::io::Result<usize> {
    let mut moved = 0;
    if attack.reads {
        match line.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
            Ok(count) => moved += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if line.sent == line.voice.out.len() && Instant::now() >= line.due {
        line.voice.out.clear();
        line.sent = 0;
        spent.frames += std::mem::take(&mut line.voice.frames);
        (attack.step)(&mut line.voice);
        line.due = Instant::now() + attack.pace;
    }
    let rest = line.voice.out.get(line.sent..).unwrap_or_default();
    if !rest.is_empty() {
        match line.stream.write(rest) {
            Ok(count) => {
                line.sent += count;
                spent.bytes += count as u64;
                moved += count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}
