//! From blocks to sections. An entry of the dynamic table keeps its field as the line that
//! sections are made of, and the verdict on it, so that a reference costs a copy and no check.

use super::fixed::{self, Kind, Name};
use super::store::Store;
use super::{ENTRY_OVERHEAD, HpackError, TABLE_SIZE_DEFAULT, huffman, integer};
use crate::bytes;
use crate::h1::head::{Field, Known, Span};
use crate::h2::section::{Section, SectionFault, SectionLimits};
use core::mem::size_of;
use std::collections::VecDeque;

/// `": "` and CRLF of a line.
const LINE_OVERHEAD: usize = 4;

/// One field of the dynamic table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Place of the line in the store.
    place: u32,
    line_len: u32,
    name_len: u32,
    name: Name,
    /// What is wrong with the field, its name included.
    fault: Option<SectionFault>,
}

impl Entry {
    /// Size as RFC 7541 §4.1 counts it.
    fn size(&self) -> usize {
        self.line_len as usize - LINE_OVERHEAD + ENTRY_OVERHEAD
    }
}

/// The dynamic table of a decoder.
#[derive(Debug, Default)]
struct Table {
    /// Newest first.
    entries: VecDeque<Entry>,
    lines: Store,
    size: usize,
    most: usize,
}

impl Table {
    #[cold]
    fn resize(&mut self, most: usize) {
        self.most = most;
        self.make_room(0);
    }

    /// Removes old entries until `size` more fits, or all.
    fn make_room(&mut self, size: usize) {
        let before = self.entries.len();
        while self.size + size > self.most {
            let Some(old) = self.entries.pop_back() else { break };
            self.size -= old.size();
        }
        if self.entries.len() == before {
            return;
        }
        match self.entries.back() {
            Some(oldest) => self.lines.release_before(oldest.place),
            None => self.lines.clear(),
        }
    }

    /// Adds a field as RFC 7541 §4.4 says: one that is too large empties the table.
    fn insert(&mut self, line: &[u8], name_len: usize, name: Name, fault: Option<SectionFault>) {
        let size = line.len() - LINE_OVERHEAD + ENTRY_OVERHEAD;
        self.make_room(size);
        if size > self.most {
            return;
        }
        let place = self.lines.push(line);
        let (line_len, name_len) = (line.len() as u32, name_len as u32);
        self.entries.push_front(Entry { place, line_len, name_len, name, fault });
        self.size += size;
    }
}

/// Decodes the field blocks of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    announced: usize,
}

impl Decoder {
    /// A decoder that announces `max_table` as its SETTINGS_HEADER_TABLE_SIZE.
    #[must_use]
    pub fn new(max_table: u32) -> Self {
        // Until the peer acknowledges a larger size it keeps to the default, and it says when
        // it goes beyond.
        let most = max_table.min(TABLE_SIZE_DEFAULT) as usize;
        Self { table: Table { most, ..Table::default() }, announced: max_table as usize }
    }

    /// Appends the fields of one whole block to `into`. Faults of single fields are noted there,
    /// as they concern one stream only; from the first limit that is passed nothing more is
    /// stored, but the table is kept in step.
    ///
    /// # Errors
    /// The block breaks RFC 7541, or decodes to more than twice a limit. The decoder is of no
    /// further use, nor is the connection.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: &SectionLimits,
        into: &mut Section,
    ) -> Result<(), HpackError> {
        let mut at = 0;
        let mut opening = true;
        while let Some(&first) = block.get(at) {
            if first & 0x80 != 0 {
                let (index, next) = integer(block, at, 7)?;
                at = next;
                self.indexed(index, limits, into)?;
            } else if first & 0xe0 == 0x20 {
                let (size, next) = integer(block, at, 5)?;
                if !opening || size > self.announced {
                    return Err(HpackError::SizeUpdate);
                }
                at = next;
                self.table.resize(size);
                continue;
            } else {
                at = self.literal(block, at, limits, into)?;
            }
            opening = false;
        }
        Ok(())
    }

    /// Bytes of heap that the decoder holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.lines.memory() + self.table.entries.capacity() * size_of::<Entry>()
    }

    /// Gives back memory that the table does not use; for a connection that falls idle.
    pub fn shrink(&mut self) {
        self.table.lines.shrink();
        self.table.entries.shrink_to_fit();
    }

    /// Size of the table as RFC 7541 §4.1 counts it.
    pub(crate) fn table_size(&self) -> usize {
        self.table.size
    }

    #[inline]
    fn indexed(
        &mut self,
        index: usize,
        limits: &SectionLimits,
        into: &mut Section,
    ) -> Result<(), HpackError> {
        let (line, name_len, name, fault) = match index.checked_sub(fixed::ROWS.len() + 1) {
            Some(at) => {
                let entry = self.table.entries.get(at).ok_or(HpackError::Index)?;
                let line = self.table.lines.get(entry.place, entry.line_len as usize);
                (line, entry.name_len as usize, entry.name, entry.fault)
            }
            None => {
                let at = index.checked_sub(1).ok_or(HpackError::Index)?;
                let row = fixed::ROWS.get(at).ok_or(HpackError::Index)?;
                (row.line, row.name_len, row.name, row.name.fault)
            }
        };
        if admit(into, line.len() - LINE_OVERHEAD, limits)? {
            let start = into.bytes.len();
            into.bytes.extend_from_slice(line);
            place(into, start, name_len, name, fault);
        }
        Ok(())
    }

    /// A field whose value stands in the block, and perhaps its name too. Gives the place behind.
    #[inline(never)]
    fn literal(
        &mut self,
        block: &[u8],
        at: usize,
        limits: &SectionLimits,
        into: &mut Section,
    ) -> Result<usize, HpackError> {
        let insert = block.get(at).is_some_and(|first| first & 0x40 != 0);
        let (index, at) = integer(block, at, if insert { 6 } else { 4 })?;
        let start = into.bytes.len();
        let (name, at) = self.name(index, block, at, into)?;
        let name_len = into.bytes.len() - start;
        into.bytes.extend_from_slice(b": ");
        let value_at = into.bytes.len();
        let at = string(block, at, &mut into.bytes)?;
        let value = into.bytes.get(value_at..).unwrap_or_default();
        let fault = name.fault.or_else(|| value_fault(name.known, value));
        into.bytes.extend_from_slice(b"\r\n");
        let line = into.bytes.get(start..).unwrap_or_default();
        let len = line.len() - LINE_OVERHEAD;
        if insert {
            self.table.insert(line, name_len, name, fault);
        }
        if admit(into, len, limits)? {
            place(into, start, name_len, name, fault);
        } else {
            into.bytes.truncate(start);
        }
        Ok(at)
    }

    /// Appends the name of a literal field.
    fn name(
        &self,
        index: usize,
        block: &[u8],
        at: usize,
        into: &mut Section,
    ) -> Result<(Name, usize), HpackError> {
        if index == 0 {
            let start = into.bytes.len();
            let at = string(block, at, &mut into.bytes)?;
            return Ok((Name::of(into.bytes.get(start..).unwrap_or_default()), at));
        }
        let (line, len, name) = match index.checked_sub(fixed::ROWS.len() + 1) {
            Some(place) => {
                let entry = self.table.entries.get(place).ok_or(HpackError::Index)?;
                let len = entry.name_len as usize;
                (self.table.lines.get(entry.place, len), len, entry.name)
            }
            None => {
                let row = fixed::ROWS.get(index - 1).ok_or(HpackError::Index)?;
                (row.line, row.name_len, row.name)
            }
        };
        into.bytes.extend_from_slice(line.get(..len).unwrap_or_default());
        Ok((name, at))
    }
}

/// Appends the string of the block at `at` (RFC 7541 §5.2). Gives the place behind it.
fn string(block: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, HpackError> {
    let coded = block.get(at).is_some_and(|first| first & 0x80 != 0);
    let (len, at) = integer(block, at, 7)?;
    let text = block.get(at..at + len).ok_or(HpackError::Cut)?;
    if coded {
        huffman::decode(text, out).ok_or(HpackError::Huffman)?;
    } else {
        out.extend_from_slice(text);
    }
    Ok(at + len)
}

fn value_fault(known: Known, value: &[u8]) -> Option<SectionFault> {
    if !bytes::is_value_text(value) {
        return Some(SectionFault::ValueControl);
    }
    if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
        return Some(SectionFault::ValueSpace);
    }
    (known == Known::Te && !value.eq_ignore_ascii_case(b"trailers")).then_some(SectionFault::Te)
}

/// Counts a field with `len` bytes of name and value. True where it is to be stored.
#[inline]
fn admit(into: &mut Section, len: usize, limits: &SectionLimits) -> Result<bool, HpackError> {
    into.size += len + ENTRY_OVERHEAD;
    into.count += 1;
    if into.size <= limits.bytes && into.count <= limits.fields {
        return Ok(true);
    }
    passed(into, limits)
}

#[cold]
fn passed(into: &mut Section, limits: &SectionLimits) -> Result<bool, HpackError> {
    if into.size > limits.bytes.saturating_mul(2) || into.count > limits.fields.saturating_mul(2) {
        return Err(HpackError::Flood);
    }
    let large = into.size > limits.bytes;
    into.accuse(if large { SectionFault::TooLarge } else { SectionFault::TooMany });
    Ok(false)
}

/// Makes the line from `start` on, which ends the arena, a field of the section.
#[inline]
fn place(
    into: &mut Section,
    start: usize,
    name_len: usize,
    name: Name,
    fault: Option<SectionFault>,
) {
    if let Some(fault) = fault {
        into.accuse(fault);
        return;
    }
    let end = into.bytes.len();
    let value = Span::new(start + name_len + 2, end - 2);
    if name.kind != Kind::Ordinary {
        pseudo(into, name.kind, value);
        return;
    }
    into.fields.push(Field {
        name: Span::new(start, start + name_len),
        value,
        line: Span::new(start, end),
        known: name.known,
        canonical: true,
        odd_name: name.odd,
        hop: false,
    });
}

fn pseudo(into: &mut Section, kind: Kind, value: Span) {
    let slot = match kind {
        Kind::Method => &mut into.pseudo.method,
        Kind::Scheme => &mut into.pseudo.scheme,
        Kind::Authority => &mut into.pseudo.authority,
        Kind::Path => &mut into.pseudo.path,
        Kind::Protocol => &mut into.pseudo.protocol,
        Kind::Status | Kind::Ordinary => &mut into.pseudo.status,
    };
    let repeated = slot.replace(value).is_some();
    if repeated {
        into.accuse(SectionFault::PseudoRepeated);
    }
    if !into.fields.is_empty() {
        into.accuse(SectionFault::PseudoLate);
    }
}
