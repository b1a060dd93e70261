//! Floods beside good traffic: SYNs from made-up sources, packets of no connection, and packets
//! that lie about themselves. All of them come in at servers the way that good packets do.
//!
//! They are sent from the router: another router would have dropped most of them on the way.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::raw::Copies;
use crate::content;
use crate::namespace::Namespace;
use crate::network::{VIP_V4, VIP_V6, server_address};
use crate::service::{QUIC_PORT, STREAM_PORT};
use crate::traffic::tls;

/// Packets of a burst, one of each kind at least.
const BURST: u64 = 48;
/// Between two bursts: some ten thousand packets a second, a hundred times the good ones, and what
/// two cores take beside everything else of a scenario.
const GAP: Duration = Duration::from_millis(4);
/// SYNs of a second, so that each of four servers has far more of them than the programs take for
/// honest (1000 on a processor).
const SYN_RATE: u64 = 16_000;
/// SYNs that are made up for at most, where the machine was busy with something else: more at once
/// would not fit into the rings of the links.
const SYNS_LATE_MAX: u64 = 500;
/// Kinds of packets that lie or belong to nobody.
const KINDS: u64 = 17;
/// The port of the tunnel between servers.
const TUNNEL_PORT: u16 = packet_abi::gue::PORT;

/// What comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every kind of packet in turn.
    Mixed,
    /// SYNs to what listens.
    Syns,
}

/// A running flood.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Flood {
    /// Starts it.
    ///
    /// # Errors
    /// When raw sockets are refused.
    pub fn start(router: &Namespace, kind: Kind) -> Result<Self> {
        let sockets = router.inside(Copies::open)?;
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = thread::Builder::new().name("flood".to_owned()).spawn(move || {
            let (mut number, mut looked) = (0, Instant::now());
            while !own.stop.load(Ordering::Relaxed) {
                let burst = match kind {
                    Kind::Mixed => BURST,
                    Kind::Syns => due(looked.elapsed()),
                };
                looked = Instant::now();
                for _ in 0..burst {
                    let packet = if kind == Kind::Syns { syn(number) } else { packet(number) };
                    let sent = sockets.send(&packet);
                    own.sent.fetch_add(u64::from(sent), Ordering::Relaxed);
                    number += 1;
                }
                thread::sleep(GAP);
            }
        })?;
        Ok(Self { shared, thread })
    }

    /// Ends it and tells how many packets went out.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn stop(self) -> Result<u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the flood panicked"))?;
        Ok(self.shared.sent.load(Ordering::Relaxed))
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// SYNs that are due after a time.
fn due(elapsed: Duration) -> u64 {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    (micros.saturating_mul(SYN_RATE) / 1_000_000).min(SYNS_LATE_MAX)
}

/// The packet of a number: kinds in turn, with sources and content of their own.
fn packet(number: u64) -> Vec<u8> {
    let random = content::mix(number);
    match number % KINDS {
        // A third are SYNs: a listener's queue is what floods are after.
        0 => v4(random, TCP, &tcp(random, SYN)),
        1 | 2 => v6(random, TCP, &tcp(random, SYN)),
        3 => v4(random, TCP, &tcp(random, ACK)),
        4 => v4(random, UDP, &udp(random, 9, &[0; 40])),
        5 => v4(random, UDP, &udp(random, QUIC_PORT, &random.to_be_bytes())),
        6 => v4(random, ICMP, &[0, 0, 0, 0, 0, 0, 0, 0]),
        7 => v4(random, TCP, &[0; 11]),
        8 => v4(random, UDP, &[0; 5]),
        9 => v4(random, ICMP, &[3, 1, 0, 0, 0, 0, 0, 0, 0x45, 0]),
        10 => v4(random, ICMP, &foreign_error(random)),
        // A fragment that is not the first.
        11 => with(v4(random, UDP, &[0; 64]), 7, 9),
        12 => v6(random, 0, &extensions(8)),
        // A length that is more than there is.
        13 => with(v6(random, TCP, &tcp(random, SYN)), 4, 0x20),
        // Neither IPv4 nor IPv6; lengths that lie a raw socket would put right.
        14 => with(v4(random, TCP, &tcp(random, SYN)), 0, 0x55),
        15 => tunnel(random, &[0x40, 4, 0, 0, 0, 0, 0, 0]),
        _ => tunnel(random, &[0x01, 4, 0, 0, 0, 0xff, 0, 0]),
    }
}

/// The SYN of a number, to the echo or to Weir, from a source of its own.
fn syn(number: u64) -> Vec<u8> {
    let random = content::mix(number);
    let port = if number.is_multiple_of(3) { STREAM_PORT } else { tls::PORT };
    let segment = tcp_to(port, random, SYN);
    if number.is_multiple_of(2) { v4(random, TCP, &segment) } else { v6(random, TCP, &segment) }
}

/// A packet with one octet changed.
fn with(mut packet: Vec<u8>, at: usize, octet: u8) -> Vec<u8> {
    if let Some(there) = packet.get_mut(at) {
        *there = octet;
    }
    packet
}

fn v4(random: u64, protocol: u8, payload: &[u8]) -> Vec<u8> {
    // Addresses that nobody has a route to (RFC 6598).
    let source = Ipv4Addr::from(0x6440_0000 | (random as u32 & 0x003f_ffff));
    v4_between(source, VIP_V4, protocol, payload)
}

fn v4_between(source: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16 + 20).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(payload);
    summed(packet, 12, 20, protocol)
}

fn v6(random: u64, next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, next, 64];
    let source = Ipv6Addr::from(0x2001_0db8_dead_u128 << 80 | u128::from(random));
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&VIP_V6.octets());
    packet.extend_from_slice(payload);
    summed(packet, 8, 40, next)
}

/// The checksum of a whole TCP segment made right, so that it gets as far as the listener.
fn summed(mut packet: Vec<u8>, addresses: usize, transport: usize, protocol: u8) -> Vec<u8> {
    let len = packet.len().saturating_sub(transport);
    if protocol != TCP || len < 20 {
        return packet;
    }
    let words = packet.get(addresses..).unwrap_or_default().chunks(2);
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high, ..] => u32::from(*high) << 8,
        [] => 0,
    };
    let mut sum = words.map(word).sum::<u32>() + u32::from(protocol) + len as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [high, low] = (!(sum as u16)).to_be_bytes();
    packet = with(packet, transport + 16, high);
    with(packet, transport + 17, low)
}

fn tcp(random: u64, flags: u8) -> Vec<u8> {
    tcp_to(STREAM_PORT, random, flags)
}

fn tcp_to(port: u16, random: u64, flags: u8) -> Vec<u8> {
    let mut segment = ((random >> 16) as u16 | 1024).to_be_bytes().to_vec();
    segment.extend_from_slice(&port.to_be_bytes());
    segment.extend_from_slice(&random.to_be_bytes());
    segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

fn udp(random: u64, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ((random >> 16) as u16 | 1024).to_be_bytes().to_vec();
    datagram.extend_from_slice(&port.to_be_bytes());
    datagram.extend_from_slice(&(payload.len() as u16 + 8).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    datagram
}

/// "Port unreachable" about a packet that no VIP has sent.
fn foreign_error(random: u64) -> Vec<u8> {
    let about = v4_between(Ipv4Addr::new(8, 8, 8, 8), VIP_V4, UDP, &udp(random, 53, &[0; 8]));
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&about);
    message
}

/// A chain of extension headers (hop-by-hop first, destination options after it), then no more.
fn extensions(count: usize) -> Vec<u8> {
    let mut chain = Vec::new();
    for at in 1..=count {
        let next = if at == count { 59 } else { 60 };
        chain.extend_from_slice(&[next, 0, 1, 4, 0, 0, 0, 0]);
    }
    chain
}

/// A datagram to a server's tunnel whose header is wrong.
fn tunnel(random: u64, header: &[u8]) -> Vec<u8> {
    let to = server_address(1 + (random % 4) as u16);
    let mut payload = header.to_vec();
    payload.extend_from_slice(&v4(random, TCP, &tcp(random, SYN)));
    let source = Ipv4Addr::from(0x6440_0000 | (random as u32 & 0x003f_ffff));
    v4_between(source, to, UDP, &udp(random, TUNNEL_PORT, &payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_true_where_they_are_not_meant_to_lie() {
        for number in 0..KINDS {
            let packet = packet(number);
            let written = match packet[0] >> 4 {
                6 => 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])),
                _ => usize::from(u16::from_be_bytes([packet[2], packet[3]])),
            };
            assert_eq!(written == packet.len(), number != 13, "packet {number}");
        }
    }
}
