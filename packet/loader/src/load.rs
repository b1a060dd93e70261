//! From nothing, or from what another process left pinned, to programs in the kernel with their
//! maps. No packet is touched yet: [`Loaded::go_live`] is the step that does.

use crate::layout::{self, Layout};
use crate::object::{Cookies, ObjectError, Parsed, Programs};
use crate::pins::{Home, Lock, PinError, Set};
use crate::publish::{PublishError, Published, Tables, TablesError};
use crate::settings::{Capacities, Settings};
use crate::sys::bpf::{self, Shape};
use crate::upgrade::{self, Found};
use crate::{attach, features};
use core_forwarding::Image;
use packet_abi::{Trafficset, maps};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::OnceLock;

/// Flags of trafficsets that want SYN cookies.
const COOKIE_FLAGS: u32 = Trafficset::COOKIES | Trafficset::COOKIES_AUTO;

/// Why nothing was loaded. What ran before goes on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel lacks something.
    #[error(transparent)]
    Feature(#[from] features::FeatureError),
    /// The programs were refused.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Pins.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The map that describes the pins.
    #[error("the kernel did not keep the description of the pins")]
    Layout(#[source] io::Error),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// What the tables want.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A slot of a chain.
    #[error("the kernel did not store a program in a slot of {map}")]
    Slot {
        /// The map.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Programs and maps of one loading, and the lock that goes with them.
#[derive(Debug)]
pub struct Loaded {
    pub(crate) home: Home,
    pub(crate) lock: Lock,
    pub(crate) set: Set,
    pub(crate) maps: BTreeMap<String, OwnedFd>,
    pub(crate) programs: Programs,
    pub(crate) layout: Layout,
    parsed: Parsed,
    /// Loaded when the first trafficset wants them.
    cookies: OnceLock<Cookies>,
    fresh: BTreeSet<String>,
    succeeds: bool,
}

/// Loads the programs of an object under `home`.
///
/// Where something of the same layout is pinned there, its maps are taken over with all they hold:
/// tables, counters, the chain with its shield. Else new maps are made, and what runs goes on with
/// the old ones until [`Loaded::go_live`].
///
/// # Errors
/// [`LoadError`]; nothing has changed.
pub fn load(
    home: &Home,
    object: &[u8],
    settings: &Settings,
    capacities: &Capacities,
) -> Result<Loaded, LoadError> {
    features::check()?;
    let lock = home.lock()?;
    let parsed = Parsed::new(object, settings, capacities)?;
    let found = find(home, parsed.shapes())?;
    let layout = parsed.layout().clone();
    let keep = upgrade::keep(&found, parsed.shapes(), &layout);
    let mut maps = BTreeMap::new();
    for name in &keep {
        maps.insert(name.clone(), home.open(name)?);
    }
    let programs = parsed.load(&mut maps)?;
    let fresh: BTreeSet<String> =
        maps.keys().filter(|name| !keep.contains(*name)).cloned().collect();
    let set = home.new_set(&lock)?;
    for (name, map) in &maps {
        set.pin(name, map.as_fd())?;
    }
    for (name, program) in programs.all() {
        set.pin(name, program)?;
    }
    let described = layout.write().map_err(LoadError::Layout)?;
    set.pin(layout::NAME, described.as_fd())?;
    let succeeds = found.layout.is_some();
    let (home, cookies) = (home.clone(), OnceLock::new());
    let loaded =
        Loaded { home, lock, set, maps, programs, layout, parsed, cookies, fresh, succeeds };
    if loaded.is_fresh(maps::CHAIN) {
        // Nobody goes by this chain yet, so that it can be filled before the tables are.
        loaded.store_chain()?;
    }
    Ok(loaded)
}

/// Whether a trafficset of a generation wants SYN cookies.
pub(crate) fn want_cookies(image: &Image) -> bool {
    image.sets.iter().any(|set| set.flags & COOKIE_FLAGS != 0)
}

/// What is pinned under `home`, of the maps that are wanted.
fn find(home: &Home, wanted: &BTreeMap<String, Shape>) -> Result<Found, LoadError> {
    let mut found = Found::default();
    let Some(described) = home.find(layout::NAME)? else { return Ok(found) };
    found.layout = Layout::read(described.as_fd()).map_err(LoadError::Layout)?;
    for name in wanted.keys() {
        if let Some(map) = home.find(name)? {
            let info = bpf::map_info(map.as_fd()).map_err(LoadError::Layout)?;
            found.shapes.insert(name.clone(), info.shape);
        }
    }
    Ok(found)
}

impl Loaded {
    /// Where it is pinned.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The descriptor of a map; for the shield's programs, which use some of them.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.maps.get(name).map(OwnedFd::as_fd)
    }

    /// The programs; for measurements by test run.
    #[must_use]
    pub const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The tables that these programs read, to publish in.
    ///
    /// # Errors
    /// [`TablesError`].
    pub fn tables(&self) -> Result<Tables, TablesError> {
        Tables::of(|name| {
            let absent = || PinError::Absent { path: self.home.path().to_owned() };
            let map = self.map(name).ok_or_else(absent)?;
            map.try_clone_to_owned().map_err(|source| TablesError::Map { name, source })
        })
    }

    /// What is remembered beside the pins.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Publishes a generation in `tables`, which are [`Self::tables`], and fills or empties the
    /// slots of the chain that only some trafficsets need, with programs that are loaded when the
    /// first generation wants them.
    ///
    /// # Errors
    /// [`PublishError`] of [`Tables::publish`], or that the kernel did not take the programs.
    pub fn publish(
        &self,
        tables: &mut Tables,
        generation: u64,
        image: &Image,
    ) -> Result<Published, PublishError> {
        let wanted = want_cookies(image);
        if wanted {
            // Before a packet can ask for it.
            self.fill_cookies()?;
        }
        let published = tables.publish(generation, image)?;
        if !wanted {
            self.empty_cookies()?;
        }
        Ok(published)
    }

    /// The programs of SYN cookies, loaded and pinned if they are not yet.
    fn cookies(&self) -> Result<&Cookies, PublishError> {
        if let Some(loaded) = self.cookies.get() {
            return Ok(loaded);
        }
        let loaded = self.parsed.load_cookies(&self.maps)?;
        for (name, program) in loaded.all() {
            self.set.pin(name, program)?;
        }
        Ok(self.cookies.get_or_init(|| loaded))
    }

    /// Fills the slots of SYN cookies. The one that answers stands there as long as one decides
    /// that it shall.
    fn fill_cookies(&self) -> Result<(), PublishError> {
        let Cookies { decide, answer } = self.cookies()?;
        self.set_slot(maps::CHAIN_COOKIE_ANSWER, Some(answer.as_fd()))?;
        self.set_slot(maps::CHAIN_COOKIE, Some(decide.as_fd()))
    }

    /// Empties them.
    fn empty_cookies(&self) -> Result<(), PublishError> {
        self.set_slot(maps::CHAIN_COOKIE, None)?;
        self.set_slot(maps::CHAIN_COOKIE_ANSWER, None)
    }

    fn set_slot(&self, slot: u32, program: Option<BorrowedFd<'_>>) -> Result<(), PublishError> {
        let failed = |source| PublishError::Slot { map: maps::CHAIN, source };
        let chain = self.map(maps::CHAIN).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        match program {
            Some(program) => bpf::store_fd(chain, slot, program),
            None => bpf::empty_slot(chain, slot),
        }
        .map_err(failed)
    }

    /// Whether the tables are new and empty, so that a generation must be published before
    /// [`Self::go_live`].
    #[must_use]
    pub fn starts_empty(&self) -> bool {
        self.is_fresh(maps::ACTIVE)
    }

    /// Whether something was loaded before under the same name.
    #[must_use]
    pub const fn succeeds(&self) -> bool {
        self.succeeds
    }

    pub(crate) fn is_fresh(&self, map: &str) -> bool {
        self.fresh.contains(map)
    }

    /// Makes these programs those of the chain, between two packets. The shield's slots stay as
    /// they are.
    pub(crate) fn store_chain(&self) -> Result<(), LoadError> {
        let failed = |source| LoadError::Slot { map: maps::CHAIN, source };
        let chain = self.map(maps::CHAIN).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        if want_cookies(&self.tables()?.image()) {
            self.fill_cookies()?;
        } else {
            self.empty_cookies()?;
        }
        // What the director goes on to stands there before it does.
        let slots = [
            (maps::CHAIN_TOO_BIG, &self.programs.too_big),
            (maps::CHAIN_DIRECTOR, &self.programs.director),
        ];
        for (slot, program) in slots {
            bpf::store_fd(chain, slot, program.as_fd()).map_err(failed)?;
        }
        Ok(())
    }

    /// Puts the programs in the way of packets: replaces those of links that are there, attaches to
    /// interfaces that are new, takes off those that are not listed, then makes the pins current.
    ///
    /// Packets meet the old programs or the new ones, and never none.
    ///
    /// # Errors
    /// [`attach::AttachError`]. What had been attached before stays attached, with the old or the
    /// new programs, and both work on the same packets in the same way.
    pub fn go_live(
        &mut self,
        interfaces: &[&str],
        mode: attach::Mode,
    ) -> Result<Vec<attach::Attached>, attach::AttachError> {
        upgrade::go_live(self, interfaces, mode)
    }
}
