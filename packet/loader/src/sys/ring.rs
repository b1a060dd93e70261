//! A ring buffer of the kernel, read by this process: one page that says how far it has read, one
//! that says how far the kernel has written, and the data twice in a row, so that no record is cut.

#![expect(unsafe_code, reason = "memory that the kernel shares")]

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::bpf::{self, kind};

/// A record that the kernel is still writing.
const BUSY: u32 = 1 << 31;
/// A record that was given up.
const DISCARDED: u32 = 1 << 30;
/// Octets before each record: its length with the two bits, and what the kernel keeps.
const HEADER: u64 = 8;

/// A ring, mapped. Of all readers of one map only one may take records.
#[derive(Debug)]
pub struct Ring {
    _fd: OwnedFd,
    read: NonNull<u8>,
    written: NonNull<u8>,
    page: usize,
    len: usize,
}

// SAFETY: the memory belongs to the value; positions and headers are reached by atomic operations,
// and records between them are written by nobody until they are given back.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring.
    ///
    /// # Errors
    /// `InvalidInput` for a map that is no ring, else what the kernel said.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let shape = bpf::map_info(fd.as_fd())?.shape;
        if shape.kind != kind::RINGBUF {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (page, len) = (page_len()?, shape.entries as usize);
        let read = map(&fd, page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let written = match map(&fd, page + 2 * len, libc::PROT_READ, page) {
            Ok(written) => written,
            Err(error) => {
                unmap(read, page);
                return Err(error);
            }
        };
        Ok(Self { _fd: fd, read, written, page, len })
    }

    /// Hands each record that is there to `each`, oldest first, and gives its room back. Gives how
    /// many there were; at most a ring's worth.
    pub fn take(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        // SAFETY: both pages begin with a position, aligned, and live as long as `self`.
        let (read, written) = unsafe {
            (self.read.cast::<AtomicU64>().as_ref(), self.written.cast::<AtomicU64>().as_ref())
        };
        let (mut at, end) = (read.load(Ordering::Relaxed), written.load(Ordering::Acquire));
        let mut records = 0;
        while at < end {
            let offset = self.page + (at % self.len as u64) as usize;
            // SAFETY: records start at multiples of eight below `len`, within the mapping.
            let header = unsafe { self.written.add(offset).cast::<AtomicU32>().as_ref() };
            let header = header.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !DISCARDED) as usize;
            if len > self.len {
                break;
            }
            if header & DISCARDED == 0 {
                // SAFETY: a record of at most `len` octets lies within the data, which is mapped
                // twice in a row; the kernel leaves it alone until `read` moves past it.
                let record = unsafe {
                    std::slice::from_raw_parts(self.written.add(offset + 8).as_ptr(), len)
                };
                each(record);
                records += 1;
            }
            at += HEADER + (len as u64).next_multiple_of(8);
            read.store(at, Ordering::Release);
        }
        records
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        unmap(self.read, self.page);
        unmap(self.written, self.page + 2 * self.len);
    }
}

fn page_len() -> io::Result<usize> {
    // SAFETY: takes a number and gives one.
    let len = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(len).map_err(|_| io::Error::last_os_error())
}

fn map(fd: &OwnedFd, len: usize, access: i32, offset: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: the kernel chooses the place, so that no memory in use is replaced.
    let memory = unsafe {
        let anywhere = std::ptr::null_mut();
        let offset = offset as libc::off_t;
        libc::mmap(anywhere, len, access, libc::MAP_SHARED, fd.as_raw_fd(), offset)
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory.cast()).ok_or(io::ErrorKind::AddrNotAvailable.into())
}

fn unmap(memory: NonNull<u8>, len: usize) {
    // SAFETY: mapped by `map` with this length, and not used after.
    unsafe { libc::munmap(memory.as_ptr().cast(), len) };
}
