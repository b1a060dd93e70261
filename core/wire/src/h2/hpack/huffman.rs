//! The Huffman code of RFC 7541 Appendix B. It is canonical: the lengths of the codes, in the
//! order of the symbols, give the codes, and every table here is made from them at compile time.

/// Length of the code of each octet and, last, of EOS.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const SYMBOLS: usize = 257;
const LONGEST: usize = 30;
/// Codes up to here are found by one look at the next eight bits.
const SHORT: usize = 8;

/// The codes of one length: the first of them and the place of its symbol in [`Code::order`].
#[derive(Clone, Copy)]
struct Level {
    /// The first code, moved up to the high end of 32 bits.
    first: u64,
    /// Behind the last code, in the same way; `first` where there is none.
    end: u64,
    place: usize,
}

struct Code {
    codes: [u32; SYMBOLS],
    levels: [Level; LONGEST + 1],
    /// All symbols, ordered by their codes.
    order: [u16; SYMBOLS],
    /// By the next eight bits: length of the code and its octet, or 0 for a longer code.
    short: [u16; 1 << SHORT],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut made = Code {
        codes: [0; SYMBOLS],
        levels: [Level { first: 0, end: 0, place: 0 }; LONGEST + 1],
        order: [0; SYMBOLS],
        short: [0; 1 << SHORT],
    };
    let (mut next, mut place, mut len) = (0u64, 0, 1);
    while len <= LONGEST {
        next <<= 1;
        let first = next << (32 - len);
        made.levels[len] = Level { first, end: first, place };
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                made.codes[symbol] = next as u32;
                made.order[place] = symbol as u16;
                place += 1;
                let mut fill = 0;
                while len <= SHORT && fill < 1 << (SHORT - len) {
                    let bits = (next as usize) << (SHORT - len) | fill;
                    made.short[bits] = (len << 8 | symbol) as u16;
                    fill += 1;
                }
                next += 1;
            }
            symbol += 1;
        }
        made.levels[len].end = next << (32 - len);
        len += 1;
    }
    assert!(next == 1 << LONGEST, "the code is complete");
    made
}

/// Appends the octets that `input` stands for. `None` where a code is cut, EOS stands in the
/// text, or the padding is not fewer than eight ones (RFC 7541 §5.2).
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // The shortest codes have five bits.
    out.reserve(input.len() * 8 / 5 + 1);
    let mut rest = input;
    // The next bits stand at the high end, and there are zeros behind the `bits` ones there are.
    let (mut word, mut bits) = (0u64, 0u32);
    loop {
        if bits < 32 {
            if let Some((next, behind)) = rest.split_first_chunk::<4>() {
                word |= u64::from(u32::from_be_bytes(*next)) << (32 - bits);
                bits += 32;
                rest = behind;
            } else {
                while let Some((&next, behind)) = rest.split_first() {
                    word |= u64::from(next) << (56 - bits);
                    bits += 8;
                    rest = behind;
                }
            }
        }
        let entry = CODE.short[usize::from((word >> 56) as u8)];
        let (len, octet) = if entry == 0 {
            let (len, symbol) = long(word >> 32)?;
            (len, symbol)
        } else {
            (u32::from(entry >> 8), entry as u8)
        };
        if len > bits {
            break;
        }
        out.push(octet);
        word <<= len;
        bits -= len;
    }
    let ones = !(u64::MAX >> bits);
    (bits < 8 && word == ones).then_some(())
}

/// Length and octet of the code of more than eight bits that starts the 32 bits of `word`;
/// `None` for EOS.
#[cold]
fn long(word: u64) -> Option<(u32, u8)> {
    for (len, level) in CODE.levels.iter().enumerate().skip(SHORT + 1) {
        if word < level.end {
            let place = level.place + (word.checked_sub(level.first)? >> (32 - len)) as usize;
            let octet = u8::try_from(*CODE.order.get(place)?).ok()?;
            return Some((len as u32, octet));
        }
    }
    None
}

/// Bytes that `text` has in the code.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&b| usize::from(LENGTHS[usize::from(b)])).sum();
    bits.div_ceil(8)
}

/// Appends `text` in the code.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0u64, 0u32);
    for &b in text {
        let len = u32::from(LENGTHS[usize::from(b)]);
        word = word << len | u64::from(CODE.codes[usize::from(b)]);
        bits += len;
        if bits >= 32 {
            bits -= 32;
            out.extend_from_slice(&((word >> bits) as u32).to_be_bytes());
        }
    }
    while bits >= 8 {
        bits -= 8;
        out.push((word >> bits) as u8);
    }
    if bits > 0 {
        // Padding is the start of EOS: ones.
        out.push(((word << (8 - bits)) as u8) | (0xff >> bits));
    }
}

#[cfg(test)]
mod tests {
    //! Appendix B has the code, §5.2 the rules of its end.
    use super::*;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    #[test]
    fn codes_are_those_of_the_appendix() {
        for (symbol, code, len) in [
            (usize::from(b'0'), 0x0, 5),
            (usize::from(b't'), 0x9, 5),
            (usize::from(b' '), 0x14, 6),
            (usize::from(b':'), 0x5c, 7),
            (usize::from(b'&'), 0xf8, 8),
            (usize::from(b'!'), 0x3f8, 10),
            (0, 0x1ff8, 13),
            (usize::from(b'\\'), 0x7fff0, 19),
            (10, 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
            (249, 0xfff_fffe, 28),
            (255, 0x3ff_ffee, 26),
            (256, 0x3fff_ffff, 30),
        ] {
            assert_eq!((CODE.codes[symbol], LENGTHS[symbol]), (code, len), "symbol {symbol}");
        }
    }

    #[test]
    fn every_octet_survives_in_every_place() {
        for b in 0..=255u8 {
            for before in 0..9 {
                let mut text = vec![b'a'; before];
                text.extend_from_slice(&[b, b, b'X', b]);
                let mut coded = Vec::new();
                encode(&text, &mut coded);
                assert_eq!(coded.len(), encoded_len(&text));
                assert_eq!(decoded(&coded), Some(text));
            }
        }
    }

    #[test]
    fn padding_is_fewer_than_eight_ones() {
        assert_eq!(decoded(b""), Some(Vec::new()));
        assert_eq!(decoded(&[0x1f]), Some(b"a".to_vec()), "three ones");
        assert_eq!(decoded(&[0x18]), None, "zeros");
        assert_eq!(decoded(&[0x1d]), None, "a zero among them");
        assert_eq!(decoded(&[0x1f, 0xff]), None, "eleven ones");
        assert_eq!(decoded(&[0xff]), None, "eight ones");
        assert_eq!(decoded(&[0xfe]), None, "a cut code");
        assert_eq!(decoded(&[0xf8]), Some(b"&".to_vec()), "a code of eight bits and no padding");
    }

    #[test]
    fn eos_is_no_text() {
        assert_eq!(decoded(&[0xff; 4]), None);
        assert_eq!(decoded(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc, 0x1f]), None);
    }
}
