//! The programs without pins or interfaces, beside those that only measure: for
//! `cargo xtask bench packet`.

use crate::load::LoadError;
use crate::object::{Cookies, ObjectError, Parsed, Programs};
use crate::publish::{Tables, TablesError};
use crate::settings::{Capacities, Settings};
use crate::sys::bpf::{self, Outcome};
use packet_abi::maps;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::BTreeMap;
use std::io;

/// Programs that only measure: what comes before a measured one, the floors, a peer.
const MEASURING: [&str; 8] =
    ["prologue", "prologue_tc", "shrink_tc", "empty_xdp", "empty_tc", "bounce", "sink", "peer"];
/// Their object.
static OBJECT: &[u8] = {
    #[repr(C, align(8))]
    struct Aligned<T: ?Sized>(T);
    static OCTETS: &Aligned<[u8]> = &Aligned(*include_bytes!("../../ebpf/object/measure.bpf.o"));
    &OCTETS.0
};
/// `XDP_FLAGS_DRV_MODE`.
const NATIVE: u32 = 1 << 2;
/// Slot of [`maps::CHAIN`] that a measurement may fill.
pub const CHAIN_MEASURED: u32 = maps::CHAIN_LEN - 1;

/// Why there is no bench.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The programs were refused.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A slot of a chain.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// Everything loaded, nothing attached.
#[derive(Debug)]
pub struct Bench {
    /// The programs that ship.
    pub programs: Programs,
    /// Those of SYN cookies; `None` before Linux 5.18.
    pub cookies: Option<Cookies>,
    /// Their tables.
    pub tables: Tables,
    maps: BTreeMap<String, OwnedFd>,
    measuring: BTreeMap<&'static str, OwnedFd>,
}

impl Bench {
    /// Loads the committed objects.
    ///
    /// # Errors
    /// [`MeasureError`].
    pub fn new(settings: &Settings, capacities: &Capacities) -> Result<Self, MeasureError> {
        let mut maps = BTreeMap::new();
        let parsed = Parsed::new(crate::EMBEDDED, settings, capacities)?;
        let programs = parsed.load(&mut maps)?;
        let cookies = match parsed.load_cookies(&maps) {
            Err(ObjectError::Feature(_)) => None,
            other => Some(other?),
        };
        let measuring = Parsed::load_named(OBJECT, &MEASURING, &mut maps)?;
        let tables = Tables::of(|name| {
            let missing = || TablesError::Map { name, source: io::ErrorKind::NotFound.into() };
            let map = maps.get(name).ok_or_else(missing)?;
            map.try_clone().map_err(|source| TablesError::Map { name, source })
        })?;
        Ok(Self { programs, cookies, tables, maps, measuring })
    }

    /// A program that only measures, by its name; the floor where there is none of that name.
    #[must_use]
    pub fn measuring(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.measuring.get(name).map(AsFd::as_fd)
    }

    /// A map of either object.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.maps.get(name).map(AsFd::as_fd)
    }

    /// Puts a program into a slot of a program array.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn put(&self, map: &str, slot: u32, program: BorrowedFd<'_>) -> io::Result<()> {
        let map = self.map(map).ok_or(io::ErrorKind::NotFound)?;
        bpf::store_fd(map, slot, program)
    }

    /// Empties a slot of a program array.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn clear(&self, map: &str, slot: u32) -> io::Result<()> {
        let map = self.map(map).ok_or(io::ErrorKind::NotFound)?;
        bpf::empty_slot(map, slot)
    }

    /// Writes an element of an array.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn write(&self, map: &str, index: u32, value: &[u8]) -> io::Result<()> {
        let map = self.map(map).ok_or(io::ErrorKind::NotFound)?;
        bpf::update(map, index, value)
    }

    /// Writes an element of a hash.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn insert(&self, map: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        let map = self.map(map).ok_or(io::ErrorKind::NotFound)?;
        bpf::insert(map, key, value)
    }

    /// Attaches an XDP program to an interface, natively, until the link is dropped.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn attach(&self, program: BorrowedFd<'_>, interface: u32) -> io::Result<OwnedFd> {
        bpf::create_link(program, interface, bpf::place::XDP, NATIVE)
    }

    /// Takes copies of a frame through a program as if they had come by an interface, and lets them
    /// go where it sends them.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn live(
        &self,
        program: BorrowedFd<'_>,
        frame: &[u8],
        interface: u32,
        frames: u32,
    ) -> io::Result<()> {
        bpf::run_live(program, frame, interface, frames)
    }

    /// Runs a program on a frame many times.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn run(&self, program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<Outcome> {
        bpf::test_run(program, frame, repeat)
    }
}
