//! Stage 3: what identifies a packet's flow. The dissector of its trafficset says where to look;
//! what it cannot name falls back to addresses and ports.

use crate::frame::{Frame, hidden};
use crate::stage::parse::Packet;
use crate::world::World;
use packet_abi::net::{PROTOCOL_TCP, PROTOCOL_UDP, TCP_LEN, TCP_SYN, UDP_LEN};
use packet_abi::tables::{Dissector, SERVER_ID_MAX};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Flow, Trafficset};

/// Octets of a session id that are hashed at most: one word and the length behind it.
pub const SESSION_MAX: usize = 8;
/// Octets of a server id in a connection id at most.
pub const QUIC_SERVER_MAX: usize = 8;
/// Octets of a word that is loaded at once.
const WORD: usize = 8;
const _: () = assert!(QUIC_SERVER_MAX <= WORD && SESSION_MAX <= WORD && WORD <= UDP_LEN);
/// QUIC version 1 (RFC 9000).
const QUIC_V1: u32 = 1;
/// QUIC version 2 (RFC 9369), whose packet types have other numbers.
const QUIC_V2: u32 = 0x6b33_43cf;
/// Octets before the connection id's length in a long header: flags and version.
const QUIC_LONG_LEN: usize = 5;

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A segment or datagram of it.
    Part,
    /// A TCP segment with SYN: its start.
    Start,
    /// An ICMP error about it.
    Error,
    /// A fragment: addresses are all that is known.
    Fragment,
}

/// A flow, and what the packet is to it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The flow, from the client's side.
    pub flow: Flow,
    /// What the packet is to it.
    pub way: Way,
}

/// How a packet finds its server: by its hash to a bucket, or by the name in its connection id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Hash of what identifies the flow.
    pub hash: u64,
    /// The server that the connection id names, dead or alive; 0 is none.
    pub named: u32,
}

/// Reads the transport header of a TCP or UDP packet.
#[inline(always)]
pub fn transport<F: Frame>(frame: &F, packet: &Packet) -> Result<Seen, Verdict> {
    let left = (packet.l3 + packet.length).saturating_sub(packet.l4);
    let tcp = packet.protocol == PROTOCOL_TCP;
    let (least, short) =
        if tcp { (TCP_LEN, Reason::ShortTcp) } else { (UDP_LEN, Reason::ShortUdp) };
    if !tcp && packet.protocol != PROTOCOL_UDP {
        return Err(Verdict::Pass(Reason::NotAFlow));
    }
    if left < least {
        return Err(Verdict::Drop(short));
    }
    let ports: u32 = frame.load(packet.l4).ok_or(Verdict::Drop(short))?;
    let [source_port, destination_port] = split(ports);
    let mut way = Way::Part;
    if tcp {
        let flags: u8 = frame.load(packet.l4 + 13).ok_or(Verdict::Drop(short))?;
        if flags & TCP_SYN != 0 {
            way = Way::Start;
        }
    }
    let flow = Flow {
        family: packet.family,
        protocol: packet.protocol,
        source: packet.source,
        destination: packet.destination,
        source_port,
        destination_port,
    };
    Ok(Seen { flow, way })
}

/// The flow of a fragment: its addresses, since only the first one has ports.
#[inline(always)]
#[must_use]
pub fn of_fragment(packet: &Packet) -> Seen {
    let flow = Flow {
        family: packet.family,
        protocol: packet.protocol,
        source: packet.source,
        destination: packet.destination,
        source_port: 0,
        destination_port: 0,
    };
    Seen { flow, way: Way::Fragment }
}

/// Names a packet's flow as its trafficset's dissector says.
#[inline(always)]
pub fn dissect<F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    packet: &Packet,
    seen: &Seen,
    set: &Trafficset,
) -> Subject {
    let looks = seen.way == Way::Part
        && packet.protocol == PROTOCOL_UDP
        && set.dissector != Dissector::FourTuple as u8;
    let mut named = 0;
    if looks {
        let payload = packet.l4 + UDP_LEN;
        let end = packet.l3 + packet.length;
        if set.dissector == Dissector::SessionId as u8 {
            if let Some(hash) = session(frame, world, set, payload, end) {
                return Subject { hash, named };
            }
        } else if let Some(id) = quic_server(frame, set, payload, end) {
            named = id;
        }
    }
    Subject { hash: seen.flow.hash(&world.fixed().start), named }
}

/// The server that a routable connection id names (QUIC-LB, plaintext form).
#[inline(always)]
fn quic_server<F: Frame>(frame: &F, set: &Trafficset, payload: usize, end: usize) -> Option<u32> {
    let first: u8 = frame.load(payload)?;
    let id = if first & 0x80 == 0 {
        payload + 1
    } else {
        let version = u32::from_be(frame.load(payload + 1)?);
        // Initial and 0-RTT packets carry an id of the client's choice.
        let by_tuple = match (version, first >> 4 & 3) {
            (QUIC_V1, kind) => kind < 2,
            (QUIC_V2, kind) => kind == 1 || kind == 2,
            _ => true,
        };
        let len: u8 = frame.load(payload + QUIC_LONG_LEN)?;
        if by_tuple || u32::from(len) != set.quic_id_len {
            return None;
        }
        payload + QUIC_LONG_LEN + 1
    };
    let head: u8 = frame.load(id)?;
    if head >> 5 != set.quic_config || id + set.quic_id_len as usize > end {
        return None;
    }
    let len = usize::from(set.quic_server_len);
    if len == 0 || len > QUIC_SERVER_MAX {
        return None;
    }
    // The word that ends where the server id does. Ports and the length stand before the payload,
    // so that it starts within the packet; hidden, since verifiers want that in one number.
    let word = u64::from_be(frame.load(hidden(id + 1 + len - WORD))?);
    let server = word & (u64::MAX >> ((WORD - len) * 8));
    if server > u64::from(SERVER_ID_MAX) { None } else { Some(server as u32) }
}

/// SipHash of the session id's octets.
#[inline(always)]
fn session<F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    set: &Trafficset,
    payload: usize,
    end: usize,
) -> Option<u64> {
    let len = usize::from(set.session_len);
    let from = payload + usize::from(set.session_offset & 0x7f);
    if len == 0 || len > SESSION_MAX || from + len > end {
        return None;
    }
    // The word that ends where the session id does; as above, it starts within the packet.
    let load = frame.load(hidden(from + len - WORD))?;
    let word = u64::from_le(load) >> ((WORD - len) * 8);
    let (start, length) = (world.fixed().start, (len as u64) << 56);
    // Eight octets fill a word, and the last word has the length alone.
    Some(if len == SESSION_MAX {
        start.word(word).finish(length)
    } else {
        start.finish(word | length)
    })
}

/// Two ports from one load.
#[inline(always)]
pub(crate) fn split(ports: u32) -> [u16; 2] {
    let [a, b, c, d] = ports.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}
