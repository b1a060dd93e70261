//! A relay in user space: the router hands over every packet between clients and servers, and gets
//! it back later, out of order, or twice.
//!
//! The kernel's packet queue (iptables' NFQUEUE) holds the packets; a thread here answers with
//! verdicts, each when its packet is due. A second copy goes out by a raw socket.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::raw::Copies;
use crate::content;
use crate::namespace::Namespace;

/// The queue's number.
const QUEUE: u16 = 7;
/// Packets that are held at a time; more are dropped by the kernel. A tenth of a second of what the
/// clients of a scenario send.
const HELD_MAX: u32 = 8192;
/// Octets of a message: a packet and its attributes.
const MESSAGE_MAX: usize = 64 * 1024;
/// Octets of the socket's buffer, so that a busy machine loses no message.
const BUFFER: usize = 4 << 20;
/// Longest sleep, so that the end is noticed.
const NAP: Duration = Duration::from_millis(20);

/// The kernel's numbers (linux/netfilter/nfnetlink_queue.h).
mod number {
    pub(super) const PACKET: u16 = 3 << 8;
    pub(super) const VERDICT: u16 = 3 << 8 | 1;
    pub(super) const CONFIG: u16 = 3 << 8 | 2;
    pub(super) const REQUEST: u16 = 1;
    pub(super) const COMMAND: u16 = 1;
    pub(super) const PARAMETERS: u16 = 2;
    pub(super) const QUEUE_LENGTH: u16 = 3;
    pub(super) const PACKET_HEAD: u16 = 1;
    pub(super) const VERDICT_HEAD: u16 = 2;
    pub(super) const PAYLOAD: u16 = 10;
    pub(super) const BIND: u8 = 1;
    pub(super) const COPY_PACKET: u8 = 2;
    pub(super) const ACCEPT: u32 = 1;
}

/// What happens to packets.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    /// Each is held for as long at least.
    pub delay: Duration,
    /// And up to as long more, at random: those with less overtake.
    pub jitter: Duration,
    /// One of as many goes out twice; 0: none.
    pub duplicate: u64,
}

/// What the relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Packets that went through.
    pub packets: u64,
    /// Packets that left before one that had come earlier.
    pub overtook: u64,
    /// Packets that went out twice.
    pub duplicated: u64,
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    router: Namespace,
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
    overtook: AtomicU64,
    duplicated: AtomicU64,
}

/// The rules that hand packets over: those to servers and to clients, not to the origin.
const RULES: [&str; 4] = [
    "iptables -t mangle {} FORWARD -o s+ -j NFQUEUE --queue-num 7 --queue-bypass",
    "iptables -t mangle {} FORWARD -o c+ -j NFQUEUE --queue-num 7 --queue-bypass",
    "ip6tables -t mangle {} FORWARD -o s+ -j NFQUEUE --queue-num 7 --queue-bypass",
    "ip6tables -t mangle {} FORWARD -o c+ -j NFQUEUE --queue-num 7 --queue-bypass",
];

impl Relay {
    /// Starts it on the router.
    ///
    /// # Errors
    /// When the kernel has no packet queue.
    pub fn start(router: &Namespace, disturbance: Disturbance) -> Result<Self> {
        let (queue, copies) = router.inside(|| Ok((Queue::open()?, Copies::open()?)))?;
        for rule in RULES {
            router.tool(&rule.replace("{}", "-A"))?;
        }
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || relay(&queue, &copies, disturbance, &own))?;
        Ok(Self { router: router.clone(), shared, thread })
    }

    /// Lets go of what is held and ends it.
    ///
    /// # Errors
    /// When the relay failed on its way.
    pub fn stop(self) -> Result<Relayed> {
        for rule in RULES {
            self.router.tool(&rule.replace("{}", "-D"))?;
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the relay panicked"))??;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Shared { packets, overtook, duplicated, .. } = &*self.shared;
        Ok(Relayed {
            packets: count(packets),
            overtook: count(overtook),
            duplicated: count(duplicated),
        })
    }
}

/// A held packet: when it is due, and its number, which grows.
type Held = Reverse<(Instant, u32)>;

fn relay(queue: &Queue, copies: &Copies, how: Disturbance, shared: &Shared) -> Result<()> {
    let mut held: BinaryHeap<Held> = BinaryHeap::new();
    let mut latest = 0;
    let mut buffer = vec![0; MESSAGE_MAX];
    while !shared.stop.load(Ordering::Relaxed) || !held.is_empty() {
        let next = held.peek().map(|Reverse((due, _))| due.duration_since(Instant::now()));
        queue.wait(next.unwrap_or(NAP).min(NAP))?;
        for (id, packet) in queue.packets(&mut buffer)? {
            let random = content::mix(u64::from(id));
            let jitter = how.jitter.mul_f64((random >> 32) as f64 / f64::from(u32::MAX));
            held.push(Reverse((Instant::now() + how.delay + jitter, id)));
            if how.duplicate > 0 && random.is_multiple_of(how.duplicate) && copies.send(&packet) {
                shared.duplicated.fetch_add(1, Ordering::Relaxed);
            }
        }
        while held.peek().is_some_and(|Reverse((due, _))| *due <= Instant::now()) {
            let Some(Reverse((_, id))) = held.pop() else { break };
            queue.accept(id)?;
            shared.packets.fetch_add(1, Ordering::Relaxed);
            shared.overtook.fetch_add(u64::from(id < latest), Ordering::Relaxed);
            latest = latest.max(id);
        }
    }
    Ok(())
}

/// The kernel's queue of packets, over netlink.
struct Queue(OwnedFd);

impl Queue {
    fn open() -> Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let protocol = Some(netlink::NETFILTER);
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = rustix::net::socket_with(family, kind, flags, protocol)
            .context("a netlink socket for packet queues")?;
        rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
        let queue = Self(socket);
        queue.say(number::CONFIG, &[(number::COMMAND, &[number::BIND, 0, 0, 0])])?;
        let [a, b, c, d] = (MESSAGE_MAX as u32 - 1024).to_be_bytes();
        let parameters = [a, b, c, d, number::COPY_PACKET];
        let most = HELD_MAX.to_be_bytes();
        let settings = [(number::PARAMETERS, &parameters[..]), (number::QUEUE_LENGTH, &most)];
        queue.say(number::CONFIG, &settings)?;
        Ok(queue)
    }

    fn say(&self, kind: u16, attributes: &[(u16, &[u8])]) -> Result<()> {
        let mut body = vec![0, 0];
        body.extend_from_slice(&QUEUE.to_be_bytes());
        for (attribute, value) in attributes {
            body.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            body.extend_from_slice(&attribute.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = (body.len() as u32 + 16).to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&number::REQUEST.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&body);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.0, &message, SendFlags::empty(), &kernel)
            .context("speaking to the kernel's packet queue")?;
        Ok(())
    }

    fn accept(&self, id: u32) -> Result<()> {
        let mut verdict = number::ACCEPT.to_be_bytes().to_vec();
        verdict.extend_from_slice(&id.to_be_bytes());
        self.say(number::VERDICT, &[(number::VERDICT_HEAD, &verdict)])
    }

    fn wait(&self, at_most: Duration) -> Result<()> {
        let time = Timespec::try_from(at_most).context("a time to wait")?;
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&time))?;
        Ok(())
    }

    /// The packets of all messages that wait.
    fn packets(&self, buffer: &mut [u8]) -> Result<Vec<(u32, Vec<u8>)>> {
        let mut packets = Vec::new();
        // The loop ends: what a turn takes is bounded by what the kernel holds.
        while packets.len() < HELD_MAX as usize {
            match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Ok((read, _)) => packets.extend(packet(buffer.get(..read).unwrap_or_default())),
                Err(rustix::io::Errno::AGAIN) => break,
                // Messages were lost; their packets stay in the queue until the run ends.
                Err(rustix::io::Errno::NOBUFS) => {}
                Err(error) => return Err(error).context("reading the kernel's packet queue"),
            }
        }
        Ok(packets)
    }
}

/// The number and the octets of the packet in a message.
fn packet(message: &[u8]) -> Option<(u32, Vec<u8>)> {
    let kind = u16::from_ne_bytes(*message.get(4..6)?.first_chunk()?);
    if kind != number::PACKET {
        return None;
    }
    let mut rest = message.get(20..)?;
    let (mut id, mut payload) = (None, Vec::new());
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let [a, b, c, d] = *head;
        let (len, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let value = rest.get(4..len)?;
        match kind & 0x3fff {
            number::PACKET_HEAD => id = value.first_chunk().map(|id| u32::from_be_bytes(*id)),
            number::PAYLOAD => payload = value.to_vec(),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some((id?, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_kernel_gives_its_packet() {
        let mut message = vec![0; 20];
        message[4..6].copy_from_slice(&number::PACKET.to_ne_bytes());
        let mut attribute = |kind: u16, value: &[u8]| {
            message.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            message.extend_from_slice(&kind.to_ne_bytes());
            message.extend_from_slice(value);
            message.resize(message.len().next_multiple_of(4), 0);
        };
        attribute(number::PACKET_HEAD, &[0, 0, 1, 2, 8, 0, 2]);
        attribute(number::PAYLOAD, &[0x45, 1, 2]);
        assert_eq!(packet(&message), Some((258, vec![0x45, 1, 2])));
        assert_eq!(packet(&message[..19]), None);
        message[4] = 9;
        assert_eq!(packet(&message), None);
    }
}
