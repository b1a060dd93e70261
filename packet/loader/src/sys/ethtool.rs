//! One switch of ethtool(8): whether a card computes checksums of what is sent. Pairs of virtual
//! interfaces hand packets over with the sum left out, and an encapsulated packet keeps the gap.

#![expect(unsafe_code, reason = "a device control call takes addresses")]

use rustix::fd::AsRawFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;

const SET_TX_CHECKSUMS: u32 = 0x17;

/// Says whether sums of sent packets are left to the interface `name`.
///
/// # Errors
/// `ENODEV` where there is none of that name, else what the kernel said.
pub fn set_tx_checksum_offload(name: &str, on: bool) -> io::Result<()> {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    /// `struct ifreq`: a name and a union of 24 octets, of which an address is used.
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        value: *mut Value,
        rest: [u8; 16],
    }
    if name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut value = Value { command: SET_TX_CHECKSUMS, data: u32::from(on) };
    let mut request =
        Request { name: [0; libc::IFNAMSIZ], value: std::ptr::from_mut(&mut value), rest: [0; 16] };
    for (to, from) in request.name.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let address = std::ptr::from_mut(&mut request);
    // SAFETY: the request has the layout and size of `struct ifreq`, and both it and the value it
    // points to live until the call returns.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, address) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
