//! The number by which this network namespace knows another one (`ip netns list-id`): what the
//! kernel's socket look-ups take. One is given where there is none.

use anyhow::{Context, bail};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use std::path::Path;

// rtnetlink(7): struct nlmsghdr, struct rtgenmsg, attributes.
const ERROR: u16 = 2;
const NEW_NUMBER: u16 = 88;
const GET_NUMBER: u16 = 90;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const NUMBER: u16 = 1;
const DESCRIPTOR: u16 = 3;
/// Not numbered; asked for: any free number.
const NONE: i32 = -1;
/// Octets of an answer: two small attributes.
const ANSWER_OCTETS_MAX: usize = 4096;
/// Octets before the attributes: header, and the family padded to four.
const BEFORE_ATTRIBUTES: usize = 16 + 4;
/// `EEXIST`: it got a number meanwhile.
const EXISTS: i32 = 17;

/// The number of the namespace that is mounted at `path`, for the namespace of this thread.
///
/// # Errors
/// There is no such namespace, or the kernel refused.
pub(super) fn number(path: &Path) -> anyhow::Result<i32> {
    let namespace = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.context("there is no such network namespace: `ip netns add`")?;
    if let Some(number) = ask(&namespace)? {
        return Ok(number);
    }
    match exchange(NEW_NUMBER, ACKNOWLEDGE, &namespace, Some(NONE)) {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(EXISTS) => {}
        Err(error) => return Err(error).context("the kernel gave it no number"),
    }
    match ask(&namespace)? {
        Some(number) => Ok(number),
        None => bail!("the kernel gave it a number and does not know it"),
    }
}

fn ask(namespace: &OwnedFd) -> anyhow::Result<Option<i32>> {
    let answer = exchange(GET_NUMBER, 0, namespace, None);
    let answer =
        answer.context("the kernel did not tell its number: is it a network namespace?")?;
    let mut rest = answer.get(BEFORE_ATTRIBUTES..).unwrap_or_default();
    while let Some((length, kind)) = u16_at(rest, 0).zip(u16_at(rest, 2)) {
        let length = usize::from(length).max(4);
        if kind == NUMBER {
            let octets = rest.get(4..8).and_then(|octets| octets.try_into().ok());
            return Ok(octets.map(i32::from_ne_bytes).filter(|number| *number != NONE));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

/// Sends one request about a namespace, and gives the answer with its header.
fn exchange(
    kind: u16,
    flags: u16,
    namespace: &OwnedFd,
    number: Option<i32>,
) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    message.resize(BEFORE_ATTRIBUTES, 0);
    let descriptor = Some((DESCRIPTOR, namespace.as_raw_fd()));
    for (kind, value) in descriptor.into_iter().chain(number.map(|number| (NUMBER, number))) {
        message.extend(8_u16.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(value.to_ne_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message.splice(0..4, length.to_ne_bytes());
    // Protocol 0, the default, is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_OCTETS_MAX];
    let (_, length) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    answer.truncate(length);
    if u16_at(&answer, 4) == Some(ERROR) {
        let code = answer.get(16..20).and_then(|octets| octets.try_into().ok());
        match code.map(i32::from_ne_bytes) {
            Some(0) => {}
            Some(code) => return Err(std::io::Error::from_raw_os_error(code.wrapping_neg())),
            None => return Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(answer)
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    let octets = octets.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(octets))
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
