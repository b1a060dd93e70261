//! Programs at interfaces: XDP's root by a link in the driver, the redirector at TC ingress by TCX,
//! or by a classifier on kernels before 6.6. Links are pinned, so that they outlive the process.

use crate::features::{self, FeatureError};
use crate::load::{LoadError, Loaded};
use crate::pins::{Home, PinError};
use crate::publish::TablesError;
use crate::sys::bpf::{self, place};
use crate::sys::netlink::{self, Interface, XdpMode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// `XDP_FLAGS_SKB_MODE`.
const GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const NATIVE: u32 = 1 << 2;
/// `ENOTSUPP`, which the kernel lets out here and there beside `EOPNOTSUPP`.
const ENOTSUPP: i32 = 524;

const XDP_PIN: &str = "xdp-";
const TCX_PIN: &str = "tcx-";
const CLASSIFIER_PIN: &str = "clsact-";

/// Where in the kernel the director runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack. A packet that the redirector decapsulates meets the director once more there,
    /// which may send it round in a circle: for interfaces that get no tunnel packets only.
    GenericUnsafe,
}

/// Why programs were not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No such interface.
    #[error("there is no interface `{name}`: name one of those that `ip link` shows")]
    NoInterface {
        /// Its name.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The driver has no XDP.
    #[error(
        "the driver of {name} has no native XDP (or not with MTU {mtu} and its present queues): \
         use a card with native XDP or a smaller MTU; `mode = \"generic-unsafe\"` works on any \
         interface, but a decapsulated packet then meets the director again and may circle"
    )]
    NoNative {
        /// The interface.
        name: String,
        /// Its MTU, in octets.
        mtu: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody else's program.
    #[error(
        "{name} runs another XDP program ({program}, id {id}), which is left in place: take it off \
         with `ip link set dev {name} xdp off`, or whatever put it there"
    )]
    Foreign {
        /// The interface.
        name: String,
        /// Its program's name.
        program: String,
        /// Its program's id.
        id: u32,
    },
    /// Attached in another mode.
    #[error(
        "{name} runs Weir's programs in the other mode; detach it before `mode` is changed: `weir \
         packet detach`"
    )]
    OtherMode {
        /// The interface.
        name: String,
    },
    /// The kernel lacks something.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// New tables that hold nothing yet would take over from tables that do.
    #[error(
        "the maps have a new layout and are empty: publish a generation before going live, since \
         flows would be broken without"
    )]
    Empty,
    /// The kernel refused.
    #[error("the kernel did not {what} at {name}")]
    Refused {
        /// What was attempted.
        what: &'static str,
        /// The interface.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Pins.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Tables.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The chain.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// An interface with Weir's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub interface: Interface,
    /// Where XDP runs; `None` for what is gone.
    pub mode: Option<XdpMode>,
    /// Whether programs were replaced in place.
    pub replaced: bool,
    /// Whether the redirector is a classifier, and not a TCX link.
    pub classifier: bool,
}

/// An interface that programs are to be attached to, and the link that is there.
#[derive(Debug)]
pub(crate) struct Wanted {
    interface: Interface,
    link: Option<OwnedFd>,
}

/// Looks at all interfaces before any is touched.
pub(crate) fn examine(home: &Home, names: &[&str], mode: Mode) -> Result<Vec<Wanted>, AttachError> {
    let mut wanted = Vec::new();
    for name in names {
        let interface = netlink::interface(name)
            .map_err(|source| AttachError::NoInterface { name: (*name).to_owned(), source })?;
        let link = living(home, XDP_PIN, &interface)?;
        match interface.xdp {
            Some((found, id)) if link.is_none() => {
                return Err(foreign(&interface, found, id));
            }
            Some((found, _)) if found != expected(mode) => {
                return Err(AttachError::OtherMode { name: interface.name });
            }
            _ => {}
        }
        wanted.push(Wanted { interface, link });
    }
    Ok(wanted)
}

const fn expected(mode: Mode) -> XdpMode {
    match mode {
        Mode::Native => XdpMode::Native,
        Mode::GenericUnsafe => XdpMode::Generic,
    }
}

fn foreign(interface: &Interface, mode: XdpMode, id: u32) -> AttachError {
    let program = bpf::program_by_id(id)
        .and_then(|program| bpf::program_info(program.as_fd()))
        .map_or_else(|_| format!("{mode:?}"), |info| info.name);
    AttachError::Foreign { name: interface.name.clone(), program, id }
}

/// The pinned link of an interface, if it still holds it: an interface that was removed and made
/// anew has another index.
fn living(home: &Home, kind: &str, interface: &Interface) -> Result<Option<OwnedFd>, AttachError> {
    let pin = format!("{kind}{}", interface.name);
    let Some(link) = home.link(&pin)? else { return Ok(None) };
    let held = bpf::link_info(link.as_fd()).is_ok_and(|info| info.interface == interface.index);
    if !held {
        home.unpin_link(&pin)?;
    }
    Ok(held.then_some(link))
}

fn refused(what: &'static str, interface: &Interface) -> impl FnOnce(io::Error) -> AttachError {
    let name = interface.name.clone();
    move |source| AttachError::Refused { what, name, source }
}

/// Attaches or replaces the redirector.
pub(crate) fn redirector(loaded: &Loaded, wanted: &Wanted) -> Result<(), AttachError> {
    let (home, interface) = (&loaded.home, &wanted.interface);
    let program = loaded.programs.redirector.as_fd();
    if let Some(link) = living(home, TCX_PIN, interface)? {
        return bpf::update_link(link.as_fd(), program)
            .map_err(refused("replace the redirector", interface));
    }
    let classifier = format!("{CLASSIFIER_PIN}{}", interface.name);
    if home.link(&classifier)?.is_none() {
        match bpf::create_link(program, interface.index, place::TCX_INGRESS, 0) {
            Ok(link) => {
                return Ok(home.pin_link(&format!("{TCX_PIN}{}", interface.name), link.as_fd())?);
            }
            // A kernel that does not know the place.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(refused("attach the redirector", interface)(error)),
        }
    }
    set_classifier(home, interface, program)
}

/// Attaches or replaces the redirector as a classifier, for kernels without TCX.
pub(crate) fn set_classifier(
    home: &Home,
    interface: &Interface,
    program: BorrowedFd<'_>,
) -> Result<(), AttachError> {
    netlink::set_ingress_classifier(interface.index, program, "weir_redirector")
        .map_err(refused("attach the redirector as a classifier", interface))?;
    // The filter holds the program by itself; the pin tells whose it is.
    Ok(home.pin_link(&format!("{CLASSIFIER_PIN}{}", interface.name), program)?)
}

/// Attaches or replaces the root.
pub(crate) fn root(loaded: &Loaded, wanted: &Wanted, mode: Mode) -> Result<Attached, AttachError> {
    let (home, interface) = (&loaded.home, &wanted.interface);
    let program = loaded.programs.root.as_fd();
    let replaced = match &wanted.link {
        Some(link) => {
            bpf::update_link(link.as_fd(), program)
                .map_err(refused("replace the root", interface))?;
            true
        }
        None => {
            let link = attach_root(interface, program, mode)?;
            home.pin_link(&format!("{XDP_PIN}{}", interface.name), link.as_fd())?;
            false
        }
    };
    let interface = netlink::interface_at(interface.index)
        .map_err(refused("tell of the program", interface))?;
    let classifier = home.link(&format!("{CLASSIFIER_PIN}{}", interface.name))?.is_some();
    let mode = interface.xdp.map(|(mode, _)| mode);
    Ok(Attached { interface, mode, replaced, classifier })
}

fn attach_root(
    interface: &Interface,
    program: BorrowedFd<'_>,
    mode: Mode,
) -> Result<OwnedFd, AttachError> {
    let flags = match mode {
        Mode::Native => NATIVE,
        Mode::GenericUnsafe => GENERIC,
    };
    let error = match bpf::create_link(program, interface.index, place::XDP, flags) {
        Ok(link) => return Ok(link),
        Err(error) => error,
    };
    let unsupported = [libc::EOPNOTSUPP, ENOTSUPP, libc::ERANGE, libc::E2BIG, libc::ENOSPC];
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            let again = netlink::interface_at(interface.index).ok().and_then(|now| now.xdp);
            match again {
                Some((found, id)) => Err(foreign(interface, found, id)),
                None => Err(refused("attach the root", interface)(error)),
            }
        }
        Some(number) if mode == Mode::Native && unsupported.contains(&number) => {
            Err(AttachError::NoNative {
                name: interface.name.clone(),
                mtu: interface.mtu,
                source: error,
            })
        }
        // Before 5.9 the kernel has no links for XDP; what EINVAL means after it, only it knows.
        Some(libc::EINVAL) if !knows_links(program) => {
            Err(features::missing("links for XDP (BPF_LINK_CREATE)", "5.9").into())
        }
        _ => Err(refused("attach the root", interface)(error)),
    }
}

/// Whether the kernel has links for XDP: it then looks for the interface, and finds no number 0.
fn knows_links(program: BorrowedFd<'_>) -> bool {
    let answer = bpf::create_link(program, u32::MAX >> 1, place::XDP, NATIVE);
    answer.is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV))
}

/// Takes the programs off interfaces that are not among `names`, or are gone.
pub(crate) fn drop_unlisted(home: &Home, names: &[&str]) -> Result<(), AttachError> {
    for (kind, name) in attached_names(home)? {
        if !names.contains(&name.as_str()) {
            take_off(home, kind, &name)?;
        }
    }
    Ok(())
}

/// Kinds and interfaces of all pins, XDP's first: nothing may be sent through a tunnel that this
/// server does not take from itself any more.
fn attached_names(home: &Home) -> Result<Vec<(&'static str, String)>, PinError> {
    let links = home.links()?;
    let of_kind = |kind: &'static str| {
        links.iter().filter_map(move |link| Some((kind, link.strip_prefix(kind)?.to_owned())))
    };
    Ok(of_kind(XDP_PIN).chain(of_kind(TCX_PIN)).chain(of_kind(CLASSIFIER_PIN)).collect())
}

fn take_off(home: &Home, kind: &str, name: &str) -> Result<(), AttachError> {
    let pin = format!("{kind}{name}");
    let interface = netlink::interface(name).ok();
    if kind == CLASSIFIER_PIN {
        if let Some(interface) = &interface {
            netlink::remove_ingress_classifier(interface.index)
                .map_err(refused("take off the redirector", interface))?;
        }
    } else if let (Some(link), Some(interface)) = (home.link(&pin)?, &interface) {
        // A link whose interface is gone is detached already.
        match bpf::detach_link(link.as_fd()) {
            Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => {
                return Err(refused("take off a program", interface)(error));
            }
            _ => {}
        }
    }
    Ok(home.unpin_link(&pin)?)
}

/// What is attached under a name.
///
/// # Errors
/// [`AttachError::Pin`].
pub fn attached(home: &Home) -> Result<Vec<Attached>, AttachError> {
    let mut found = Vec::new();
    for link in home.links()? {
        let Some(name) = link.strip_prefix(XDP_PIN) else { continue };
        let Ok(interface) = netlink::interface(name) else { continue };
        let classifier = home.link(&format!("{CLASSIFIER_PIN}{name}"))?.is_some();
        let mode = interface.xdp.map(|(mode, _)| mode);
        found.push(Attached { interface, mode, replaced: false, classifier });
    }
    Ok(found)
}

/// Takes everything of a name off its interfaces and out of the kernel, pins included.
///
/// # Errors
/// [`AttachError`]; what was taken off stays off, and a second call goes on.
pub fn detach(home: &Home) -> Result<(), AttachError> {
    let lock = home.lock_existing()?;
    drop_unlisted(home, &[])?;
    Ok(home.remove(&lock)?)
}
