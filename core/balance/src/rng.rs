//! A small random generator that a caller seeds, and the stable hash that keys are made with.
//!
//! Neither is fit for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): 8 bytes of state, every seed is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator whose numbers follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all of u64.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an endless source needs no Option")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// The next number below `bound`; 0 for a bound of 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        scale(self.next(), bound)
    }
}

/// A one-to-one mix of 64 bits: inputs that differ in one bit differ in about half of the output.
#[must_use]
#[inline]
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A hash of `bytes` that is the same in every process and on every machine (FNV-1a, mixed).
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    mix(hash)
}

/// `random` brought to `0..bound` without a division.
#[inline]
pub(crate) fn scale(random: u64, bound: u64) -> u64 {
    // The upper half of the product is below `bound`, so that it always fits.
    u64::try_from((u128::from(random) * u128::from(bound)) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_the_reference() {
        let mut rng = SplitMix64::new(1_234_567);
        let got = [rng.next(), rng.next(), rng.next()];
        assert_eq!(
            got,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn numbers_below_a_bound_reach_both_ends() {
        let mut rng = SplitMix64::new(7);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn the_stable_hash_never_changes() {
        assert_eq!(stable_hash(b""), mix(0xCBF2_9CE4_8422_2325));
        assert_ne!(stable_hash(b"a:80"), stable_hash(b"b:80"));
    }
}
