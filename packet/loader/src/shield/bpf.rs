//! Maps, loading and test runs as the shield uses them, with errors that name what failed. The
//! calls themselves are in `sys`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::layout::possible_cpus;
use crate::sys::bpf::{self, Code, Shape, place, program};
use crate::sys::mapped::Mapped;

/// A command of bpf(2) that failed.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// A map that could not be made.
    #[error("the kernel refused the map {name} ({octets} octets of values)")]
    Map {
        /// Its name.
        name: &'static str,
        /// Entries times size.
        octets: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry that could not be read or written.
    #[error("the kernel refused to {what} an entry of the map {name}")]
    Entry {
        /// Read, write or remove.
        what: &'static str,
        /// The map.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program that was refused.
    #[error("the kernel refused a program of {instructions} instructions; it says:\n{log}")]
    Program {
        /// Its length.
        instructions: usize,
        /// The end of the verifier's log.
        log: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A test run that failed.
    #[error("the kernel could not run a program on a test frame of {octets} octets")]
    Run {
        /// The frame.
        octets: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The list of CPUs could not be read.
    #[error("/sys/devices/system/cpu/possible does not say how many CPUs there can be")]
    Cpus(#[source] io::Error),
}

/// Kinds of maps, as the kernel numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// An array.
    Array = bpf::kind::ARRAY,
    /// Programs.
    Programs = bpf::kind::PROG_ARRAY,
    /// An array for each CPU.
    PerCpuArray = bpf::kind::PERCPU_ARRAY,
    /// A hash that forgets what was used least recently.
    LruHash = bpf::kind::LRU_HASH,
    /// A ring buffer.
    Ring = bpf::kind::RINGBUF,
}

/// Octets at the end of the verifier's log that an error carries.
const LOG_TAIL_MAX: usize = 4096;

/// A map of the kernel.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    name: &'static str,
    kind: Kind,
    value: u32,
}

impl Map {
    /// Makes a map. `entries` is octets for a ring.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(
        name: &'static str,
        kind: Kind,
        key: u32,
        value: u32,
        entries: u32,
    ) -> Result<Self, BpfError> {
        Self::with(name, Shape { kind: kind as u32, key, value, entries, flags: 0 }, kind)
    }

    /// An array of one value that [`Shared`] can show.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn shared(name: &'static str, value: u32) -> Result<Self, BpfError> {
        let (kind, flags) = (bpf::kind::ARRAY, bpf::MMAPABLE);
        Self::with(name, Shape { kind, key: 4, value, entries: 1, flags }, Kind::Array)
    }

    fn with(name: &'static str, shape: Shape, kind: Kind) -> Result<Self, BpfError> {
        let octets = u64::from(shape.entries) * u64::from(shape.value.max(1));
        let fd = bpf::create_map(name, shape, None);
        let fd = fd.map_err(|source| BpfError::Map { name, octets, source })?;
        Ok(Self { fd, name, kind, value: shape.value })
    }

    /// A map that exists, by its descriptor; `value` is the size of its values.
    #[must_use]
    pub fn adopt(fd: OwnedFd, name: &'static str, kind: Kind, value: u32) -> Self {
        Self { fd, name, kind, value }
    }

    /// Its descriptor alone.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Writes an entry: for a map per CPU, every possible CPU's value one after the other.
    ///
    /// # Errors
    /// When the size is not the map's, or the kernel refuses.
    pub fn write(&self, key: u32, value: &[u8]) -> Result<(), BpfError> {
        let fits = value.len() == self.value_octets()?;
        let wrong = io::ErrorKind::InvalidInput;
        let done = if fits { bpf::update(self.as_fd(), key, value) } else { Err(wrong.into()) };
        done.map_err(|source| self.failed("write", source))
    }

    /// Puts a program into a slot.
    ///
    /// # Errors
    /// When the kernel refuses: the programs of one array must be alike.
    pub fn put(&self, slot: u32, program: BorrowedFd<'_>) -> Result<(), BpfError> {
        let done = bpf::store_fd(self.as_fd(), slot, program);
        done.map_err(|source| self.failed("write", source))
    }

    /// Empties a slot; an empty one stays so.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn clear(&self, slot: u32) -> Result<(), BpfError> {
        let done = bpf::empty_slot(self.as_fd(), slot);
        done.map_err(|source| self.failed("remove", source))
    }

    /// Reads an entry: every possible CPU's value one after the other, for a map per CPU.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn read(&self, key: u32) -> Result<Vec<u8>, BpfError> {
        let mut value = vec![0_u8; self.value_octets()?];
        let done = bpf::look_up(self.as_fd(), key, &mut value);
        done.map_err(|source| self.failed("read", source))?;
        Ok(value)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> BpfError {
        BpfError::Entry { what, name: self.name, source }
    }

    /// Octets of an entry as user space sees it.
    fn value_octets(&self) -> Result<usize, BpfError> {
        let value = self.value as usize;
        Ok(match self.kind {
            Kind::PerCpuArray => value.next_multiple_of(8) * cpus()?,
            _ => value,
        })
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// CPUs that the kernel could bring up: how many values an entry per CPU has.
///
/// # Errors
/// When sysfs does not say.
pub fn cpus() -> Result<usize, BpfError> {
    possible_cpus().map(|cpus| cpus.len()).map_err(BpfError::Cpus)
}

/// What a program asks of the kernel beside its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Asks {
    /// It takes frames of several pages.
    pub frags: bool,
    /// It calls helpers that the kernel keeps for programs under the GPL. It is then given under
    /// the same terms as the programs of packet/ebpf.
    pub gpl_helpers: bool,
}

/// Loads an XDP program.
///
/// # Errors
/// When the verifier refuses it: the error carries its last words.
pub fn load(name: &str, code: &[u64], asks: Asks) -> Result<OwnedFd, BpfError> {
    let octets: Vec<u8> = code.iter().flat_map(|instruction| instruction.to_ne_bytes()).collect();
    let code = Code {
        name,
        kind: program::XDP,
        place: place::XDP,
        flags: if asks.frags { bpf::XDP_HAS_FRAGS } else { 0 },
        license: if asks.gpl_helpers { c"Dual MIT/GPL" } else { c"Apache-2.0" },
        instructions: &octets,
    };
    bpf::load(code).map_err(|refusal| {
        let mut start = refusal.log.len().saturating_sub(LOG_TAIL_MAX);
        while !refusal.log.is_char_boundary(start) {
            start += 1;
        }
        let log = refusal.log.get(start..).unwrap_or_default().to_owned();
        BpfError::Program { instructions: octets.len() / 8, log, source: refusal.error }
    })
}

/// What a test run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The program's result: an action of XDP.
    pub action: u32,
    /// Mean nanoseconds of a run, as the kernel measured them.
    pub nanoseconds: u32,
}

/// Runs a program `repeat` times on a frame that came in by `interface`; 0 for none in particular.
///
/// # Errors
/// When the kernel refuses, as for frames below 14 octets.
pub fn run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    repeat: u32,
    interface: u32,
) -> Result<Ran, BpfError> {
    let outcome = match interface {
        0 => bpf::test_run(program, frame, repeat),
        interface => bpf::test_run_from(program, frame, repeat, interface),
    };
    let outcome = outcome.map_err(|source| BpfError::Run { octets: frame.len(), source })?;
    Ok(Ran { action: outcome.returned, nanoseconds: outcome.nanoseconds })
}

/// The words of a map's one value, shared with the kernel.
#[derive(Debug)]
pub struct Shared(Mapped);

impl Shared {
    /// Maps an array made by [`Map::shared`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(map: &Map) -> Result<Self, BpfError> {
        let mapped = map.fd.try_clone().and_then(|fd| Mapped::new(fd, 1));
        mapped.map(Self).map_err(|source| map.failed("map", source))
    }

    /// A word; 0 past the end.
    #[must_use]
    pub fn get(&self, at: usize) -> u64 {
        self.0.words().get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Sets a word; past the end nothing happens.
    pub fn set(&self, at: usize, word: u64) {
        if let Some(place) = self.0.words().get(at) {
            place.store(word, Ordering::Relaxed);
        }
    }
}
