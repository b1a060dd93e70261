//! A case of the corpus and its text form: a line of name, idea, number of requests that the
//! origin must get, and what the client sends.

pub(crate) mod frames;

use frames::Part;
use std::fmt::Write;

/// What a client does, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits until a reply has begun, be it an interim one.
    Await,
}

/// One connection of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Unique: theme, then what differs.
    pub(crate) name: String,
    /// Row of the recipes in `framing`, section of an RFC, or both.
    pub(crate) idea: String,
    /// Whole requests that the origin must get: neither fewer nor more.
    pub(crate) forwards: usize,
    pub(crate) does: Does,
}

/// What the client of a case does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// HTTP/1.
    Bytes(Vec<Step>),
    /// HTTP/2; the preface goes before.
    Frames(Vec<Part>),
}

/// Stands before frames in the last column.
const FRAMES: &str = "h2: ";

impl Case {
    /// The line of the corpus.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{}\t{}\t{}\t", self.name, self.idea, self.forwards);
        match &self.does {
            Does::Bytes(steps) => {
                for step in steps {
                    match step {
                        Step::Send(bytes) => escape(bytes, b"", &mut line),
                        Step::Await => line.push_str("\\w"),
                    }
                }
            }
            Does::Frames(parts) => {
                line.push_str(FRAMES);
                line.push_str(&frames::write(parts));
            }
        }
        line
    }

    /// Reads a line of the corpus.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let parts: Vec<&str> = line.splitn(4, '\t').collect();
        let [name, idea, forwards, text] = parts[..] else {
            return Err(format!("not four columns: {line:?}"));
        };
        let forwards = forwards.parse().map_err(|_| format!("number in {line:?}"))?;
        let does = match text.strip_prefix(FRAMES) {
            Some(text) => frames::read(text).map(Does::Frames),
            None => steps(text).map(Does::Bytes),
        };
        let does = does.ok_or_else(|| format!("escape in {line:?}"))?;
        Ok(Self { name: name.into(), idea: idea.into(), forwards, does })
    }
}

/// From this length on a run of one byte is written as `\(length*byte)`.
const RUN: usize = 24;

/// Writes bytes as text; those that are `special` as numbers.
fn escape(bytes: &[u8], special: &[u8], line: &mut String) {
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|&&b| b == first).count();
        let single = match first {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\\' => "\\\\".to_owned(),
            0x20..0x7f if !special.contains(&first) => char::from(first).to_string(),
            _ => format!("\\x{first:02x}"),
        };
        if run >= RUN {
            write!(line, "\\({run}*{single})").expect("a string takes everything");
            rest = &rest[run..];
        } else {
            line.push_str(&single);
            rest = &rest[1..];
        }
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for (n, part) in text.split("\\w").enumerate() {
        if n > 0 {
            steps.push(Step::Await);
        }
        if !part.is_empty() {
            steps.push(Step::Send(unescape(part)?));
        }
    }
    Some(steps)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(b"\\(") {
            let star = behind.iter().position(|&b| b == b'*')?;
            let run: usize = std::str::from_utf8(&behind[..star]).ok()?.parse().ok()?;
            let (byte, behind) = one(&behind[star + 1..])?;
            bytes.extend(std::iter::repeat_n(byte, run));
            rest = behind.strip_prefix(b")")?;
        } else {
            let (byte, behind) = one(rest)?;
            bytes.push(byte);
            rest = behind;
        }
    }
    Some(bytes)
}

/// One byte off the front of `text`.
fn one(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', b'x', high, low, rest @ ..] => {
            let digits = [*high, *low];
            let value = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
            Some((value, rest))
        }
        [b'\\', b'r', rest @ ..] => Some((b'\r', rest)),
        [b'\\', b'n', rest @ ..] => Some((b'\n', rest)),
        [b'\\', b't', rest @ ..] => Some((b'\t', rest)),
        [b'\\', b'\\', rest @ ..] => Some((b'\\', rest)),
        [b'\\', ..] | [] => None,
        [plain, rest @ ..] => Some((*plain, rest)),
    }
}
