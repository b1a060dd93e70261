//! Raw sockets that send packets as they are, with whatever source they claim.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

/// Raw sockets that send whole packets.
#[derive(Debug)]
pub(super) struct Copies {
    v4: Socket,
    v6: Socket,
}

/// The protocol of a socket that sends packets with their own headers (IPPROTO_RAW).
const RAW: i32 = 255;

impl Copies {
    /// In the namespace of the calling thread.
    pub(super) fn open() -> Result<Self> {
        let v4 = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
        let v6 = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(RAW)))?;
        v4.set_header_included_v4(true)?;
        v6.set_header_included_v6(true)?;
        v4.set_nonblocking(true)?;
        v6.set_nonblocking(true)?;
        Ok(Self { v4, v6 })
    }

    /// Sends a packet to where it says; whether the kernel took it.
    pub(super) fn send(&self, packet: &[u8]) -> bool {
        let Some(to) = destination(packet) else { return false };
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        socket.send_to(packet, &SocketAddr::new(to, 0).into()).is_ok()
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        6 => Some(Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?).into()),
        // A version that lies goes the way of IPv4.
        _ => Some(Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?).into()),
    }
}
