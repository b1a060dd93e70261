//! The mixing of numbers that tables are made with, and the checksum of what is written.
//!
//! Both are part of the tables' definition: a change here changes every table of every fleet.

/// A one-to-one mix of 64 bits (the finalizer of SplitMix64): inputs that differ in one bit differ
/// in about half of the output.
#[must_use]
#[inline]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The `nth` number of the stream that belongs to `id` under `seed`.
#[must_use]
#[inline]
pub const fn draw(seed: u64, id: u64, nth: u64) -> u64 {
    let stream = mix(seed ^ id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mix(stream.wrapping_add(nth.wrapping_mul(0xD1B5_4A32_D192_ED03)))
}

/// A checksum over words, in their order: what tells a write that went wrong, not an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Checksum {
    /// Takes one word in.
    #[inline]
    pub const fn word(&mut self, word: u64) {
        let sum = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The product carries upwards only: without this, the top bits of a word never spread.
        self.0 = sum ^ (sum >> 32);
    }

    /// Takes words in.
    pub fn words(&mut self, words: impl IntoIterator<Item = u64>) {
        for word in words {
            self.word(word);
        }
    }

    /// The sum.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(words: &[u64]) -> u64 {
        let mut sum = Checksum::default();
        sum.words(words.iter().copied());
        sum.value()
    }

    #[test]
    fn one_flipped_bit_changes_the_checksum() {
        let words = [1, 2, u64::MAX, 0];
        for at in 0..words.len() {
            for bit in 0..64 {
                let mut other = words;
                other[at] ^= 1 << bit;
                assert_ne!(sum(&words), sum(&other), "word {at}, bit {bit}");
            }
        }
        assert_ne!(sum(&[1, 2]), sum(&[2, 1]));
        assert_ne!(sum(&[0]), sum(&[0, 0]));
    }

    #[test]
    fn streams_differ_by_seed_id_and_place() {
        let base = draw(1, 2, 3);
        assert_ne!(base, draw(2, 2, 3));
        assert_ne!(base, draw(1, 3, 3));
        assert_ne!(base, draw(1, 2, 4));
    }
}
