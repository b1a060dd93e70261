//! Who listens on a port: read from /proc when a bind was refused, to name the culprit.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the kernel shows it (15 bytes at most); it chose the name itself.
    pub name: String,
}

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";

/// The process whose listening socket excludes a bind to `address`. `None` when nobody listens any
/// more, or the holder belongs to another user and this process may not look into it.
pub fn find(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: Vec<u64> = tables
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address))
        .collect();
    if inodes.is_empty() { None } else { owner_of(&inodes) }
}

/// The inodes of the sockets of a table that listen on the address or on one that contains it.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    let inode = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let local = endpoint(columns.nth(1)?)?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?.parse().ok()?;
        (state == LISTEN && overlaps(local, address)).then_some(inode)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn overlaps(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (any || a.ip().to_canonical() == b.ip().to_canonical())
}

/// `0100007F:1F90` is 127.0.0.1:8080: words of the address in the machine's order, port in hex.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = ip
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    let ip = match words?.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        words @ [_, _, _, _] => {
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The first process that has one of the sockets open.
fn owner_of(inodes: &[u64]) -> Option<Holder> {
    let targets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Processes of other users, and ones that ended meanwhile, cannot be looked into.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let ours = |fd: fs::DirEntry| {
            let to = fs::read_link(fd.path()).unwrap_or_default();
            targets.iter().any(|target| to.as_os_str() == target.as_str())
        };
        if descriptors.flatten().any(ours) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder { pid, name: name.trim_end().to_owned() });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_the_kernel_is_read() {
        let socket = |local: &str, state: &str, inode: u32| {
            let queues = "00000000:00000000 00:00000000 00000000";
            format!(
                "   0: {local} 00000000:0000 {state} {queues}     0        0 {inode} 1 0 20 4\n"
            )
        };
        let table = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when …\n".to_owned(),
            socket("0100007F:1F90", "0A", 4711),
            socket("00000000:1F91", "0A", 4712),
            socket("0100007F:1F90", "01", 4713),
            "garbage\n".to_owned(),
        ]
        .concat();
        let check = |address: &str, expect: &[u64]| {
            assert_eq!(listening_inodes(&table, address.parse().unwrap()), expect, "{address}");
        };
        check("127.0.0.1:8080", &[4711]);
        check("0.0.0.0:8080", &[4711]);
        check("127.0.0.2:8080", &[]);
        check("127.0.0.2:8081", &[4712]);
        check("[::]:8080", &[4711]);
    }

    #[test]
    fn endpoints_are_decoded() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(endpoint(text), expect.map(|e| e.parse().unwrap()), "{text}");
        };
        check("0100007F:1F90", Some("127.0.0.1:8080"));
        check("00000000000000000000000001000000:0050", Some("[::1]:80"));
        check("B80D0120000000000000000001000000:01BB", Some("[2001:db8::1]:443"));
        check("0100007F", None);
        check("0100007:1F90:", None);
        check("01000é7F:1F90", None);
        check("01000000010000000100000:1F90", None);
    }
}
