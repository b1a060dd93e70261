//! Field compression for HTTP/2 (RFC 7541). The decoder writes fields straight into a
//! [`super::section::Section`]; the encoder appends to the block of whoever writes a head.

mod decoder;
mod encoder;
mod fixed;
mod huffman;
mod plan;
mod store;

use crate::faults::faults;

pub use decoder::Decoder;
pub use encoder::Encoder;

faults! {
    /// Why a block cannot be decoded. The tables of both ends differ from there on, or the peer
    /// abuses them: the connection is over (RFC 9113 §4.3).
    HpackError {
        Cut, "hpack_cut", "a field block ends inside of a field";
        Integer, "hpack_integer", "an integer has more than five octets";
        Index, "hpack_index", "an index names no entry of the tables";
        Huffman, "hpack_huffman", "Huffman-coded text has EOS or wrong padding";
        SizeUpdate, "hpack_size_update",
            "a table size update is not at the start of its block or above the announced size";
        Flood, "hpack_flood", "a field section decodes to twice its limit";
    }
}

impl HpackError {
    /// The error code of the GOAWAY that ends the connection (RFC 9113 §7):
    /// ENHANCE_YOUR_CALM for a flood, else COMPRESSION_ERROR.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Flood => 0xb,
            _ => 0x9,
        }
    }
}

/// What an entry of a table counts besides its name and value (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Size of a dynamic table before anything else is agreed on, and the most an encoder uses
/// (RFC 9113 §6.5.2): larger tables cost memory on both sides and win little.
const TABLE_SIZE_DEFAULT: u32 = 4096;

/// Octets of an integer, its prefix included: 28 bits are more than any length or index in a
/// block, and longer forms are padding (RFC 7541 §5.1).
const INTEGER_OCTETS_MAX: u32 = 5;

/// The integer with a prefix of `bits` bits at `at` (RFC 7541 §5.1), and the place behind it.
#[inline]
fn integer(block: &[u8], at: usize, bits: u32) -> Result<(usize, usize), HpackError> {
    let mask = (1usize << bits) - 1;
    let first = usize::from(*block.get(at).ok_or(HpackError::Cut)?) & mask;
    if first < mask { Ok((first, at + 1)) } else { integer_rest(block, at + 1, mask) }
}

#[cold]
fn integer_rest(block: &[u8], mut at: usize, mask: usize) -> Result<(usize, usize), HpackError> {
    let mut sum = mask;
    for n in 0..INTEGER_OCTETS_MAX - 1 {
        let octet = usize::from(*block.get(at).ok_or(HpackError::Cut)?);
        at += 1;
        sum += (octet & 0x7f) << (7 * n);
        if octet & 0x80 == 0 {
            return Ok((sum, at));
        }
    }
    Err(HpackError::Integer)
}

/// Appends an integer with a prefix of `bits` bits, the bits above the prefix from `first`.
#[inline]
fn put_integer(out: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests;
