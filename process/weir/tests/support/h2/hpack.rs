//! HPACK (RFC 7541) as far as tests need it: an encoder that writes what it is told, also what no
//! encoder may write, and a strict decoder. Neither shares a line with Weir's.

use std::collections::VecDeque;

/// The static table (RFC 7541 appendix A); a name alone has no value.
const STATIC: &str = "\
:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|\
:status=200|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|\
accept-charset|accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|\
access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|\
content-encoding|content-language|content-length|content-location|content-range|content-type|\
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|\
if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate|\
proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|\
strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate";
const STATIC_ENTRIES: usize = 61;
/// The first index of the dynamic table.
pub(crate) const FIRST_DYNAMIC: usize = STATIC_ENTRIES + 1;

/// Symbols of the Huffman code by the length of their code (RFC 7541 appendix B). The code is
/// canonical: with lengths and order given, each code is the one before plus one.
const HUFFMAN: [(u32, &[u8]); 21] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (
        22,
        b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\
        \xc4\xc6\xe4\xe8\xe9",
    ),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\
        \xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    ),
    (24, b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (27, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\
        \x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    ),
    (30, b"\n\r\x16"),
];

/// Each symbol's code and its length.
fn codes() -> Vec<(u8, u32, u32)> {
    let (mut code, mut before) = (0_u32, HUFFMAN[0].0);
    let mut all = Vec::with_capacity(256);
    for (len, symbols) in HUFFMAN {
        for &symbol in symbols {
            code <<= len - before;
            before = len;
            all.push((symbol, code, len));
            code += 1;
        }
    }
    all
}

/// The Huffman form of `text`, padded as it must be.
pub(crate) fn huffman(text: &[u8]) -> Vec<u8> {
    let codes = codes();
    let mut bits = String::new();
    for byte in text {
        let (_, code, len) = codes.iter().find(|(b, ..)| b == byte).expect("every byte has a code");
        bits.push_str(&format!("{code:0width$b}", width = *len as usize));
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let byte = |bits: &[u8]| bits.iter().fold(0_u8, |n, bit| n << 1 | (bit - b'0'));
    bits.as_bytes().chunks(8).map(byte).collect()
}

fn from_huffman(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let codes = codes();
    let (mut text, mut code, mut len) = (Vec::new(), 0_u32, 0_u32);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| u32::from(byte >> n & 1))) {
        (code, len) = (code << 1 | bit, len + 1);
        if let Some((symbol, ..)) = codes.iter().find(|(_, c, l)| (*c, *l) == (code, len)) {
            text.push(*symbol);
            (code, len) = (0, 0);
        }
        if len > 30 {
            return Err("a Huffman code that is none".into());
        }
    }
    let padding = len < 8 && code == (1 << len) - 1;
    padding.then_some(text).ok_or_else(|| "wrong Huffman padding".into())
}

/// An integer with a prefix of `bits` bits below `pattern` (RFC 7541 §5.1).
pub(crate) fn integer(pattern: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    let byte = |n: usize| u8::try_from(n & 0xff).expect("it is masked");
    if value < most {
        return vec![pattern | byte(value)];
    }
    let (mut bytes, mut rest) = (vec![pattern | byte(most)], value - most);
    while rest >= 128 {
        bytes.push(byte(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    bytes.push(byte(rest));
    bytes
}

fn string(text: &[u8]) -> Vec<u8> {
    [integer(0, 7, text.len()), text.to_vec()].concat()
}

/// A field block in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block(pub(crate) Vec<u8>);

impl Block {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The pseudo-header fields of a request for host `a` over plain TCP.
    pub(crate) fn request(method: &str, path: &str) -> Self {
        Self::new().pseudo(method, "http", "a", path)
    }

    /// The pseudo-header fields of a request.
    pub(crate) fn pseudo(self, method: &str, scheme: &str, authority: &str, path: &str) -> Self {
        self.field(":method", method)
            .field(":scheme", scheme)
            .field(":authority", authority)
            .field(":path", path)
    }

    /// A literal without indexing, name and value in full (RFC 7541 §6.2.2).
    pub(crate) fn field(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([&[0], &string(name.as_ref())[..], &string(value.as_ref())].concat())
    }

    /// Several of them.
    pub(crate) fn fields(self, list: &[(&str, &str)]) -> Self {
        list.iter().fold(self, |block, (name, value)| block.field(name, value))
    }

    /// A literal that goes into the dynamic table (RFC 7541 §6.2.1).
    pub(crate) fn indexed_field(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([&[0x40], &string(name.as_ref())[..], &string(value.as_ref())].concat())
    }

    /// A literal whose strings are Huffman coded.
    pub(crate) fn huffman_field(self, name: &str, value: &str) -> Self {
        let coded = |text: &str| {
            let bytes = huffman(text.as_bytes());
            [integer(0x80, 7, bytes.len()), bytes].concat()
        };
        self.raw([vec![0], coded(name), coded(value)].concat())
    }

    /// An entry of a table (RFC 7541 §6.1).
    pub(crate) fn index(self, index: usize) -> Self {
        self.raw(integer(0x80, 7, index))
    }

    /// A change of the dynamic table's size (RFC 7541 §6.3).
    pub(crate) fn size_update(self, size: usize) -> Self {
        self.raw(integer(0x20, 5, size))
    }

    /// Bytes as they are.
    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(bytes.as_ref());
        self
    }
}

/// A decoder that keeps to the RFC and fails on anything beyond it.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: VecDeque<(String, String)>,
    size: usize,
    most: usize,
    announced: usize,
}

impl Decoder {
    /// With the table size that this side announced.
    pub(crate) fn new(announced: usize) -> Self {
        Self { table: VecDeque::new(), size: 0, most: announced.min(4096), announced }
    }

    /// Decodes a block.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, String> {
        let (mut at, mut fields) = (0, Vec::new());
        while let Some(&first) = block.get(at) {
            if first & 0x80 != 0 {
                let index = number(block, &mut at, 7)?;
                fields.push(self.entry(index)?);
            } else if first & 0x40 != 0 {
                let field = self.literal(block, &mut at, 6)?;
                self.insert(field.clone());
                fields.push(field);
            } else if first & 0x20 != 0 {
                let size = number(block, &mut at, 5)?;
                if !fields.is_empty() || size > self.announced {
                    return Err(format!("size update to {size} at {at}"));
                }
                self.most = size;
                self.evict(0);
            } else {
                fields.push(self.literal(block, &mut at, 4)?);
            }
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<(String, String), String> {
        if (1..=STATIC_ENTRIES).contains(&index) {
            let entry = STATIC.split('|').nth(index - 1).expect("the table is whole");
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            return Ok((name.to_owned(), value.to_owned()));
        }
        let at = index.checked_sub(FIRST_DYNAMIC);
        at.and_then(|at| self.table.get(at)).cloned().ok_or(format!("no entry {index}"))
    }

    fn literal(&self, block: &[u8], at: &mut usize, bits: u32) -> Result<(String, String), String> {
        let index = number(block, at, bits)?;
        let name = if index == 0 { text(block, at)? } else { self.entry(index)?.0 };
        Ok((name, text(block, at)?))
    }

    fn insert(&mut self, field: (String, String)) {
        let size = field.0.len() + field.1.len() + 32;
        self.evict(size);
        if size <= self.most {
            self.size += size;
            self.table.push_front(field);
        }
    }

    /// Makes room for `more`.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.most {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.size -= name.len() + value.len() + 32;
        }
    }
}

fn number(block: &[u8], at: &mut usize, bits: u32) -> Result<usize, String> {
    let most = (1_usize << bits) - 1;
    let mut take = || {
        let byte = block.get(*at).copied().ok_or("a cut block")?;
        *at += 1;
        Ok::<usize, String>(usize::from(byte))
    };
    let mut value = take()? & most;
    if value < most {
        return Ok(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = take()?;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("an integer of more than five octets".into())
}

fn text(block: &[u8], at: &mut usize) -> Result<String, String> {
    let coded = block.get(*at).is_some_and(|byte| byte & 0x80 != 0);
    let len = number(block, at, 7)?;
    let bytes = block.get(*at..*at + len).ok_or("a cut string")?;
    *at += len;
    let bytes = if coded { from_huffman(bytes)? } else { bytes.to_vec() };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
