//! The tunnel header between servers: Generic UDP Encapsulation, version 0, with the hops that are
//! left in its private data (as GLB and Linux' cls_redirect selftest lay it out).
//!
//! ```text
//!  0               1               2               3
//! +---+-+---------+---------------+-------------------------------+
//! |ver|C|  hlen   |   protocol    |             flags             |   GUE: hlen in words of 4
//! +-------+-------+---------------+---------------+---------------+
//! |version| flags |   reserved    |   next hop    |   hop count   |   private data
//! +-------+-------+---------------+---------------+---------------+
//! |  hop 0: 4 octets where the outer packet is IPv4, else 16 …    |
//! ```

/// UDP port of the tunnel unless the configuration says another: the one GLB uses.
pub const PORT: u16 = 19_523;
/// Octets of the GUE header without private data.
pub const GUE_LEN: usize = 4;
/// Octets of the private data before the hops.
pub const PRIVATE_LEN: usize = 4;
/// Octets of both.
pub const HEADER_LEN: usize = GUE_LEN + PRIVATE_LEN;
/// Hops after the outer destination. A bucket has two slots, so a director writes at most one; the
/// second is room for another of Weir's kind that counts the first hop too.
pub const HOPS_MAX: usize = 2;
/// Version of the private data with hops of 4 octets.
pub const PRIVATE_V4: u8 = 0;
/// Version of the private data with hops of 16 octets.
pub const PRIVATE_V6: u8 = 1;
/// Octets of a hop where the outer packet is IPv4.
pub const HOP_V4_LEN: usize = 4;
/// Octets of a hop where the outer packet is IPv6.
pub const HOP_V6_LEN: usize = 16;
/// TTL of a fresh outer packet: what hosts send with.
pub const OUTER_TTL: u8 = 64;

// The length field has five bits and counts words of four octets.
const _: () = assert!((PRIVATE_LEN + HOPS_MAX * HOP_V6_LEN) / 4 < 32);

/// The eight octets before the hops.
///
/// `protocol` is 4 or 41, `hop_len` is 4 or 16, `hops` at most [`HOPS_MAX`].
#[must_use]
#[inline(always)]
pub const fn header(protocol: u8, hop_len: usize, hops: usize) -> [u8; HEADER_LEN] {
    let words = (PRIVATE_LEN + hops * hop_len) / 4;
    let version = if hop_len == HOP_V6_LEN { PRIVATE_V6 } else { PRIVATE_V4 };
    [words as u8, protocol, 0, 0, version << 4, 0, 0, hops as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hop_of_ipv4_is_a_glb_header() {
        assert_eq!(header(4, HOP_V4_LEN, 1), [2, 4, 0, 0, 0, 0, 0, 1]);
        assert_eq!(header(41, HOP_V6_LEN, 1), [5, 41, 0, 0, 0x10, 0, 0, 1]);
        assert_eq!(header(4, HOP_V4_LEN, 0), [1, 4, 0, 0, 0, 0, 0, 0]);
    }
}
