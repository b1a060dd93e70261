//! Rows of the redirector: a packet of a connection that is here, and one for the next hop.

use super::compare::{Hook, Measured, Plan, TC_OK, TC_REDIRECT};
use super::frames::SELF;
use super::rows::figure;
use super::{Figure, Options};
use anyhow::{Context, Result};
use packet_abi::net::{PROTOCOL_IPV4, PROTOCOL_IPV6};
use packet_abi::{Address, HashKey, gue};
use packet_loader::measure::Bench;
use packet_loader::{Capacities, Settings};
use rustix::fd::AsFd;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

/// The tunnel address where outer packets are IPv6.
const SELF_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
/// Octets of Ethernet.
const ETHERNET: usize = 14;

/// Measures the rows that are wanted: each family's packets in a tunnel of the same family.
pub(super) fn all(key: HashKey, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (v6, name) in [(false, "v4"), (true, "v6")] {
        let rows = ["local", "room", "forward"].map(|row| format!("redirector-{row}-{name}"));
        if rows.iter().any(|row| options.wants(row)) {
            eprintln!("measuring redirector-{name}");
            figures.extend(family(key, v6, &rows, options)?);
        }
    }
    Ok(figures)
}

fn family(key: HashKey, v6: bool, names: &[String; 3], options: &Options) -> Result<Vec<Figure>> {
    let address = if v6 { Address::of(SELF_V6.octets()) } else { SELF };
    let settings = Settings::new(key, 1, address);
    let bench = Bench::new(&settings, &Capacities::default())?;
    let connection = Connection::make(v6)?;
    let (client, server) = connection.ends()?;
    let program = bench.programs.redirector.as_fd();
    let measure = |frame: &[u8], program, returned, leaves| {
        let headers = outer_len(v6) as u32;
        Plan { frame, headers, draw: 0, v6, destinations: &[] }.tell(&bench)?;
        let leaves = Some(leaves);
        Measured { hook: Hook::Tc, program, frame, returned, leaves }.over(&bench, options)
    };
    let frame = tunnelled(client, server);
    let inside = frame.len() - outer_len(v6) + ETHERNET;
    // The prologue makes room for the headers that the run before took off. Making and taking room
    // move the same octets: half of both is the prologue's, the other half is the redirector's.
    let shrink = bench.measuring("shrink_tc").context("the program that takes room")?;
    let room = measure(&frame, shrink, TC_OK, inside)?;
    let local = measure(&frame, program, TC_REDIRECT, inside)? - room / 2.0;
    let stranger = tunnelled(SocketAddr::new(client.ip(), 9), server);
    let forward = measure(&stranger, program, TC_REDIRECT, frame.len())?;
    let [first, second, third] = names;
    Ok(vec![
        figure(first, local, "ns", "<= 120"),
        figure(second, room, "ns", "headers put on and taken off; half is not in the row above"),
        figure(third, forward, "ns", ""),
    ])
}

/// An established connection of this network namespace.
struct Connection {
    client: TcpStream,
    _listener: TcpListener,
    _server: TcpStream,
}

impl Connection {
    fn make(v6: bool) -> Result<Self> {
        let here: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let listener =
            TcpListener::bind((here, 0)).context("a listener of the redirector's row")?;
        let client = TcpStream::connect(listener.local_addr()?).context("its connection")?;
        let (server, _) = listener.accept().context("its connection")?;
        Ok(Self { client, _listener: listener, _server: server })
    }

    /// The client's end and the server's.
    fn ends(&self) -> Result<(SocketAddr, SocketAddr)> {
        Ok((self.client.local_addr()?, self.client.peer_addr()?))
    }
}

/// Octets of Ethernet and all that the tunnel puts on, one hop included.
const fn outer_len(v6: bool) -> usize {
    let (ip, hop) = if v6 { (40, gue::HOP_V6_LEN) } else { (20, gue::HOP_V4_LEN) };
    ETHERNET + ip + 8 + gue::HEADER_LEN + hop
}

/// A segment of a connection as a director sends it to its first hop, which is here.
fn tunnelled(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let inner = segment(from, to);
    let v6 = from.is_ipv6();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let behind = outer_len(v6) - ETHERNET - if v6 { 40 } else { 20 } + inner.len();
    let (protocol, hop_len) = if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, behind as u8, 17, gue::OUTER_TTL]);
        frame.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9).octets());
        frame.extend(SELF_V6.octets());
        (PROTOCOL_IPV6, gue::HOP_V6_LEN)
    } else {
        let length = behind as u8 + 20;
        frame.extend([8, 0, 0x45, 0, 0, length, 0, 0, 0x40, 0, gue::OUTER_TTL, 17, 0, 0]);
        frame.extend([10, 0, 0, 9]);
        frame.extend(SELF.as_v4().to_ne_bytes());
        (PROTOCOL_IPV4, gue::HOP_V4_LEN)
    };
    frame.extend([0x9c, 0x40]);
    frame.extend(gue::PORT.to_be_bytes());
    frame.extend([0, behind as u8, 0, 0]);
    frame.extend(gue::header(protocol, hop_len, 1));
    if v6 {
        frame.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).octets());
    } else {
        frame.extend([10, 0, 0, 2]);
    }
    frame.extend(inner);
    frame
}

/// A segment with ACK and six octets.
fn segment(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    const LEN: u8 = 26;
    let mut packet = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = vec![0x45, 0, 0, 20 + LEN, 0, 0, 0x40, 0, 64, 6, 0, 0];
            ip.extend([from.octets(), to.octets()].concat());
            ip
        }
        (from, to) => {
            let octets = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            let mut ip = vec![0x60, 0, 0, 0, 0, LEN, 6, 64];
            ip.extend([octets(from), octets(to)].concat());
            ip
        }
    };
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend([0; 6]);
    packet
}
