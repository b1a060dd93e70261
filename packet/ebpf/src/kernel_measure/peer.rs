//! A director of the kind that keeps connections, to compare with: a hash of VIPs, a table of the
//! connections it has seen, a ring for those it has not, IP in IP. Written from the published
//! description of such balancers; it does the least that such a one can do.

use super::CHAIN;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use packet_ebpf::frame::hidden;

/// Entries of the ring of one VIP.
const RING: u32 = 65_537;
/// Connections that are kept.
const CONNECTIONS: u32 = 1 << 20;
/// Octets that IP in IP adds.
const OUTER: usize = 20;

/// A VIP: address, port and protocol.
#[repr(C)]
#[derive(Clone, Copy)]
struct Vip {
    address: u32,
    port: u16,
    protocol: u16,
}

/// A connection.
#[repr(C)]
#[derive(Clone, Copy)]
struct Connection {
    source: u32,
    destination: u32,
    ports: u32,
    protocol: u32,
}

#[map]
static PEER_VIPS: HashMap<Vip, u32> = HashMap::with_max_entries(1 << 19, 0);
#[map]
static PEER_CONNECTIONS: LruHashMap<Connection, u32> = LruHashMap::with_max_entries(CONNECTIONS, 0);
#[map]
static PEER_RING: Array<u32> = Array::with_max_entries(RING, 0);
#[map]
static PEER_SERVERS: Array<u32> = Array::with_max_entries(4096, 0);

/// The peer: IPv4, TCP and UDP, frames of 14 octets of Ethernet and headers without options.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn peer(context: *mut xdp_md) -> u32 {
    let _ = &CHAIN;
    // SAFETY: loads and stores lie within the packet, as compared before them.
    unsafe {
        let data = hidden((*context).data as usize);
        let end = (*context).data_end as usize;
        if hidden(data + 54) > end || *((data + 12) as *const u16) != 0x0008 {
            return XDP_PASS;
        }
        let protocol = *((data + 23) as *const u8);
        if *((data + 14) as *const u8) != 0x45 || (protocol != 6 && protocol != 17) {
            return XDP_PASS;
        }
        let source = *((data + 26) as *const u32);
        let destination = *((data + 30) as *const u32);
        let ports = *((data + 34) as *const u32);
        let vip =
            Vip { address: destination, port: (ports >> 16) as u16, protocol: protocol.into() };
        let Some(base) = PEER_VIPS.get(&vip) else { return XDP_PASS };
        let connection = Connection { source, destination, ports, protocol: u32::from(protocol) };
        let server = match PEER_CONNECTIONS.get(&connection) {
            Some(server) => *server,
            None => {
                let hash = mix(source, ports, *base);
                let Some(server) = PEER_RING.get(hash % RING) else { return XDP_DROP };
                let server = *server;
                let _ = PEER_CONNECTIONS.insert(&connection, &server, 0);
                server
            }
        };
        let Some(address) = PEER_SERVERS.get(server) else { return XDP_DROP };
        wrap(context, *address, source ^ ports)
    }
}

/// A hash of three words without a key (Jenkins' final mix).
#[inline(always)]
fn mix(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c ^= b;
    c = c.wrapping_sub(b.rotate_left(14));
    a ^= c;
    a = a.wrapping_sub(c.rotate_left(11));
    b ^= a;
    b = b.wrapping_sub(a.rotate_left(25));
    c ^= b;
    c = c.wrapping_sub(b.rotate_left(16));
    a ^= c;
    a = a.wrapping_sub(c.rotate_left(4));
    b ^= a;
    b = b.wrapping_sub(a.rotate_left(14));
    c ^= b;
    c.wrapping_sub(b.rotate_left(24))
}

/// Wraps the packet in an IPv4 header and swaps the Ethernet addresses.
///
/// # Safety
/// The context must be the program's.
#[inline(always)]
unsafe fn wrap(context: *mut xdp_md, to: u32, entropy: u32) -> u32 {
    // SAFETY: a helper on the program's context; stores lie within the packet, as compared.
    unsafe {
        let octets = (*context).data_end - (*context).data;
        if bpf_xdp_adjust_head(context, -(OUTER as i32)) != 0 {
            return XDP_DROP;
        }
        let data = hidden((*context).data as usize);
        if hidden(data + 54) > (*context).data_end as usize {
            return XDP_DROP;
        }
        let ethernet = (data + OUTER) as *const u16;
        let frame = data as *mut u16;
        for word in 0..3 {
            *frame.add(word) = *ethernet.add(word + 3);
            *frame.add(word + 3) = *ethernet.add(word);
        }
        *frame.add(6) = 0x0008;
        let length = ((octets as u16) - 14 + OUTER as u16).to_be();
        let from = u32::from_ne_bytes([172, 16, entropy as u8, (entropy >> 8) as u8]);
        let words = [0x0045_u16, length, 0, 0, u16::from_ne_bytes([64, 4])];
        let mut sum = 0_u32;
        for (at, word) in words.iter().enumerate() {
            *frame.add(7 + at) = *word;
            sum += u32::from(*word);
        }
        sum += (from & 0xffff) + (from >> 16) + (to & 0xffff) + (to >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        *frame.add(12) = !((sum & 0xffff) + (sum >> 16)) as u16;
        *((data + 26) as *mut u32) = from;
        *((data + 30) as *mut u32) = to;
    }
    XDP_TX
}
