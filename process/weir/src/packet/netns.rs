//! The number by which this network namespace knows another one (`ip netns list-id`): what the
//! kernel's socket look-ups take. One is given where there is none.

use anyhow::Context;
use packet_loader::sys::netlink;
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, open};
use std::path::Path;

/// The number of the namespace that is mounted at `path`, for the namespace of this thread.
///
/// # Errors
/// There is no such namespace, or the kernel refused.
pub(super) fn number(path: &Path) -> anyhow::Result<i32> {
    let namespace = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.context("there is no such network namespace: `ip netns add`")?;
    netlink::namespace_id(namespace.as_fd())
        .context("the kernel did not tell its number: is it a network namespace?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_has_no_number() {
        for (path, says) in [
            ("/proc/self/ns/none", "there is no such network namespace"),
            ("/proc/self/status", "is it a network namespace?"),
        ] {
            let error = format!("{:#}", number(Path::new(path)).unwrap_err());
            assert!(error.contains(says), "{path}: {error}");
        }
    }

    /// Run again within a namespace of its own, so that the machine's is left alone.
    const INSIDE: &str = "WEIR_TEST_IN_NAMESPACE";

    #[test]
    fn a_namespace_keeps_its_number() {
        if std::env::var_os(INSIDE).is_some() {
            // A namespace has a number for itself like for any other.
            let own = number(Path::new("/proc/self/ns/net")).unwrap();
            assert!(own >= 0);
            assert_eq!(number(Path::new("/proc/self/ns/net")).unwrap(), own);
            return;
        }
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root makes network namespaces");
            return;
        }
        let test = "packet::netns::tests::a_namespace_keeps_its_number";
        let done = std::process::Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && out.contains("1 passed"), "{out}");
    }
}
