//! Tables that find a value's class, as octets in a program's memory, and what the generated code
//! needs to know of them.

use super::vectors::{Class, Vector};

/// Low bits of a narrow entry that hold its vector; the value stands above.
pub const VECTOR_BITS: u32 = 30;
/// Classes from which a narrow table gets an index by a value's top bits: five steps of search
/// cost what the index does.
const INDEX_MIN: usize = 32;
/// Above every value of a narrow table, below the sign.
const NARROW_END: u64 = (1 << 63) - 1;

/// A program's memory as it grows.
#[derive(Debug, Default)]
pub struct Data {
    octets: Vec<u8>,
}

impl Data {
    /// Appends octets at the next multiple of eight, and says where.
    pub fn add(&mut self, octets: &[u8]) -> u32 {
        let at = self.octets.len().next_multiple_of(8);
        self.octets.resize(at, 0);
        self.octets.extend_from_slice(octets);
        at as u32
    }

    /// All of it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.octets.resize(self.octets.len().next_multiple_of(8).max(8), 0);
        self.octets
    }
}

/// A vector for each value.
#[derive(Clone, Copy, Debug)]
pub struct Direct {
    /// Where its u32 entries start.
    pub at: u32,
    /// The highest value.
    pub last: u32,
}

impl Direct {
    /// From classes of the values below `len`.
    pub fn of(classes: &[Class], len: u32, data: &mut Data) -> Self {
        let vectors: Vec<Vector> = (0..len)
            .map(|value| {
                let past = classes.partition_point(|class| class.first <= value.into());
                classes.get(past.wrapping_sub(1)).map_or(0, |class| class.vector)
            })
            .collect();
        Self::from(&vectors, data)
    }

    /// From the vectors themselves.
    pub fn from(vectors: &[Vector], data: &mut Data) -> Self {
        let octets: Vec<u8> = vectors.iter().flat_map(|vector| vector.to_le_bytes()).collect();
        Self { at: data.add(&octets), last: vectors.len().saturating_sub(1) as u32 }
    }
}

/// A sorted table of values below 2^33, `value << 30 | vector`, searched without branches; past
/// its end it is filled up with a value above all, so that a search never runs out of it.
#[derive(Clone, Copy, Debug)]
pub struct Narrow {
    /// Where its u64 entries start.
    pub at: u32,
    /// Steps of the search.
    pub steps: u32,
    /// Where a search starts, by a value's top bits.
    pub index: Option<Index>,
}

/// Starts of searches.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Where its u32 entries start: offsets of entries, in octets.
    pub at: u32,
    /// How far a value is shifted.
    pub shift: u32,
    /// The highest shifted value.
    pub last: u32,
    /// The highest entry.
    pub last_entry: u32,
}

impl Narrow {
    /// From classes of values of `bits` bits.
    pub fn of(classes: &[Class], bits: u32, data: &mut Data) -> Self {
        let firsts: Vec<u64> = classes.iter().map(|class| class.first as u64).collect();
        let (mut steps, mut starts) = (steps_for(firsts.len()), Vec::new());
        let shift = if bits > 17 { bits - 16 } else { 6 };
        if firsts.len() >= INDEX_MIN {
            let mut most = 0;
            for top in 0..=((1_u64 << bits) - 1) >> shift {
                let low = firsts.partition_point(|first| *first <= top << shift).max(1) - 1;
                let high = firsts.partition_point(|first| *first < (top + 1) << shift).max(1) - 1;
                starts.push(low as u32 * 8);
                most = most.max(high - low);
            }
            steps = steps_for(most + 1);
        }
        let mut octets: Vec<u8> = Vec::new();
        for (first, class) in firsts.iter().zip(classes) {
            octets.extend((first << VECTOR_BITS | u64::from(class.vector)).to_le_bytes());
        }
        for _ in 0..1_u32 << steps {
            octets.extend(NARROW_END.to_le_bytes());
        }
        let at = data.add(&octets);
        let last_entry = firsts.len().saturating_sub(1) as u32 * 8;
        let index = (!starts.is_empty()).then(|| {
            let octets: Vec<u8> = starts.iter().flat_map(|start| start.to_le_bytes()).collect();
            Index { at: data.add(&octets), shift, last: starts.len() as u32 - 1, last_entry }
        });
        Self { at, steps, index }
    }
}

/// A sorted table of values of 128 bits: two words of the value, the vector, and a word of padding.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    /// Where its entries of 32 octets start.
    pub at: u32,
    /// Steps of the search.
    pub steps: u32,
    /// Whether any value has bits in its lower word.
    pub low: bool,
}

impl Wide {
    /// From classes.
    pub fn of(classes: &[Class], data: &mut Data) -> Self {
        let steps = steps_for(classes.len());
        let mut octets: Vec<u8> = Vec::new();
        let mut entry = |first: u128, vector: Vector| {
            octets.extend(((first >> 64) as u64).to_le_bytes());
            octets.extend((first as u64).to_le_bytes());
            octets.extend(u64::from(vector).to_le_bytes());
            octets.extend([0; 8]);
        };
        for class in classes {
            entry(class.first, class.vector);
        }
        // The largest value may be a key: past the end stands the last class again.
        let last = classes.last().map_or(0, |class| class.vector);
        for _ in classes.len()..1 << steps {
            entry(u128::MAX, last);
        }
        let low = classes.iter().any(|class| class.first as u64 != 0);
        Self { at: data.add(&octets), steps, low }
    }
}

/// Steps of a binary search that tells `len` entries apart.
fn steps_for(len: usize) -> u32 {
    len.max(1).next_power_of_two().trailing_zeros()
}
