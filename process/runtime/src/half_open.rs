//! Whether TCP handshakes are under way to a local port: one question to the kernel (sock_diag(7)).
//!
//! The kernel filters, so the answer is short however many connections are open.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// The kernel answers within the call; a wait means it never will.
const ANSWER_MAX: Duration = Duration::from_millis(200);

/// A page more than the kernel's part of a dump; an answer that is cut only says "some" anyway.
const ANSWER_BYTES_MAX: usize = 32 * 1024;

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_BYTES: u32 = 72;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SYN_RECEIVED: u32 = 1 << 3;

/// Whether any client of the local port has got a SYN-ACK whose acknowledgement is not in yet.
/// Handshakes answered with SYN cookies leave no trace and are not seen.
///
/// # Errors
/// The kernel does not say (no inet_diag, or netlink forbidden to this process).
pub(crate) fn any(local: SocketAddr) -> io::Result<bool> {
    let socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.send(&request(local))?;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let length = io::Read::read(&mut &socket, &mut buffer)?;
    first_message(buffer.get(..length).unwrap_or_default())
}

/// A dump request: `struct nlmsghdr`, then `struct inet_diag_req_v2` with state and port set.
fn request(local: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut request = Vec::with_capacity(REQUEST_BYTES as usize);
    request.extend(REQUEST_BYTES.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 8]); // sequence number and sender: one question per socket
    request.extend([family, IPPROTO_TCP, 0, 0]);
    request.extend(SYN_RECEIVED.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.resize(REQUEST_BYTES as usize, 0);
    request
}

/// The first message tells: a socket, the end of none, or an error.
fn first_message(answer: &[u8]) -> io::Result<bool> {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        Some(SOCK_DIAG_BY_FAMILY) => Ok(true),
        Some(NLMSG_DONE) => Ok(false),
        Some(NLMSG_ERROR) => {
            let code = answer.get(16..20).and_then(|code| code.try_into().ok());
            Err(code.map_or_else(malformed, |code| {
                io::Error::from_raw_os_error(i32::from_ne_bytes(code).wrapping_neg())
            }))
        }
        _ => Err(malformed()),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer of sock_diag that cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_kernel_are_read() {
        let message = |kind: u16, body: &[u8]| {
            let mut message = 0_u32.to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes());
            message.extend([0; 10]);
            message.extend(body);
            first_message(&message)
        };
        assert!(message(SOCK_DIAG_BY_FAMILY, &[]).unwrap());
        assert!(!message(NLMSG_DONE, &[0; 4]).unwrap());
        let refused = message(NLMSG_ERROR, &(-2_i32).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(2));
        assert!(message(NLMSG_ERROR, &[]).is_err());
        assert!(message(99, &[]).is_err());
        assert!(first_message(&[]).is_err());
    }

    #[test]
    fn a_port_without_clients_has_none() {
        let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
        assert!(!any(listener.local_addr().unwrap()).unwrap());
    }
}
