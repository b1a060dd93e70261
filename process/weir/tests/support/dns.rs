//! A DNS server on loopback with names that a test can change.

use super::files::free_port;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

type Names = BTreeMap<String, Vec<Ipv4Addr>>;

#[derive(Default)]
struct Shared {
    names: Mutex<Names>,
    asked: AtomicUsize,
    stop: AtomicBool,
}

/// The server; stops with its owner.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Seconds an answer may be kept: shortest that is not zero.
const TTL: u32 = 1;
const TYPE_A: u16 = 1;

impl Dns {
    pub(crate) fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let socket = UdpSocket::bind(address).expect("the port is free for UDP as well");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out can be set");
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 512];
            while !inner.stop.load(Ordering::Acquire) {
                let Ok((n, from)) = socket.recv_from(&mut packet) else { continue };
                inner.asked.fetch_add(1, Ordering::Relaxed);
                let names = inner.names.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(reply) = answer(&packet[..n], &names) {
                    drop(socket.send_to(&reply, from));
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Gives a name these addresses; none makes it unknown.
    pub(crate) fn set(&self, name: &str, addresses: &[Ipv4Addr]) {
        let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.is_empty() {
            names.remove(name);
        } else {
            names.insert(name.to_owned(), addresses.to_vec());
        }
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The reply to a question for the addresses of a name (RFC 1035 §4).
fn answer(query: &[u8], names: &Names) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = query.get(at..at + len)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let known = names.get(&labels.join("."));
    let list = known.filter(|_| kind == TYPE_A).map_or(&[][..], Vec::as_slice);
    let mut reply = query.get(..2)?.to_vec();
    // A reply with recursion desired and available; 3 is NXDOMAIN.
    reply.extend([0x81, if known.is_some() { 0x80 } else { 0x83 }]);
    reply.extend([0, 1, 0, u8::try_from(list.len()).ok()?, 0, 0, 0, 0]);
    reply.extend_from_slice(question);
    for address in list {
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply.extend(TTL.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
