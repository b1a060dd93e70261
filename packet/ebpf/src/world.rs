//! What the stages ask of the world around a packet: tables, sockets, the allowance of replies, and
//! the constants that the loader fixed.

use packet_abi::tables::Row;
use packet_abi::{Address, Bucket, Entry, Flow, Server, Start, Trafficset};

/// What is fixed before the programs are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    /// What the fleet's key makes of the hash.
    pub start: Start,
    /// This server's id.
    pub self_id: u32,
    /// This server's tunnel address.
    pub self_address: Address,
    /// Whether outer packets are IPv6.
    pub outer_v6: bool,
    /// UDP port of GUE, in wire order.
    pub gue_port: u16,
    /// UDP port of FOU, in wire order.
    pub fou_port: u16,
    /// Octets an outer packet may have.
    pub mtu: u32,
    /// Window scale of this host's listeners; past 14, cookies carry no options.
    pub cookie_wscale: u32,
}

/// What a look-up of a flow's socket found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// None, or one that listens only.
    None,
    /// A socket of this flow: established, a request, or a connected UDP socket.
    Found,
    /// The flow's socket has ended and waits.
    TimeWait,
    /// A listener for which the ACK carries a valid SYN cookie, or came right behind one that did.
    Cookie,
}

/// Where a TCP segment lies, for the check of its cookie.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the TCP header.
    pub l4: usize,
}

/// Slots for notes.
pub const NOTES: usize = 6;

/// Tables, sockets and allowances. Indexes are from the descriptor's bases; `None` is past the end.
pub trait World<F> {
    /// The constants. Asked for where they are used: a program has little room to keep them.
    fn fixed(&self) -> Constants;
    /// The root of the trie of the generation in force; `None` is no generation.
    fn root(&self) -> Option<Entry>;
    /// An entry of the trie.
    fn entry(&self, index: u32) -> Option<Entry>;
    /// A port row.
    fn row(&self, index: u32) -> Option<Row>;
    /// A trafficset.
    fn trafficset(&self, index: u32) -> Option<Trafficset>;
    /// A server.
    fn server(&self, index: u32) -> Option<&Server>;
    /// A bucket.
    fn bucket(&self, index: u32) -> Option<Bucket>;
    /// Whether this host has a socket for a flow. `ack` is where to find the segment that may carry
    /// a cookie; without it a listener is no answer.
    fn socket(&self, frame: &F, flow: &Flow, ack: Option<Segment>) -> Socket;
    /// Notes a number for the time of this packet, in a slot below [`NOTES`]. A loop that keeps
    /// what it found here looks the same to the verifier in every round, which else follows each
    /// finding on its own.
    fn note(&self, slot: usize, value: u32);
    /// A number that was noted.
    fn noted(&self, slot: usize) -> u32;
    /// Whether more SYNs came in this second than without an attack. Counts this one.
    fn flooded(&self) -> bool;
    /// The cookie that the kernel gives for a SYN to a listener of this host.
    fn cookie(&self, frame: &F, flow: &Flow, segment: Segment) -> Option<u32>;
    /// The clock of TCP timestamps.
    fn milliseconds(&self) -> u32;
    /// Whether one more "too big" may be sent in this second.
    fn may_reply(&self) -> bool;
}
