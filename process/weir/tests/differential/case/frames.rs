//! HTTP/2 in cases: heads as lists of fields, so that a line can be read, and their text form.
//! `H1.{:method=GET}` is HEADERS on stream 1 that ends it, `H1{…}` one that does not, `D1.hello`
//! DATA, `R1=8` RST_STREAM with its code, and `W` waits for the replies to all ended streams.

use super::{escape, unescape};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;

/// One frame, or a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Head { stream: u32, ends: bool, fields: Vec<Field> },
    Data { stream: u32, ends: bool, bytes: Vec<u8> },
    Reset { stream: u32, code: u32 },
    Await,
}

/// A field as HPACK carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A literal that stays out of the table.
    Plain(Vec<u8>, Vec<u8>),
    /// A literal that goes into the table.
    Kept(Vec<u8>, Vec<u8>),
    /// An entry of the table.
    Entry(usize),
}

impl Part {
    /// The frame; nothing for a pause.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Head { stream, ends, fields } => {
                let block = fields.iter().fold(Block::new(), |block, field| match field {
                    Field::Plain(name, value) => block.field(name, value),
                    Field::Kept(name, value) => block.indexed_field(name, value),
                    Field::Entry(index) => block.index(*index),
                });
                if block.0.is_empty() {
                    return frame::headers(*stream, &[], *ends);
                }
                frame::headers_cut(*stream, &block.0, *ends)
            }
            Self::Data { stream, ends, bytes } => frame::data(*stream, bytes, *ends),
            Self::Reset { stream, code } => frame::reset(*stream, *code),
            Self::Await => Vec::new(),
        }
    }
}

/// Bytes that the text form uses itself.
const SPECIAL: &[u8] = b"{}=+# ";

pub(super) fn write(parts: &[Part]) -> String {
    let texts = parts.iter().map(|part| {
        let mut text = String::new();
        let end = |ends: bool| if ends { "." } else { "" };
        match part {
            Part::Head { stream, ends, fields } => {
                text.push_str(&format!("H{stream}{}", end(*ends)));
                for field in fields {
                    text.push('{');
                    match field {
                        Field::Plain(name, value) => pair(name, value, &mut text),
                        Field::Kept(name, value) => {
                            text.push('+');
                            pair(name, value, &mut text);
                        }
                        Field::Entry(index) => text.push_str(&format!("#{index}")),
                    }
                    text.push('}');
                }
            }
            Part::Data { stream, ends, bytes } => {
                text.push_str(&format!("D{stream}{}:", end(*ends)));
                escape(bytes, SPECIAL, &mut text);
            }
            Part::Reset { stream, code } => text.push_str(&format!("R{stream}={code}")),
            Part::Await => text.push('W'),
        }
        text
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn pair(name: &[u8], value: &[u8], text: &mut String) {
    escape(name, SPECIAL, text);
    text.push('=');
    escape(value, SPECIAL, text);
}

pub(super) fn read(text: &str) -> Option<Vec<Part>> {
    text.split(' ').map(part).collect()
}

fn part(text: &str) -> Option<Part> {
    let stream = |text: &str| {
        let (number, ends) = text.strip_suffix('.').map_or((text, false), |rest| (rest, true));
        Some((number.parse::<u32>().ok()?, ends))
    };
    match text.split_at_checked(1)? {
        ("H", rest) => {
            let (number, list) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            let (stream, ends) = stream(number)?;
            let fields = list.split_terminator('}').map(field).collect::<Option<_>>()?;
            Some(Part::Head { stream, ends, fields })
        }
        ("D", rest) => {
            let (number, bytes) = rest.split_once(':')?;
            let (stream, ends) = stream(number)?;
            Some(Part::Data { stream, ends, bytes: unescape(bytes)? })
        }
        ("R", rest) => {
            let (stream, code) = rest.split_once('=')?;
            Some(Part::Reset { stream: stream.parse().ok()?, code: code.parse().ok()? })
        }
        ("W", "") => Some(Part::Await),
        _ => None,
    }
}

fn field(text: &str) -> Option<Field> {
    let text = text.strip_prefix('{')?;
    if let Some(index) = text.strip_prefix('#') {
        return index.parse().ok().map(Field::Entry);
    }
    let kept = text.strip_prefix('+');
    let (name, value) = kept.unwrap_or(text).split_once('=')?;
    let (name, value) = (unescape(name)?, unescape(value)?);
    Some(if kept.is_some() { Field::Kept(name, value) } else { Field::Plain(name, value) })
}
