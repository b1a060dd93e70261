//! Which trafficset an address, protocol and port belong to: a level- and path-compressed trie over
//! 128-bit addresses, with rows of ports in its leaves (Nilsson and Karlsson, 1999).
//!
//! The most specific prefix that has the port wins. A leaf holds what its prefix says, laid over
//! what the shorter prefixes around it say, so that a look-up never goes back up. IPv4 lies below
//! `::ffff:0:0/96`, where prefixes of IPv6 do not reach. The layout is that of
//! `packet/abi/src/tables.rs`; the director's own look-up is in `packet/ebpf`.

mod node;
mod ports;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use packet_abi::tables::{HEADER_ENTRIES, PORT_ROWS_MAX, TRIE_DEPTH_MAX};
use packet_abi::{Entry, tables::Row};
use thiserror::Error;

use node::{Leaf, Nodes};
use ports::{Overlay, Steps};

/// Strides from this on keep any set of prefixes within [`TRIE_DEPTH_MAX`].
const STRIDE_ENOUGH: u32 = 6;
/// Where IPv4 lies.
const MAPPED: Network = Network { address: 0xffff << 32, bits: 96 };

/// An address prefix of either family; IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: u128,
    bits: u8,
}

impl Network {
    /// The first `bits` bits of `address`, others cleared; `None` where it has fewer.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let (address, bits) = match address {
            IpAddr::V4(v4) if bits <= 32 => (u128::from(v4.to_ipv6_mapped()), bits + 96),
            IpAddr::V6(v6) if bits <= 128 => (u128::from(v6), bits),
            _ => return None,
        };
        Some(Self { address: address & mask(bits), bits })
    }

    fn contains(self, other: Self) -> bool {
        self.bits <= other.bits && (self.address ^ other.address) & mask(self.bits) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.address);
        match address.to_ipv4_mapped() {
            Some(v4) if self.bits >= 96 => write!(f, "{v4}/{}", self.bits - 96),
            _ => write!(f, "{address}/{}", self.bits),
        }
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// A range of addresses, protocols and ports, and the trafficset that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The addresses.
    pub network: Network,
    /// Whether TCP is served.
    pub tcp: bool,
    /// Whether UDP is served.
    pub udp: bool,
    /// First and last port of each range; all ports where empty.
    pub ports: Vec<(u16, u16)>,
    /// Index of the trafficset.
    pub set: u16,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Entries of the trie.
    pub entries: u32,
    /// Port rows.
    pub rows: u32,
}

/// Why there is no trie. The configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrieError {
    /// It would take more entries than there is room for.
    #[error(
        "the VIPs take over {0} trie entries: raise packet.trie_entries_max, or merge prefixes"
    )]
    Entries(u32),
    /// It would take more port rows than there is room for.
    #[error(
        "the ports of the VIPs take over {0} rows: raise packet.port_rows_max, or merge ranges"
    )]
    Rows(u32),
    /// One prefix has more port rows than a look-up can search.
    #[error("{network} has {rows} changes of port ranges, over {PORT_ROWS_MAX}: merge ranges")]
    Leaf {
        /// The prefix.
        network: Network,
        /// Its rows.
        rows: usize,
    },
    /// Two trafficsets claim the same prefix, protocol and port.
    #[error("trafficsets {one} and {other} both serve port {port} of {network}: take one out")]
    Overlap {
        /// The prefix.
        network: Network,
        /// The lowest port both have.
        port: u16,
        /// Index of one trafficset.
        one: u16,
        /// Index of the other.
        other: u16,
    },
}

/// The trie and its rows, as the kernel's maps hold them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Trie {
    /// Where look-ups start.
    pub root: u64,
    /// [`Entry`]s.
    pub entries: Vec<u64>,
    /// [`Row`]s.
    pub rows: Vec<u64>,
}

impl Trie {
    /// Builds the trie of `vips`, in any order.
    ///
    /// # Errors
    /// Where it does not fit, or two trafficsets claim the same.
    pub fn build(vips: &[Vip], room: Room) -> Result<Self, TrieError> {
        let mut rows = Rows { room: room.rows, rows: Vec::new(), known: BTreeMap::new() };
        let leaves = leaves(vips, &mut rows)?;
        let leaves: Vec<&Leaf> = leaves.iter().collect();
        let mut least = 1;
        loop {
            let mut nodes = Nodes::new(room.entries, least);
            let root = nodes.node(&leaves, 0, Entry::NOTHING, 1)?;
            // Prefixes that are nested bit by bit make a deep trie; wider strides make it shallow.
            if nodes.depth <= TRIE_DEPTH_MAX || least == STRIDE_ENOUGH {
                return Ok(Self { root: root.0, entries: nodes.entries, rows: rows.rows });
            }
            least += 1;
        }
    }

    /// The trafficset of an address, protocol and port; `None` where there is none.
    #[must_use]
    pub fn look_up(&self, address: IpAddr, udp: bool, port: u16) -> Option<u16> {
        let address = match address {
            IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => u128::from(v6),
        };
        let entry = |index: u32| self.entries.get(index as usize).copied();
        let mut here = Entry(self.root);
        for _ in 0..TRIE_DEPTH_MAX {
            if !here.is_node() {
                break;
            }
            let mut children = here.first();
            if here.skips() {
                let (high, low) = (entry(children)?, entry(children + 1)?);
                let expected = u128::from(high) << 64 | u128::from(low);
                if (address ^ expected) & mask(here.at() as u8) != 0 {
                    here = Entry(entry(children + 2)?);
                    continue;
                }
                children += HEADER_ENTRIES;
            }
            here = Entry(entry(children + node::child(address, here.at(), here.stride()))?);
        }
        let set = match here.as_set() {
            Some(set) => Some(set),
            None => {
                let first = here.first() as usize;
                let rows = self.rows.get(first..first + here.row_count() as usize)?;
                let key = Row::key(udp, port);
                let after = rows.partition_point(|row| Row(*row).starts() <= key);
                Row(*rows.get(after.checked_sub(1)?)?).as_set()
            }
        };
        set.and_then(|set| u16::try_from(set).ok())
    }
}

/// The leaves of all prefixes, in the order of their addresses, a shorter prefix before the longer
/// ones within it.
fn leaves(vips: &[Vip], rows: &mut Rows) -> Result<Vec<Leaf>, TrieError> {
    let mut by_network: BTreeMap<Network, Overlay> = BTreeMap::new();
    for vip in vips {
        by_network.entry(vip.network).or_default().add(vip);
    }
    if by_network.keys().any(|network| network.bits < MAPPED.bits && network.contains(MAPPED)) {
        by_network.entry(MAPPED).or_default();
    }
    let mut around: Vec<(Network, Steps)> = Vec::new();
    let mut leaves = Vec::with_capacity(by_network.len());
    for (network, overlay) in by_network {
        while around.last().is_some_and(|(outer, _)| !outer.contains(network)) {
            around.pop();
        }
        let nothing = Steps::default();
        let outer = around.last().map(|(_, steps)| steps).filter(|_| network != MAPPED);
        let steps = overlay.over(outer.unwrap_or(&nothing), network)?;
        leaves.push(Leaf {
            address: network.address,
            bits: network.bits,
            entry: rows.leaf(&steps, network)?,
        });
        around.push((network, steps));
    }
    Ok(leaves)
}

/// Port rows of all leaves; leaves that say the same share them.
struct Rows {
    room: u32,
    rows: Vec<u64>,
    known: BTreeMap<Steps, Entry>,
}

impl Rows {
    fn leaf(&mut self, steps: &Steps, network: Network) -> Result<Entry, TrieError> {
        if let Some(set) = steps.only() {
            return Ok(set.map_or(Entry::NOTHING, Entry::set));
        }
        if let Some(entry) = self.known.get(steps) {
            return Ok(*entry);
        }
        let first = self.rows.len();
        self.rows.extend(steps.rows().map(|row| row.0));
        let rows = self.rows.len() - first;
        let count = u16::try_from(rows).ok().filter(|rows| usize::from(*rows) <= PORT_ROWS_MAX);
        let count = count.ok_or(TrieError::Leaf { network, rows })?;
        if self.rows.len() > self.room as usize {
            return Err(TrieError::Rows(self.room));
        }
        let entry = Entry::rows(first as u32, count);
        self.known.insert(steps.clone(), entry);
        Ok(entry)
    }
}
