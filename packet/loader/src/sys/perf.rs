//! Rings of events that programs fill and this process reads, one for each CPU
//! (perf_event_open(2)).

#![expect(unsafe_code, reason = "memory that the kernel shares")]

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Pages of a ring, a power of two: 2 MiB, which is a thousand captured packets of full size.
const PAGES: usize = 512;
const SOFTWARE: u32 = 1;
const BPF_OUTPUT: u64 = 10;
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_RAW: u64 = 1 << 10;
/// `use_clockid`.
const CLOCK_GIVEN: u64 = 1 << 25;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// Where the kernel's place and ours stand in the first page (`struct perf_event_mmap_page`).
const HEAD_AT: usize = 1024;
const TAIL_AT: usize = 1032;

/// The ring of one CPU.
#[derive(Debug)]
pub struct Ring {
    fd: OwnedFd,
    memory: NonNull<u8>,
    page: usize,
}

/// What lies in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What a program put there. The kernel fills it up with zeros to four octets past a multiple
    /// of eight.
    Sample {
        /// Nanoseconds since 1970.
        time: u64,
        /// Its octets.
        octets: Vec<u8>,
    },
    /// So many samples had no room.
    Lost(u64),
}

impl Ring {
    /// Makes the ring of a CPU.
    ///
    /// # Errors
    /// What the kernel said; `ENODEV` for a CPU that is off.
    pub fn new(cpu: u32) -> io::Result<Self> {
        /// `struct perf_event_attr` of version 3.
        #[repr(C)]
        #[derive(Default)]
        struct Attributes {
            kind: u32,
            size: u32,
            config: u64,
            period: u64,
            sample: u64,
            format: u64,
            flags: u64,
            wakeup: u32,
            rest: [u32; 10],
            clock: i32,
        }
        const CLOCK_AT: usize = std::mem::offset_of!(Attributes, clock);
        const { assert!(size_of::<Attributes>() == 96 && CLOCK_AT == 92) };
        let attributes = Attributes {
            kind: SOFTWARE,
            size: size_of::<Attributes>() as u32,
            config: BPF_OUTPUT,
            period: 1,
            sample: SAMPLE_TIME | SAMPLE_RAW,
            flags: CLOCK_GIVEN,
            wakeup: 1,
            clock: libc::CLOCK_REALTIME,
            ..Attributes::default()
        };
        let (any_process, no_group, close_on_exec) = (-1, -1, 1 << 3);
        // SAFETY: the attributes have the size they tell and live until the call returns.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                any_process,
                cpu as i32,
                no_group,
                close_on_exec,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel gave this descriptor to us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Self::map(fd)
    }

    fn map(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| io::ErrorKind::Unsupported)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so that no memory in use is replaced.
        let memory = unsafe {
            let (anywhere, len) = (std::ptr::null_mut(), (PAGES + 1) * page);
            libc::mmap(anywhere, len, access, libc::MAP_SHARED, fd.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { fd, memory, page })
    }

    fn place(&self, at: usize) -> &AtomicU64 {
        // SAFETY: an aligned word of the first page, which is mapped as long as `self` lives.
        unsafe { self.memory.as_ptr().add(at).cast::<AtomicU64>().as_ref_unchecked() }
    }

    /// Copies `len` octets from a place of the ring, which may go round its end.
    fn copy(&self, from: u64, len: usize) -> Vec<u8> {
        let size = PAGES * self.page;
        let start = from as usize % size;
        let first = len.min(size - start);
        let mut octets = vec![0; len];
        let data = self.memory.as_ptr().wrapping_add(self.page);
        // SAFETY: both parts lie within the mapped ring, and the kernel writes nothing between our
        // place and its own.
        unsafe {
            let to = octets.as_mut_ptr();
            std::ptr::copy_nonoverlapping(data.add(start), to, first);
            std::ptr::copy_nonoverlapping(data, to.add(first), len - first);
        }
        octets
    }

    /// The next record, if there is one.
    pub fn take(&mut self) -> Option<Record> {
        let head = self.place(HEAD_AT).load(Ordering::Acquire);
        let mut tail = self.place(TAIL_AT).load(Ordering::Relaxed);
        while tail < head {
            let header = self.copy(tail, 8);
            let kind = u32::from_ne_bytes(header.get(..4)?.try_into().ok()?);
            let len = usize::from(u16::from_ne_bytes(header.get(6..8)?.try_into().ok()?));
            if len < 8 {
                // The kernel writes no such record; going on would never end.
                tail = head;
                break;
            }
            let body = self.copy(tail + 8, len - 8);
            tail += len as u64;
            let record = record(kind, &body);
            if record.is_some() {
                self.place(TAIL_AT).store(tail, Ordering::Release);
                return record;
            }
        }
        self.place(TAIL_AT).store(tail, Ordering::Release);
        None
    }
}

fn record(kind: u32, body: &[u8]) -> Option<Record> {
    let word = |at: usize| Some(u64::from_ne_bytes(body.get(at..at + 8)?.try_into().ok()?));
    match kind {
        RECORD_SAMPLE => {
            let len = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?) as usize;
            let octets = body.get(12..12 + len)?.to_vec();
            Some(Record::Sample { time: word(0)?, octets })
        }
        RECORD_LOST => Some(Record::Lost(word(8)?)),
        _ => None,
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this very range was mapped by `map`, and no reference to it outlives `self`.
        let _ = unsafe { libc::munmap(self.memory.as_ptr().cast(), (PAGES + 1) * self.page) };
    }
}
