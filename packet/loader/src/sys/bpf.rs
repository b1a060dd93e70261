//! bpf(2), as far as it is needed here. Numbers and layouts are those of `linux/bpf.h`, which the
//! kernel keeps stable; a shorter `union bpf_attr` than the kernel's counts as zero behind its end.

#![expect(unsafe_code, reason = "a system call takes addresses")]

pub use super::test_run::{Outcome, run_live, test_run, test_run_from};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Octets of a name that the kernel keeps, with the zero at its end.
pub const NAME_LEN: usize = 16;
/// Octets of a verifier log that is asked for: a refusal's last lines are what tells.
const LOG_LEN: usize = 1 << 20;

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_FD_BY_ID: u32 = 13;
const MAP_FD_BY_ID: u32 = 14;
const INFO_BY_FD: u32 = 15;
const MAP_FREEZE: u32 = 22;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

/// Kinds of maps, as the kernel numbers them.
pub mod kind {
    /// Array.
    pub const ARRAY: u32 = 2;
    /// Array of programs.
    pub const PROG_ARRAY: u32 = 3;
    /// Array of rings of events, by CPU.
    pub const PERF_EVENT_ARRAY: u32 = 4;
    /// Array with a value for each CPU.
    pub const PERCPU_ARRAY: u32 = 6;
    /// Hash that forgets what was used least recently.
    pub const LRU_HASH: u32 = 9;
    /// Array of maps.
    pub const ARRAY_OF_MAPS: u32 = 12;
    /// Ring buffer.
    pub const RINGBUF: u32 = 27;
}

/// An array that user space may map into its memory.
pub const MMAPABLE: u32 = 1 << 10;
/// A map that programs only read.
pub const READ_ONLY_PROG: u32 = 1 << 7;

/// Kinds of programs, as the kernel numbers them.
pub mod program {
    /// Classifier of traffic control.
    pub const CLASSIFIER: u32 = 3;
    /// XDP.
    pub const XDP: u32 = 6;
}

/// An XDP program that takes packets of several pages (`BPF_F_XDP_HAS_FRAGS`).
pub const XDP_HAS_FRAGS: u32 = 1 << 5;

/// Places a program is attached to, as the kernel numbers them.
pub mod place {
    /// XDP of an interface.
    pub const XDP: u32 = 37;
    /// Ingress of an interface, by TCX.
    pub const TCX_INGRESS: u32 = 46;
}

pub(super) fn call<T>(command: u32, attributes: &mut T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: the attributes are a live, zero-padded structure of the size told, and what its
    // addresses point to outlives the call in every caller.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}

fn call_for_fd<T>(command: u32, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the kernel gave this descriptor to us, and nobody else knows of it. It has close-on-
    // exec set, as all descriptors of bpf(2) have.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

pub(super) fn address<T>(value: &[T]) -> u64 {
    value.as_ptr() as u64
}

pub(super) fn address_mut<T>(value: &mut [T]) -> u64 {
    value.as_mut_ptr() as u64
}

fn name_of(name: &str) -> [u8; NAME_LEN] {
    let mut field = [0; NAME_LEN];
    for (to, from) in field.iter_mut().take(NAME_LEN - 1).zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || from == b'.' { from } else { b'_' };
    }
    field
}

fn path_of(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The shape of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// One of [`kind`].
    pub kind: u32,
    /// Octets of a key.
    pub key: u32,
    /// Octets of a value.
    pub value: u32,
    /// Entries, or octets of a ring.
    pub entries: u32,
    /// Flags such as [`MMAPABLE`].
    pub flags: u32,
}

/// Creates a map.
///
/// # Errors
/// What the kernel said.
pub fn create_map(name: &str, shape: Shape, inner: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        shape: [u32; 5],
        inner: u32,
        numa: u32,
        name: [u8; NAME_LEN],
        rest: [u32; 5],
    }
    let mut attributes = Attributes {
        shape: [shape.kind, shape.key, shape.value, shape.entries, shape.flags],
        inner: inner.map_or(0, raw),
        numa: 0,
        name: name_of(name),
        rest: [0; 5],
    };
    call_for_fd(MAP_CREATE, &mut attributes)
}

#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Copies the value of a key into `value`, whose length must be the map's (for per-CPU maps: the
/// value's length rounded up to 8, times the CPUs that are possible).
///
/// # Errors
/// What the kernel said; `NotFound` for an empty slot.
pub fn look_up(map: BorrowedFd<'_>, key: u32, value: &mut [u8]) -> io::Result<()> {
    let keys = [key];
    let value = address_mut(value);
    let mut attributes = Element { map: raw(map), pad: 0, key: address(&keys), value, flags: 0 };
    call(MAP_LOOKUP, &mut attributes).map(drop)
}

/// Stores a value under a key. `value` has the map's length of a value.
///
/// # Errors
/// What the kernel said.
pub fn update(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    let keys = [key];
    let value = address(value);
    let mut attributes = Element { map: raw(map), pad: 0, key: address(&keys), value, flags: 0 };
    call(MAP_UPDATE, &mut attributes).map(drop)
}

/// Writes an element of a map whose keys are no indexes. Key and value have the map's sizes.
///
/// # Errors
/// What the kernel said; `EINVAL` where a size is another.
pub fn insert(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let info = map_info(map)?;
    if info.shape.key as usize != key.len() || info.shape.value as usize != value.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (key, value) = (address(key), address(value));
    let mut attributes = Element { map: raw(map), pad: 0, key, value, flags: 0 };
    call(MAP_UPDATE, &mut attributes).map(drop)
}

/// Stores a descriptor (a program's, a map's, an event's) in a slot. The slot changes at once for
/// every packet.
///
/// # Errors
/// What the kernel said.
pub fn store_fd(map: BorrowedFd<'_>, slot: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
    update(map, slot, &fd.as_raw_fd().to_ne_bytes())
}

/// Empties a slot.
///
/// # Errors
/// What the kernel said; an empty slot is none.
pub fn empty_slot(map: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
    let keys = [slot];
    let mut attributes = Element { map: raw(map), pad: 0, key: address(&keys), value: 0, flags: 0 };
    match call(MAP_DELETE, &mut attributes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// The number of the program or map in a slot; `None` where it is empty.
///
/// # Errors
/// What the kernel said.
pub fn slot_id(map: BorrowedFd<'_>, slot: u32) -> io::Result<Option<u32>> {
    let mut value = [0; 4];
    match look_up(map, slot, &mut value) {
        Ok(()) => Ok(Some(u32::from_ne_bytes(value))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a map read-only to user space for ever, so that the verifier may trust its values.
///
/// # Errors
/// What the kernel said.
pub fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    call(MAP_FREEZE, &mut [raw(map), 0]).map(drop)
}

/// Pins a map, program or link at a path of a BPF file system.
///
/// # Errors
/// What the kernel said.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = path_of(path)?;
    let path = address(path.as_bytes_with_nul());
    call(OBJ_PIN, &mut Attributes { path, fd: raw(fd), flags: 0 }).map(drop)
}

/// Opens what is pinned at a path.
///
/// # Errors
/// What the kernel said; `NotFound` where nothing is.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = path_of(path)?;
    call_for_fd(OBJ_GET, &mut [address(path.as_bytes_with_nul()), 0])
}

/// The program with this number.
///
/// # Errors
/// What the kernel said.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    call_for_fd(PROG_FD_BY_ID, &mut [id, 0, 0, 0])
}

/// The map with this number.
///
/// # Errors
/// What the kernel said.
pub fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    call_for_fd(MAP_FD_BY_ID, &mut [id, 0, 0, 0])
}

#[repr(C)]
struct InfoRequest {
    fd: u32,
    len: u32,
    info: u64,
}

/// What the kernel tells of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Its number.
    pub id: u32,
    /// Its shape.
    pub shape: Shape,
    /// Its name, cut to fifteen octets.
    pub name: String,
}

fn text(field: &[u8]) -> String {
    let name = CStr::from_bytes_until_nul(field).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Asks for the shape and name of a map.
///
/// # Errors
/// What the kernel said.
pub fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        name: [u8; NAME_LEN],
    }
    let mut info = [Info::default()];
    let len = size_of::<Info>() as u32;
    call(INFO_BY_FD, &mut InfoRequest { fd: raw(map), len, info: address_mut(&mut info) })?;
    let [info] = info;
    let Info { kind, id, key, value, entries, flags, name } = info;
    Ok(MapInfo { id, shape: Shape { kind, key, value, entries, flags }, name: text(&name) })
}

/// What the kernel tells of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its number.
    pub id: u32,
    /// Its kind, one of [`program`].
    pub kind: u32,
    /// Its name, cut to fifteen octets.
    pub name: String,
    /// Numbers of the maps it uses, at most 64.
    pub maps: Vec<u32>,
}

/// Asks for the name and maps of a program.
///
/// # Errors
/// What the kernel said.
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        tag: [u8; 8],
        jited_len: u32,
        xlated_len: u32,
        jited: u64,
        xlated: u64,
        load_time: u64,
        user: u32,
        map_count: u32,
        maps: u64,
        name: [u8; NAME_LEN],
    }
    let mut maps = [0_u32; 64];
    let mut info =
        [Info { map_count: maps.len() as u32, maps: address_mut(&mut maps), ..Info::default() }];
    let len = size_of::<Info>() as u32;
    call(INFO_BY_FD, &mut InfoRequest { fd: raw(program), len, info: address_mut(&mut info) })?;
    let [info] = info;
    let maps = maps.iter().copied().take(info.map_count as usize).collect();
    Ok(ProgramInfo { id: info.id, kind: info.kind, name: text(&info.name), maps })
}

/// What the kernel tells of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its number.
    pub id: u32,
    /// Number of its program.
    pub program: u32,
    /// Index of its interface; 0 once the interface is gone or the link is detached.
    pub interface: u32,
}

/// Asks for the program and interface of an XDP or TCX link.
///
/// # Errors
/// What the kernel said.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = [0_u32; 8];
    let len = size_of_val(&info) as u32;
    call(INFO_BY_FD, &mut InfoRequest { fd: raw(link), len, info: address_mut(&mut info) })?;
    // Kind, number, program, padding to eight octets, interface.
    let [_, id, program, _, interface, ..] = info;
    Ok(LinkInfo { id, program, interface })
}

/// A program to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// Name, of which fifteen octets are kept.
    pub name: &'a str,
    /// One of [`program`].
    pub kind: u32,
    /// Place it is loaded for, one of [`place`], or 0.
    pub place: u32,
    /// Flags, such as that packets may have fragments.
    pub flags: u32,
    /// License; some helpers want a GPL-compatible one.
    pub license: &'a CStr,
    /// Instructions of eight octets each.
    pub instructions: &'a [u8],
}

/// Why the kernel did not take a program.
#[derive(Debug)]
pub struct Refusal {
    /// What it said.
    pub error: io::Error,
    /// The verifier's log; empty where it did not come so far.
    pub log: String,
}

/// Loads a program. The verifier's log is asked for only once it was refused, since writing it
/// takes longer than verifying.
///
/// # Errors
/// The error, and the verifier's log.
pub fn load(code: Code<'_>) -> Result<OwnedFd, Refusal> {
    let error = match load_with_log(code, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    let mut log = vec![0; LOG_LEN];
    match load_with_log(code, &mut log) {
        Ok(fd) => Ok(fd),
        Err(_) => Err(Refusal { error, log: text(&log) }),
    }
}

fn load_with_log(code: Code<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_len: u32,
        log: u64,
        kernel: u32,
        flags: u32,
        name: [u8; NAME_LEN],
        interface: u32,
        place: u32,
    }
    let mut attributes = Attributes {
        kind: code.kind,
        count: (code.instructions.len() / 8) as u32,
        instructions: address(code.instructions),
        license: address(code.license.to_bytes_with_nul()),
        log_level: u32::from(!log.is_empty()),
        log_len: log.len() as u32,
        log: if log.is_empty() { 0 } else { address_mut(log) },
        kernel: 0,
        flags: code.flags,
        name: name_of(code.name),
        interface: 0,
        place: code.place,
    };
    call_for_fd(PROG_LOAD, &mut attributes)
}

/// Attaches a program to an interface by a link, which holds as long as a descriptor or a pin does.
///
/// `flags` are XDP's (`XDP_FLAGS_DRV_MODE` and so on); for TCX they are 0.
///
/// # Errors
/// What the kernel said.
pub fn create_link(
    program: BorrowedFd<'_>,
    interface: u32,
    place: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    call_for_fd(LINK_CREATE, &mut [raw(program), interface, place, flags, 0, 0, 0, 0])
}

/// Replaces the program of a link in place: every packet meets the old or the new one.
///
/// # Errors
/// What the kernel said.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_UPDATE, &mut [raw(link), raw(program), 0, 0]).map(drop)
}

/// Takes a link's program off its interface, whoever else holds the link.
///
/// # Errors
/// What the kernel said.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_DETACH, &mut [raw(link), 0]).map(drop)
}

/// Waits until no program runs that began before the call: the kernel does so where a slot of an
/// array of maps is stored, for the sake of such programs.
#[derive(Debug)]
pub struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Grace {
    /// Makes the two small maps it works with.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new() -> io::Result<Self> {
        let shape = Shape { kind: kind::ARRAY, key: 4, value: 4, entries: 1, flags: 0 };
        let inner = create_map("weir_grace_in", shape, None)?;
        let shape = Shape { kind: kind::ARRAY_OF_MAPS, ..shape };
        let outer = create_map("weir_grace", shape, Some(inner.as_fd()))?;
        Ok(Self { outer, inner })
    }

    /// Waits.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn wait(&self) -> io::Result<()> {
        store_fd(self.outer.as_fd(), 0, self.inner.as_fd())
    }
}
