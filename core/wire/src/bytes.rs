//! Byte classes of RFC 9110, and scanning of eight bytes at a time.

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
    !name.is_empty() && name.iter().all(|&b| has(b, PLAIN))
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
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const CASE: u64 = 0x2020_2020_2020_2020;

#[inline]
fn word(buf: &[u8], at: usize) -> Option<u64> {
    buf.get(at..at.checked_add(8)?).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
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
        // '-', '.', '/' and the digits follow each other; with letters they are most of a target.
        let y = x & !HIGHS;
        let stop = (!(letters(y) | between(y, b'-', b'9')) | x) & HIGHS;
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

/// The first and the last eight bytes of a plain name in lower case (they overlap in a short
/// one): equal for two plain names of one length up to 16 only where the names are equal.
#[inline]
pub(crate) const fn folded_ends(name: &[u8]) -> (u64, u64) {
    let len = name.len();
    if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        return (u64::from_le_bytes(*head) | CASE, u64::from_le_bytes(*tail) | CASE);
    }
    if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let both = (u32::from_le_bytes(*head) as u64) << 32 | u32::from_le_bytes(*tail) as u64;
        return (both | CASE, 0);
    }
    let mut all = 0;
    let mut i = 0;
    while i < len {
        all = all << 8 | name[i] as u64;
        i += 1;
    }
    (all | CASE, 0)
}

#[cfg(test)]
mod tests;
