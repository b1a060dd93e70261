//! Byte classes of RFC 9110, scanning of eight bytes at a time, and numbers as text.

use core::net::Ipv4Addr;

const TOKEN: u8 = 1;
const PLAIN: u8 = 2;
const TARGET: u8 = 4;
const VALUE: u8 = 8;
const REG_NAME: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0usize;
    while i < 256 {
        let b = i as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() || b == b'-' {
            class |= PLAIN;
        }
        if b.is_ascii_alphanumeric() || among(b, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        // RFC 3986 without '#': the fragment never goes over the wire.
        if b.is_ascii_alphanumeric() || among(b, b"-._~:/?[]@!$&'()*+,;=%") {
            class |= TARGET;
        }
        if b == b'\t' || (b >= 0x20 && b != 0x7f) {
            class |= VALUE;
        }
        // reg-name without ',' (a list in a field) and '%' (two spellings of one name).
        if b.is_ascii_alphanumeric() || among(b, b"-._~!$&'()*+;=") {
            class |= REG_NAME;
        }
        table[i] = class;
        i += 1;
    }
    table
}

const fn among(b: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

#[inline]
fn has(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// `tchar` of RFC 9110 §5.6.2.
#[inline]
pub(crate) fn is_token(b: u8) -> bool {
    has(b, TOKEN)
}

/// True for a non-empty text of bytes that may stand in a request target.
#[inline]
pub(crate) fn is_target_text(text: &[u8]) -> bool {
    !text.is_empty() && skip_target(text, 0) == text.len()
}

/// A byte that may stand in a field value, in a quoted string and in a reason phrase.
#[inline]
pub(crate) fn is_value(b: u8) -> bool {
    has(b, VALUE)
}

/// True where all bytes may stand in a field value.
#[inline]
pub(crate) fn is_value_text(text: &[u8]) -> bool {
    let mut at = skip_text(text, 0);
    while text.get(at) == Some(&b'\t') {
        at = skip_text(text, at + 1);
    }
    at == text.len()
}

/// True for a name of `[A-Za-z0-9-]` only.
pub(crate) fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && skip_plain(name, 0) == name.len()
}

/// True for a non-empty token.
pub(crate) fn is_token_text(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_token(b))
}

/// `text` without white space (SP, HTAB) on both sides.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A decimal number of digits only; `None` where it is empty, has another byte or is past `u64`.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    let (first, last) = text.split_at_checked(DIGITS_SURE).unwrap_or((text, &[]));
    if first.is_empty() {
        return None;
    }
    let mut sum = 0u64;
    for b in first {
        sum = sum * 10 + u64::from(digit(*b)?);
    }
    last.iter().try_fold(sum, |sum, b| sum.checked_mul(10)?.checked_add(u64::from(digit(*b)?)))
}

/// So many decimal digits are below 2^64 whatever they are.
const DIGITS_SURE: usize = u64::MAX.ilog10() as usize;

#[inline]
fn digit(b: u8) -> Option<u8> {
    Some(b.wrapping_sub(b'0')).filter(|digit| *digit < 10)
}

/// Each octet of an IPv4 address as it is written, with a dot behind it.
static OCTETS: [[u8; 4]; 256] = octets();

const fn octets() -> [[u8; 4]; 256] {
    let mut table = [[b'.'; 4]; 256];
    let mut octet = 0;
    while octet < 256 {
        let (mut rest, mut at) = (octet, octet_len(octet as u8));
        while at > 0 {
            at -= 1;
            table[octet][at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        octet += 1;
    }
    table
}

/// The number of digits of `octet`.
#[inline]
const fn octet_len(octet: u8) -> usize {
    1 + (octet >= 10) as usize + (octet >= 100) as usize
}

/// Writes the text of an address into `room`, which has 16 bytes or more, and gives its length;
/// what stands behind that is of no meaning. The formatting machinery of the standard library
/// costs more than the rest of a small head.
#[inline]
pub(crate) fn ipv4<const ROOM: usize>(address: Ipv4Addr, room: &mut [u8; ROOM]) -> usize {
    const { assert!(ROOM >= 16, "four octets of four bytes each") };
    let mut at = 0;
    for octet in address.octets() {
        if let Some(place) = room.get_mut(at..at + 4) {
            place.copy_from_slice(&OCTETS[usize::from(octet)]);
        }
        at += octet_len(octet) + 1;
    }
    at - 1
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
/// The bit by which the cases of a letter differ.
pub(crate) const CASE: u64 = 0x2020_2020_2020_2020;

/// The eight bytes at `at`, the first of them lowest.
#[inline]
fn word(buf: &[u8], at: usize) -> Option<u64> {
    buf.get(at..).and_then(<[u8]>::first_chunk).map(|chunk| u64::from_le_bytes(*chunk))
}

/// The length of what stands before the first colon of `text`, and the [`ends`] of that.
#[inline]
pub(crate) fn before_colon(text: &[u8]) -> Option<(usize, (u64, u64))> {
    let (chunk, mut rest) = text.split_first_chunk::<8>()?;
    let head = u64::from_le_bytes(*chunk);
    let stop = colons(head);
    if stop != 0 {
        // What is below the byte of the mark.
        return Some((first(stop), (head & ((stop ^ (stop - 1)) >> 8), 0)));
    }
    let mut at = 8;
    let len = loop {
        let Some((chunk, tail)) = rest.split_first_chunk::<8>() else {
            break at + rest.iter().position(|&b| b == b':')?;
        };
        let stop = colons(u64::from_le_bytes(*chunk));
        if stop != 0 {
            break at + first(stop);
        }
        (rest, at) = (tail, at + 8);
    };
    let tail = text.get(..len)?.last_chunk()?;
    Some((len, (head, u64::from_le_bytes(*tail))))
}

/// Marks the lowest byte of `word` that is a colon, and perhaps some above it.
#[inline]
fn colons(word: u64) -> u64 {
    // A borrow can only mark a byte above one that is marked rightly.
    let x = word ^ (ONES * b':' as u64);
    x.wrapping_sub(ONES) & !x & HIGHS
}

/// The first byte from `at` on which is neither SP nor a visible character of ASCII, or the length
/// of `text`. Most values of fields are nothing else, and of all classes this one is the cheapest
/// to look for.
#[inline]
pub(crate) fn skip_printable(text: &[u8], at: usize) -> usize {
    let Some(mut rest) = text.get(at..) else { return text.len() };
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let stop = unprintable(u64::from_le_bytes(*chunk));
        if stop != 0 {
            return text.len() - rest.len() + first(stop);
        }
        rest = tail;
    }
    let at = text.len() - rest.len();
    match (rest.len(), text.last_chunk()) {
        (left @ 1..8, Some(chunk)) => {
            // NULs move in behind the last bytes and end the search.
            at + first(unprintable(u64::from_le_bytes(*chunk) >> (64 - 8 * left)))
        }
        _ => at + rest.iter().take_while(|b| matches!(b, b' '..=b'~')).count(),
    }
}

/// Marks the lowest byte of `x` that is neither SP nor visible, and perhaps some above it.
#[inline]
fn unprintable(x: u64) -> u64 {
    // Carries and borrows come out of marked bytes only.
    (x.wrapping_sub(ONES * 0x20) | x.wrapping_add(ONES)) & HIGHS
}

/// The first byte from `at` on which is not of `[A-Za-z0-9-]`, or the length of `buf`.
#[inline]
pub(crate) fn skip_plain(buf: &[u8], mut at: usize) -> usize {
    while let Some(x) = word(buf, at) {
        let y = x & !HIGHS;
        let dash = !at_least(y ^ (ONES * b'-' as u64), 1);
        let stop = (!(letters(y) | between(y, b'0', b'9') | dash) | x) & HIGHS;
        if stop != 0 {
            return at + first(stop);
        }
        at += 8;
    }
    skip(buf, at, PLAIN)
}

/// The first byte from `at` on which may not stand in a target, or the length of `buf`.
#[inline]
pub(crate) fn skip_target(buf: &[u8], mut at: usize) -> usize {
    while let Some(x) = word(buf, at) {
        let stop = unlike_path(x);
        if stop == 0 {
            at += 8;
            continue;
        }
        at += first(stop);
        match buf.get(at) {
            Some(&b) if has(b, TARGET) => at += 1,
            _ => return at,
        }
    }
    skip(buf, at, TARGET)
}

/// The length of the target that `text` starts with and of its path, which ends at a question mark
/// or with the target; `None` where the target may reach into the last bytes of `text`.
#[inline]
pub(crate) fn target_and_path(text: &[u8]) -> Option<(usize, usize)> {
    let (mut rest, mut path) = (text, None);
    loop {
        let (chunk, tail) = rest.split_first_chunk::<8>()?;
        let stop = unlike_path(u64::from_le_bytes(*chunk));
        if stop == 0 {
            rest = tail;
            continue;
        }
        rest = rest.get(first(stop)..)?;
        let (&b, tail) = rest.split_first()?;
        let at = text.len() - rest.len();
        if !has(b, TARGET) {
            return Some((at, path.unwrap_or(at)));
        }
        if b == b'?' && path.is_none() {
            path = Some(at);
        }
        rest = tail;
    }
}

/// The high bit of each byte of `x` that is no letter, digit, '-', '.' or '/': most of a target.
#[inline]
fn unlike_path(x: u64) -> u64 {
    // '-', '.', '/' and the digits follow each other.
    let y = x & !HIGHS;
    (!(letters(y) | between(y, b'-', b'9')) | x) & HIGHS
}

/// The first byte from `at` on which may not stand in a host name, or the length of `buf`.
#[inline]
pub(crate) fn skip_reg_name(buf: &[u8], mut at: usize) -> usize {
    while let Some(x) = word(buf, at) {
        let y = x & !HIGHS;
        let mark = between(y, b'-', b'.');
        let stop = (!(letters(y) | between(y, b'0', b'9') | mark) | x) & HIGHS;
        if stop == 0 {
            at += 8;
            continue;
        }
        at += first(stop);
        match buf.get(at) {
            Some(&b) if has(b, REG_NAME) => at += 1,
            _ => return at,
        }
    }
    skip(buf, at, REG_NAME)
}

/// The first control character from `at` on (CTL with HTAB, and DEL), or the length of `buf`.
#[inline]
pub(crate) fn skip_text(buf: &[u8], mut at: usize) -> usize {
    while let Some(x) = word(buf, at) {
        // A borrow can only mark a byte above one that is marked rightly, and the lowest counts.
        let control = x.wrapping_sub(ONES * 0x20) & !x;
        let delete = x ^ (ONES * 0x7f);
        let stop = (control | (delete.wrapping_sub(ONES) & !delete)) & HIGHS;
        if stop != 0 {
            return at + first(stop);
        }
        at += 8;
    }
    while buf.get(at).is_some_and(|&b| b >= 0x20 && b != 0x7f) {
        at += 1;
    }
    at
}

/// The index of the first byte that is marked by its high bit.
#[inline]
fn first(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// The high bit of each byte of `y` (all below 0x80) which is a letter.
#[inline]
fn letters(y: u64) -> u64 {
    between(y | CASE, b'a', b'z')
}

/// The high bit of each byte of `y` (all below 0x80) which is in `from..=to`.
#[inline]
fn between(y: u64, from: u8, to: u8) -> u64 {
    at_least(y, from) & !at_least(y, to + 1)
}

/// The high bit of each byte of `x` (all below 0x80) which is at least `floor` (1..=0x80).
#[inline]
fn at_least(x: u64, floor: u8) -> u64 {
    x.wrapping_add(ONES * (0x80 - floor) as u64) & HIGHS
}

#[inline]
fn skip(buf: &[u8], mut at: usize, class: u8) -> usize {
    while buf.get(at).is_some_and(|&b| has(b, class)) {
        at += 1;
    }
    at
}

/// The first byte from `at` on which is no token character, or the length of `buf`.
pub(crate) fn skip_token(buf: &[u8], at: usize) -> usize {
    skip(buf, at, TOKEN)
}

/// The first and the last eight bytes of `name`; for a shorter one all of it with NULs behind, and
/// nothing.
#[inline]
pub(crate) const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        return (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let (head, tail) = (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
        // The two overlap where the name has less than eight bytes, and are equal there.
        return (head | tail << (8 * (name.len() - 4)), 0);
    }
    match *name {
        [a] => (a as u64, 0),
        [a, b] => (a as u64 | (b as u64) << 8, 0),
        [a, b, c] => (a as u64 | (b as u64) << 8 | (c as u64) << 16, 0),
        _ => (0, 0),
    }
}

/// 0x20 for each letter of `word`, which is in lower case: what its upper case lacks.
pub(crate) const fn case_of(word: u64) -> u64 {
    let bytes = word.to_le_bytes();
    let (mut case, mut i) = (0, 0);
    while i < 8 {
        if bytes[i].is_ascii_lowercase() {
            case |= 0x20 << (8 * i);
        }
        i += 1;
    }
    case
}

#[cfg(test)]
mod tests;
