//! Captures packets with their verdicts, as the programs leave them: what came in and is passed,
//! what was encapsulated and is sent, what is dropped.
//!
//! Every program ends through a slot of a tap (one for each action), which is empty unless somebody
//! captures. A capture fills the slots and empties them when it ends, also by an error or a panic;
//! after a death the next capture or [`sweep`] does so. Packets are not held up by it, and lost for
//! the capture alone where they come faster than they are written.

pub mod pcapng;

use crate::counters::reason_of;
use crate::layout::possible_cpus;
use crate::pins::{Home, Lock, PinError, lock_folder};
use crate::sys::bpf;
use crate::sys::perf::{Record, Ring};
use packet_abi::maps;
use packet_abi::net::{ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_LEN, VLAN_LEN};
use packet_abi::tables::Seen;
use packet_abi::verdict::{Kind, Reason};
use pcapng::{Hook, Packet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Octets of a frame that the taps hand over.
pub const SNAP_MAX: usize = 2048;
/// How often a capture without packets looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Octets of the verdict before a frame.
const SEEN_LEN: usize = size_of::<Seen>();

/// Why nothing was captured, or no more.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Pins.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Another capture runs.
    #[error("another capture runs; wait for its end, or stop it")]
    Busy,
    /// The kernel gave no ring.
    #[error("the kernel gave no ring for packets of CPU {cpu}")]
    Ring {
        /// The CPU.
        cpu: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tap could not be filled.
    #[error("the kernel did not let the programs be tapped")]
    Tap(#[source] io::Error),
    /// The CPUs cannot be counted.
    #[error("the CPUs of this host cannot be counted (/sys/devices/system/cpu/possible)")]
    Cpus(#[source] io::Error),
    /// Waiting failed.
    #[error("waiting for packets failed")]
    Wait(#[source] io::Error),
    /// The file could not be written.
    #[error("the captured packets could not be written")]
    Write(#[source] io::Error),
}

/// What to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Octets of a frame to keep, at most [`SNAP_MAX`].
    pub snap: usize,
    /// Packets after which to stop.
    pub packets_max: Option<u64>,
    /// Time after which to stop.
    pub time_max: Option<Duration>,
    /// Reasons to keep; all where empty.
    pub reasons: Vec<Reason>,
    /// Kinds of verdicts to keep; all where empty.
    pub kinds: Vec<Kind>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            snap: SNAP_MAX,
            packets_max: None,
            time_max: None,
            reasons: Vec::new(),
            kinds: Vec::new(),
        }
    }
}

impl Options {
    fn wants(&self, reason: Option<Reason>) -> bool {
        let kind = reason.map(Reason::kind);
        let listed = reason.is_some_and(|reason| self.reasons.contains(&reason));
        let of_kind = kind.is_some_and(|kind| self.kinds.contains(&kind));
        (self.reasons.is_empty() || listed) && (self.kinds.is_empty() || of_kind)
    }
}

/// What a capture saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets written.
    pub written: u64,
    /// Packets that were not wanted.
    pub passed_over: u64,
    /// Packets that had no room in the rings.
    pub lost: u64,
}

/// Captures packets to `out` in pcapng until a limit of `options` is reached or `stop` is set.
///
/// # Errors
/// [`CaptureError`]. What was written before stays readable.
pub fn capture(
    home: &Home,
    options: &Options,
    out: &mut impl Write,
    stop: &AtomicBool,
) -> Result<Summary, CaptureError> {
    let lock = lock(home)?;
    let captured = home.open(maps::CAPTURED)?;
    let mut rings = rings(captured.as_fd())?;
    let snap = options.snap.clamp(1, SNAP_MAX);
    pcapng::head(out, snap as u32).map_err(CaptureError::Write)?;
    let tap = Tap::fill(home, &lock)?;
    let end = options.time_max.map(|time| Instant::now() + time);
    let mut summary = Summary::default();
    let done = |summary: &Summary| {
        stop.load(Ordering::Relaxed)
            || options.packets_max.is_some_and(|max| summary.written >= max)
            || end.is_some_and(|end| Instant::now() >= end)
    };
    while !done(&summary) {
        wait(&rings)?;
        for ring in &mut rings {
            while let Some(record) = ring.take() {
                take(&record, options, snap, out, &mut summary).map_err(CaptureError::Write)?;
                if done(&summary) {
                    break;
                }
            }
        }
    }
    drop(tap);
    out.flush().map_err(CaptureError::Write)?;
    Ok(summary)
}

/// Empties the taps if no capture runs: one that was killed leaves them filled, which costs every
/// packet some time. Gives whether there was something to empty.
///
/// Taps that are empty are only looked at: the lock stays free for whoever begins a capture.
///
/// # Errors
/// [`CaptureError`]; none where a capture runs.
pub fn sweep(home: &Home) -> Result<bool, CaptureError> {
    let found = [(maps::TAP, maps::TAP_LEN), (maps::TAP_TC, maps::TAP_TC_LEN)];
    let mut filled = false;
    for (name, len) in found {
        let map = home.open(name)?;
        for slot in 0..len {
            filled |= bpf::slot_id(map.as_fd(), slot).map_err(CaptureError::Tap)?.is_some();
        }
    }
    if !filled {
        return Ok(false);
    }
    match lock(home) {
        Ok(lock) => drop(Tap::of(home, &lock)?),
        Err(CaptureError::Busy) => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// Captures have a lock of their own: the daemon holds the other.
fn lock(home: &Home) -> Result<Lock, CaptureError> {
    let folder = home.path().join("links");
    if !folder.is_dir() {
        return Err(PinError::Absent { path: home.path().to_owned() }.into());
    }
    lock_folder(&folder).map_err(|error| match error {
        PinError::Locked { .. } => CaptureError::Busy,
        error => error.into(),
    })
}

/// A ring for every CPU that is there. The kernel empties their slots when `captured` is closed.
fn rings(captured: BorrowedFd<'_>) -> Result<Vec<Ring>, CaptureError> {
    let mut rings = Vec::new();
    for cpu in possible_cpus().map_err(CaptureError::Cpus)? {
        let ring = match Ring::new(cpu) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => continue,
            other => other.map_err(|source| CaptureError::Ring { cpu, source })?,
        };
        bpf::store_fd(captured, cpu, ring.as_fd())
            .map_err(|source| CaptureError::Ring { cpu, source })?;
        rings.push(ring);
    }
    Ok(rings)
}

fn wait(rings: &[Ring]) -> Result<(), CaptureError> {
    let mut fds: Vec<PollFd<'_>> =
        rings.iter().map(|ring| PollFd::new(ring, PollFlags::IN)).collect();
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
    match poll(&mut fds, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(CaptureError::Wait(error.into())),
    }
}

/// Taps that are filled, or may be: emptied on drop.
struct Tap {
    xdp: OwnedFd,
    tc: OwnedFd,
}

impl Tap {
    fn of(home: &Home, _lock: &Lock) -> Result<Self, CaptureError> {
        Ok(Self { xdp: home.open(maps::TAP)?, tc: home.open(maps::TAP_TC)? })
    }

    fn fill(home: &Home, lock: &Lock) -> Result<Self, CaptureError> {
        let tap = Self::of(home, lock)?;
        let (xdp, tc) = (home.open("tap_xdp")?, home.open("tap_tc")?);
        let taps = [(&tap.xdp, maps::TAP_LEN, xdp), (&tap.tc, maps::TAP_TC_LEN, tc)];
        for (map, len, program) in taps {
            for slot in 0..len {
                bpf::store_fd(map.as_fd(), slot, program.as_fd()).map_err(CaptureError::Tap)?;
            }
        }
        Ok(tap)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        for (map, len) in [(&self.xdp, maps::TAP_LEN), (&self.tc, maps::TAP_TC_LEN)] {
            for slot in 0..len {
                // A slot that stays filled costs time and changes nothing; `sweep` tries again.
                let _ = bpf::empty_slot(map.as_fd(), slot);
            }
        }
    }
}

/// Writes a record if it is wanted.
fn take(
    record: &Record,
    options: &Options,
    snap: usize,
    out: &mut impl Write,
    summary: &mut Summary,
) -> io::Result<()> {
    let (time, octets) = match record {
        Record::Lost(lost) => {
            summary.lost += lost;
            return Ok(());
        }
        Record::Sample { time, octets } => (*time, octets.as_slice()),
    };
    let Some((seen, frame)) = octets.split_at_checked(SEEN_LEN) else { return Ok(()) };
    let number = |at: usize| {
        let octets = seen.get(at..at + 4).and_then(|octets| octets.try_into().ok());
        u32::from_ne_bytes(octets.unwrap_or_default())
    };
    let (reason, action) = (reason_of(number(0)), number(4));
    if !options.wants(reason) {
        summary.passed_over += 1;
        return Ok(());
    }
    let length = length_of(frame);
    let kept = frame.get(..length.min(snap).min(frame.len())).unwrap_or_default();
    let hook = reason.map_or(Hook::Xdp, hook_of);
    let length = length as u32;
    let packet = Packet { time, hook, action, reason, octets: kept, length };
    pcapng::packet(out, &packet)?;
    summary.written += 1;
    Ok(())
}

/// Octets of the frame whose start this is. The ring fills samples up with zeros, and taps cut
/// frames: the IP header tells how long one was.
fn length_of(frame: &[u8]) -> usize {
    let word = |at: usize| {
        let octets = frame.get(at..at + 2).and_then(|octets| octets.try_into().ok());
        octets.map(u16::from_be_bytes)
    };
    let mut l3 = ETHERNET_LEN;
    while matches!(word(l3 - 2), Some(0x8100 | 0x88a8)) && l3 < ETHERNET_LEN + 2 * VLAN_LEN {
        l3 += VLAN_LEN;
    }
    match (word(l3 - 2), word(l3 + 2), word(l3 + 4)) {
        (Some(ETHERTYPE_IPV4), Some(length), _) if length > 0 => l3 + usize::from(length),
        (Some(ETHERTYPE_IPV6), _, Some(length)) => l3 + IPV6_LEN + usize::from(length),
        _ => frame.len(),
    }
}

/// The program that gives a reason. Both say that there is no generation; the director sees more
/// packets.
fn hook_of(reason: Reason) -> Hook {
    let word = reason.word();
    let tunnel = ["tunnel_", "gue_", "inner_", "outer_"].iter().any(|part| word.starts_with(part));
    let others =
        [Reason::NotTunnel, Reason::HopIsSelf, Reason::DecapsulationFailed, Reason::ForwardFailed];
    if tunnel || others.contains(&reason) { Hook::Tc } else { Hook::Xdp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_long_as_its_ip_header_says() {
        let v4 = |tags: usize| {
            let mut frame = vec![0; 12];
            frame.extend([0x81, 0x00, 0, 1].repeat(tags));
            frame.extend([8, 0, 0x45, 0, 0, 100]);
            frame.resize(frame.len() + 40, 0);
            frame
        };
        assert_eq!(length_of(&v4(0)), 114);
        assert_eq!(length_of(&v4(2)), 122);
        let mut v6 = vec![0; 12];
        v6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 17, 64]);
        assert_eq!(length_of(&v6), 14 + 40 + 20);
        let mut arp = vec![0; 46];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(length_of(&arp), 46);
        for len in 0..20 {
            assert_eq!(length_of(&vec![0; len]), len);
        }
    }

    #[test]
    fn wanted_is_what_every_filter_lets_through() {
        let mut options = Options::default();
        assert!(options.wants(Some(Reason::NotVip)) && options.wants(None));
        options.kinds = vec![Kind::Drop];
        assert!(options.wants(Some(Reason::GueHops)) && !options.wants(Some(Reason::NotVip)));
        options.reasons = vec![Reason::GueFlags];
        assert!(options.wants(Some(Reason::GueFlags)) && !options.wants(Some(Reason::GueHops)));
        assert!(!options.wants(None));
    }
}
