//! Routing netlink (rtnetlink(7)): what an interface is, which XDP program it runs, and the
//! classifier of kernels without TCX. Answers are of the network namespace of the calling thread.

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use std::io;

/// Octets of the largest answer that is read: one interface with all its attributes. The kernel
/// itself does not make a message longer than this for a request of one.
const ANSWER_LEN_MAX: usize = 64 * 1024;
const HEADER_LEN: usize = 16;

const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
const NEW_NAMESPACE: u16 = 88;
const GET_NAMESPACE: u16 = 90;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const NESTED: u16 = 0x8000;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_EXTENDED_MASK: u16 = 29;
const LINK_XDP: u16 = 43;
const XDP_ATTACHED: u16 = 2;
const XDP_PROGRAM: u16 = 4;

const NAMESPACE_ID: u16 = 1;
const NAMESPACE_FD: u16 = 3;

const TC_KIND: u16 = 1;
const TC_OPTIONS: u16 = 2;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const DIRECT_ACTION: u32 = 1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const FILTER_HANDLE: u32 = 1;
/// Place of the classifier among others: the first, since a tunnel packet is nobody else's.
const FILTER_PRIORITY: u32 = 1;
const ANY_PROTOCOL: u16 = 3;

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, on copies.
    Generic,
    /// In the card.
    Offloaded,
    /// Several at once.
    Several,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Octets of the largest IP packet.
    pub mtu: u32,
    /// Its Ethernet address; `None` for one without.
    pub address: Option<[u8; 6]>,
    /// Whether it is up.
    pub up: bool,
    /// Its XDP program's mode and number.
    pub xdp: Option<(XdpMode, u32)>,
}

/// Asks for an interface by name.
///
/// # Errors
/// `ENODEV` where there is none of that name, else what the kernel said.
pub fn interface(name: &str) -> io::Result<Interface> {
    let mut message = Message::new(GET_LINK, REQUEST);
    message.link_header(0);
    message.attribute(LINK_NAME, &with_zero(name));
    // No statistics of virtual functions: they can be larger than an answer may be.
    message.attribute(LINK_EXTENDED_MASK, &8_u32.to_ne_bytes());
    ask_interface(message)
}

/// Asks for an interface by index.
///
/// # Errors
/// As [`interface`].
pub fn interface_at(index: u32) -> io::Result<Interface> {
    let mut message = Message::new(GET_LINK, REQUEST);
    message.link_header(index);
    message.attribute(LINK_EXTENDED_MASK, &8_u32.to_ne_bytes());
    ask_interface(message)
}

fn ask_interface(message: Message) -> io::Result<Interface> {
    let answer = message.exchange()?;
    parse_link(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Puts a classifier first at the ingress of an interface, in place of one that was put there
/// before. It stays when this process ends.
///
/// # Errors
/// What the kernel said.
pub fn set_ingress_classifier(index: u32, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut message = Message::new(NEW_QDISC, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE);
    message.tc_header(index, CLSACT_HANDLE, CLSACT_PARENT, 0);
    message.attribute(TC_KIND, b"clsact\0");
    match message.exchange() {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        other => drop(other?),
    }
    let mut message = Message::new(NEW_FILTER, REQUEST | ACKNOWLEDGE | CREATE);
    message.filter_header(index);
    message.attribute(TC_KIND, b"bpf\0");
    let mut options = Vec::new();
    push_attribute(&mut options, BPF_FD, &program.as_raw_fd().to_ne_bytes());
    push_attribute(&mut options, BPF_NAME, &with_zero(name));
    push_attribute(&mut options, BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    message.attribute(TC_OPTIONS | NESTED, &options);
    message.exchange().map(drop)
}

/// Takes away what [`set_ingress_classifier`] put.
///
/// # Errors
/// What the kernel said; where there is none, nothing.
pub fn remove_ingress_classifier(index: u32) -> io::Result<()> {
    let mut message = Message::new(DELETE_FILTER, REQUEST | ACKNOWLEDGE);
    message.filter_header(index);
    message.attribute(TC_KIND, b"bpf\0");
    match message.exchange() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
        other => other.map(drop),
    }
}

/// The number by which programs of this network namespace name another one, which is given one if
/// it has none. It holds as long as that namespace does. `namespace` is open at such as
/// `/run/netns/app`.
///
/// # Errors
/// What the kernel said.
pub fn namespace_id(namespace: BorrowedFd<'_>) -> io::Result<i32> {
    let fd = namespace.as_raw_fd().to_ne_bytes();
    let ask = || {
        let mut message = Message::new(GET_NAMESPACE, REQUEST);
        message.octets.extend([0; 4]);
        message.attribute(NAMESPACE_FD, &fd);
        let answer = message.exchange()?;
        let mut found = attributes(answer.get(4..).unwrap_or_default());
        let id = found.find(|(kind, _)| *kind == NAMESPACE_ID);
        let id = id.and_then(|(_, value)| u32_at(value, 0));
        io::Result::Ok(id.ok_or(io::ErrorKind::InvalidData)? as i32)
    };
    let id = ask()?;
    if id >= 0 {
        return Ok(id);
    }
    let mut message = Message::new(NEW_NAMESPACE, REQUEST | ACKNOWLEDGE);
    message.octets.extend([0; 4]);
    message.attribute(NAMESPACE_FD, &fd);
    // Any number.
    message.attribute(NAMESPACE_ID, &(-1_i32).to_ne_bytes());
    match message.exchange() {
        // Another process was faster.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        other => drop(other?),
    }
    match ask()? {
        id if id >= 0 => Ok(id),
        // A kernel that gave a number and does not know it.
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn with_zero(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| *byte != 0).chain([0]).collect()
}

fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(((value.len() + 4) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A request in the making.
struct Message {
    octets: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut octets = vec![0; HEADER_LEN];
        octets.splice(4..8, kind.to_ne_bytes().into_iter().chain(flags.to_ne_bytes()));
        Self { octets }
    }

    /// `struct ifinfomsg`.
    fn link_header(&mut self, index: u32) {
        self.octets.extend([0; 4]);
        self.octets.extend(index.to_ne_bytes());
        self.octets.extend([0; 8]);
    }

    /// `struct tcmsg`.
    fn tc_header(&mut self, index: u32, handle: u32, parent: u32, info: u32) {
        self.octets.extend([0; 4]);
        for field in [index, handle, parent, info] {
            self.octets.extend(field.to_ne_bytes());
        }
    }

    fn filter_header(&mut self, index: u32) {
        let info = FILTER_PRIORITY << 16 | u32::from(ANY_PROTOCOL.to_be());
        self.tc_header(index, FILTER_HANDLE, CLSACT_INGRESS, info);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        push_attribute(&mut self.octets, kind, value);
    }

    /// Sends the request and gives its first answer, without the netlink header.
    fn exchange(mut self) -> io::Result<Vec<u8>> {
        let len = (self.octets.len() as u32).to_ne_bytes();
        self.octets.splice(0..4, len);
        // Protocol 0, the default, is NETLINK_ROUTE.
        let socket: OwnedFd =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        send(&socket, &self.octets, SendFlags::empty())?;
        let mut answer = vec![0; ANSWER_LEN_MAX];
        let (_, len) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
        answer.truncate(len);
        let kind = u16_at(&answer, 4).ok_or(io::ErrorKind::InvalidData)?;
        let body = answer.split_off(HEADER_LEN.min(answer.len()));
        match kind {
            ERROR => match u32_at(&body, 0).ok_or(io::ErrorKind::InvalidData)? as i32 {
                0 => Ok(Vec::new()),
                error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
            },
            NEW_LINK | NEW_NAMESPACE => Ok(body),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

/// Attributes by kind, one behind the other.
fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(octets, 0)?);
        let kind = u16_at(octets, 2)? & !NESTED;
        let value = octets.get(4..len)?;
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The interface of an answer: `struct ifinfomsg`, then attributes.
fn parse_link(body: &[u8]) -> Option<Interface> {
    let mut found = Interface {
        index: u32_at(body, 4)?,
        name: String::new(),
        mtu: 0,
        address: None,
        up: u32_at(body, 8)? & 1 != 0,
        xdp: None,
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            LINK_NAME => {
                let name = value.strip_suffix(&[0]).unwrap_or(value);
                found.name = String::from_utf8_lossy(name).into_owned();
            }
            LINK_MTU => found.mtu = u32_at(value, 0)?,
            LINK_ADDRESS => found.address = value.try_into().ok(),
            LINK_XDP => found.xdp = parse_xdp(value),
            _ => {}
        }
    }
    Some(found)
}

fn parse_xdp(value: &[u8]) -> Option<(XdpMode, u32)> {
    let (mut mode, mut program) = (None, 0);
    for (kind, value) in attributes(value) {
        match kind {
            XDP_ATTACHED => {
                mode = match value.first()? {
                    1 => Some(XdpMode::Native),
                    2 => Some(XdpMode::Generic),
                    3 => Some(XdpMode::Offloaded),
                    4 => Some(XdpMode::Several),
                    _ => None,
                }
            }
            XDP_PROGRAM => program = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some((mode?, program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_by_name_and_by_index() {
        let by_name = interface("lo").unwrap();
        assert_eq!((by_name.name.as_str(), by_name.xdp), ("lo", None));
        assert_eq!(interface_at(by_name.index).unwrap(), by_name);
        let missing = interface("weir-has-none").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn an_answer_that_ends_early_is_no_interface() {
        let mut body = vec![0; 16];
        push_attribute(&mut body, LINK_NAME, b"eth0\0");
        push_attribute(&mut body, LINK_MTU, &1500_u32.to_ne_bytes());
        let found = parse_link(&body).unwrap();
        assert_eq!((found.name.as_str(), found.mtu), ("eth0", 1500));
        for len in 0..16 {
            assert_eq!(parse_link(&body[..len]), None);
        }
        body.truncate(body.len() - 3);
        assert_eq!(parse_link(&body).unwrap().mtu, 0);
    }
}
