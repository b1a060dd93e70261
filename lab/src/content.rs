//! Content that both ends can make: from a seed and a place, so that a wrong octet is seen wherever
//! it is.

/// The octets from `offset` on of the content of a seed.
pub fn fill(seed: u64, offset: u64, into: &mut [u8]) {
    for (at, octet) in (offset..).zip(into) {
        *octet = self::octet(seed, at);
    }
}

/// Whether octets are those from `offset` on of the content of a seed.
#[must_use]
pub fn matches(seed: u64, offset: u64, octets: &[u8]) -> bool {
    (offset..).zip(octets).all(|(at, octet)| *octet == self::octet(seed, at))
}

fn octet(seed: u64, at: u64) -> u8 {
    // Each word of eight octets is mixed from its number: SplitMix64.
    let mixed = mix(seed ^ (at >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed.to_le_bytes().get((at & 7) as usize).copied().unwrap_or_default()
}

/// SplitMix64's finish: every bit of the result depends on every bit of the word.
#[must_use]
pub fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_as_in_the_whole_and_a_wrong_octet_is_seen() {
        let mut whole = [0; 100];
        fill(7, 0, &mut whole);
        let mut part = [0; 20];
        fill(7, 33, &mut part);
        assert_eq!(part, whole[33..53]);
        assert!(matches(7, 33, &part));
        assert!(!matches(7, 34, &part));
        assert!(!matches(8, 33, &part));
        part[19] ^= 1;
        assert!(!matches(7, 33, &part));
    }
}
