//! Captured packets as a file for Wireshark and tcpdump (draft-ietf-opsawg-pcapng): a section,
//! an interface for each program, and an Enhanced Packet Block for each packet, with its verdict as
//! an option and in words.

use packet_abi::verdict::Reason;
use std::io::{self, Write};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const APPLICATION: u16 = 4;
const VERDICT: u16 = 7;
const RESOLUTION: u16 = 9;
const NANOSECONDS: u8 = 9;

/// The program that a packet came out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP: shield and director.
    Xdp = 0,
    /// TC: redirector.
    Tc = 1,
}

impl Hook {
    const NAMES: [&'static str; 2] = ["director", "redirector"];

    /// Its kind in the verdict option.
    const fn verdict_kind(self) -> u8 {
        match self {
            Self::Tc => 1,
            Self::Xdp => 2,
        }
    }
}

/// A packet as a program left it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The program.
    pub hook: Hook,
    /// What it returned.
    pub action: u32,
    /// Why; `None` for a reason of another build.
    pub reason: Option<Reason>,
    /// The frame, cut to what is kept.
    pub octets: &'a [u8],
    /// Octets of the whole frame.
    pub length: u32,
}

/// Writes the head of a file: the section and its interfaces.
///
/// # Errors
/// Those of `out`.
pub fn head(out: &mut impl Write, snap: u32) -> io::Result<()> {
    let mut body = Vec::new();
    body.extend(BYTE_ORDER.to_ne_bytes());
    body.extend([1_u16, 0].map(u16::to_ne_bytes).concat());
    // A length that is not told.
    body.extend(u64::MAX.to_ne_bytes());
    option(&mut body, APPLICATION, b"weir packet capture");
    option(&mut body, 0, &[]);
    block(out, SECTION, &body)?;
    for name in Hook::NAMES {
        let mut body = Vec::new();
        body.extend([ETHERNET, 0].map(u16::to_ne_bytes).concat());
        body.extend(snap.to_ne_bytes());
        option(&mut body, INTERFACE_NAME, name.as_bytes());
        option(&mut body, RESOLUTION, &[NANOSECONDS]);
        option(&mut body, 0, &[]);
        block(out, INTERFACE, &body)?;
    }
    Ok(())
}

/// Writes a packet.
///
/// # Errors
/// Those of `out`.
pub fn packet(out: &mut impl Write, packet: &Packet<'_>) -> io::Result<()> {
    let mut body = Vec::with_capacity(packet.octets.len() + 128);
    body.extend((packet.hook as u32).to_ne_bytes());
    body.extend(((packet.time >> 32) as u32).to_ne_bytes());
    body.extend((packet.time as u32).to_ne_bytes());
    body.extend((packet.octets.len() as u32).to_ne_bytes());
    body.extend(packet.length.to_ne_bytes());
    body.extend(packet.octets);
    pad(&mut body);
    if let Some(reason) = packet.reason {
        let comment = format!("{} {}: {}", reason.kind().word(), reason.word(), reason.says());
        option(&mut body, COMMENT, comment.as_bytes());
    }
    let mut verdict = vec![packet.hook.verdict_kind()];
    verdict.extend(u64::from(packet.action).to_ne_bytes());
    option(&mut body, VERDICT, &verdict);
    option(&mut body, 0, &[]);
    block(out, PACKET, &body)
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(kind.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    body.extend(value);
    pad(body);
}

/// A block: kind, length, body, length once more.
fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let len = (body.len() as u32 + 12).to_ne_bytes();
    out.write_all(&kind.to_ne_bytes())?;
    out.write_all(&len)?;
    out.write_all(body)?;
    out.write_all(&len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the blocks as a reader does: kinds and bodies.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let number = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap());
            let len = number(4) as usize;
            assert_eq!(len % 4, 0);
            assert_eq!(number(len - 4) as usize, len);
            found.push((number(0), file[8..len - 4].to_vec()));
            file = &file[len..];
        }
        found
    }

    #[test]
    fn a_file_is_a_section_two_interfaces_and_packets() {
        let mut file = Vec::new();
        head(&mut file, 96).unwrap();
        let frame = [7; 61];
        let one = Packet {
            time: 0x0123_4567_89ab_cdef,
            hook: Hook::Tc,
            action: 2,
            reason: Some(Reason::GueVersion),
            octets: &frame,
            length: 1500,
        };
        packet(&mut file, &one).unwrap();
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, INTERFACE, PACKET]);
        let body = &blocks[3].1;
        let numbers: Vec<u32> = body[..20]
            .chunks_exact(4)
            .map(|octets| u32::from_ne_bytes(octets.try_into().unwrap()))
            .collect();
        assert_eq!(numbers, [1, 0x0123_4567, 0x89ab_cdef, 61, 1500]);
        assert_eq!(body[20..84], [&frame[..], &[0; 3]].concat());
        let says = String::from_utf8_lossy(&body[84..]);
        assert!(says.contains("drop gue_version: a GUE version"), "{says}");
    }
}
