//! One generation of the packet path as plain arrays: exactly what the kernel's maps hold, and a
//! checksum that is the same on every server that was given the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use packet_abi::{Address, Dissector, Encapsulation, Server, Trafficset};
use thiserror::Error;

use crate::fleet::{Fleet, FleetError, Member, State};
use crate::maglev::{self, EntriesError};
use crate::mix::Checksum;
use crate::table::{Buckets, BucketsError, Table};
use crate::trie::{Network, Room as TrieRoom, Trie, TrieError, Vip};

/// What all tables are drawn with. One number for all trafficsets: a new name or another order in
/// the file then moves no flow, and trafficsets with the same servers share a table.
pub const TABLE_SEED: u64 = 0;

/// A server of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Its id, its share, its state.
    pub member: Member,
    /// Where tunnel packets for it go.
    pub address: IpAddr,
    /// Its Ethernet address, where packets need not go by the router.
    pub link: Option<[u8; 6]>,
}

/// How the flows of a trafficset are given to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// A two-slot table of so many buckets.
    TwoSlot(u32),
    /// A Maglev table of so many entries.
    Maglev(u32),
}

/// What tells the flows of a trafficset apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dissection {
    /// Addresses and ports.
    FourTuple,
    /// A routable QUIC connection id.
    Quic {
        /// Config id, 0 to 6.
        config: u8,
        /// Octets of the server id.
        server_len: u8,
        /// Octets of the whole connection id.
        id_len: u8,
    },
    /// A session id in the UDP payload.
    SessionId {
        /// First octet.
        offset: u8,
        /// Octets.
        len: u8,
    },
}

/// A trafficset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficsetSpec {
    /// Its name, for errors.
    pub name: String,
    /// Its addresses.
    pub networks: Vec<Network>,
    /// Whether it serves TCP.
    pub tcp: bool,
    /// Whether it serves UDP.
    pub udp: bool,
    /// First and last port of each range; all ports where empty.
    pub ports: Vec<(u16, u16)>,
    /// Ids of its servers; all servers where empty.
    pub servers: Vec<u16>,
    /// How flows are given to servers.
    pub strategy: Strategy,
    /// What tells flows apart.
    pub dissection: Dissection,
    /// How packets travel.
    pub encapsulation: Encapsulation,
    /// [`Trafficset`]'s flags but [`Trafficset::MAGLEV`].
    pub flags: u32,
}

/// How much one generation may hold: half of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Entries of the trie.
    pub trie_entries: u32,
    /// Port rows.
    pub port_rows: u32,
    /// Trafficsets.
    pub sets: u32,
    /// Buckets of all tables.
    pub buckets: u32,
}

impl Default for Room {
    /// What the maps hold unless the loader is told otherwise.
    fn default() -> Self {
        use packet_abi::maps::{BUCKETS_LEN, ROWS_LEN, SETS_LEN, TRIE_LEN};
        Self {
            trie_entries: TRIE_LEN / 2,
            port_rows: ROWS_LEN / 2,
            sets: SETS_LEN / 2,
            buckets: BUCKETS_LEN / 2,
        }
    }
}

/// Why there is no image. The configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The servers are no fleet.
    #[error("the list of servers")]
    Fleet(#[from] FleetError),
    /// The addresses and ports make no trie.
    #[error("the addresses and ports of the trafficsets")]
    Trie(#[from] TrieError),
    /// A trafficset names a server that is not there.
    #[error("trafficset {name} names server {id}, which is not in the fleet: add or remove it")]
    Server {
        /// The trafficset.
        name: String,
        /// The server.
        id: u16,
    },
    /// A trafficset asks for a table that cannot be.
    #[error("trafficset {name}")]
    Buckets {
        /// The trafficset.
        name: String,
        /// What is wrong.
        source: BucketsError,
    },
    /// A trafficset asks for a Maglev table that cannot be.
    #[error("trafficset {name}")]
    Entries {
        /// The trafficset.
        name: String,
        /// What is wrong.
        source: EntriesError,
    },
    /// The tables do not fit.
    #[error("all tables take {needed} buckets, over {room}: raise packet.buckets_max")]
    BucketsRoom {
        /// What they take.
        needed: usize,
        /// What there is.
        room: u32,
    },
    /// There are too many trafficsets.
    #[error("{needed} trafficsets, over {room}: give those that say the same one name")]
    SetsRoom {
        /// What there are.
        needed: usize,
        /// What there is room for.
        room: u32,
    },
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    /// Where look-ups of addresses start.
    pub root: u64,
    /// Entries of the trie.
    pub trie: Vec<u64>,
    /// Port rows.
    pub rows: Vec<u64>,
    /// Trafficsets.
    pub sets: Vec<Trafficset>,
    /// Servers by id, up to the highest one; [`Server::NONE`] where there is none.
    pub servers: Vec<Server>,
    /// Buckets of all tables.
    pub buckets: Vec<u64>,
    /// [`Parts::checksum`] of all that.
    pub checksum: u64,
}

/// The arrays of a generation, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Where look-ups of addresses start.
    pub root: u64,
    /// Entries of the trie.
    pub trie: &'a [u64],
    /// Port rows.
    pub rows: &'a [u64],
    /// Trafficsets.
    pub sets: &'a [Trafficset],
    /// Servers.
    pub servers: &'a [Server],
    /// Buckets.
    pub buckets: &'a [u64],
}

impl Parts<'_> {
    /// The checksum over root, lengths and contents, in the order of the fields.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let mut sum = Checksum::default();
        let lengths = [self.trie.len(), self.rows.len(), self.sets.len(), self.servers.len()];
        sum.word(self.root);
        sum.words(lengths.map(|len| len as u64));
        sum.word(self.buckets.len() as u64);
        sum.words(self.trie.iter().copied());
        sum.words(self.rows.iter().copied());
        sum.words(self.sets.iter().flat_map(set_words));
        sum.words(self.servers.iter().flat_map(server_words));
        sum.words(self.buckets.iter().copied());
        sum.value()
    }
}

impl Image {
    /// Builds the generation of a fleet and its trafficsets, each table by [`Table::fresh`].
    ///
    /// # Errors
    /// Where the parts do not fit together or into the maps.
    pub fn build(
        servers: &[ServerSpec],
        trafficsets: &[TrafficsetSpec],
        room: Room,
    ) -> Result<Self, ImageError> {
        if trafficsets.len() > room.sets as usize {
            return Err(ImageError::SetsRoom { needed: trafficsets.len(), room: room.sets });
        }
        let fleet = Fleet::new(servers.iter().map(|server| server.member).collect())?;
        let vips: Vec<Vip> = (0_u16..).zip(trafficsets).flat_map(vips).collect();
        let trie_room = TrieRoom { entries: room.trie_entries, rows: room.port_rows };
        let trie = Trie::build(&vips, trie_room)?;

        let mut tables = Tables { room: room.buckets, buckets: Vec::new(), known: Vec::new() };
        let set = |spec| tables.place(spec, &fleet).map(|(base, len)| set(spec, base, len));
        let sets = trafficsets.iter().map(set).collect::<Result<Vec<_>, _>>()?;
        let mut image = Self {
            root: trie.root,
            trie: trie.entries,
            rows: trie.rows,
            sets,
            servers: places(servers),
            buckets: tables.buckets,
            checksum: 0,
        };
        image.checksum = image.parts().checksum();
        Ok(image)
    }

    /// Puts a planned table in the place of a trafficset's own; whether it has as many buckets and
    /// no other trafficset shares the place.
    pub fn replace(&mut self, set: usize, table: &Table) -> bool {
        let Some(place) = self.sets.get(set).map(|set| (set.table_base, set.table_len)) else {
            return false;
        };
        let shared = self.sets.iter().filter(|set| (set.table_base, set.table_len) == place);
        let (base, len) = (place.0 as usize, place.1 as usize);
        let alone = shared.count() == 1;
        let Some(buckets) = self.buckets.get_mut(base..base + len) else { return false };
        if !alone || table.buckets().len() != len {
            return false;
        }
        buckets.iter_mut().zip(table.buckets()).for_each(|(to, from)| *to = from.0);
        self.checksum = self.parts().checksum();
        true
    }

    /// The arrays.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            root: self.root,
            trie: &self.trie,
            rows: &self.rows,
            sets: &self.sets,
            servers: &self.servers,
            buckets: &self.buckets,
        }
    }
}

fn vips((set, spec): (u16, &TrafficsetSpec)) -> impl Iterator<Item = Vip> + '_ {
    let vip = move |network: &Network| Vip {
        network: *network,
        tcp: spec.tcp,
        udp: spec.udp,
        ports: spec.ports.clone(),
        set,
    };
    spec.networks.iter().map(vip)
}

/// The tables of all trafficsets; those of the same servers, strategy and length are one.
struct Tables {
    room: u32,
    buckets: Vec<u64>,
    known: Vec<(Vec<u16>, Strategy, u32)>,
}

impl Tables {
    /// First bucket and number of buckets of a trafficset's table.
    fn place(&mut self, spec: &TrafficsetSpec, fleet: &Fleet) -> Result<(u32, u32), ImageError> {
        let members = members(spec, fleet)?;
        let ids: Vec<u16> = members.iter().map(|member| member.id).collect();
        let (Strategy::TwoSlot(len) | Strategy::Maglev(len)) = spec.strategy;
        let same = |(known, strategy, _): &&(Vec<u16>, Strategy, u32)| {
            *known == ids && *strategy == spec.strategy
        };
        if let Some((.., base)) = self.known.iter().find(same) {
            return Ok((*base, len));
        }
        let needed = self.buckets.len().saturating_add(len as usize);
        if needed > self.room as usize {
            return Err(ImageError::BucketsRoom { needed, room: self.room });
        }
        let base = self.buckets.len() as u32;
        let fleet = Fleet::new(members)?;
        let name = || spec.name.clone();
        match spec.strategy {
            Strategy::TwoSlot(count) => {
                let count = Buckets::new(count)
                    .map_err(|source| ImageError::Buckets { name: name(), source })?;
                let table = Table::fresh(&fleet, TABLE_SEED, count);
                self.buckets.extend(table.buckets().iter().map(|bucket| bucket.0));
            }
            Strategy::Maglev(entries) => {
                let table = maglev::table(&fleet, TABLE_SEED, entries)
                    .map_err(|source| ImageError::Entries { name: name(), source })?;
                self.buckets.extend(table.iter().map(|bucket| bucket.0));
            }
        }
        self.known.push((ids, spec.strategy, base));
        Ok((base, len))
    }
}

/// The servers of a trafficset.
fn members(spec: &TrafficsetSpec, fleet: &Fleet) -> Result<Vec<Member>, ImageError> {
    if spec.servers.is_empty() {
        return Ok(fleet.members().to_vec());
    }
    let mut ids = spec.servers.clone();
    ids.sort_unstable();
    ids.dedup();
    let unknown = |id| ImageError::Server { name: spec.name.clone(), id };
    ids.iter().map(|id| fleet.get(*id).copied().ok_or_else(|| unknown(*id))).collect()
}

fn set(spec: &TrafficsetSpec, table_base: u32, table_len: u32) -> Trafficset {
    let maglev = matches!(spec.strategy, Strategy::Maglev(_));
    let mut set = Trafficset {
        table_base,
        table_len,
        flags: spec.flags | if maglev { Trafficset::MAGLEV } else { 0 },
        encapsulation: spec.encapsulation as u8,
        ..Trafficset::default()
    };
    match spec.dissection {
        Dissection::FourTuple => set.dissector = Dissector::FourTuple as u8,
        Dissection::Quic { config, server_len, id_len } => {
            set.dissector = Dissector::Quic as u8;
            (set.quic_config, set.quic_server_len) = (config, server_len);
            set.quic_id_len = u32::from(id_len);
        }
        Dissection::SessionId { offset, len } => {
            set.dissector = Dissector::SessionId as u8;
            (set.session_offset, set.session_len) = (u16::from(offset), u16::from(len));
        }
    }
    set
}

/// Servers by id.
fn places(servers: &[ServerSpec]) -> Vec<Server> {
    let by_id: BTreeMap<u16, &ServerSpec> = servers.iter().map(|s| (s.member.id, s)).collect();
    let highest = by_id.keys().next_back().copied().unwrap_or(0);
    let place = |id| by_id.get(&id).map_or(Server::NONE, |spec| server(spec));
    (0..=highest).map(place).collect()
}

fn server(spec: &ServerSpec) -> Server {
    let octets = match spec.address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut flags = Server::PRESENT;
    if spec.member.state == State::Dead {
        flags |= Server::DEAD;
    }
    if spec.link.is_some() {
        flags |= Server::LINK;
    }
    Server { address: Address::of(octets), flags, link: spec.link.unwrap_or_default() }
}

fn set_words(set: &Trafficset) -> [u64; 4] {
    let bytes = [set.dissector, set.encapsulation, set.quic_config, set.quic_server_len];
    [
        u64::from(set.table_base) | u64::from(set.table_len) << 32,
        u64::from(set.flags) | u64::from(u32::from_le_bytes(bytes)) << 32,
        u64::from(set.session_offset)
            | u64::from(set.session_len) << 16
            | u64::from(set.quic_id_len) << 32,
        u64::from(set.reserved),
    ]
}

fn server_words(server: &Server) -> [u64; 3] {
    let [a, b, c, d, e, f] = server.link;
    let [low, high] = server.flags.to_le_bytes();
    let (one, other) = server.address.numbers();
    [one, other, u64::from_le_bytes([low, high, a, b, c, d, e, f])]
}
