//! A table of the kernel as memory of this process. Programs read it while it is written, so that
//! every access is an atomic load or store of an aligned word.

#![expect(unsafe_code, reason = "memory that the kernel shares")]

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bpf::{self, MMAPABLE, MapInfo, kind};

/// A mapped array of one value. Its elements lie one behind the other.
#[derive(Debug)]
pub struct Mapped {
    fd: OwnedFd,
    info: MapInfo,
    memory: NonNull<AtomicU64>,
    words: usize,
    stride: usize,
}

// SAFETY: the memory belongs to the value, is unmapped on drop only, and is reached by atomic
// operations alone.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps an array of one value, in which elements of `stride` words each lie one behind the
    /// other.
    ///
    /// # Errors
    /// `InvalidInput` for a map that is no array with [`MMAPABLE`], or that such elements do not
    /// fill; else what the kernel said.
    pub fn new(fd: OwnedFd, stride: usize) -> io::Result<Self> {
        let info = bpf::map_info(fd.as_fd())?;
        let words = info.shape.value.div_ceil(8) as usize;
        let fits = info.shape.kind == kind::ARRAY
            && info.shape.flags & MMAPABLE != 0
            && info.shape.entries == 1
            && words.checked_rem(stride) == Some(0);
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so that no memory in use is replaced.
        let memory = unsafe {
            let anywhere = std::ptr::null_mut();
            libc::mmap(anywhere, words * 8, access, libc::MAP_SHARED, fd.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { fd, info, memory, words, stride })
    }

    /// All words of the array.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped, page-aligned, for as long as `self` lives; nobody
        // makes a plain reference to them.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.words) }
    }

    /// Words of an element.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.words / self.stride
    }

    /// Whether it has no elements. The kernel refuses such arrays.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words of `count` elements from `first` on; `None` past the end.
    #[must_use]
    pub fn range(&self, first: usize, count: usize) -> Option<&[AtomicU64]> {
        let from = first.checked_mul(self.stride())?;
        let to = from.checked_add(count.checked_mul(self.stride())?)?;
        self.words().get(from..to)
    }

    /// The words of one element.
    #[must_use]
    pub fn element<const WORDS: usize>(&self, index: usize) -> Option<[u64; WORDS]> {
        let words = self.range(index, 1)?;
        let mut element = [0; WORDS];
        for (to, from) in element.iter_mut().zip(words) {
            *to = from.load(Ordering::Relaxed);
        }
        Some(element)
    }

    /// What the kernel told of the map.
    #[must_use]
    pub const fn info(&self) -> &MapInfo {
        &self.info
    }
}

impl AsFd for Mapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this very range was mapped by `new`, and no reference to it outlives `self`. An
        // error would mean that it is not mapped, which leaves nothing to do.
        let _ = unsafe { libc::munmap(self.memory.as_ptr().cast(), self.words * 8) };
    }
}
