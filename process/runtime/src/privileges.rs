//! From root to a user with one right: what the process gives up once it has bound its listeners.
//!
//! Users, groups and rights belong to threads on Linux, and a new thread inherits those of the one
//! that makes it. So [`drop_to`] comes before any other thread is started, and refuses otherwise.

use std::fs;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::accounts::ServiceUser;

/// Rights of a process that serves (capabilities(7)).
pub type Rights = CapabilitySet;

/// What serving needs after the drop: ports below 1024, for listeners that a reload adds.
pub const SERVING: Rights = CapabilitySet::NET_BIND_SERVICE;

/// What looking after the packet path needs beside it: maps and programs, and where they are
/// attached.
pub const PACKETS: Rights =
    CapabilitySet::BPF.union(CapabilitySet::PERFMON).union(CapabilitySet::NET_ADMIN);

/// Why the process cannot give up its rights. It must not serve then.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// Other threads would keep the rights.
    #[error("{0} threads are running: rights are dropped before the second one starts (a bug)")]
    Threads(usize),
    /// Only root may become another user.
    #[error(
        "not root (user id {uid}), so the process cannot become user {user}: start it as root or \
         as that user, or leave the user setting out"
    )]
    NotRoot {
        /// Whose rights the process has.
        uid: u32,
        /// The user of the configuration.
        user: String,
    },
    /// The kernel refused a step.
    #[error("{step} failed on the way to user {user}")]
    Refused {
        /// The user of the configuration.
        user: String,
        /// What was tried.
        step: &'static str,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// Root's rights came back when asked for.
    #[error("root's rights could be had back as user {0}: the kernel did not drop them")]
    NotGone(String),
}

/// Makes the process that user, for good: groups, group and user ids, and all rights but `keep`,
/// which stay permitted and effective, and pass to no program that it would start but by
/// [`hand_on`]. Gives the rights that are left: fewer than `keep` where the process did not have
/// them.
///
/// As that user already (a service manager chose it), only surplus rights are dropped.
///
/// # Errors
/// See [`DropError`]; the process may be half-way then, and must end.
pub fn drop_to(user: &ServiceUser, keep: Rights) -> Result<Rights, DropError> {
    let refused = |step: &'static str| {
        let user = user.name.clone();
        move |e: rustix::io::Errno| DropError::Refused { user, step, cause: e.into() }
    };
    let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads > 1 {
        return Err(DropError::Threads(threads));
    }
    let held = rustix::thread::capabilities(None).map_err(refused("capget"))?;
    let left = held.permitted & keep;
    let uid = rustix::process::geteuid().as_raw();
    if uid != 0 && uid != user.uid {
        return Err(DropError::NotRoot { uid, user: user.name.clone() });
    }
    if held.effective.contains(CapabilitySet::SETPCAP) {
        bound_to(keep).map_err(refused("PR_CAPBSET_DROP"))?;
    }
    if uid == 0 {
        rustix::thread::set_keep_capabilities(true).map_err(refused("PR_SET_KEEPCAPS"))?;
        become_user(user).map_err(|(step, e)| refused(step)(e))?;
    }
    let sets =
        CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(refused("capset"))?;
    rustix::thread::set_keep_capabilities(false).map_err(refused("PR_SET_KEEPCAPS"))?;
    rustix::thread::clear_ambient_capability_set().map_err(refused("PR_CAP_AMBIENT"))?;
    let root = rustix::process::Uid::ROOT;
    let back = rustix::thread::set_thread_res_uid(root, root, root).is_ok();
    let now = rustix::thread::capabilities(None).map_err(refused("capget"))?;
    if back || now != sets {
        return Err(DropError::NotGone(user.name.clone()));
    }
    Ok(left)
}

/// Groups first: after the user id is given up nothing else may be changed.
fn become_user(user: &ServiceUser) -> Result<(), (&'static str, rustix::io::Errno)> {
    let gid = rustix::process::Gid::from_raw(user.gid);
    let uid = rustix::process::Uid::from_raw(user.uid);
    let groups: Vec<_> = user.groups.iter().map(|g| rustix::process::Gid::from_raw(*g)).collect();
    rustix::thread::set_thread_groups(&groups).map_err(|e| ("setgroups", e))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|e| ("setresgid", e))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|e| ("setresuid", e))
}

/// Bounds what any program started from here could ever have.
fn bound_to(keep: Rights) -> rustix::io::Result<()> {
    for bit in 0..u64::BITS {
        let right = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::capability_is_in_bounding_set(right) {
            Ok(true) if !keep.contains(right) => {
                rustix::thread::remove_capability_from_bounding_set(right)?;
            }
            Ok(_) => {}
            // Past the last one that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Keeps secrets in memory: no core dump, no reading of it by processes of the same user, no new
/// rights through programs. After [`drop_to`], since a change of user resets the first two. It
/// makes the files of /proc/PID belong to root.
///
/// # Errors
/// The kernel refused one of them.
pub fn harden() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Lets programs that this thread starts have those of its rights that are in `keep`, where it is
/// not root, whose programs have all rights anyway. For the new program of an upgrade, which
/// [`drop_to`] brings back to where this process is.
///
/// # Errors
/// The kernel refused; what the thread itself may do is as before.
pub fn hand_on(keep: Rights) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let held = rustix::thread::capabilities(None)?;
    let handed = held.permitted & keep;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: handed, ..held })?;
    for right in handed.iter() {
        rustix::thread::configure_capability_in_ambient_set(right, true)?;
    }
    Ok(())
}

/// Open descriptors that the process may have, after it asked for all it can get.
///
/// # Errors
/// The kernel refused the hard limit as the soft one; what was allowed before stays.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
