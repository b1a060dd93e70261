//! What the kernel must be able to do, asked before anything is loaded, so that a refusal names the
//! feature and the release of Linux that has it. The version alone is not asked: distributions
//! carry features back, and leave others out.

use crate::sys::bpf::{self, MMAPABLE, Shape, kind};
use std::io;

/// Why this kernel will not do.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// Something is missing.
    #[error(
        "the kernel ({running}) has no {feature}; Linux {since} and later have it: update the \
         kernel, or build it with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT"
    )]
    Missing {
        /// What the kernel calls itself.
        running: String,
        /// The feature.
        feature: &'static str,
        /// First release with it.
        since: &'static str,
    },
    /// Not allowed to ask.
    #[error(
        "the kernel refused bpf(2): the packet path needs root, or CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON"
    )]
    Rights(#[source] io::Error),
}

/// Something that is asked for by making a map of it.
struct Feature {
    name: &'static str,
    since: &'static str,
    shape: Shape,
}

/// Octets of a value past what the kernel's allocator of small memory gives.
const WIDE: u32 = (4 << 20) + 8;

const FEATURES: [Feature; 4] = [
    Feature {
        name: "array maps",
        since: "4.15",
        shape: Shape { kind: kind::ARRAY, key: 4, value: 8, entries: 1, flags: 0 },
    },
    Feature {
        name: "arrays in the memory of user space (BPF_F_MMAPABLE)",
        since: "5.5",
        shape: Shape { kind: kind::ARRAY, key: 4, value: 8, entries: 1, flags: MMAPABLE },
    },
    Feature {
        name: "arrays with values of over 4 MiB",
        since: "6.0",
        shape: Shape { kind: kind::ARRAY, key: 4, value: WIDE, entries: 1, flags: MMAPABLE },
    },
    Feature {
        name: "BPF ring buffer",
        since: "5.8",
        shape: Shape { kind: kind::RINGBUF, key: 0, value: 0, entries: 65_536, flags: 0 },
    },
];

/// Helpers that the programs call and older kernels lack, with the first release that has each.
const HELPERS: [(&str, &str); 13] = [
    ("bpf_skc_lookup_tcp", "5.2"),
    ("bpf_tcp_check_syncookie", "5.2"),
    ("bpf_tcp_gen_syncookie", "5.3"),
    ("bpf_csum_level", "5.8"),
    ("bpf_ringbuf_", "5.8"),
    ("bpf_redirect_neigh", "5.10"),
    ("bpf_ktime_get_coarse_ns", "5.11"),
    ("bpf_check_mtu", "5.12"),
    ("bpf_loop", "5.17"),
    ("bpf_xdp_load_bytes", "5.18"),
    ("bpf_xdp_store_bytes", "5.18"),
    ("bpf_xdp_get_buff_len", "5.18"),
    ("bpf_tcp_raw_", "6.0"),
];

/// What the kernel calls itself: release of `uname -r`.
#[must_use]
pub fn running() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Tries what the packet path cannot do without.
///
/// # Errors
/// The first feature that is missing, or that bpf(2) is not allowed.
pub fn check() -> Result<(), FeatureError> {
    for feature in &FEATURES {
        match bpf::create_map("weir_probe", feature.shape, None) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(FeatureError::Rights(error));
            }
            Err(_) => return Err(missing(feature.name, feature.since)),
        }
    }
    Ok(())
}

/// The helper that a verifier's log says is unknown, with the release that has it.
#[must_use]
pub fn missing_helper(log: &str) -> Option<FeatureError> {
    let line = log.lines().find(|line| {
        line.contains("unknown func ") || line.contains("program of this type cannot use helper")
    })?;
    let (name, since) = HELPERS.iter().find(|(name, _)| line.contains(name))?;
    Some(missing(name, since))
}

/// A feature that turned out to be missing by another way.
#[must_use]
pub fn missing(feature: &'static str, since: &'static str) -> FeatureError {
    FeatureError::Missing { running: running(), feature, since }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_names_the_helper_it_lacks() {
        let log = "0: (85) call bpf_loop#181\nunknown func bpf_loop#181\nprocessed 1 insns";
        let error = missing_helper(log).unwrap().to_string();
        assert!(error.contains("has no bpf_loop; Linux 5.17"), "{error}");
        assert!(missing_helper("R1 invalid mem access 'scalar'").is_none());
    }
}
