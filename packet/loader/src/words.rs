//! Structures of the tables as the words that are stored: in the order of their memory.

use packet_abi::{Address, Descriptor, Server, Trafficset};

/// Words of a descriptor.
pub(crate) const DESCRIPTOR_WORDS: usize = size_of::<Descriptor>() / 8;
/// Words of a trafficset.
pub(crate) const SET_WORDS: usize = size_of::<Trafficset>() / 8;
/// Words of a server.
pub(crate) const SERVER_WORDS: usize = size_of::<Server>() / 8;

/// Two numbers that lie one behind the other.
const fn pair(low: u32, high: u32) -> u64 {
    if cfg!(target_endian = "little") {
        low as u64 | (high as u64) << 32
    } else {
        high as u64 | (low as u64) << 32
    }
}

const fn halves(word: u64) -> (u32, u32) {
    if cfg!(target_endian = "little") {
        (word as u32, (word >> 32) as u32)
    } else {
        ((word >> 32) as u32, word as u32)
    }
}

pub(crate) const fn descriptor_words(descriptor: &Descriptor) -> [u64; DESCRIPTOR_WORDS] {
    let Descriptor { generation, checksum, root, .. } = *descriptor;
    [
        generation,
        checksum,
        root,
        pair(descriptor.trie_base, descriptor.trie_len),
        pair(descriptor.rows_base, descriptor.rows_len),
        pair(descriptor.sets_base, descriptor.sets_len),
        pair(descriptor.servers_base, descriptor.servers_len),
        pair(descriptor.buckets_base, descriptor.buckets_len),
    ]
}

pub(crate) const fn descriptor_of(words: [u64; DESCRIPTOR_WORDS]) -> Descriptor {
    let [generation, checksum, root, trie, rows, sets, servers, buckets] = words;
    let ((trie_base, trie_len), (rows_base, rows_len)) = (halves(trie), halves(rows));
    let ((sets_base, sets_len), (servers_base, servers_len)) = (halves(sets), halves(servers));
    let (buckets_base, buckets_len) = halves(buckets);
    Descriptor {
        generation,
        checksum,
        root,
        trie_base,
        trie_len,
        rows_base,
        rows_len,
        sets_base,
        sets_len,
        servers_base,
        servers_len,
        buckets_base,
        buckets_len,
    }
}

pub(crate) const fn set_words(set: &Trafficset) -> [u64; SET_WORDS] {
    let ([a, b], [c, d]) = (set.session_offset.to_ne_bytes(), set.session_len.to_ne_bytes());
    let small = [set.dissector, set.encapsulation, set.quic_config, set.quic_server_len];
    let (small, session) = (u32::from_ne_bytes(small), u32::from_ne_bytes([a, b, c, d]));
    [
        pair(set.table_base, set.table_len),
        pair(set.flags, small),
        pair(session, set.quic_id_len),
        pair(set.reserved, 0),
    ]
}

pub(crate) const fn set_of(words: [u64; SET_WORDS]) -> Trafficset {
    let [table, first, second, third] = words;
    let (table, first) = (halves(table), halves(first));
    let (second, third) = (halves(second), halves(third));
    let [dissector, encapsulation, quic_config, quic_server_len] = first.1.to_ne_bytes();
    let [a, b, c, d] = second.0.to_ne_bytes();
    Trafficset {
        table_base: table.0,
        table_len: table.1,
        flags: first.0,
        dissector,
        encapsulation,
        quic_config,
        quic_server_len,
        session_offset: u16::from_ne_bytes([a, b]),
        session_len: u16::from_ne_bytes([c, d]),
        quic_id_len: second.1,
        reserved: third.0,
    }
}

pub(crate) const fn server_words(server: &Server) -> [u64; SERVER_WORDS] {
    let [a, b] = server.flags.to_ne_bytes();
    let [c, d, e, f, g, h] = server.link;
    let last = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    [server.address.high, server.address.low, last]
}

pub(crate) const fn server_of(words: [u64; SERVER_WORDS]) -> Server {
    let [high, low, last] = words;
    let [a, b, c, d, e, f, g, h] = last.to_ne_bytes();
    Server {
        address: Address { high, low },
        flags: u16::from_ne_bytes([a, b]),
        link: [c, d, e, f, g, h],
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "the test compares with memory as it is")]
mod tests {
    use super::*;

    /// Octets of a structure without those of its padding, which is at its end.
    fn octets<T>(value: &T, len: usize) -> Vec<u8> {
        // SAFETY: `len` octets of the value are initialised fields, as each test says.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), len) }.to_vec()
    }

    fn memory(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn words_are_the_memory_of_their_structures() {
        let set = Trafficset {
            table_base: 0x0102_0304,
            table_len: 65_537,
            flags: 9,
            dissector: 2,
            encapsulation: 1,
            quic_config: 6,
            quic_server_len: 8,
            session_offset: 300,
            session_len: 7,
            quic_id_len: 20,
            reserved: 0x55,
        };
        // 28 octets of fields, then padding.
        assert_eq!(memory(&set_words(&set))[..28], octets(&set, 28));
        assert_eq!(set_of(set_words(&set)), set);
        let server = Server {
            address: Address::of([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
            flags: Server::PRESENT | Server::LINK,
            link: [0x02, 1, 2, 3, 4, 5],
        };
        assert_eq!(memory(&server_words(&server)), octets(&server, 24));
        assert_eq!(server_of(server_words(&server)), server);
        let descriptor = Descriptor {
            generation: 7,
            checksum: u64::MAX - 1,
            root: 3 << 62,
            trie_base: 1,
            trie_len: 2,
            rows_base: 3,
            rows_len: 4,
            sets_base: 5,
            sets_len: 6,
            servers_base: 7,
            servers_len: 8,
            buckets_base: 9,
            buckets_len: 10,
        };
        assert_eq!(memory(&descriptor_words(&descriptor)), octets(&descriptor, 64));
        assert_eq!(descriptor_of(descriptor_words(&descriptor)), descriptor);
    }
}
