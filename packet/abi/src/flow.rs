//! What names a flow, and its keyed hash: SipHash-2-4 (Aumasson and Bernstein, 2012), so that
//! nobody without the key can choose flows that meet in one bucket.

/// Family of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Sixteen octets of an address in wire order, in two words as a load gives them. IPv4 is
/// `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Address {
    /// Octets 0 to 7, in the byte order of the machine's loads.
    pub high: u64,
    /// Octets 8 to 15.
    pub low: u64,
}

impl Address {
    /// From octets.
    #[must_use]
    pub const fn of(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self {
            high: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// From an IPv4 address as a load of its four octets gives it.
    #[must_use]
    #[inline(always)]
    pub const fn v4(raw: u32) -> Self {
        let low = (raw.to_be() as u64) | 0xffff_0000_0000;
        Self { high: 0, low: low.to_be() }
    }

    /// The four octets of an IPv4 address, as a load gives them.
    #[must_use]
    #[inline(always)]
    pub const fn as_v4(self) -> u32 {
        (u64::from_be(self.low) as u32).to_be()
    }

    /// The octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.high.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.low.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Whether it stands for an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && u64::from_be(self.low) >> 32 == 0xffff
    }

    /// The words as numbers whose top bit is the first bit on the wire.
    #[must_use]
    #[inline(always)]
    pub const fn numbers(self) -> (u64, u64) {
        (u64::from_be(self.high), u64::from_be(self.low))
    }
}

/// A flow: addresses, ports and protocol, from the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Family of both addresses.
    pub family: Family,
    /// 6 for TCP, 17 for UDP.
    pub protocol: u8,
    /// The client.
    pub source: Address,
    /// The VIP.
    pub destination: Address,
    /// Source port in wire order, as a load gives it.
    pub source_port: u16,
    /// Destination port in wire order, as a load gives it.
    pub destination_port: u16,
}

impl Flow {
    /// SipHash of `source ‖ destination ‖ source port ‖ destination port` as on the wire.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, start: &Start) -> u64 {
        let ports = u64::from(self.source_port) | u64::from(self.destination_port) << 16;
        match self.family {
            Family::V4 => {
                let source = u64::from(self.source.as_v4());
                let state = start.word(source | u64::from(self.destination.as_v4()) << 32);
                state.finish(ports | 12 << 56)
            }
            Family::V6 => {
                let mut state = start.word(self.source.high);
                state.word(self.source.low);
                state.word(self.destination.high);
                state.word(self.destination.low);
                state.finish(ports | 36 << 56)
            }
        }
    }
}

/// The fleet's key: 16 octets, as two little-endian words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HashKey {
    /// Octets 0 to 7.
    pub first: u64,
    /// Octets 8 to 15.
    pub second: u64,
}

impl HashKey {
    /// From its octets.
    #[must_use]
    pub const fn of(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self {
            first: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            second: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }
}

/// SipHash's state before the first word: what the key alone makes of it, and that half of the
/// first round which no word takes part in. A loader computes it once for all packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Start {
    /// The lanes.
    pub lanes: [u64; 4],
}

impl Start {
    /// Of a key.
    #[must_use]
    pub const fn of(key: &HashKey) -> Self {
        let a = key.first ^ 0x736f_6d65_7073_6575;
        let b = key.second ^ 0x646f_7261_6e64_6f6d;
        let sum = a.wrapping_add(b);
        let (c, d) = (key.first ^ 0x6c79_6765_6e65_7261, key.second ^ 0x7465_6462_7974_6573);
        Self { lanes: [sum.rotate_left(32), b.rotate_left(13) ^ sum, c, d] }
    }

    /// The state with the first eight octets in, as a little-endian word.
    #[must_use]
    #[inline(always)]
    pub fn word(&self, word: u64) -> Sip {
        let [a, b, c, d] = self.lanes;
        let mut state = Sip { lanes: [a, b, c, d ^ word] };
        state.second_half();
        state.round();
        state.lanes[0] ^= word;
        state
    }

    /// The hash of up to seven octets, with the length on top.
    #[must_use]
    #[inline(always)]
    pub fn finish(&self, last: u64) -> u64 {
        self.word(last).close()
    }
}

/// The four lanes of SipHash, after the first word.
pub struct Sip {
    lanes: [u64; 4],
}

impl Sip {
    /// Takes eight octets in, as a little-endian word.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        self.lanes[3] ^= word;
        self.round();
        self.round();
        self.lanes[0] ^= word;
    }

    /// The hash, after the last word: up to seven octets below, the length modulo 256 on top.
    #[must_use]
    #[inline(always)]
    pub fn finish(mut self, last: u64) -> u64 {
        self.word(last);
        self.close()
    }

    #[inline(always)]
    fn close(mut self) -> u64 {
        self.lanes[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        self.lanes[0] ^ self.lanes[1] ^ self.lanes[2] ^ self.lanes[3]
    }

    #[inline(always)]
    fn round(&mut self) {
        let [a, b, ..] = &mut self.lanes;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        self.second_half();
    }

    #[inline(always)]
    fn second_half(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.lanes;
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.lanes = [a, b, c, d];
    }
}

/// SipHash-2-4 of any octets, for user space: checksums of generations, seeds of tables.
#[must_use]
pub fn hash_bytes(key: &HashKey, bytes: &[u8]) -> u64 {
    let start = Start::of(key);
    let mut chunks = bytes.chunks_exact(8);
    let mut state = None;
    for chunk in &mut chunks {
        let mut octets = [0; 8];
        octets.copy_from_slice(chunk);
        let word = u64::from_le_bytes(octets);
        match &mut state {
            None => state = Some(start.word(word)),
            Some(state) => state.word(word),
        }
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(chunks.remainder()) {
        *to = *from;
    }
    let last = u64::from_le_bytes(last) | (bytes.len() as u64) << 56;
    match state {
        None => start.finish(last),
        Some(state) => state.finish(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the message of the paper's appendix: 00 01 02 …
    const KEY: HashKey = HashKey::of([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    #[test]
    fn the_vector_of_the_paper() {
        let message: [u8; 15] = core::array::from_fn(|at| at as u8);
        assert_eq!(hash_bytes(&KEY, &message), 0xa129_ca61_49be_45e5);
        assert_eq!(hash_bytes(&KEY, &[]), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn a_flow_hashes_as_its_octets_do() {
        let source = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 11, 12, 13];
        let destination = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7];
        let mut flow = Flow {
            family: Family::V4,
            protocol: 6,
            source: Address::of(source),
            destination: Address::of(destination),
            source_port: 45_678_u16.to_be(),
            destination_port: 443_u16.to_be(),
        };
        let wire = [10, 11, 12, 13, 203, 0, 113, 7, 0xb2, 0x6e, 0x01, 0xbb];
        assert_eq!(flow.hash(&Start::of(&KEY)), hash_bytes(&KEY, &wire));
        flow.family = Family::V6;
        let mut wire = [0; 36];
        wire[..16].copy_from_slice(&source);
        wire[16..32].copy_from_slice(&destination);
        wire[32..].copy_from_slice(&[0xb2, 0x6e, 0x01, 0xbb]);
        assert_eq!(flow.hash(&Start::of(&KEY)), hash_bytes(&KEY, &wire));
    }

    #[test]
    fn an_ipv4_address_is_mapped() {
        let raw = u32::from_ne_bytes([192, 0, 2, 1]);
        let address = Address::v4(raw);
        assert_eq!(address.octets(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1]);
        assert!(address.is_v4());
        assert_eq!(address.as_v4(), raw);
        assert_eq!(address.numbers(), (0, 0xffff_c000_0201));
    }
}
