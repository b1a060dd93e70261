//! The shield beside the other programs: it takes its maps from the pins, or makes and pins them,
//! so that rules, counters and limits outlive the process.

use std::os::fd::{AsFd, OwnedFd};

use packet_abi::maps;

use super::bpf::BpfError;
use super::install::{Options, SHARERS_MAX, Shield, ShieldError, counters_by_name};
use super::maps::{Common, Own, RuleCounters};
use crate::load::Loaded;
use crate::pins::{Home, PinError};

impl Common {
    /// The maps of a loading.
    ///
    /// # Errors
    /// When one is not there.
    pub fn of(loaded: &Loaded) -> Result<Self, ShieldError> {
        let map = |name| {
            let absent = || PinError::Absent { path: loaded.home().path().to_owned() };
            let map = loaded.map(name).ok_or_else(absent)?;
            let copy = map.try_clone_to_owned();
            copy.map_err(|source| {
                ShieldError::Kernel(BpfError::Entry { what: "share", name, source })
            })
        };
        Ok(Self {
            samples: map(maps::SAMPLES)?,
            chain: map(maps::CHAIN)?,
            reasons: map(maps::COUNTERS)?,
            seen: map(maps::SEEN)?,
            taps: map(maps::TAP)?,
        })
    }
}

impl Shield {
    /// The shield of a loading, between [`crate::load`] and [`Loaded::go_live`]: what is pinned of
    /// it goes on, else it begins. Rules that were in force stay until [`Shield::install`].
    ///
    /// # Errors
    /// When the kernel refuses a map or a pin.
    pub fn open(loaded: &Loaded, options: Options) -> Result<Self, ShieldError> {
        let common = Common::of(loaded)?;
        let shield = match find(loaded.home())? {
            Some(own) => Self::adopt(common, own, options)?,
            None => Self::new(common, options)?,
        };
        for (name, map) in Own::NAMES.into_iter().zip(shield.own().fds()) {
            loaded.set.pin(name, map)?;
        }
        Ok(shield)
    }
}

/// What rules counted, by name, for a process that does not hold the shield; `None` for a name that
/// is not in force.
///
/// # Errors
/// When nothing is loaded, or the kernel refuses.
pub fn counters(
    home: &Home,
    names: &[&str],
) -> Result<Vec<(String, Option<RuleCounters>)>, ShieldError> {
    let absent = || PinError::Absent { path: home.path().to_owned() };
    let own = find(home)?.ok_or_else(absent)?;
    counters_by_name(&own, names)
}

/// The shield's maps among the pins, if all are there and of the shapes of this build.
fn find(home: &Home) -> Result<Option<Own>, ShieldError> {
    let mut fds: Vec<OwnedFd> = Vec::with_capacity(Own::NAMES.len());
    for name in Own::NAMES {
        let Some(fd) = home.find(name)? else { return Ok(None) };
        fds.push(fd);
    }
    let Ok(fds) = <[OwnedFd; 5]>::try_from(fds) else { return Ok(None) };
    let fits = Own::fits(fds.each_ref().map(OwnedFd::as_fd), SHARERS_MAX)?;
    Ok(fits.then(|| Own::adopt(fds)))
}
